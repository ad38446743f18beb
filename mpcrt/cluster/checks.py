"""What a cluster file may say: each check raises a ConfigError naming the key and what is allowed."""

import math
import re
import types
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from mpcrt.cluster.endpoint import Endpoint
from mpcrt.cluster.source import KeyPath, Source, listing, suggestion
from mpcrt.text import quoted

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
NAME_RULE = "a name is a lower-case letter, then lower-case letters, digits, '-' or '_', at most 63 (it is a DNS name)"
RESERVED_NAMES = ("public", "ca")  # mpcrt.public; the authority's own files
FRACTION_BITS = (8, 24)
MAX_SECONDS = 86_400


def check(config: "ClusterConfig", source: Source) -> None:
    """Every rule beyond the shape of the file, in the file's order. Raises ConfigError."""
    if not config.name.strip():
        raise source.error(("name",), "is empty; any text names the cluster")
    _check_parties(config, source)
    _check_devices(config, source)
    for key in ("connect", "idle"):
        seconds = getattr(config.timeouts, key)
        if not (math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
            raise source.error(("timeouts", key), f"{seconds} is not a number of seconds above 0, up to {MAX_SECONDS}")
    _check_tls(config, source)


def name_problem(name: str) -> str | None:
    """Why no party or device can have this name, or None."""
    if not NAME.fullmatch(name):
        return f"{quoted(name)} is no name; {NAME_RULE}"
    return f"'{name}' is reserved; choose another name" if name in RESERVED_NAMES else None


def _check_name(name: str, path: KeyPath, source: Source) -> None:
    problem = name_problem(name)
    if problem:
        raise source.error(path, problem)


def _check_parties(config: "ClusterConfig", source: Source) -> None:
    if not config.parties:
        raise source.error(("parties",), "names no party; at least two computing parties and a dealer are needed")
    seen: dict[Endpoint, str] = {}
    silent: list[str] = []
    for name, party in config.parties.items():
        path = ("parties", name)
        _check_name(name, path, source)
        if party.address is None:
            if party.listen is not None:
                raise source.error((*path, "listen"), "has no use without an address for the others to dial")
            silent.append(name)
            continue
        if party.address.wildcard:
            raise source.error((*path, "address"), f"{party.address} cannot be dialled; put it in listen")
        first = seen.setdefault(party.address, name)
        if first != name:
            raise source.error((*path, "address"), f"{party.address} is already {first}'s; each party has its own")
    if len(silent) > 1:
        raise source.error(
            ("parties", silent[1]), f"has no address, and nor has {silent[0]}; of any two parties one must be dialled"
        )


def _check_devices(config: "ClusterConfig", source: Source) -> None:
    if not config.devices:
        raise source.error(("devices",), "names no device; such as spu: {parties: [alice, bob], dealer: dealer}")

    def known(name: str, path: KeyPath) -> None:
        if name not in config.parties:
            hint = suggestion(name, config.parties)
            raise source.error(path, f"unknown party {quoted(name)}{hint}; the parties are {listing(config.parties)}")

    for name, device in config.devices.items():
        path = ("devices", name)
        _check_name(name, path, source)
        if name in config.parties:
            raise source.error(path, "is also a party's name; choose another name for the device")
        for index, party in enumerate(device.parties):
            known(party, (*path, "parties", index))
            if party in device.parties[:index]:
                raise source.error((*path, "parties", index), f"{party} is named twice")
        if len(device.parties) < 2:
            count = len(device.parties)
            raise source.error((*path, "parties"), f"{count} computing {'party' if count == 1 else 'parties'}; "
                               "at least 2 are needed, or one alone would hold the data")  # fmt: skip
        known(device.dealer, (*path, "dealer"))
        low, high = FRACTION_BITS
        if not low <= device.fraction_bits <= high:
            raise source.error((*path, "fraction_bits"), f"{device.fraction_bits} is not between {low} and {high}")
    computing = {party: name for name, device in config.devices.items() for party in device.parties}
    for name, device in config.devices.items():
        if device.dealer in computing:
            raise source.error(
                ("devices", name, "dealer"),
                f"{device.dealer} also computes in {computing[device.dealer]}; the dealer must be another party, "
                "since a dealer that sees masked values learns everything",
            )


def _check_tls(config: "ClusterConfig", source: Source) -> None:
    if isinstance(config.tls, BaseModel):
        for key, value in config.tls.model_dump(exclude_none=True).items():
            unknown = [word for word in re.findall(r"\{(.*?)\}", value) if word != "party"]
            if unknown:
                raise source.error(("tls", key), f"unknown placeholder {{{unknown[0]}}}; only {{party}} is filled in")
            if not value.strip():
                raise source.error(("tls", key), "is empty")
    if config.tls != "off":
        return
    for name, party in config.parties.items():
        for key, endpoint in (("address", party.address), ("listen", party.listen)):
            if endpoint is not None and not endpoint.loopback:
                raise source.error(
                    ("parties", name, key),
                    f"{endpoint} is not a loopback address, and `tls: off` is for links inside one machine only; "
                    "give tls: {ca: ..., certificate: ..., key: ...}",
                )


def explain(model: type[BaseModel], error: Any) -> str:
    """One of pydantic's errors in the cluster file's own words."""
    *parents, key = error["loc"] or ("",)
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        allowed = list(_model_at(model, parents).model_fields)
        meant = suggestion(str(key), allowed)
        return f"unknown key{meant}{' The' if meant else '; the'} keys allowed here are {listing(allowed)}"
    if kind == "missing":
        return f"is missing; the keys here are {listing(_model_at(model, parents).model_fields)}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        inner = _model_at(model, error["loc"])
        keys = f" with {listing(inner.model_fields)}" if inner is not model else ""
        return f"{quoted(value)} is not a mapping{keys}"
    wanted = {"string_type": "text; put it in quotes", "int_type": "a whole number in decimal digits",
              "int_from_float": "a whole number in decimal digits", "float_type": "a number, such as 30 or 0.5",
              "bool_type": "true or false, without quotes",
              "tuple_type": "a list of party names"}.get(kind)  # fmt: skip
    return f"{quoted(value)} is not {wanted}" if wanted else f"{quoted(value)}: {error['msg']}"


def _model_at(model: type[BaseModel], path: Any) -> type[BaseModel]:
    """The model that describes the mapping at `path`."""
    for part in path:
        if part not in model.model_fields:
            continue  # the free key of a mapping such as parties.alice
        inner = _models_in(model.model_fields[part].annotation)
        model = inner[0] if inner else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
