"""`mpcrt dealer`: a dealer that serves one run after the other."""

from pathlib import Path

import click

from mpcrt.cli.shell import HELP, Shell, log_options
from mpcrt.cluster import certificates
from mpcrt.cluster import config as configs
from mpcrt.cluster.logs import configure
from mpcrt.cluster.signals import ending_at_once, interruptible
from mpcrt.cluster.sockets import allow_descriptors, listening_socket
from mpcrt.errors import UsageError


@click.command(context_settings=HELP, short_help="Serve runs as the dealer, one after the other, until stopped.")
@click.argument("cluster", type=click.Path(path_type=Path))
@click.option("--party", metavar="NAME", help="Which dealer this is, where the file has several.")
@log_options
@click.pass_context
def dealer(
    ctx: click.Context,
    cluster: Path,
    party: str | None,
    verbose: bool,
    quiet: bool,
    log_json: bool,
    log_file: Path | None,
) -> int:
    """Be the dealer of the YAML file CLUSTER for run after run, until a signal.

    Each run has connections and keys of its own, and nothing of it is kept. A run that fails ends, is logged, and the
    next one is awaited. One run is served at a time: parties that start the next one meanwhile wait for it, as long as
    `connect` in the cluster file says.

    A signal between two runs ends the dealer with 0; one in a run ends that run too, with 130.

    \b
    Examples:
      mpcrt dealer cluster.yaml
      mpcrt dealer cluster.yaml --party dealer --log-json
    """
    shell = ctx.ensure_object(Shell)
    shell.party, shell.verbose, shell.log_json, shell.log_file = party or "", verbose, log_json, log_file
    config = configs.load(cluster)
    party = shell.party = _one_dealer(config, party)
    configure(party, verbose=verbose, quiet=quiet, as_json=log_json, file=log_file)
    certificates.require_good(config, party)
    allow_descriptors()
    endpoint = config.parties[party].bind
    listening = None if endpoint is None else listening_socket(endpoint, party)
    try:
        with ending_at_once():
            from mpcrt.runtime.resident import serve_runs
        with interruptible():
            return serve_runs(config, party, listening)
    finally:
        if listening is not None:
            listening.close()


def _one_dealer(config: configs.ClusterConfig, party: str | None) -> str:
    """The dealer that was meant. Raises UsageError."""
    if party is not None:
        config.require_party(party)
        if party not in config.dealers:
            raise UsageError(
                f"{party} is no dealer of {config.file}; `mpcrt run` starts it (dealers: {', '.join(config.dealers)})"
            )
        return party
    first, *more = config.dealers
    if more:
        raise UsageError(f"{config.file} has the dealers {', '.join(config.dealers)}; say which with --party")
    return first
