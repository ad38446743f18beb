"""The program that `mpcrt bench` runs at every party: one case, its inputs shared first, then repetitions by the clock.

The clock of a repetition starts when the first computing party starts the call and stops when the last process, the
dealer too, has ended its part; all processes read this machine's monotonic clock. A report after each repetition is the
barrier before the next. `cold_seconds` is the call before them, the plan's first run, from when its inputs are shared.
Offline, the clock starts when the first computing party has all corrections of the call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mpcrt.runtime import current, programs
from mpcrt.runtime.counters import Report, total
from mpcrt.runtime.placements import Party, Spu
from mpcrt.runtime.session import Session
from mpcrt.runtime.values import Handle, parts

MARK = "mpcrt bench result: "
DONE = "mpcrt bench repetitions done: "


def main(arguments: Sequence[str]) -> None:
    """Arguments: case file, case, secret or owned, repetitions, online or offline."""
    session = current.require("mpcrt bench")
    file, case, inputs, reps, mode = arguments
    session.offline, session.dealt_ahead = mode == "offline", False
    function, args = programs.load(Path(file)).C[case]()
    device = next(iter(session.config.devices))
    first = session.config.devices[device].parties[0]
    handles = place(session, args, inputs, first)
    secure = Spu(device)(function)
    result = secure(*handles)
    before = reports(session)
    cold, seconds = elapsed(session, before), []
    for repetition in range(int(reps)):
        started = total(before)
        result = secure(*handles)
        after = reports(session)
        seconds.append(elapsed(session, after))
        cost, before = total(after) - started, after
        if session.me == first:
            print(f"{DONE}{repetition + 1}", flush=True)
    value, _ = parts(result)
    wanted = Party(first)(lambda: expected(function, args))()  # closed over: nobody compares a case's large arguments
    error = Party(first)(measured_error)(result.to(Party(first)), wanted)
    row = {
        "case": case, "parties": len(session.config.devices[device].parties), "inputs": inputs,
        "tls": session.config.tls_on, "seconds": seconds, "cold_seconds": cold, "trace_seconds": value.trace_seconds,
        "rounds": cost.rounds, "party_bytes": cost.party_bytes, "dealer_bytes": cost.dealer_bytes,
        "peak_rss_mb": {name: round(r.peak_rss_mb, 1) for name, r in after.items()},
    }  # fmt: skip
    Party(first)(partial(show, row))(error)


def place(session: Session, args: Sequence[Any], inputs: str, provider: str) -> list[Handle]:
    """The arguments as handles: without an owner, or the first bob's and the rest alice's."""
    if inputs == "secret":
        return [session.inject(plain(a), provider) for a in args]
    return [Party("bob" if i == 0 else "alice")(partial(plain, a))() for i, a in enumerate(args)]


def plain(argument: Any) -> Any:
    """JAX arrays as NumPy's."""
    import jax

    return jax.tree_util.tree_map(np.asarray, argument)


def reports(session: Session) -> dict[str, Report]:
    """Everybody's counters; all have ended what came before."""
    value = session.report()
    session.wait_leaves(value)
    assert value.leaves is not None
    return value.leaves[0]


def elapsed(session: Session, rows: dict[str, Report]) -> float:
    """From the first computing party's start to the last process's end."""
    start = min(rows[p].started for p in session.config.computing)
    return max(r.ended for r in rows.values()) - start


def expected(function: Any, args: Sequence[Any]) -> Any:
    """What plain JAX gives, as the list of its leaves."""
    import jax

    return [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(function(*args))]


def measured_error(got: Any, wanted: Any) -> float:
    """The largest absolute difference of any leaf."""
    import jax

    leaves = jax.tree_util.tree_leaves(got)
    pairs = zip(leaves, wanted, strict=True)
    return max(
        (float(np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)), initial=0.0)) for a, b in pairs),
        default=0.0,
    )


def show(row: dict[str, Any], error: Any) -> None:
    """One line that the launcher picks up."""
    keys = ("case", "parties", "inputs", "tls", "seconds", "cold_seconds", "trace_seconds")
    ordered = {k: row[k] for k in keys} | {"max_abs_error": float(error)} | row
    print(MARK + json.dumps(ordered), flush=True)
