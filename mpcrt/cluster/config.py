"""The cluster file: who takes part, at which address, which devices they form, and how links are secured.

Everything that is wrong with a file is a ConfigError that names the file, the line, the key and what is allowed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from mpcrt.cluster.checks import check, explain
from mpcrt.cluster.endpoint import Endpoint
from mpcrt.cluster.source import KeyPath, Source, listing, parse_yaml, read_yaml, suggestion
from mpcrt.errors import ConfigError
from mpcrt.text import plain, quoted

DEFAULT_NAMES = ("alice", "bob", "carol", "dave", "erin")
DEALER = "dealer"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Address = Annotated[Endpoint, BeforeValidator(Endpoint.parse)]


class Party(_Model):
    """One process. `address` is what the others dial (None: it only dials out); `listen` what it binds, if another."""

    address: _Address | None = None
    listen: _Address | None = None

    @property
    def bind(self) -> Endpoint | None:
        """What this party's process listens on."""
        return self.listen or self.address


class Device(_Model):
    """A secure processing unit: its computing parties in order, its dealer, and the fixed point's fraction bits."""

    parties: tuple[str, ...] = Field(strict=False)
    dealer: str
    fraction_bits: int = 18


class Timeouts(_Model):
    """Seconds: `connect` for a peer to come up, `idle` for a peer's heartbeat to be silent."""

    connect: float = 30
    idle: float = 60


class TlsPaths(_Model):
    """Certificate files, relative to the cluster file; `{party}` stands for a party's name."""

    ca: str
    certificate: str
    key: str
    key_password_env: str | None = None


@dataclass(frozen=True)
class TlsFiles:
    """One party's own certificate files. `password` opens the key file, if it is encrypted."""

    ca: Path
    certificate: Path
    key: Path
    password: str | None = None

    def __repr__(self) -> str:
        return f"TlsFiles(ca={str(self.ca)!r}, certificate={str(self.certificate)!r}, key={str(self.key)!r})"


class ClusterConfig(_Model):
    """A whole cluster file, checked. `tls` is paths, "off", or None (a local run mints throwaway certificates).
    `same_program`: parties whose program files or arguments after `--` differ are refused at the start."""

    name: str
    parties: dict[str, Party]
    devices: dict[str, Device]
    timeouts: Timeouts = Timeouts()
    tls: TlsPaths | Literal["off"] | None = None
    same_program: bool = True
    _source: Source = PrivateAttr(default=Source("cluster"))

    @property
    def file(self) -> str:
        """The file it was read from, as the user wrote it; for messages."""
        return self._source.name

    @property
    def names(self) -> tuple[str, ...]:
        """Every party and dealer, in the file's order."""
        return tuple(self.parties)

    @property
    def dealers(self) -> tuple[str, ...]:
        """Every dealer, in the file's order."""
        dealers = {device.dealer for device in self.devices.values()}
        return tuple(name for name in self.parties if name in dealers)

    @property
    def computing(self) -> tuple[str, ...]:
        """Every party that computes on shares in some device, in the file's order."""
        computing = {name for device in self.devices.values() for name in device.parties}
        return tuple(name for name in self.parties if name in computing)

    @property
    def tls_on(self) -> bool:
        """Whether links are to be encrypted and authenticated."""
        return self.tls != "off"

    def require_party(self, name: str) -> None:
        """Raises ConfigError unless the file has a party of this name."""
        if name not in self.parties:
            raise self._source.error(
                ("parties",),
                f"no party {quoted(name)}{suggestion(name, self.parties)}; the parties are {listing(self.parties)}",
            )

    def tls_files(self, party: str) -> TlsFiles | None:
        """One party's certificate files, or None with `tls: off`. Raises ConfigError for what is missing."""
        self.require_party(party)
        if self.tls == "off":
            return None
        if self.tls is None:
            raise self._source.error(
                ("tls",),
                "missing: a party that runs alone needs tls: {ca: ..., certificate: ..., key: ...} "
                "(`mpcrt certs --help` makes them for a trial), or `tls: off` between loopback addresses",
            )
        paths = {key: self._path(getattr(self.tls, key), party) for key in ("ca", "certificate", "key")}
        for key, path in paths.items():
            if not path.is_file():
                raise self._source.error(("tls", key), f"no such file: {path}")
        return TlsFiles(**paths, password=self._password())

    def _path(self, template: str, party: str) -> Path:
        return Path(self.file).absolute().parent / template.replace("{party}", party)

    def _password(self) -> str | None:
        variable = self.tls.key_password_env if isinstance(self.tls, TlsPaths) else None
        if variable is None:
            return None
        if variable not in os.environ:
            raise self._source.error(("tls", "key_password_env"), f"the environment has no variable {variable}")
        return os.environ[variable]

    def canonical(self) -> dict[str, Any]:
        """What all parties must agree on: no local paths, no `listen`, no order of mappings but that of the parties,
        which says who dials whom."""
        return {
            "order": list(self.names),
            "name": self.name,
            "parties": {name: party.address and str(party.address) for name, party in self.parties.items()},
            "devices": {
                name: {"parties": list(d.parties), "dealer": d.dealer, "fraction_bits": d.fraction_bits}
                for name, d in self.devices.items()
            },
            "timeouts": {"connect": float(self.timeouts.connect), "idle": float(self.timeouts.idle)},
            "tls": self.tls_on,
            "same_program": self.same_program,
        }

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON of `canonical()`: equal at parties whose files mean the same cluster."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).digest()

    def difference(self, other: Mapping[str, Any], here: str = "here", there: str = "there") -> str | None:
        """The first thing in which another party's `canonical()` differs, as `key: here X, there Y`; None if equal.
        Who tells others of it names the two places."""
        mine, theirs, places = self.canonical(), dict(other), (here, there)
        orders = {"order": mine.pop("order")}, {"order": theirs.pop("order", None)}
        return _first_difference("", mine, theirs, places) or _first_difference("parties", *orders, places)

    def to_yaml(self) -> str:
        """The file that reads back as this configuration; TLS paths are made absolute."""
        data: dict[str, Any] = {"name": self.name, "parties": {}, "devices": {}}
        for name, party in self.parties.items():
            pairs = (("address", party.address), ("listen", party.listen))
            data["parties"][name] = {key: str(value) for key, value in pairs if value is not None}
        data["devices"] = self.canonical()["devices"]
        data["timeouts"] = self.canonical()["timeouts"]
        if isinstance(self.tls, TlsPaths):
            root = Path(self.file).absolute().parent
            tls = self.tls.model_dump(exclude_none=True)
            data["tls"] = {k: v if k == "key_password_env" else str(root / v) for k, v in tls.items()}
        elif self.tls == "off":
            data["tls"] = "off"
        if not self.same_program:
            data["same_program"] = False
        return yaml.safe_dump(data, sort_keys=False)

    def replace(self, **fields: Any) -> "ClusterConfig":
        """A copy with some fields replaced, checked again."""
        data = {name: getattr(self, name) for name in type(self).model_fields} | fields
        config = ClusterConfig.model_validate(data)
        config._source = self._source
        check(config, self._source)
        return config


