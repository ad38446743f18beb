"""What a call's message says of the call beside its description and commands: a digest for each thing that decides its
result and that every party computes for itself.

A fact is (what it is about, in words; a digest). Floats that the parties publish are not among them, since processors
differ in a float's last bits: the arguments they are made of are, and the key of what is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mpcrt.runtime.digests import digest
from mpcrt.runtime.values import Handle

if TYPE_CHECKING:
    from mpcrt.runtime.arguments import Source
    from mpcrt.runtime.compile import Compiled

Fact = tuple[str, bytes]
ARGUMENT = "argument"
"""Begins or ends the words for what a call was given, which a difference names before what follows from it."""


def of_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Fact]:
    """Arguments of a party function that are more than a handle, which the description names."""
    named = [(f"{ARGUMENT} {i + 1}", a) for i, a in enumerate(args)]
    named += [(f"{ARGUMENT} {key!r}", kwargs[key]) for key in sorted(kwargs)]
    return [(name, digest(value)) for name, value in named if not isinstance(value, Handle)]


def of_compiled(compiled: Compiled, kinds: Mapping[int, Sequence[Any]], static: Mapping[int, Any]) -> list[Fact]:
    """What a secure function was compiled for. `kinds`: by argument, what is known of its leaves, constants by
    content; `static`: by argument, what went to the function as it is."""
    made = [(f"{ARGUMENT} {i + 1}", digest(tuple(kind))) for i, kind in kinds.items()]
    made += [(f"static {ARGUMENT} {i + 1}", digest(value)) for i, value in static.items()]
    for call in compiled.traced.hoisted:
        who = (
            f"{call.owner} computes beforehand in plaintext" if call.visibility != "public" else "is computed in public"
        )
        made.append((f"what {who}", digest((call.owner, call.visibility, call.leaves, call.key, call.called))))
    made.append(("what it gives", digest((compiled.structure, compiled.types))))
    inputs = tuple([(origin.leaf, origin.used, origin.key) for origin in compiled.origins])
    return [*made, ("where the inputs of the plan come from", digest(inputs))]


def of_sources(sources: Sequence[Source]) -> Fact:
    """Which leaves of which values a call takes."""
    taken = [f"{s.value.number}.{s.index}" for s in sources if s.value is not None]
    return f"the values of an {ARGUMENT}", digest(",".join(taken))
