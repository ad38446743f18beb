"""Links between parties: addressed buffers, checked on arrival. Does not know that they are shares."""

from mpcrt.transport.link import Address, Failure, Kind, Link
from mpcrt.transport.memory import MemoryNetwork
from mpcrt.transport.statistics import Count, Statistics

__all__ = ["Address", "Count", "Failure", "Kind", "Link", "MemoryNetwork", "Statistics"]
