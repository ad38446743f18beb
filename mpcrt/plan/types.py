"""The type of a plan's value: shape, ring element or bit, fraction bits, visibility."""

import math
from dataclasses import dataclass, replace
from typing import Literal

PUBLIC = "public"
SECRET = "secret"
Kind = Literal["ring", "bit"]


def private(party: str) -> str:
    """The visibility of what depends on one party's inputs alone."""
    return f"private({party})"


def owner(visibility: str) -> str | None:
    """The party of a private visibility, else None."""
    return visibility[8:-1] if visibility.startswith("private(") else None


def join(*visibilities: str) -> str:
    """public < private(p) < secret; two owners make secret."""
    hidden = {v for v in visibilities if v != PUBLIC}
    return PUBLIC if not hidden else hidden.pop() if len(hidden) == 1 else SECRET


@dataclass(frozen=True, slots=True)
class Type:
    """`fraction` is 0 for bits and integers. `kind` "ring" is Z_2^64, "bit" is Z_2."""

    shape: tuple[int, ...]
    kind: Kind = "ring"
    fraction: int = 0
    visibility: str = SECRET

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def public(self) -> bool:
        return self.visibility == PUBLIC

    @property
    def owner(self) -> str | None:
        return owner(self.visibility)

    def with_(self, **changes) -> "Type":
        return replace(self, **changes)

    def __str__(self) -> str:
        kind = "bit" if self.kind == "bit" else f"ring.{self.fraction}"
        shape = "x".join(map(str, self.shape))
        return f"{kind}[{shape}] {self.visibility}"
