"""Certificates: both ends accept the right one through TLS 1.3, and refuse others, and key files stay private."""

import datetime
import shutil
import ssl
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mpcrt.cluster import certificates
from mpcrt.cluster.config import TlsFiles
from mpcrt.errors import ConfigError


def handshake(client: TlsFiles, server: TlsFiles, expected: str) -> str | None:
    """A mutual TLS 1.3 handshake in memory; returns the name in the client's certificate as the server sees it."""
    near = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    far = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context, files in ((near, client), (far, server)):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key, files.password)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        near.wrap_bio(down, up, server_side=False, server_hostname=expected),
        far.wrap_bio(up, down, server_side=True),
    ]
    done = [False, False]
    for _ in range(8):
        for index, end in enumerate(ends):
            if not done[index]:
                try:
                    end.do_handshake()
                    done[index] = True
                except ssl.SSLWantReadError:
                    pass
    assert all(done)
    certificate = ends[1].getpeercert()
    assert certificate is not None
    return dict(certificate["subjectAltName"])["DNS"]  # pyright: ignore


@pytest.fixture
def files(tmp_path):
    certificates.write_authority(tmp_path, "trial")
    authority = certificates.read_authority(tmp_path)
    return {name: certificates.write_party(authority, tmp_path, name) for name in ("alice", "bob", "a_b-c")}


def test_both_ends_accept_each_other(files):
    assert handshake(files["alice"], files["bob"], "bob") == "alice"
    assert handshake(files["bob"], files["a_b-c"], "a_b-c") == "bob"
    for name, own in files.items():
        assert certificates.problems(own, name) == []


def test_another_name_and_another_authority_are_refused(files, tmp_path):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
        handshake(files["alice"], files["bob"], "carol")
    other = tmp_path / "other"
    other.mkdir()
    stranger = certificates.throwaway(["bob"], other)["bob"]
    with pytest.raises(ssl.SSLError):
        handshake(files["alice"], stranger, "bob")


def test_throwaway_certificates_work_and_leave_no_authority_key(tmp_path):
    files = certificates.throwaway(["alice", "dealer"], tmp_path)
    assert handshake(files["dealer"], files["alice"], "alice") == "dealer"
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "alice.key",
        "alice.pem",
        "ca.pem",
        "dealer.key",
        "dealer.pem",
    ]


def test_key_files_are_private_and_an_authority_is_not_overwritten(files, tmp_path):
    for key in (tmp_path / "ca.key", files["alice"].key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(ConfigError, match=r"ca\.pem exists"):
        certificates.write_authority(tmp_path, "again")
    assert (tmp_path / "ca.key").read_bytes() == before


def test_show_says_whose_and_until_when(files, tmp_path):
    (shown,) = certificates.show(files["alice"].certificate)
    assert shown.dns_names == ("alice",) and not shown.authority and shown.subject == "CN=alice"
    assert shown.issuer == "CN=trial"
    left = shown.not_after - datetime.datetime.now(datetime.UTC)
    assert 364 <= left.days <= 365 and shown.problem() is None
    assert "expired on" in str(shown.problem(shown.not_after + datetime.timedelta(1)))
    assert "not valid before" in str(shown.problem(shown.not_before - datetime.timedelta(1)))
    assert certificates.show(tmp_path / "ca.pem")[0].authority


def test_each_problem_is_said(files, tmp_path):
    alice, bob = files["alice"], files["bob"]
    assert "is for bob, not for alice" in certificates.problems(bob, "alice")[0]
    mixed = TlsFiles(alice.ca, alice.certificate, bob.key)
    assert "is not the key of" in certificates.problems(mixed, "alice")[0]
    alice.key.chmod(0o644)
    assert "chmod 600" in certificates.problems(alice, "alice")[0]
    other = tmp_path / "other"
    other.mkdir()
    stranger = certificates.throwaway(["alice"], other)["alice"]
    foreign = TlsFiles(alice.ca, stranger.certificate, stranger.key)
    assert "is not signed by" in certificates.problems(foreign, "alice")[0]
    (tmp_path / "bad.pem").write_text("hello")
    with pytest.raises(ConfigError, match=r"bad\.pem: is not a PEM certificate"):
        certificates.problems(TlsFiles(alice.ca, tmp_path / "bad.pem", alice.key), "alice")


def dated(authority: certificates.Authority, ends: datetime.datetime, key: ec.EllipticCurvePrivateKey | None = None):
    """A renewal of an authority (of its name and key), or with another key a stranger, that ends then."""
    key = key or authority.key
    subject = authority.certificate.subject
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(ends - datetime.timedelta(9)).not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip


def test_dates_are_those_of_the_chain_in_use(files, tmp_path):
    """A file of roots may keep expired ones; the one that signed must be valid, and a renewal of it will do."""
    alice, authority = files["alice"], certificates.read_authority(tmp_path)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(1)
    stranger = dated(authority, past, ec.generate_private_key(ec.SECP256R1()))
    expired, good = dated(authority, past), authority.certificate
    for roots, problem in (([stranger, good], None), ([expired, good], None), ([expired], "ca.pem: expired on")):
        alice.ca.write_bytes(b"".join(map(certificates._certificate_pem, roots)))
        found = certificates.problems(alice, "alice")
        assert len(found) == (problem is not None) and all(str(problem) in one for one in found), found


def test_encrypted_keys(files):
    alice = files["alice"]
    key = serialization.load_pem_private_key(alice.key.read_bytes(), None)
    sealed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"sesame"),
    )
    alice.key.write_bytes(sealed)

    def with_password(password: str | None) -> TlsFiles:
        return TlsFiles(alice.ca, alice.certificate, alice.key, password)

    assert certificates.problems(with_password("sesame"), "alice") == []
    assert "key_password_env" in certificates.problems(with_password(None), "alice")[0]
    assert "password is wrong" in certificates.problems(with_password("open"), "alice")[0]
    assert handshake(with_password("sesame"), files["bob"], "bob") == "alice"


