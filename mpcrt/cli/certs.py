"""`mpcrt certs`: an authority and party certificates, for trials."""

from pathlib import Path

import click

from mpcrt.cli.shell import HELP
from mpcrt.cluster import certificates
from mpcrt.errors import ConfigError
from mpcrt.text import plain

_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("certs"),
    show_default=True,
    help="Where the authority's files are.",
)


@click.group(context_settings=HELP)
def certs() -> None:
    """Make and show certificates for a trial. In earnest use your own PKI: a party's name is a DNS name (SAN).

    \b
    Whoever runs the trial:
      mpcrt certs init                    certs/ca.pem and certs/ca.key
      mpcrt certs issue alice bob dealer  certs/alice.pem, certs/alice.key, ...
    Give each party ca.pem and its own two files, over a channel you trust, and keep ca.key to yourself.
    The cluster file then has:
      tls: {ca: certs/ca.pem, certificate: "certs/{party}.pem", key: "certs/{party}.key"}
    """


@certs.command(context_settings=HELP)
@_directory
@click.option("--name", default="mpcrt trial", show_default=True, help="The authority's name.")
@click.option("--days", default=certificates.CA_DAYS, show_default=True, help="How long it is valid.")
def init(directory: Path, name: str, days: int) -> None:
    """Make an authority that can sign party certificates."""
    file = certificates.write_authority(directory, name, days)
    click.echo(f"made {file} (for every party) and {directory / certificates.CA_KEY} (keep it to yourself)")


@certs.command(context_settings=HELP)
@click.argument("parties", nargs=-1, required=True, metavar="PARTY...")
@_directory
@click.option("--days", default=certificates.PARTY_DAYS, show_default=True, help="How long they are valid.")
@click.option("--replace", is_flag=True, help="Make new ones for parties that have some already.")
def issue(parties: tuple[str, ...], directory: Path, days: int, replace: bool) -> None:
    """Make a key and a certificate for each PARTY, signed by the authority in the directory."""
    authority = certificates.read_authority(directory)
    for party in parties:
        files = certificates.party_files(directory, party)
        for file in (files.certificate, files.key):
            if file.exists() and not replace:
                raise ConfigError(f"{file} exists; --replace makes a new key and certificate for {party}")
    for party in parties:
        files = certificates.write_party(authority, directory, party, days)
        click.echo(f"made {files.certificate} and {files.key}")


@certs.command(context_settings=HELP)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
def show(files: tuple[Path, ...]) -> None:
    """Show whose certificates FILEs hold, who signed them and until when."""
    for file in files:
        for shown in certificates.show(file):
            click.echo(f"{file}")
            for key, value in (
                ("party", ", ".join(shown.dns_names) or ("none: an authority" if shown.authority else "none")),
                ("subject", shown.subject),
                ("issuer", shown.issuer),
                ("valid", f"{shown.not_before:%Y-%m-%d %H:%M} to {shown.not_after:%Y-%m-%d %H:%M} UTC"),
                ("state", shown.problem() or "valid now"),
                ("SHA-256", shown.fingerprint),
            ):
                click.echo(f"  {key:<8} {plain(value)}")
