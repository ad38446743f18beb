"""`mpcrt bench`: measures secure functions against plain JAX."""

from pathlib import Path

import click

from mpcrt.cli.shell import HELP, Shell, profile_option
from mpcrt.cluster import config as configs
from mpcrt.cluster.signals import terminating_signals
from mpcrt.errors import UsageError


@click.command(context_settings=HELP, short_help="Measure functions on local processes against plain JAX.")
@click.argument("cases", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, metavar="[CASE]...")
@click.option(
    "--cluster", type=click.Path(path_type=Path), required=True, help="The cluster file; its ports are not used."
)
@click.option(
    "--inputs",
    type=click.Choice(["secret", "owned"]),
    default="secret",
    show_default=True,
    help="secret: arguments have no owner. owned: the first is bob's, the rest are alice's.",
)
@click.option("--reps", type=click.IntRange(1, 10_000), default=5, show_default=True, help="Repetitions of each case.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a case and line instead of a table.")
@click.option("--offline", is_flag=True, help="Make the correlations before the clock starts.")
@profile_option
@click.option("-v", "--verbose", is_flag=True, help="Log more, with tracebacks.")
@click.pass_context
def bench(
    ctx: click.Context,
    cases: Path,
    names: tuple[str, ...],
    cluster: Path,
    inputs: str,
    reps: int,
    as_json: bool,
    offline: bool,
    profile: Path | None,
    verbose: bool,
) -> int:
    """Measure the cases of the Python module CASES on local processes of the cluster file.

    CASES has a dict C of name -> zero-argument function that returns (fn, args): a JAX function and its arguments.
    Without CASE names all are measured. Each is a run of its own on free ports. Its inputs are shared and its plan is
    made before the clock starts; a time is from the start of a call until the last process, the dealer too, is done.

    \b
    A case file:
      import jax, numpy as np
      C = {"relu_1m": lambda: (jax.nn.relu, (np.random.randn(1_000_000).astype(np.float32),))}

    With --json a row has: case, parties, inputs, tls, seconds (one a repetition), cold_seconds (the first run of the
    plan), trace_seconds, max_abs_error, rounds, party_bytes, dealer_bytes, peak_rss_mb (a process).

    \b
    Examples:
      mpcrt bench cases.py --cluster cluster_configs/two_party_plain.yaml
      mpcrt bench cases.py relu_1m mul_1m --cluster cluster_configs/three_party.yaml --inputs owned --reps 20
      mpcrt bench cases.py relu_1m --cluster cluster_configs/two_party_plain.yaml --json > relu.jsonl
      mpcrt bench cases.py relu_1m --cluster cluster_configs/two_party_plain.yaml --profile relu.json
    """
    ctx.ensure_object(Shell).verbose = verbose
    config = configs.load(cluster)
    if not cases.is_file():
        raise UsageError(f"{cases}: no such case file")

    from mpcrt.cli.results import Results
    from mpcrt.runtime.bench import case_names, run_bench

    chosen = case_names(cases, names)
    with terminating_signals(), Results(len(chosen), reps, as_json).shown() as results:
        return run_bench(cases, chosen, config, results, inputs=inputs, reps=reps, offline=offline, profile=profile)
