"""`mpcrt run`: all parties here, or one of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from mpcrt.cli.shell import HELP, Shell, log_options, profile_option
from mpcrt.cluster import certificates, lifeline, streams
from mpcrt.cluster import config as configs
from mpcrt.cluster.config import ClusterConfig
from mpcrt.cluster.launcher import run_local
from mpcrt.cluster.logs import configure
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.progress import at_terminal
from mpcrt.cluster.signals import ending_at_once, interruptible
from mpcrt.cluster.sockets import allow_descriptors, listening_socket
from mpcrt.errors import UsageError


class ProgramCommand(click.Command):
    """A command whose words after `--` are the program's and are not looked at here."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["mpcrt.arguments"] = args[:at], tuple(args[at + 1 :])
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = "options of the program itself go after `--`"
            raise click.UsageError(f"{error.format_message().rstrip('.')} ({hint})", ctx) from None

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGS...]"]


@click.command(
    cls=ProgramCommand, context_settings=HELP, short_help="Run a program: every party here, or one with --party."
)
@click.argument("cluster", type=click.Path(path_type=Path))
@click.argument("program", type=click.Path(path_type=Path), required=False)
@click.option("--party", metavar="NAME", help="Run this party alone; without it every party and dealer runs here.")
@log_options
@profile_option
@click.option("--listen-fd", type=int, hidden=True)
@click.option("--lifeline-fd", type=int, hidden=True)
@click.option("--scratch", type=click.Path(path_type=Path), hidden=True)
@click.option("--local-processes", type=click.IntRange(1, 1024), default=1, hidden=True)
@click.option("--progress", is_flag=True, hidden=True)
@click.pass_context
def run(
    ctx: click.Context,
    cluster: Path,
    program: Path | None,
    party: str | None,
    verbose: bool,
    quiet: bool,
    log_json: bool,
    log_file: Path | None,
    profile: Path | None,
    listen_fd: int | None,
    lifeline_fd: int | None,
    scratch: Path | None,
    local_processes: int,
    progress: bool,
) -> int:
    """Run PROGRAM on the parties of the YAML file CLUSTER. ARGS are the program's sys.argv.

    Every organisation starts the same program with its own --party; a party function runs in its owner's process only.
    The dealer takes no program. Without --party everything runs on this machine, with throwaway certificates if the
    file has no `tls` key.

    \b
    Examples:
      mpcrt run cluster_configs/two_party.yaml examples/digits/predict.py -- --model m.npz --out p.npz
      mpcrt run cluster.yaml train.py --party alice -- --epochs 3
      mpcrt run cluster.yaml --party dealer --log-json --log-file dealer.log
      mpcrt run cluster.yaml train.py --profile where.json    (with --party: that party's part of it)
    """
    shell = ctx.ensure_object(Shell)
    shell.party, shell.verbose, shell.log_json, shell.log_file = party or "", verbose, log_json, log_file
    arguments: tuple[str, ...] = ctx.meta.get("mpcrt.arguments", ())
    if lifeline_fd is not None:
        streams.launched()
        lifeline.watch(lifeline_fd, scratch)
    config = configs.load(cluster)
    if program is not None and not program.is_file():
        raise UsageError(f"{program}: no such program file")
    processes = local_processes if party is not None else len(config.names)
    options = RunOptions(verbose, quiet, log_json, log_file, profile, processes, progress)
    if party is None:
        if program is None:
            raise click.UsageError("PROGRAM is missing (only a single --party may go without one)", ctx)
        configure("", verbose=verbose, quiet=quiet, as_json=log_json, file=log_file)
        shown = at_terminal() and not (quiet or log_json)
        return run_local(config, program, arguments, options=replace(options, progress=shown))
    configure(party, verbose=verbose, quiet=quiet, as_json=log_json, file=log_file, named=lifeline_fd is None)
    with ending_at_once():
        from mpcrt.runtime.main import run_party
    with interruptible():
        return _run_one(config, party, program, arguments, listen_fd, options, run_party)


def _run_one(
    config: ClusterConfig,
    party: str,
    program: Path | None,
    arguments: tuple[str, ...],
    listen_fd: int | None,
    options: RunOptions,
    run_party: Callable[..., int],
) -> int:
    config.require_party(party)
    allow_descriptors()
    if program is not None and party in config.dealers:
        raise UsageError(f"{party} is a dealer, which takes no program: leave out {program}")
    certificates.require_good(config, party)
    endpoint = config.parties[party].bind
    if listen_fd is None and endpoint is not None:
        listen_fd = listening_socket(endpoint, party).detach()
    return run_party(config, party, program, arguments, listen_fd=listen_fd, options=options)
