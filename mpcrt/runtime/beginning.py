"""The start of main at all parties: the same program and arguments, compared before the first call.

Each party with the program sends the others names and digests of its source files and a digest of the arguments after
`--`; beside them its part of a salt that the dealer does not learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from mpcrt.errors import DisagreementError, ProtocolError
from mpcrt.ring.prg import random_bytes
from mpcrt.runtime.commands import pack, unpack
from mpcrt.runtime.digests import digest
from mpcrt.transport.link import Address, Kind, Link

PART_BYTES = 32
MAX_FILES = 1 << 12
MAX_NAME = 300
MESSAGE_LIMIT = 1 << 23
REMEDY = "or, if they are meant to differ, set `same_program: false` in everybody's cluster file"


def begin(
    link: Link, programs: Sequence[str], files: Mapping[str, bytes], arguments: Sequence[str], same_program: bool
) -> bytes:
    """Compare with the other parties that have the program, and agree on the salt of facts, which is returned.

    With `same_program` off nothing is said of the program and nothing is compared. Raises DisagreementError naming the
    first file that differs, or that the arguments do; ProtocolError for a malformed message.
    """
    address = Address(Kind.STEP, 0)
    imports = sorted([name[-MAX_NAME:], value] for name, value in files.items() if name)[:MAX_FILES]
    mine = [files.get("", b""), imports, digest(list(arguments))]
    mine = mine if same_program else [b"", [], b""]
    parts = {link.name: random_bytes(PART_BYTES)}
    others = [p for p in programs if p != link.name]
    for peer in others:
        link.send(peer, address, pack([parts[link.name], *mine]))
    said = {peer: read_start(link.recv_one(peer, address, limit=MESSAGE_LIMIT), peer) for peer in others}
    for peer, (part, *theirs) in said.items():
        parts[peer] = part
        if (what := _difference(mine, theirs, link.name, peer)) is not None:
            raise DisagreementError(what, peer)
    return hashlib.sha256(pack([[name, parts[name]] for name in sorted(parts)])).digest()


def _difference(mine: list, theirs: list, me: str, peer: str) -> str | None:
    (program, files, arguments), (their_program, their_files, their_arguments) = mine, theirs
    if program != their_program:
        return f"{peer} runs another program file than {me}; give all parties the same one, {REMEDY}"
    here, there = dict(files), dict(their_files)
    for name in sorted({*here, *there}):
        if name not in here or name not in there:
            where = f"at {me} and not at {peer}" if name in here else f"at {peer} and not at {me}"
            return (
                f"the program imports {name!r} {where}; give all parties the same files (what only one of them has is "
                f"imported inside its functions), {REMEDY}"
            )
        if here[name] != there[name]:
            return (
                f"{name!r}, which the program imports, is another at {peer} than at {me}; give all parties "
                f"the same files, {REMEDY}"
            )
    if arguments != their_arguments:
        return f"{peer} was started with other arguments after `--` than {me}; give all the same, {REMEDY}"
    return None


def read_start(data: Any, peer: str) -> list:
    """[part of the salt, digest of the program file, its imports' [name, digest], digest of the arguments], checked."""
    fields = unpack(data, f"start from {peer}")
    try:
        part, program, files, arguments = fields
        good = all(type(d) is bytes and len(d) in (0, 32) for d in (program, arguments)) and type(part) is bytes
        good = good and len(part) == PART_BYTES and isinstance(files, list) and len(files) <= MAX_FILES
        good = good and all(
            type(n) is str and len(n) <= MAX_NAME and type(d) is bytes and len(d) == 32 for n, d in files
        )
        if good:
            return [part, program, files, arguments]
    except (TypeError, ValueError):
        pass
    raise ProtocolError(f"malformed start from {peer}")
