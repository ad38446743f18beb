"""Network addresses as a cluster file writes them."""

import ipaddress
import re
from typing import Any, NamedTuple

from mpcrt.text import quoted


class Endpoint(NamedTuple):
    """A host (name or IP address) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is only reachable from this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def wildcard(self) -> bool:
        """Whether the host means every interface: good to listen on, impossible to dial."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @classmethod
    def parse(cls, text: Any) -> "Endpoint":
        """Reads `host:port` or `[ipv6]:port`. Raises ValueError saying what is wrong."""
        if isinstance(text, Endpoint):
            return text
        if not isinstance(text, str):
            raise ValueError(f"{quoted(text)} is not an address; write host:port, such as 127.0.0.1:9101")
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]+)", text)
        if match is None and text.count(":") > 1 and "[" not in text:
            raise ValueError(f'{text!r} is not an address; an IPv6 address is written as "[::1]:9101", with the quotes')
        if match is None:
            raise ValueError(
                f"{quoted(text)} is not an address; write host:port or [ipv6]:port, such as 127.0.0.1:9101"
            )
        port = int(match[3]) if len(match[3]) < 6 else 65536
        if not 1 <= port <= 65535:
            raise ValueError(f"port {match[3][:10]} is not between 1 and 65535")
        if match[1] is not None:
            try:
                return cls(str(ipaddress.IPv6Address(match[1])), port)
            except ValueError:
                raise ValueError(f"{quoted(match[1])} is not an IPv6 address") from None
        host = match[2].lower()
        *_, last = labels = host.removesuffix(".").split(".")
        if not last.strip("0123456789") or re.fullmatch("0x[0-9a-f]*", last):
            try:  # 9:30 is no machine, though resolvers would take it for 0.0.0.9, and 0x7f.1 for 127.0.0.1
                ipaddress.IPv4Address(host)
            except ValueError:
                raise ValueError(f"{quoted(host)} is neither a host name nor an IPv4 address") from None
        elif len(host) > 253 or not all(re.fullmatch("[a-z0-9_][a-z0-9_-]{0,62}", label) for label in labels):
            raise ValueError(f"{quoted(host)} is no host name; of its parts between dots each has 1 to 63 characters")
        return cls(host, port)
