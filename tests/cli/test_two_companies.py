"""Two companies and a dealer as they run it: own directories, own cluster files, certificates of `mpcrt certs`."""

import contextlib
import datetime
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mpcrt.cluster import certificates, clocks, profiles
from mpcrt.cluster import config as configs
from mpcrt.cluster.sockets import close_all, free_ports_cluster, listening_socket

ROOT = Path(__file__).parents[2]
NAMES = ("alice", "bob", "dealer")
PROGRAM = """
import mpcrt
import numpy as np

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

@alice
def prices():
    return np.loadtxt("prices.txt")

@bob
def amounts():
    return np.loadtxt("amounts.txt")

@spu
def total(prices, amounts):
    return (prices * amounts).sum()

@bob
def report(value):
    print(f"total {float(value):.3f}")

def main():
    report(total(prices(), amounts()).to(bob))
"""


def mpcrt(directory: Path, *words: str) -> subprocess.Popen[str]:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-P", "-m", "mpcrt", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=directory, stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(processes: dict[str, subprocess.Popen[str]]) -> dict[str, tuple[int, str, str]]:
    """Exit code, standard output and last error line of each; nothing is left running."""
    ends = {}
    try:
        for name, process in processes.items():
            out, err = process.communicate(timeout=200)
            ends[name] = (process.returncode, out, (err.splitlines() or [""])[-1])
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return ends


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A directory in which `mpcrt certs` has made a CA and a certificate for each name."""
    place = tmp_path_factory.mktemp("trial")
    assert finish({"init": mpcrt(place, "certs", "init")})["init"][0] == 0
    assert finish({"issue": mpcrt(place, "certs", "issue", *NAMES)})["issue"][0] == 0
    return place


@pytest.fixture
def companies(tmp_path, trial):
    """A directory for each company with what it alone has."""
    config, sockets = free_ports_cluster(configs.local(2))
    close_all(sockets)
    text = config.replace(timeouts=configs.Timeouts(connect=20, idle=10)).to_yaml()
    text += 'tls: {ca: certs/ca.pem, certificate: "certs/{party}.pem", key: "certs/{party}.key"}\n'
    places = {}
    for name in NAMES:
        place = places[name] = tmp_path / name
        (place / "certs").mkdir(parents=True)
        (place / "cluster.yaml").write_text(text)
        for file in ("ca.pem", f"{name}.pem", f"{name}.key"):
            shutil.copy(trial / "certs" / file, place / "certs" / file)
        if name != "dealer":
            (place / "program.py").write_text(PROGRAM)
    (places["alice"] / "prices.txt").write_text("1.5 2.25 3\n")
    (places["bob"] / "amounts.txt").write_text("2 4 1\n")
    return places


def run(
    companies: dict[str, Path], names: tuple[str, ...] = NAMES, options: tuple[str, ...] = ()
) -> dict[str, tuple[int, str, str]]:
    programs = {name: [] if name == "dealer" else ["program.py"] for name in names}
    return finish(
        {
            name: mpcrt(companies[name], "run", "cluster.yaml", *programs[name], "--party", name, *options)
            for name in names
        }
    )


def test_the_main_job(companies):
    ends = run(companies, options=("--profile", "profile.json"))
    assert {name: code for name, (code, _, _) in ends.items()} == dict.fromkeys(NAMES, 0), ends
    assert {name: out for name, (_, out, _) in ends.items()} == {"alice": "", "bob": "total 15.000\n", "dealer": ""}
    # their profiles merge; here all share a clock, so what the messages say of it can be checked
    files = [place / "profile.json" for place in companies.values()]
    for file, start in clocks.starts(files).items():
        assert abs(start - profiles.head(file)["monotonic_ns"]) < 50e6, "half a round trip, on a busy machine"


def test_a_strangers_certificate_is_refused_and_named(companies, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    certificates.throwaway(["bob"], stranger)
    for file in stranger.iterdir():
        shutil.copy(file, companies["bob"] / "certs")
    for place in companies.values():
        file = place / "cluster.yaml"
        file.write_text(file.read_text().replace("connect: 20.0", "connect: 60").replace("idle: 10.0", "idle: 60"))
    start = time.monotonic()
    ends = run(companies)
    assert time.monotonic() - start < 55, "long before `connect` and `idle` are over"
    for name in NAMES:
        assert ends[name][0] == 3, ends
        assert ends[name][2].startswith(f"mpcrt: {name}: ")
        # the dealer meets bob and tells alice, who would wait for him
        assert "certificate" in ends[name][2] and (name == "bob" or "bob" in ends[name][2]), ends


def expire(certs: Path) -> None:
    """Leave bob with a certificate of yesterday, by the same authority."""
    files, authority = certificates.party_files(certs, "bob"), certificates.read_authority(certs)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.certificate.subject)
        .public_key(key.public_key()).serial_number(7).not_valid_before(now - datetime.timedelta(9))
        .not_valid_after(now - datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bob")]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )  # fmt: skip
    files.certificate.write_bytes(certificates._certificate_pem(made))
    files.key.write_bytes(certificates._key_pem(key))


MISTAKES = {
    "key that others may read": (lambda certs: (certs / "bob.key").chmod(0o640), "run chmod 600"),
    "another party's certificate": (
        lambda certs: [shutil.copy(certs / f"alice.{end}", certs / f"bob.{end}") for end in ("pem", "key")],
        "is for alice, not for bob; issue one with DNS name bob",
    ),
    "another key": (lambda certs: shutil.copy(certs / "alice.key", certs / "bob.key"), "is not the key of"),
    "expired": (expire, "expired on"),
    "another authority": (lambda certs: certificates.write_authority(certs.parent / "new", "new")
                          and shutil.copy(certs.parent / "new" / "ca.pem", certs), "use the authority that signed it"),
    "no certificate": (lambda certs: (certs / "bob.pem").write_text("hello"), "is not a PEM certificate"),
    "no key": (lambda certs: (certs / "bob.key").write_text("hello"), "cannot be read, or its password is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_own_certificates_are_checked_before_anybody_is_dialled(companies, trial, mistake):
    make, words = MISTAKES[mistake]
    certs = companies["bob"] / "certs"
    for name in ("alice.pem", "alice.key", "ca.key"):
        shutil.copy(trial / "certs" / name, certs / name)
    make(certs)
    with contextlib.ExitStack() as stack:  # somebody at each address, who would notice
        config = configs.load(companies["bob"] / "cluster.yaml")
        others = [stack.enter_context(listening_socket(config.parties[n].bind, n)) for n in ("alice", "dealer")]
        ends = run(companies, ("bob",))
        for one in others:
            one.settimeout(0)
            with pytest.raises(BlockingIOError):
                one.accept()
    assert ends["bob"][0] == 2 and ends["bob"][2].startswith("mpcrt: bob: ") and words in ends["bob"][2], ends


def test_an_expected_file_that_is_not_there_fails_its_owner_only(companies):
    (companies["alice"] / "prices.txt").unlink()
    ends = run(companies)
    assert {name: code for name, (code, _, _) in ends.items()} == {"alice": 1, "bob": 3, "dealer": 3}, ends
    assert ends["alice"][2].startswith("mpcrt: alice: prices() failed in call 1: FileNotFoundError")
    assert ends["bob"][2] == "mpcrt: bob: alice failed in prices (call 1); its own log has the cause"


def test_cluster_files_that_differ_are_refused_with_the_difference(companies):
    file = companies["bob"] / "cluster.yaml"
    file.write_text(file.read_text().replace("fraction_bits: 18", "fraction_bits: 20"))
    ends = run(companies)
    assert ends["bob"][0] == ends["alice"][0] == 4, ends
    assert "devices.spu.fraction_bits" in ends["alice"][2] or "devices.spu.fraction_bits" in ends["bob"][2], ends


def differ(companies, who: str, order: tuple[str, ...], extra: str = "") -> None:
    """Give `who` a cluster file whose parties are in that order, with an `extra` one after the first."""
    file = companies[who] / "cluster.yaml"
    config = configs.load(file)
    parties = {name: config.parties[name] for name in order}
    if extra:
        address = configs.Endpoint("127.0.0.1", 1)
        parties = {order[0]: parties[order[0]], extra: configs.Party(address=address), **parties}
    tls = file.read_text()[file.read_text().index("tls:") :]
    file.write_text(config.replace(parties=parties, tls=None).to_yaml() + tls)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NAMES, ("bob", "alice", "dealer")),  # neither dials the other
        (("bob", "alice", "dealer"), NAMES),  # each dials the other
    ],
)
@pytest.mark.parametrize("dealer", [0, 1])
def test_another_order_of_parties_is_a_difference_at_all(companies, first, second, dealer):
    differ(companies, "alice", first)
    differ(companies, "bob", second)
    differ(companies, "dealer", (first, second)[dealer])
    started = time.monotonic()
    ends = run(companies)
    assert time.monotonic() - started < 19, "long before `connect` is over"
    for name in NAMES:
        assert ends[name][0] == 4, ends
        assert "first difference: parties.order: at " in ends[name][2] or "in the order of their" in ends[name][2]


@pytest.mark.parametrize("who", NAMES)
def test_an_extra_party_is_a_difference_at_all(companies, who):
    differ(companies, who, NAMES, extra="carol")
    started = time.monotonic()
    ends = run(companies)
    assert time.monotonic() - started < 19, "long before `connect` is over"
    for name in NAMES:
        assert ends[name][0] == 4 and "first difference: parties.carol: only" in ends[name][2], ends


def test_a_peer_that_never_comes_is_named(companies):
    for place in companies.values():
        file = place / "cluster.yaml"
        file.write_text(file.read_text().replace("connect: 20.0", "connect: 3"))
    address = configs.load(companies["alice"] / "cluster.yaml").parties["bob"].address
    ends = run(companies, ("alice", "dealer"))
    for name in ("alice", "dealer"):
        assert ends[name][0] == 3 and f"bob ({address})" in ends[name][2], ends
