"""YAML with line numbers: every complaint about a cluster file names its file, line and key."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mpcrt.errors import ConfigError
from mpcrt.text import plain

MAX_BYTES = 1 << 16
MAX_NODES = 10_000
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}(?:[eE][-+][0-9]{1,3})?|\.[0-9]{1,18}(?:[eE][-+][0-9]{1,3})?")
_TAGS = [f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")]
"""What nodes have that were given none, where nothing is read into words."""
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}

_IPV6 = re.compile(r"(address|listen): *(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f.:]*)\]|([0-9A-Fa-f.]*:[0-9A-Fa-f.:]*)):([0-9]+)")
_SPACED = re.compile(r"(address|listen): *([^ ,:{}]+) *: +([0-9]+)")

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """Where a configuration came from: a file's name as the user wrote it, and the line of each key."""

    name: str
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def error(self, path: KeyPath, message: str) -> ConfigError:
        """A ConfigError `file:line: key: message`; the line is that of the deepest key of `path` that is there."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        where = self.name if line is None else f"{self.name}:{line}"
        key = ".".join(str(part) for part in path)
        return ConfigError(f"{where}: {plain(key)}: {plain(message, 1000)}" if key else f"{where}: {message}")


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` when an allowed word is close, else nothing."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(words: Iterable[str]) -> str:
    """Words joined for a message."""
    return ", ".join(words) or "none"


def read_yaml(file: str | Path) -> tuple[Any, Source]:
    """The plain value in a YAML file (mappings keep their keys as written) and its source.

    Raises ConfigError when the file is missing, unreadable, too big, not YAML, or gives one key twice.
    """
    name = str(file)
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such cluster file; cluster_configs/ has examples to start from") from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: is a directory; a cluster file is one YAML file") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{name}: is larger than {MAX_BYTES} bytes, so it is no cluster file")
    return parse_yaml(raw, name)


def parse_yaml(text: bytes | str, name: str) -> tuple[Any, Source]:
    """As `read_yaml`, from text; `name` stands for the file in messages."""
    source = Source(name)
    try:
        loader = yaml.BaseLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise ConfigError(f"{name}: is empty; a cluster file has name, parties and devices")
            return _Reader(source).value(root, ()), source
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        hint = _address_hint(text, mark.line) if mark else ""
        raise ConfigError(f"{where}: not YAML: {error.problem or error.context}{hint}") from None
    except RecursionError:  # an alias inside of what it stands for has no end either
        raise ConfigError(f"{name}: is nested too deep for a cluster file") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{name}: not YAML: {reason}") from None


def _address_hint(text: bytes | str, line: int) -> str:
    """What to write, where YAML has stumbled over an address."""
    lines = (text if isinstance(text, str) else text.decode("utf-8", "replace")).splitlines()
    shown = lines[line] if line < len(lines) else ""
    if found := _IPV6.search(shown):
        return f'; an IPv6 address goes into brackets and quotes: {found[1]}: "[{found[2] or found[3]}]:{found[4]}"'
    found = _SPACED.search(shown)
    return f"; an address has no space: {found[1]}: {found[2]}:{found[3]}" if found else ""


def scalar(text: str) -> Any:
    """What a word without quotes means: decimal numbers, true, false and nothing; anything else is itself.

    YAML 1.1 has more: `no` is false, `9:30` is 570 and `010` is 8. Here they are text, as they are written.
    """
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _REAL.fullmatch(text) else text


class _Reader:
    """Turns YAML nodes into plain values and notes the line of each key."""

    def __init__(self, source: Source) -> None:
        self.source, self.nodes = source, 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:  # nested aliases grow exponentially
            raise self.source.error(path[:3], f"more than {MAX_NODES} values, aliases followed")
        self.source.lines.setdefault(path, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            raise self.source.error(path, f"has the tag {plain(node.tag)}; a cluster file has none, take it away")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        plain_word = isinstance(node, yaml.ScalarNode) and node.style is None
        if any("\ud800" <= c <= "\udfff" for c in node.value):
            raise self.source.error(path, "holds half a character (an escape from \\ud800 to \\udfff); write it whole")
        return scalar(node.value) if plain_word else node.value

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self.source.name}:{line}: a key must be a word")
            key = key_node.value  # as written: YAML would read a party called `on` as True
            here = (*path, key)
            if key in result:
                first = self.source.lines[here]
                self.source.lines[here] = line
                raise self.source.error(here, f"this key is given twice (first on line {first})")
            self.source.lines[here] = line
            result[key] = self.value(value_node, here)
            if result[key] is None:
                raise self.source.error(here, "has no value; give one or leave the key out")
        return result
