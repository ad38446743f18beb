"""A small certificate authority: for trials (`mpcrt certs`) and for the throwaway certificates of local runs.

Keys are EC P-256. A party's name is its certificate's only DNS name (SAN); certificates serve both ends of a link.
"""

import datetime
import os
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mpcrt.cluster.checks import name_problem
from mpcrt.cluster.config import ClusterConfig, TlsFiles
from mpcrt.errors import ConfigError
from mpcrt.text import plain

CA_CERTIFICATE, CA_KEY = "ca.pem", "ca.key"
CA_DAYS, PARTY_DAYS, THROWAWAY_DAYS = 3650, 365, 7
_BACKDATED = datetime.timedelta(minutes=5)  # so that a peer whose clock is a little behind accepts it


@dataclass(frozen=True)
class Authority:
    """A CA's certificate and private key, in memory."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def create_authority(name: str, days: int = CA_DAYS) -> Authority:
    """A new self-signed CA that may sign party certificates but no further CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), days)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def sign_party(authority: Authority, party: str, days: int = PARTY_DAYS) -> tuple[bytes, bytes]:
    """A new key and certificate for one party, both PEM. Raises ConfigError for a name no party can have."""
    problem = name_problem(party)
    if problem:
        raise ConfigError(problem)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)])
    issuer_key = x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key())
    certificate = (
        _builder(subject, authority.certificate.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(party)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _certificate_pem(certificate), _key_pem(key)


def write_authority(directory: Path, name: str, days: int = CA_DAYS) -> Path:
    """Makes a CA in `directory` (ca.pem, ca.key). Refuses to overwrite one: its certificates would stop working."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in (directory / CA_CERTIFICATE, directory / CA_KEY):
        if file.exists():
            raise ConfigError(f"{file} exists; a new authority would make every certificate it signed useless")
    authority = create_authority(name, days)
    _write(directory / CA_KEY, _key_pem(authority.key), 0o600)
    _write(directory / CA_CERTIFICATE, _certificate_pem(authority.certificate), 0o644)
    return directory / CA_CERTIFICATE


def read_authority(directory: Path) -> Authority:
    """The CA that `write_authority` left. Raises ConfigError when it is missing or damaged."""
    for file in (directory / CA_CERTIFICATE, directory / CA_KEY):
        if not file.is_file():
            raise ConfigError(f"{file} is missing; `mpcrt certs init --directory {directory}` makes an authority")
    try:
        certificate = x509.load_pem_x509_certificate((directory / CA_CERTIFICATE).read_bytes())
        key = serialization.load_pem_private_key((directory / CA_KEY).read_bytes(), None)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(f"{directory}: the authority cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{directory}: {CA_KEY} is not the key of {CA_CERTIFICATE}")
    return Authority(certificate, key)


def party_files(directory: Path, party: str) -> TlsFiles:
    """Where `write_party` writes."""
    return TlsFiles(directory / CA_CERTIFICATE, directory / f"{party}.pem", directory / f"{party}.key")


def write_party(authority: Authority, directory: Path, party: str, days: int = PARTY_DAYS) -> TlsFiles:
    """Signs `party` into `directory` (party.pem, party.key with mode 0600), replacing what was there."""
    certificate, key = sign_party(authority, party, days)
    files = party_files(directory, party)
    _write(files.key, key, 0o600)
    _write(files.certificate, certificate, 0o644)
    return files


def _write_key(file: Path, key: bytes) -> None:
    _write(file, key, 0o600)


def throwaway(
    names: Iterable[str], directory: Path, write_key: Callable[[Path, bytes], None] = _write_key
) -> dict[str, TlsFiles]:
    """Certificates for one local run, signed by an authority whose key exists only during this call.

    `write_key` puts a party's private key where a process that opens the file finds it.
    """
    authority = create_authority("mpcrt throwaway", THROWAWAY_DAYS)
    _write(directory / CA_CERTIFICATE, _certificate_pem(authority.certificate), 0o644)
    made = {name: party_files(directory, name) for name in names}
    for name, files in made.items():
        certificate, key = sign_party(authority, name, THROWAWAY_DAYS)
        write_key(files.key, key)
        _write(files.certificate, certificate, 0o644)
    return made


@dataclass(frozen=True)
class Shown:
    """What `certs show` and `doctor` say of one certificate."""

    subject: str
    issuer: str
    dns_names: tuple[str, ...]
    authority: bool
    not_before: datetime.datetime
    not_after: datetime.datetime
    fingerprint: str

    def problem(self, now: datetime.datetime | None = None) -> str | None:
        """Why it is not valid now, or None."""
        return _out_of_date(self.not_before, self.not_after, now)


def _out_of_date(
    not_before: datetime.datetime, not_after: datetime.datetime, now: datetime.datetime | None = None
) -> str | None:
    now = now or datetime.datetime.now(datetime.UTC)
    if now < not_before:
        return f"is not valid before {not_before:%Y-%m-%d %H:%M} UTC; check this machine's clock"
    if now > not_after:
        return f"expired on {not_after:%Y-%m-%d %H:%M} UTC; issue a new one"
    return None


def show(file: Path) -> list[Shown]:
    """Every certificate in a PEM file, in its order. Raises ConfigError."""
    return [_shown(certificate, file) for certificate in _load(file)]


def _shown(certificate: x509.Certificate, file: Path) -> Shown:
    try:
        return _read(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ConfigError(f"{file}: holds a malformed certificate; have a new one issued") from None


def _read(certificate: x509.Certificate) -> Shown:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        dns_names = ()
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    return Shown(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        dns_names=dns_names,
        authority=authority,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":", 2),
    )


def problems(files: TlsFiles, party: str) -> list[str]:
    """What is wrong with a party's own files, each a sentence that says what to do; empty when all is well."""
    found: list[str] = []
    chain, roots = _load(files.certificate), _load(files.ca)
    leaf = _shown(chain[0], files.certificate)
    if party not in leaf.dns_names:
        names = plain(", ".join(leaf.dns_names)) or "no name"
        found.append(f"{files.certificate}: is for {names}, not for {party}; issue one with DNS name {party}")
    path = _path(chain, roots)
    for certificate in path or chain[:1]:
        problem = _problem(certificate)
        if problem:
            found.append(f"{files.certificate if certificate in chain else files.ca}: {problem}")
    if not path:
        found.append(f"{files.certificate}: is not signed by {files.ca}; use the authority that signed it")
    try:
        password = files.password.encode() if files.password is not None else None
        key = serialization.load_pem_private_key(files.key.read_bytes(), password)
        if key.public_key() != chain[0].public_key():
            found.append(f"{files.key}: is not the key of {files.certificate}")
    except TypeError:
        wanted = "is encrypted; name the variable with its password in tls.key_password_env"
        found.append(f"{files.key}: {wanted if files.password is None else 'is not encrypted, yet a password is set'}")
    except (ValueError, OSError):
        found.append(f"{files.key}: cannot be read, or its password is wrong")
    if files.key.stat().st_mode & 0o077:
        found.append(f"{files.key}: others on this machine may read it; run chmod 600 {files.key}")
    return found or [*_refusal(files)]


def _refusal(files: TlsFiles) -> Iterator[str]:
    """What the peers' TLS would find beside all that (a purpose, an extension, the kind of key), by a handshake of
    these files with themselves, at the end where they are refused."""
    first, second = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        dials = tls_context(ssl.PROTOCOL_TLS_CLIENT, files).wrap_bio(first, second)
        answers = tls_context(ssl.PROTOCOL_TLS_SERVER, files).wrap_bio(second, first, server_side=True)
    except ConfigError as error:
        yield str(error)
        return
    for _ in range(3):
        for end, role in ((dials, "a server"), (answers, "a client")):  # each looks at what the other shows
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                reason = getattr(error, "verify_message", "") or error.reason or str(error)
                yield (
                    f"{files.certificate}: TLS refuses it as {role}'s certificate ({reason}); have one issued "
                    "that fits: for digital signatures, and for server and client authentication"
                )
                return


def tls_context(role: int, files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.3 that shows this party's certificate and checks the peer's against the cluster's CA."""
    context = ssl.SSLContext(role)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # names are parties, compared letter by letter
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(files.ca)
        # without a password OpenSSL would ask for one on the terminal
        context.load_cert_chain(files.certificate, files.key, files.password or "")
    except (ssl.SSLError, OSError) as error:
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        raise ConfigError(f"{files.certificate}, {files.key}: cannot be used: {reason}") from None
    return context


def require_good(config: ClusterConfig, party: str) -> None:
    """Before a run dials, since its peers would be told what only this party can mend: raises ConfigError, which says
    all of `problems`, where there are any."""
    files = config.tls_files(party)
    if files is not None and (found := problems(files, party)):
        raise ConfigError("; ".join(found))


def _problem(certificate: x509.Certificate) -> str | None:
    return _out_of_date(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _path(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> list[x509.Certificate]:
    """The leaf and what it leads to, through the certificates sent with it, up to one of the roots; empty where it
    leads to none. What is valid now comes before what is not: a file of roots keeps old ones beside their renewal."""
    path, rest = [chain[0]], sorted([*chain[1:], *roots], key=lambda one: _problem(one) is not None)
    while path[-1] not in roots:
        issuer = next((one for one in rest if one not in path and _signed(path[-1], one)), None)
        if issuer is None:
            return []
        path.append(issuer)
    return path


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _load(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except ValueError:
        raise ConfigError(f"{file}: is not a PEM certificate") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int):
    if not 1 <= days <= CA_DAYS:
        raise ConfigError(f"{days} days; a certificate here is valid for 1 to {CA_DAYS} days")
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Writes beside and renames, so that a key is never readable by others nor half written."""
    beside = file.with_name(file.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
        beside.replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