def load(file: str | Path) -> ClusterConfig:
    """Reads and checks a cluster file. Raises ConfigError."""
    return from_mapping(*read_yaml(file))


def loads(text: str, name: str = "cluster.yaml") -> ClusterConfig:
    """As `load`, from text. Relative TLS paths are relative to `name`."""
    return from_mapping(*parse_yaml(text, name))


def local(parties: int = 2, *, fraction_bits: int = 18, tls: Literal["off"] | None = None) -> ClusterConfig:
    """The configuration of a local run of `parties` computing parties and a dealer, on ports 9101 and up."""
    if not 2 <= parties <= len(DEFAULT_NAMES):
        raise ConfigError(f"parties={parties}: a local cluster has 2 to {len(DEFAULT_NAMES)} computing parties")
    names = DEFAULT_NAMES[:parties]
    return from_mapping(
        {
            "name": "local",
            "parties": {n: {"address": f"127.0.0.1:{9101 + i}"} for i, n in enumerate((*names, DEALER))},
            "devices": {"spu": {"parties": list(names), "dealer": DEALER, "fraction_bits": fraction_bits}},
            **({"tls": tls} if tls else {}),
        },
        Source("local cluster"),
    )


def from_mapping(data: Any, source: Source) -> ClusterConfig:
    """Checks a plain value as a cluster file. Raises ConfigError."""
    if not isinstance(data, dict):
        raise source.error((), f"a cluster file is a mapping with {listing(ClusterConfig.model_fields)}")
    data = dict(data)
    tls = data.pop("tls", None)
    if isinstance(tls, dict):
        tls = _validated(TlsPaths, tls, source, ("tls",))
    elif tls not in (None, "off"):
        allowed = listing(TlsPaths.model_fields)
        raise source.error(("tls",), f"{quoted(tls)} is neither `off` nor a mapping with {allowed}")
    config = _validated(ClusterConfig, data | {"tls": tls}, source, ())
    config._source = source
    check(config, source)
    return config


_M = TypeVar("_M", bound=_Model)


def _validated(model: type[_M], data: dict[str, Any], source: Source, prefix: KeyPath) -> _M:
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        # a misspelled key is also a missing one: name the misspelling first
        error = min(errors, key=lambda e: e["type"] != "extra_forbidden")
        path = (*prefix, *error["loc"])
        raise source.error(path, explain(model, error)) from None


def _first_difference(key: str, here: Any, there: Any, places: tuple[str, str]) -> str | None:
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted({*here, *there}, key=str):
            inner = f"{key}.{plain(name, 100)}" if key else plain(name, 100)
            if name not in there or name not in here:
                return f"{inner}: only {places[0] if name in here else places[1]}"
            found = _first_difference(inner, here[name], there[name], places)
            if found:
                return found
        return None
    return None if here == there else f"{key}: {places[0]} {quoted(here)}, {places[1]} {quoted(there)}"
