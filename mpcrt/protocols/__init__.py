"""The readers of a schedule: online (a computing party), dealer, plaintext and cost; parties outside the
computation."""

from mpcrt.protocols.cost import Cost, cost
from mpcrt.protocols.dealer import Dealer
from mpcrt.protocols.execute import Observer
from mpcrt.protocols.keys import Keys
from mpcrt.protocols.online import Online
from mpcrt.protocols.outside import provide, receive
from mpcrt.protocols.waiting import Awaited, Work, at_once, to_the_end, together

__all__ = [
    "Awaited", "Cost", "Dealer", "Keys", "Observer", "Online", "Work", "at_once", "cost", "provide",
    "receive", "to_the_end", "together",
]  # fmt: skip
