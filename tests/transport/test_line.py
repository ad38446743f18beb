"""What is known of the way to a peer: pauses between attempts, and the times that make up the bound of a failure."""

from __future__ import annotations

from typing import cast

import pytest

from mpcrt.transport.channel import PlainChannel, Refused
from mpcrt.transport.connection import Connection, Greeting
from mpcrt.transport.line import Heart, Line
from mpcrt.transport.session import Session
from mpcrt.transport.switch import Switch


def line() -> Line:
    return Line("bob", "127.0.0.1:1", True, Session("bob", inbox_limit=1))


def test_attempts_back_off_with_jitter():
    """Pauses grow to about a second, and two parties that begin together drift apart."""
    one, other = line(), line()
    pauses = [[each.pause(1.0) for _ in range(12)] for each in (one, other)]
    assert pauses[0] != pauses[1]
    for row in pauses:
        assert 0.05 <= row[0] <= 0.1 and all(0.5 <= pause <= 1.0 for pause in row[5:])
        assert len(set(row)) > 8


@pytest.mark.parametrize("idle", [0.5, 2.0, 8.0, 60.0, 3600.0])
def test_a_stall_is_noticed_within_idle_and_two_beats(idle: float):
    """A connection is given up, at the latest, a beat after its timeout, at the answering end two; then the rest of
    `idle` goes by."""
    heart = Heart(idle)
    latest = 2 * heart.beat + heart.timeout + heart.patience
    assert idle < latest <= idle + 0.5
    assert heart.patience >= 0.75 * idle or heart.timeout == 10.0
    assert heart.pause <= heart.patience / 8, "there is time for several attempts"


@pytest.mark.parametrize(
    ("dialed", "name", "addressee", "says"),
    [
        (True, "carol", "alice", "carol answers there"),
        (False, "bob", "alice", "alice dials bob, not the other way"),
        (True, "bob", "dave", "it looks for 'dave' and this is alice"),
    ],
)
def test_a_greeting_that_does_not_fit_is_refused(dialed: bool, name: str, addressee: str, says: str):
    """In plaintext too, where no certificate tells; alice dials bob here."""
    way = line()
    connection = Connection(cast(Switch, None), b"", PlainChannel(), peer="bob", endpoint="tcp://x" if dialed else "")
    with pytest.raises(Refused, match=says):
        way.admit(connection, Greeting(name, addressee, bytes(16)), "alice")
    assert not way.instance
