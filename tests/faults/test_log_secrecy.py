"""Logs at their most talkative, over whole runs that end well and badly, hold no data, no share, no seed and no key."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from trials import Setting, Trial, Zygote, parsed, zygote

DATA = {
    "alice": [81.390625, -467.28125, 935.171875, 713.546875],
    "bob": [-268.609375, 549.234375, 377.015625, -190.453125, 1742958603, -1390517246],
}
"""What secretive.py has."""
FAILING = {"good": 0, "raise": 1, "shape": 2, "nan": 1, "huge": 1}
"""How many processes at most find the cause in themselves: who hears of the other's first ends with 3, untraced."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Zygote]:
    with zygote() as made:
        yield made


class Secretive(Trial):
    """A run of secretive.py whose secrets are noted."""

    program = "secretive.py"

    def _start(self, name: str) -> int:
        program = [] if name == "dealer" else [str(Path(__file__).with_name("secretive.py"))]
        arguments = [] if name == "dealer" else ["--", self.mode]
        style = ["-v", "--log-json"] if self.as_json else ["-v"]
        files = {key: str(self.folder / f"{name}.{key}") for key in ("out", "err", "trace", "secrets")}
        argv = ["run", str(self.folder / "cluster.yaml"), *program, "--party", name, *style, *arguments]
        number = self._zygote.ask({"argv": argv, "holds": [], **files})
        assert isinstance(number, int)
        return number

    def __init__(self, made: Zygote, folder: Path, mode: str, as_json: bool) -> None:
        self.mode, self.as_json = mode, as_json
        super().__init__(made, Setting(idle=5.0), folder, 1)

    def noted(self, kind: str) -> list[bytes]:
        """What the processes noted of a kind."""
        files = sorted(self.folder.glob("*.secrets"))
        lines = [line.split() for file in files for line in file.read_text().splitlines()]
        return [bytes.fromhex(data) for name, data in lines if name == kind]


def spellings(data: bytes) -> set[str]:
    """Bytes as a log may show them: hex either way round, base64 at any offset, repr, and as numbers."""
    shown = {data.hex(), data[::-1].hex(), repr(data)[2:-1]}
    for shift in range(3):
        # what precedes and follows spoils the first and last characters
        shown.add(base64.b64encode(bytes(shift) + data).decode()[(0, 2, 3)[shift] : -4])
    if len(data) == 8:
        for dtype in ("<u8", "<i8"):
            shown.add(str(np.frombuffer(data, dtype)[0]))
    return {text for text in shown if len(text) >= 6}


def number_spellings(value: float) -> set[str]:
    """A number as a log may show it, and its encoding in the ring and in memory."""
    shown = {str(value), repr(abs(value)), f"{abs(value):.3f}", f"{abs(value):.4e}", float(value).hex()}
    if isinstance(value, int):
        words = [np.int64(value), np.int32(value)]
    else:
        words = [np.int64(round(value * 2**bits)) for bits in (18, 36)] + [np.float32(value), np.float64(value)]
    for word in words:
        shown |= spellings(word.tobytes())
        if isinstance(word, np.integer):
            shown |= {str(word), str(-word), hex(int(word) % 2**64)[2:]}
    return {text.lower() for text in shown if len(text.strip("-0.")) >= 6}


def secrets_of(trial: Secretive, data: dict[str, list[float]]) -> dict[str, set[str]]:
    """Every spelling of everything, by what it is of."""
    found = {f"{party}'s {value}": number_spellings(value) for party, values in data.items() for value in values}
    for kind in ("seed", "word"):
        for secret in trial.noted(kind):
            if len(set(secret)) > 4:  # not a small number, such as a shape
                found[f"{kind} {secret.hex()}"] = {text.lower() for text in spellings(secret)}
    for key in (trial.folder.parent / "certs").glob("*.key"):
        lines = key.read_text().splitlines()[1:-1]
        found[key.name] = {line.lower() for line in lines}
    return found


def leaks(text: str, secrets: dict[str, set[str]]) -> list[str]:
    """Which secrets a text holds, and the spelling."""
    lowered = text.lower()
    return [f"{what} as {spelling}" for what, all_ in secrets.items() for spelling in all_ if spelling in lowered]


def ended(trial: Secretive) -> None:
    assert trial.wait(time.monotonic() + 60) == []


@pytest.mark.parametrize("mode", FAILING)
def test_no_line_holds_a_secret(processes: Zygote, tmp_path: Path, mode: str):
    """With --log-json -v, however the run ends; what the others are told is names, numbers and a code."""
    with Secretive(processes, tmp_path / "run", mode, as_json=True) as trial:
        ended(trial)
        secrets = secrets_of(trial, DATA)
        codes = [ending.code for ending in trial.endings.values()]
        assert min(FAILING[mode], 1) <= codes.count(1) <= FAILING[mode], codes
        assert set(codes) == ({1, 3} if FAILING[mode] else {0}), codes
        for name in trial.setting.names:
            text = (trial.folder / f"{name}.err").read_text()
            assert len(text.splitlines()) > 3 and all(map(parsed, text.splitlines()))
            assert leaks(text, secrets) == []
        told = [data.decode() for data in trial.noted("abort")]
        assert bool(told) == bool(FAILING[mode])
        for words in told:
            assert re.fullmatch(r"\('(alice|bob)', '(\w|<lambda>)*', \d+, 1, ''\)", words), words
            assert leaks(words, secrets) == []
    assert len(secrets) > 15


def test_plain_logs_keep_a_traceback_at_home(processes: Zygote, tmp_path: Path):
    """What bob's function raises is in bob's own log, for bob; nobody else's log holds any of it."""
    with Secretive(processes, tmp_path / "run", "raise", as_json=False) as trial:
        ended(trial)
        logs = {name: (trial.folder / f"{name}.err").read_text() for name in trial.setting.names}
        assert "cannot parse [[-268.609375" in logs["bob"]
        assert leaks(logs["bob"].splitlines()[-1], secrets_of(trial, DATA)) == []
        assert leaks(logs["bob"], secrets_of(trial, {"alice": DATA["alice"]})) == []
        for name in ("alice", "dealer"):
            assert leaks(logs[name], secrets_of(trial, DATA)) == []


def test_the_search_finds_what_it_looks_for():
    """Each spelling, in the midst of other text."""
    secret = bytes(range(100, 132))
    words = np.frombuffer(secret[:8], "<u8")[0]
    array = np.array([3.0, 549.234375], np.float32)
    for text in (
        secret.hex(), repr(secret), base64.b64encode(b"ab" + secret + b"c").decode(), str(b"x" + secret),
    ):  # fmt: skip
        assert leaks(f"a line with {text} in it", {"seed": {s.lower() for s in spellings(secret)}}), text
    assert leaks(f"[{words} 1]", {"word": {s.lower() for s in spellings(secret[:8])}})
    numbers = {"value": number_spellings(549.234375)}
    for text in (f"{array}", f"{array.tolist()}", array.tobytes().hex(), f"{int(549.234375 * 2**18)}", "5.4923e+02"):
        assert leaks(f"got {text}!", numbers), text
