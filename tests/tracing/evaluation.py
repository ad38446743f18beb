"""Running traced plans in the clear, and comparing them with plain JAX."""

import jax
import numpy as np

from mpcrt.protocols import plaintext
from mpcrt.ring.codec import decode, encode
from mpcrt.tracing import Abstract, Leaf, trace

PARTIES = ("alice", "bob")
ULP = 2.0**-18


def abstract(tree, visibility="secret"):
    return jax.tree_util.tree_map(lambda a: Abstract(np.shape(a), np.asarray(a).dtype, visibility), tree)


def inputs_of(traced, args):
    """The plan's inputs, hoisted calls evaluated: uint64 of ring elements, uint8 of bits."""
    leaves = [np.asarray(a) for a in jax.tree_util.tree_leaves(args)]
    hoisted = [call.function(*(leaves[i] for i in call.leaves)) for call in traced.hoisted]
    values = []
    for source, node in zip(traced.inputs, traced.plan.inputs, strict=True):
        array = leaves[source.index] if isinstance(source, Leaf) else hoisted[source.call][source.result]
        (t,) = node.results
        assert array.shape == t.shape
        values.append(array.astype(np.uint8) if t.kind == "bit" else encode(array, t.fraction))
    return values


def outputs_of(traced, outputs):
    """The result pytree of the plan's outputs."""
    results = []
    for words, t, (shape, dtype) in zip(outputs, traced.plan.output_types, traced.out_avals, strict=True):
        assert t.shape == shape and (t.kind == "bit") == (dtype == np.bool_)
        results.append(words.astype(bool) if t.kind == "bit" else decode(words, t.fraction, dtype))
    return traced.unflatten(results)


def evaluate(traced, args):
    """The result pytree of a traced function on concrete arguments, by the plaintext reader."""
    return outputs_of(traced, plaintext.run(traced.plan, inputs_of(traced, args)))


def compare(result, expected, tolerance):
    """Same tree, shapes and dtypes; floats within `tolerance`, the rest exactly."""
    got, tree = jax.tree_util.tree_flatten(result)
    wanted, expected_tree = jax.tree_util.tree_flatten(expected)
    assert tree == expected_tree and len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        b = np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, a.dtype, b.shape, b.dtype)
        if b.dtype.kind == "f":
            error = np.max(np.abs(a.astype(np.float64) - b), initial=0.0)
            assert error <= tolerance, f"error {error:.3g} > {tolerance:.3g}"
        else:
            np.testing.assert_array_equal(a, b)


def check(function, *args, ulps=2.0, visibility="secret", **options):
    """Traces, with the visibility of each argument, runs in the clear, and compares with plain JAX; gives the Traced.
    The tolerance is in units of 2^-18, one rounding."""
    given = [abstract(a, v) for a, v in zip(args, np.broadcast_to(visibility, len(args)), strict=True)]
    traced = trace(function, given, parties=PARTIES, **options)
    compare(evaluate(traced, args), jax.jit(function)(*args), ulps * ULP)
    return traced