@pytest.mark.parametrize("length", [None, 0])
def test_intermediate_authorities_chain(files, tmp_path, length):
    """A corporate chain: root -> intermediate -> party, the intermediate sent with the certificate. A root whose path
    length is 0 allows of none."""
    key, root_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    top = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(root_key.public_key())
        .serial_number(6)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    root = certificates.Authority(top, root_key)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "middle")]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root.key, hashes.SHA256())
    )
    leaf, leaf_key = certificates.sign_party(certificates.Authority(certificate, key), "alice")
    for name, content in (
        ("root.pem", root.certificate.public_bytes(serialization.Encoding.PEM)),
        ("chain.pem", leaf + certificate.public_bytes(serialization.Encoding.PEM)),
        ("leaf.pem", leaf),
    ):
        (tmp_path / name).write_bytes(content)
    shutil.copy(files["alice"].key, tmp_path / "leaf.key")
    (tmp_path / "leaf.key").write_bytes(leaf_key)
    whole = TlsFiles(tmp_path / "root.pem", tmp_path / "chain.pem", tmp_path / "leaf.key")
    bare = TlsFiles(tmp_path / "root.pem", tmp_path / "leaf.pem", tmp_path / "leaf.key")
    found = certificates.problems(whole, "alice")
    assert found == [] if length is None else "path length constraint exceeded" in found[0]
    assert "is not signed by" in certificates.problems(bare, "alice")[0]


@pytest.mark.parametrize("days", [0, 4000])
def test_bad_days_and_names(files, tmp_path, days):
    authority = certificates.read_authority(tmp_path)
    with pytest.raises(ConfigError, match="valid for 1 to 3650 days"):
        certificates.sign_party(authority, "alice", days)
    with pytest.raises(ConfigError, match=r"'\.\./alice' is no name"):
        certificates.sign_party(authority, "../alice")
    with pytest.raises(ConfigError, match="'ca' is reserved"):
        certificates.sign_party(authority, "ca")


def test_an_authority_that_is_missing_or_mixed_up(tmp_path):
    with pytest.raises(ConfigError, match="mpcrt certs init"):
        certificates.read_authority(tmp_path)
    certificates.write_authority(tmp_path, "one")
    certificates.write_authority(tmp_path / "two", "two")
    shutil.copy(tmp_path / "two" / "ca.key", tmp_path / "ca.key")
    with pytest.raises(ConfigError, match=r"ca\.key is not the key of ca\.pem"):
        certificates.read_authority(tmp_path)


@pytest.mark.parametrize("purpose", ["SERVER_AUTH", "CLIENT_AUTH", "CODE_SIGNING"])
def test_a_certificate_that_peers_would_refuse_is_said_at_home(files, tmp_path, purpose):
    """A server's certificate is the common mistake: a party dials too. What TLS itself looks at is asked of it."""
    authority, key = certificates.read_authority(tmp_path), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("alice")]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, purpose)]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    own = files["alice"]
    assert certificates.problems(own, "alice") == []
    own.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    own.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (problem,) = certificates.problems(own, "alice")
    assert "unsuitable certificate purpose" in problem and "for server and client authentication" in problem
