"""Doctors that meet each other, and those that find something wrong."""

import contextlib
import re
import socket
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from beside import beside
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mpcrt.cluster import certificates, doctor, introductions
from mpcrt.cluster import config as configs
from mpcrt.cluster.config import ClusterConfig, Party, TlsFiles, TlsPaths
from mpcrt.cluster.doctor import Finding, State, examine
from mpcrt.cluster.introductions import Introduction, Mismatch
from mpcrt.cluster.sockets import close_all, free_ports_cluster, listening_socket
from mpcrt.errors import ConfigError

BULK = 1 << 20


@pytest.fixture(autouse=True)
def less_bulk(monkeypatch):
    monkeypatch.setattr(introductions, "BULK", BULK)


def cluster(tmp_path: Path, tls: bool) -> ClusterConfig:
    config, sockets = free_ports_cluster(configs.local(2, tls=None if tls else "off"))
    close_all(sockets)
    if tls:
        certificates.throwaway(config.names, tmp_path)
        place = str(tmp_path)
        paths = TlsPaths(ca=f"{place}/ca.pem", certificate=place + "/{party}.pem", key=place + "/{party}.key")
        config = config.replace(tls=paths)
    return config


def together(files: dict[str, ClusterConfig], wait: float = 60) -> dict[str, list[Finding]]:
    """The doctors of several parties at the same time."""
    found: dict[str, list[Finding]] = {}

    def one(party: str) -> None:
        found[party] = list(examine(files[party], party, wait))

    with beside(*(partial(one, party) for party in files)):
        return found


def bad(findings: list[Finding]) -> list[str]:
    return [f"{finding.subject}: {finding.message}" for finding in findings if finding.state is State.BAD]


@pytest.mark.parametrize("tls", [True, False])
def test_all_parties_find_each_other_well(tmp_path, tls):
    config = cluster(tmp_path, tls)
    began = time.monotonic()
    found = together(dict.fromkeys(config.names, config))
    assert time.monotonic() - began < 50  # nobody waited for the deadline
    for party, findings in found.items():
        assert bad(findings) == []
        peers = {finding.subject: finding.message for finding in findings if finding.subject in config.names}
        assert set(peers) == set(config.names) - {party}
        for message in peers.values():
            assert ("TLSv1.3" if tls else "no TLS") in message and "round trip" in message and "MB/s" in message


def test_differing_files_versions_and_clocks_are_named(tmp_path, monkeypatch):
    config = cluster(tmp_path, tls=False)
    device = config.devices["spu"].model_copy(update={"fraction_bits": 20})
    other = config.replace(devices={"spu": device})
    genuine = Introduction.of

    def of(configuration: ClusterConfig, party: str) -> Introduction:
        own = genuine(configuration, party)
        return replace(own, version="99.1.0", time=own.time + 3600) if party == "bob" else own

    monkeypatch.setattr(Introduction, "of", of)
    found = together({"alice": config, "bob": other, "dealer": config})
    (digest, version, clock) = bad(found["alice"])
    assert (
        digest == "bob: its cluster file differs: devices.spu.fraction_bits: here 18, there 20; use one file everywhere"
    )
    assert version.startswith("bob: runs mpcrt 99.1.0, here ")
    found_skew = re.search(r"(\d+) s ahead of this one", clock)
    assert found_skew is not None and abs(int(found_skew[1]) - 3600) < 10, "on a busy machine an answer takes seconds"
    assert len(bad(found["bob"])) == 4 and len(bad(found["dealer"])) == 3


def test_an_absent_peer_is_named_with_its_address(tmp_path):
    config = cluster(tmp_path, tls=False)
    findings = list(examine(config, "alice", 0))
    assert bad(findings) == [
        f"{peer}: {config.parties[peer].address}: the machine answers, but nobody listens on the port; start "
        f"`mpcrt doctor FILE --party {peer}` there at the same time, and check the firewall"
        for peer in ("bob", "dealer")
    ]


def test_a_wrong_certificate_is_refused_by_both(tmp_path):
    config = cluster(tmp_path, tls=True)
    strange = tmp_path / "strange"
    strange.mkdir()
    certificates.throwaway(config.names, strange)
    place = str(strange)
    paths = TlsPaths(ca=f"{place}/ca.pem", certificate=place + "/{party}.pem", key=place + "/{party}.key")
    found = together({"alice": config, "bob": config.replace(tls=paths)}, wait=4)
    assert any(line.startswith("bob: its certificate is refused: ") for line in bad(found["alice"]))
    assert any(line.startswith("alice: its certificate is refused: ") for line in bad(found["bob"]))


def test_a_name_is_compared_as_a_run_compares_it(tmp_path):
    """Letter by letter with the DNS names: a common name or a wildcard, which HTTPS would take, is no party's name."""
    config = cluster(tmp_path, tls=True)
    authority = certificates.create_authority("x")
    (tmp_path / "ca.pem").write_bytes(certificates._certificate_pem(authority.certificate))
    for party, names in {"alice": ["alice"], "bob": [], "dealer": ["*"]}.items():
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, party)])
        made = certificates._builder(subject, authority.certificate.subject, key.public_key(), 9)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
        signed = made.sign(authority.key, hashes.SHA256())
        (tmp_path / f"{party}.pem").write_bytes(certificates._certificate_pem(signed))
        (tmp_path / f"{party}.key").write_bytes(certificates._key_pem(key))
        (tmp_path / f"{party}.key").chmod(0o600)
    for party in ("bob", "dealer"):
        files, bound = config.tls_files(party), config.parties[party].bind
        assert files and bound
        with listening_socket(bound, party) as listening, beside(partial(answer_once, config, party, listening, files)):
            found = bad(list(examine(config, "alice", 0)))
        assert any(line.endswith(f"its certificate is not for {party}; it needs one with the DNS name {party}")
                   for line in found), found  # fmt: skip
        assert f"not for {party}; issue one" in bad(list(examine(config, party, 0)))[0]


