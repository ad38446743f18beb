"""What a secure call was asked for, as it was at that moment: `main` may change any of it before the call runs."""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from mpcrt.runtime import nodes
from mpcrt.runtime.binding import ByName
from mpcrt.runtime.values import Handle

SNAPSHOT_BYTES = 1 << 16


def snapshot(tree: Any) -> Any:
    """An argument with copies of its arrays. Larger ones are refused in that place, unless they are public."""
    if type(tree) is np.ndarray:
        return tree.copy() if tree.nbytes <= SNAPSHOT_BYTES else tree
    if type(tree) is dict:
        return {k: snapshot(v) for k, v in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(snapshot(v) for v in tree)
    if isinstance(tree, Handle) or nodes.take_apart(tree) is None:
        return tree
    import jax

    return jax.tree_util.tree_map(
        lambda x: snapshot(x) if type(x) is np.ndarray else x, tree, is_leaf=lambda x: isinstance(x, Handle)
    )


def identity(function: Callable, args: Sequence[Any], static: Sequence[int]) -> Hashable:
    """Equal for calls of the same function with the same static arguments, whatever the others are."""
    names = function.names if isinstance(function, ByName) else ()
    function = function.function if isinstance(function, ByName) else function
    plain = isinstance(function, types.FunctionType | types.MethodType | types.BuiltinFunctionType)
    return (function if plain else pinned(function), names, tuple([(i, *pinned(args[i])) for i in static]))


def pinned(value: Any) -> tuple[Hashable, ...]:
    """A value by its structure and content; the objects in it that have none to be read, by their equality."""
    from mpcrt.tracing import Key

    key = Key()
    return (key.of(value), *[(type(v), hashable(v)) for v in key.held])


def hashable(value: Any) -> Hashable:
    """The value, or where it cannot be hashed, since it may change, a key that no other equals."""
    try:
        hash(value)
    except TypeError:
        return object()
    return value
