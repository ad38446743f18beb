"""What is known of the way to one peer, and the times that say when it is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from mpcrt.transport.connection import Connection
from mpcrt.transport.session import Session


@dataclass(slots=True)
class Line:
    """What is known of the way to one peer."""

    peer: str
    address: str | None
    dialed: bool
    session: Session
    connection: Connection | None = None
    """The connection in use."""
    attempt: Connection | None = None
    """The one being dialed."""
    attempts: int = 0
    next_dial: float = 0.0
    down_since: float = 0.0
    reported_at: float = 0.0
    came_up: bool = False
    instance: bytes = b""
    transmitted: int = 0
    """The last sequence put on any connection: what is sent at or below it is sent again."""
    refusal: str = ""
    damages: int = 0

    @property
    def where(self) -> str:
        """Name and address, for messages."""
        return f"{self.peer} ({self.address or 'which dials ' + 'this party'})"


@dataclass(slots=True)
class Heart:
    """Times in seconds, all derived from `idle`."""

    idle: float
    beat: float = field(init=False)
    timeout: float = field(init=False)
    patience: float = field(init=False)

    def __post_init__(self) -> None:
        self.beat = min(self.idle / 8, 1.0)
        self.timeout = min(self.idle / 4, 10.0)
        # by when a stall is noticed, it has lasted for up to beat + timeout
        self.patience = self.idle - self.timeout