def answer_once(config: ClusterConfig, party: str, listening: socket.socket, files: TlsFiles) -> None:
    """A doctor that shows its certificate without having looked at it."""
    listening.settimeout(20)
    with contextlib.suppress(OSError, Mismatch):
        introductions.answer(config, party, listening.accept()[0], introductions.server_context(files))


def test_a_party_without_an_address_is_waited_for(tmp_path):
    """Its own doctor measures, so the others stay until it has asked them."""
    config = cluster(tmp_path, tls=True)
    config = config.replace(parties=config.parties | {"bob": Party()})
    late: list[Finding] = []

    def bob() -> None:
        time.sleep(1.5)
        late.extend(examine(config, "bob", 60))

    with beside(bob):
        found = together({"alice": config, "dealer": config})
    assert [finding.subject for finding in late if finding.state is State.GOOD][-2:] == ["alice", "dealer"]
    assert bad(late) == bad(found["alice"]) == bad(found["dealer"]) == []


def test_a_certificate_that_ends_soon_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "EXPIRY_DAYS", 10_000)
    findings = list(examine(cluster(tmp_path, tls=True), None, 0))
    (alice,) = (finding for finding in findings if finding.subject == "certificate of alice")
    assert alice.state is State.NOTE and alice.message.endswith("days: have a new one issued")


def test_own_certificates_are_checked_before_any_peer_is_asked(tmp_path):
    config = cluster(tmp_path, tls=True)
    (tmp_path / "bob.key").chmod(0o644)
    (tmp_path / "alice.pem").write_bytes((tmp_path / "dealer.pem").read_bytes())
    assert "chmod 600" in bad(list(examine(config, "bob", 30)))[0]
    problems = bad(list(examine(config, "alice", 30)))
    assert "is for dealer, not for alice" in problems[0]
    whole = bad(list(examine(config, None, 0)))
    assert len(whole) == 3
    alone = list(examine(configs.local(2), "alice", 0))
    assert "tls: missing" in bad(alone)[0]
    with pytest.raises(ConfigError, match="no party 'eve'"):
        list(examine(config, "eve", 0))


def test_ports_in_use_and_other_machines_addresses(tmp_path):
    config = cluster(tmp_path, tls=False)
    bound = config.parties["bob"].bind
    assert bound is not None
    with listening_socket(bound, "test"):
        assert bad(list(examine(config, None, 0))) == [
            f"port of bob: bob cannot listen on {bound}: the port is in use; end the process that has it, or choose "
            "another port"
        ]
    text = configs.local(2).to_yaml().replace("127.0.0.1:9102", "203.0.113.7:9102")
    findings = list(examine(configs.loads(text), None, 0))
    assert [f.message for f in findings if f.subject == "port of bob"] == ["203.0.113.7:9102 is not on this machine"]


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"\xff\0\0\0", "a run listens there already"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "some other program listens there"),
        (introductions.BANNER + b"x" * 20_000, "introduces itself with more than 16384 bytes"),
        (introductions.BANNER + b"[]\n", "answers with something that is no introduction"),
        (introductions.BANNER + b'{"party": "dealer"}\n', "no introduction"),
        (introductions.BANNER + Introduction.of(configs.local(2), "dealer").line(), "says it is dealer; check the"),
        (introductions.BANNER, "it closed the connection"),
        (b"", "it closed the connection"),
    ],
)
def test_strangers_at_a_peers_address(tmp_path, greeting, words):
    config = cluster(tmp_path, tls=False)
    address = config.parties["bob"].address
    assert address is not None
    stop = threading.Event()

    def stranger() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                continue
            with connection, contextlib.suppress(OSError):
                connection.settimeout(2)
                connection.sendall(greeting)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    with listening_socket(address, "test") as listening, contextlib.ExitStack() as stack:
        listening.settimeout(0.1)
        stack.enter_context(beside(stranger))
        stack.callback(stop.set)
        findings = list(examine(config, "alice", 0))
    assert [f.message for f in findings if f.subject == "bob" and words in f.message], findings


def test_a_peer_whose_name_is_not_its_certificates(tmp_path):
    config = cluster(tmp_path, tls=True)
    files = config.tls_files("bob"), config.tls_files("dealer")
    assert files[0] and files[1]

    def serve() -> None:
        introductions.answer(config, "dealer", listening.accept()[0], introductions.server_context(files[1]))  # pyright: ignore

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname(), timeout=10) as near,
        pytest.raises(Mismatch, match="says it is alice"),
        beside(serve) as (thread,),
    ):
        assert near.recv(len(introductions.BANNER)) == introductions.BANNER
        with introductions.client_context(files[0]).wrap_socket(near, server_hostname="dealer") as link:
            link.sendall(Introduction.of(config, "alice").line())
            thread.join(10)
