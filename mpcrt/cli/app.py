"""The command's root: `mpcrt run | dealer | bench | profile | certs | doctor`."""

import click

from mpcrt.cli.bench import bench
from mpcrt.cli.certs import certs
from mpcrt.cli.dealer import dealer
from mpcrt.cli.doctor import doctor
from mpcrt.cli.profile import profile
from mpcrt.cli.run import run
from mpcrt.cli.shell import HELP, Commands
from mpcrt.cluster.version import package_version


@click.group(cls=Commands, context_settings=HELP)
@click.version_option(package_version(), prog_name="mpcrt", message="%(prog)s %(version)s")
def main() -> None:
    """Secure computation on JAX programs: each party keeps its data, and all compute on shares of it.

    \b
    First steps:
      mpcrt run cluster_configs/two_party.yaml program.py    every party, on this machine
      mpcrt run cluster.yaml program.py --party alice        one party: what each company runs
      mpcrt run cluster.yaml --party dealer                  the dealer of one run: needs no program
      mpcrt dealer cluster.yaml                              the dealer of run after run, until stopped
      mpcrt doctor cluster.yaml --party alice                what to fix before a run

    Exit codes: 0 done, 1 your function failed here, 2 bad usage or configuration, 3 another party failed or was lost,
    4 the parties disagree, 5 refused by policy, 130 interrupted.
    """


for command in (run, dealer, bench, profile, certs, doctor):
    main.add_command(command)
