"""`mpcrt doctor`: what to fix before a run."""

from pathlib import Path

import click
from rich.text import Text

from mpcrt.cli.shell import HELP, Shell
from mpcrt.cli.terminal import console
from mpcrt.cluster import config as configs
from mpcrt.cluster import exit_codes
from mpcrt.cluster.doctor import State, examine
from mpcrt.cluster.version import package_version
from mpcrt.text import LINE, plain

_STYLES = {State.GOOD: "green", State.NOTE: "yellow", State.BAD: "bold red"}


@click.command(context_settings=HELP, short_help="Check cluster file, certificates, ports and peers.")
@click.argument("cluster", type=click.Path(path_type=Path))
@click.option("--party", metavar="NAME", help="Check from this party's place, with its peers.")
@click.option(
    "--wait", type=click.FloatRange(0, 3600), default=30, show_default=True, help="Seconds to wait for peers' doctors."
)
@click.pass_context
def doctor(ctx: click.Context, cluster: Path, party: str | None, wait: float) -> int:
    """Check the YAML file CLUSTER, certificates and their dates, and ports; with --party also every peer.

    Start it at all parties at the same time: the doctors then measure each other's version, cluster file, clock, round
    trip and bandwidth over the very addresses and certificates that a run uses. It ends with 0 when nothing is to be
    fixed, else with 2.

    \b
    Examples:
      mpcrt doctor cluster_configs/two_party.yaml
      mpcrt doctor cluster.yaml --party alice --wait 120
    """
    ctx.ensure_object(Shell).party = party or ""
    config = configs.load(cluster)
    terminal = console()
    terminal.print(f"mpcrt {package_version()}, jax {package_version('jax')}")
    broken = 0
    for finding in examine(config, party, wait):
        broken += finding.state is State.BAD
        state = (f"{finding.state.value:<5}", _STYLES[finding.state])
        line = Text.assemble(state, plain(f"{finding.subject}: {finding.message}", LINE))  # a peer's words may be in it
        terminal.print(line, soft_wrap=True)
    if broken:
        terminal.print(f"{broken} to fix")
        return exit_codes.USAGE
    return exit_codes.DONE
