"""The readers of a schedule: online (a computing party), dealer, plaintext and cost; parties outside the
computation."""

from mpcrt.protocols.cost import Cost, cost
from mpcrt.protocols.dealer import Dealer
from mpcrt.protocols.execute import Observer
from mpcrt.protocols.keys import Keys
from mpcrt.protocols.online import Online
from mpcrt.protocols.outside import provide, receive

__all__ = ["Cost", "Dealer", "Keys", "Observer", "Online", "cost", "provide", "receive"]
