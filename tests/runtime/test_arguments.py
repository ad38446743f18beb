"""Which calls share a compiled function, and that arguments are taken apart in JAX's own order."""

import argparse
import collections
import dataclasses
import types
from functools import partial

import jax
import numpy as np
import pytest

from mpcrt.runtime import trees
from mpcrt.runtime.arguments import Leaves, Source, is_source, substitute
from mpcrt.runtime.binding import by_position
from mpcrt.runtime.compile import Cache
from mpcrt.runtime.moment import identity
from mpcrt.runtime.placements import Party, Public, Spu, Static
from mpcrt.runtime.values import Handle, Value

Empty, Pair = collections.namedtuple("Empty", []), collections.namedtuple("Pair", "first second")
numbers = iter(range(1, 1 << 20))


@dataclasses.dataclass
class Settings:
    scale: object


def value(tree, placement=Party("alice"), forms=None, ownerless=False):
    """A handle of arrays that somebody has."""
    made = Value(next(numbers), placement, "result of given()")
    structure, leaves = trees.flatten(tree)
    made.ownerless = ownerless
    made.forms = [forms] * len(leaves) if forms else None
    made.describe(structure, tuple(map(trees.leaf_type, leaves)))
    return Handle(None, made)  # type: ignore[arg-type]


def got(cache, function, args, static):
    return cache.get(function, args, static, identity(function, args, static))


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def nested():
    return value({"b": [ones(2), None, (ones(3), {})], "a": ones(4)})


def custom():
    """A value of a NamedTuple, as a secure function may give one."""
    return value(Pair(ones(2), ones(3)), Spu("spu"), ("secret", "shared"))


ARGUMENTS = [
    lambda: [nested()],
    lambda: [nested()["b"], nested()["b"][2], nested()["a"]],
    lambda: [{"z": value(ones(2)), "y": (ones(1), 2.0, None)}, [ones(3), value(ones(1))]],
    lambda: [Pair(value(ones(2)), nested()), {3: ones(1), 1: value(ones(2))}],
    lambda: [custom(), [custom(), Empty(), Pair(1, custom())]],
    lambda: [collections.OrderedDict(b=value(ones(2)), a=ones(1)), jax.numpy.ones(3)],
]


@pytest.mark.parametrize("make", ARGUMENTS)
def test_leaves_come_in_jaxs_order(make):
    arguments, leaves = make(), Leaves()
    for i, argument in enumerate(arguments):
        leaves.take(argument, make, i)
    theirs = jax.tree_util.tree_leaves([substitute(a) for a in arguments], is_leaf=is_source)
    assert len(theirs) == len(leaves.sources) == len(leaves.kinds)
    for ours, leaf in zip(leaves.sources, theirs, strict=True):
        if isinstance(leaf, Source):
            assert (ours.value, ours.index) == (leaf.value, leaf.index)
        else:
            assert ours.constant is leaf


def total(*args):
    return sum((leaf.sum() for leaf in jax.tree_util.tree_leaves(args)), jax.numpy.zeros(()))


def test_calls_that_differ_in_anything_are_compiled_anew():
    """One cache sees all of these, twice: each is new the first time, none the second."""
    x = ones(2)
    calls = {
        "shape": (total, [value(ones(3))], ()),
        "dtype": (total, [value(ones(2, dtype=np.int32))], ()),
        "owner": (total, [value(x, Party("bob"))], ()),
        "nobody's": (total, [value(x, ownerless=True)], ()),
        "public": (total, [value(x, Public())], ()),
        "shares": (total, [value(x, Spu("spu"), ("secret", "shared"))], ()),
        "constant": (total, [x], ()),
        "another constant": (total, [2 * x], ()),
        "weak": (total, [value(x), 1.0], ()),
        "strong": (total, [value(x), np.float32(1)], ()),
        "whole": (total, [value(x), 1], ()),
        "bool": (total, [value(x), True], ()),
        "weak array": (total, [value(x), jax.numpy.asarray(1.0)], ()),
        "strong array": (total, [value(x), jax.numpy.float32([1.0])], ()),
        "zero": (total, [value(x), 0.0], ()),
        "other zero": (total, [value(x), -0.0], ()),
        "not a number": (total, [value(x), float("nan")], ()),
        "one": (total, [value(x)], ()),
        "two": (total, [value(x), value(x)], ()),
        "list": (total, [[value(x), value(x)]], ()),
        "tuple": (total, [(value(x), value(x))], ()),
        "names": (total, [{"a": value(x), "b": value(x)}], ()),
        "other names": (total, [{"a": value(x), "c": value(x)}], ()),
        "none": (total, [value(x), None], ()),
        "empty first": (total, [Empty(), value(x)], ()),
        "empty last": (total, [value(x), Empty()], ()),
        "custom": (total, [Pair(value(x), value(x))], ()),
        "function": (lambda *args: total(*args), [value(x)], ()),
        "static": (lambda v, n: total(v) * n, [value(x), 2], (1,)),
    }
    cache = Cache(18, ("alice", "bob"))
    fingerprints = {}
    for again in (False, True):
        for name, (function, args, static) in calls.items():
            compiled, _, new = got(cache, function, args, static)
            assert new is not again, name
            assert fingerprints.setdefault(name, compiled.fingerprint) == compiled.fingerprint, name


