"""How messages of one connection look in ZeroMQ frames: as they are, or inside TLS (tls.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from mpcrt.errors import MpcrtError, ProtocolError
from mpcrt.text import plain
from mpcrt.transport.arrival import Arrival
from mpcrt.transport.codec import Encoded, Message, read_message
from mpcrt.transport.header import Damaged, Frame

TLS_RECORDS = frozenset({0x14, 0x15, 0x16, 0x17})
"""First bytes of TLS records; a plaintext message starts with another."""


class Refused(MpcrtError):
    """The other end of a connection is not who, or does not speak what, it has to. The message is the reason."""


class Rejected(Refused):
    """It was the other end that refused this party."""


class Taken(Refused):
    """Another process under the same name is connected."""


class TakenThere(Rejected):
    """The other end is connected to another process under this party's name."""


class Cut(MpcrtError):
    """A connection that carries nothing any more; a new one may."""


class Later(Cut):
    """A connection that cannot be judged yet; whoever made it may ask again."""


class Channel(ABC):
    """One connection's way of writing messages. `established` once it can carry them."""

    established = False
    names: frozenset[str] | None = None
    """The party names that the other end's certificate proves; None in plaintext."""

    @property
    def proves(self) -> str:
        """Whose certificate it is, for messages."""
        return "for " + plain(" and ".join(sorted(self.names))) if self.names else "for no name"

    @abstractmethod
    def start(self) -> list[Sequence[Frame]]:
        """What the dialing end sends first."""

    @abstractmethod
    def wrap(self, encoded: Encoded, start: int = 0) -> Iterable[Sequence[Frame]]:
        """The ZeroMQ messages that carry one message, without its first `start` pieces, which the other end has.

        To be used at once and whole: TLS has one order. Raises ProtocolError where it has no piece `start`.
        """

    @abstractmethod
    def unwrap(self, frames: Sequence[Frame], limit: int) -> list[tuple[Message, Frame]]:
        """The messages that one ZeroMQ message completes, each with its first frame.

        Raises Refused, Cut, or ProtocolError.
        """

    def replies(self) -> list[Sequence[Frame]]:
        """What the channel itself has to send after `unwrap`, whether or not it raised."""
        return []

    @property
    def spent(self) -> bool:
        """Whether it is time for a new connection."""
        return False

    @property
    def arriving(self) -> Arrival | None:
        """The message of which not all pieces have come."""
        return None

    def resume(self, arrival: Arrival | None) -> None:
        """Go on with what came over another connection: the first numbered message has to be this one."""
        assert arrival is None, "only a channel of pieces leaves one"


class PlainChannel(Channel):
    """Messages as they are. For loopback addresses only; whoever makes the link sees to that."""

    established = True

    def start(self) -> list[Sequence[Frame]]:
        return []

    def wrap(self, encoded: Encoded, start: int = 0) -> Iterable[Sequence[Frame]]:
        if start:
            raise ProtocolError("in plaintext no message is in pieces")
        return (encoded.frames,)

    def unwrap(self, frames: Sequence[Frame], limit: int) -> list[tuple[Message, Frame]]:
        try:
            return [(read_message(frames, limit), frames[0])]
        except Damaged as error:
            if frames[0] and frames[0][0] in TLS_RECORDS:
                raise Refused("it speaks TLS, and here TLS is off") from None
            raise Cut(str(error)) from None