def test_static_arguments_are_told_apart_by_structure_and_content():
    cache, x, calls = Cache(18, ("alice", "bob")), value(ones(2)), 0

    def function(v, chosen):
        nonlocal calls
        calls += 1
        return total(v)

    def other(v):
        return v

    statics = [
        2, 3, 2.0, True, 1, 0.0, -0.0, (1, 2), (True, 2.0), [1, 2], {"a": 0.0}, {"a": -0.0}, ((1,), 2), (1, (2,)),
        np.ones(2), np.ones(2, np.int32), jax.numpy.ones(2), Settings(1), Settings(True), Settings(np.zeros(1)),
        {"a": 1, "b": 2}, {"b": 2, "a": 1}, collections.OrderedDict(a=1), types.SimpleNamespace(a=1),
        types.SimpleNamespace(a=1.0), argparse.Namespace(a=1),
        other, (other, 1), (other, True), partial(other, 1), partial(other, 1.0), jax.nn.relu, jax.nn.silu, Pair, Empty,
    ]  # fmt: skip
    for again in (False, True):
        for chosen in statics:
            assert got(cache, function, [x, chosen], (1,))[2] is not again, chosen
    assert calls == len(statics)
    changing = [1, np.zeros(2)]
    assert got(cache, function, [x, changing], (1,))[2]
    changing[1][0] = 5
    assert got(cache, function, [x, changing], (1,))[2], "a list that changed is another argument"
    changing[1][0] = 0
    assert not got(cache, function, [x, changing], (1,))[2]


@dataclasses.dataclass
class Scaled:
    """A function that cannot be hashed."""

    scale: object

    def __call__(self, v):
        return total(v) * self.scale


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Fixed(2) == Fixed(2.0) == Fixed(np.float32(2))."""

    scale: object

    def __call__(self, v):
        return total(v) * self.scale


class Changing:
    """Neither hashed nor of a structure that can be read."""

    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale

    def __eq__(self, other):
        return self is other


def test_functions_that_are_objects_are_told_apart_by_structure_and_content():
    def scaled(scale, v):
        return total(v) * scale

    cache, x = Cache(18, ("alice", "bob")), value(ones(2))
    functions = [Scaled(2), Scaled(2.0), Fixed(2), Fixed(2.0), Fixed(0.0), Fixed(-0.0)]
    functions += [partial(scaled, 2), partial(scaled, 2.0)]
    for again in (False, True):
        for function in functions:
            assert got(cache, function, [x], ())[2] is not again, function
    changing = Scaled(3)
    assert got(cache, changing, [x], ())[2]
    changing.scale = 4
    assert got(cache, changing, [x], ())[2], "a function that changed is another"


def test_what_cannot_be_read_and_may_change_is_not_remembered():
    def function(v, c):
        return total(v) * c.scale

    cache, x, changing = Cache(18, ("alice", "bob")), value(ones(2)), Changing(2.0)
    assert got(cache, function, [x, changing], (1,))[2]
    changing.scale = 3.0
    assert got(cache, function, [x, changing], (1,))[2]


def test_calls_that_are_alike_share_what_was_compiled():
    """Values made anew, a handle of a tree or a tree of handles, by position or by name; masked by whomever."""
    cache = Cache(18, ("alice", "bob"))

    def first(p, scale=2.0):
        return p["b"][0] * scale + p["a"][0]

    whole = nested()

    def get(function, args, kwargs):
        return got(cache, *by_position(function, Static(), args, kwargs))

    compiled, sources, new = get(first, [whole], {"scale": 3.0})
    assert new and [s.index for s in sources[:-1]] == [0, 1, 2] and sources[-1].constant == 3.0
    rebuilt = {"b": [whole["b"][0], None, (nested()["b"][2][0], {})], "a": nested()["a"]}
    for args, kwargs in (((nested(), 3.0), {}), ((rebuilt,), {"scale": 3.0})):
        found, sources, new = get(first, args, kwargs)
        assert found is compiled and not new
    assert sources[1].value is whole._value and sources[0].value is not whole._value
    assert get(first, (nested(),), {})[2], "another default"
    nobodys, moved = value(ones(2), ownerless=True), value(ones(2), Spu("spu"), ("secret", "masked"))
    assert got(cache, total, [nobodys], ())[0] is got(cache, total, [moved], ())[0]


def test_what_jax_computes_in_is_part_of_what_is_compiled():
    cache, handle = Cache(18, ("alice", "bob")), value(ones(2, dtype=np.int64))
    before = jax.config.jax_enable_x64
    try:
        for x64, width in ((False, 4), (True, 8), (False, 4)):
            jax.config.update("jax_enable_x64", x64)
            compiled, _, _ = got(cache, total, [handle], ())
            assert handle._value.kinds[0, x64].dtype.itemsize == width
            assert np.dtype(compiled.types[0].dtype).itemsize == width
    finally:
        jax.config.update("jax_enable_x64", before)
