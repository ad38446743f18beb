"""What trace promises besides right numbers: hoisting, visibility, canonical plans, trees, errors with lines."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import ULP, abstract, compare, evaluate
from jax import lax

from mpcrt.errors import InputError, TraceError
from mpcrt.plan.types import PUBLIC
from mpcrt.tracing import Abstract, Leaf, Public, trace

ALICE, BOB = "private(alice)", "private(bob)"
X = (np.random.default_rng(0).normal(size=(4, 3))).astype(np.float32)
W = (np.random.default_rng(1).normal(size=(3, 2))).astype(np.float32)


def traced(function, *args, **options):
    return trace(function, args, parties=("alice", "bob"), **options)


def ops(plan):
    return [n.op for n in plan.nodes]


# -- hoisting


def test_what_one_owner_can_compute_is_computed_by_it():
    t = traced(lambda x, w: x @ jnp.sin(w), abstract(X, BOB), abstract(W, ALICE))
    (call,) = t.hoisted
    assert (call.owner, call.visibility, call.leaves, call.avals) == ("alice", ALICE, (1,), (((3, 2), np.float32),))
    np.testing.assert_allclose(call.function(W)[0], np.sin(W), rtol=1e-6)  # two float32 sines
    assert [n.results[0].visibility for n in t.plan.inputs] == [BOB, ALICE]
    compare(evaluate(t, (X, W)), jax.jit(lambda x, w: x @ jnp.sin(w))(X, W), 20 * ULP)


def test_enlarging_happens_on_shares():
    """The frontier moves back before broadcasts and pads, so that the small value is shared."""
    t = traced(lambda x, b: jnp.tile(x, (5, 1)) + jnp.pad(b, 1)[None, :3], abstract(X, BOB), abstract(W[0, :1], ALICE))
    assert t.inputs == (Leaf(0), Leaf(1)) and not t.hoisted
    t = traced(lambda x, b: x + jnp.sin(b)[:, None] * jnp.ones((4, 3)), abstract(X, BOB), abstract(X[:, 0], ALICE))
    assert [c.avals[0][0] for c in t.hoisted] == [(4, 3)]


def test_a_private_use_of_an_enlarged_value_stays_private():
    t = traced(lambda x, i: x @ jax.nn.one_hot(i, 3).T, abstract(X, BOB), abstract(np.zeros(2, np.int32), ALICE))
    (call,) = t.hoisted
    assert call.owner == "alice" and call.avals[0][0] in ((2, 3), (3, 2))
    assert not {"eqz", "msb"} & set(ops(t.plan))


def test_embeddings_of_owned_tokens_are_products_with_one_hot_rows():
    table, tokens = abstract(np.zeros((50, 4), np.float32), ALICE), abstract(np.zeros(6, np.int32), BOB)
    t = traced(lambda w, i: w[i], table, tokens)
    assert [(c.owner, c.avals) for c in t.hoisted] == [("bob", (((6, 50), np.dtype("int32")),))]
    assert [ops(t.plan).count(op) for op in ("dot", "truncate", "eqz")] == [1, 0, 0]


def test_random_constants_are_drawn_by_the_first_party():
    t = traced(lambda x: x + jax.random.normal(jax.random.key(1), (3,)) * jax.random.PRNGKey(2)[1], abstract(X))
    assert [(c.owner, c.visibility) for c in t.hoisted] == [("alice", PUBLIC)]
    compare(evaluate(t, (X,)), X + np.asarray(jax.random.normal(jax.random.key(1), (3,)) * 2), 4 * ULP)


def test_batch_norm_folds_into_weights():
    def predict(x, w, gamma, variance):
        return (x @ w) * (gamma * lax.rsqrt(variance + 1e-3))

    v = np.ones(2, np.float32)
    t = traced(predict, abstract(X, BOB), *(abstract(a, ALICE) for a in (W, v, v)))
    assert len(t.hoisted) == 1 and t.hoisted[0].leaves == (2, 3)
    assert ops(t.plan).count("samples") == 0


def test_a_product_moves_the_smaller_operand():
    """x E^T, as logits of tied embeddings are: E stays as it is, and is one input with what else uses it."""

    def logits(e, x):
        return (x @ e) @ e.T

    plan = traced(logits, abstract(np.zeros((50, 8), np.float32), ALICE), abstract(X[:, 0].repeat(13)[:50], BOB)).plan
    assert "transpose" not in ops(plan) and len(plan.inputs) == 2


def test_calls_are_grouped_by_what_they_depend_on():
    """What depends on the model alone is one call, so that its wires stay when the data changes."""

    def function(x, w, v):
        return x @ jnp.sin(w), x @ jnp.cos(w), x @ jnp.sin(w * v[0]), x @ w

    t = traced(function, abstract(X, BOB), abstract(W, ALICE), abstract(W, ALICE))
    assert [(c.leaves, len(c.avals)) for c in t.hoisted] == [((1,), 2), ((1, 2), 1)]
    assert Leaf(1) in t.inputs


def test_keys_name_what_is_computed():
    def key(function):
        return traced(lambda x, w: x @ function(w), abstract(X, BOB), abstract(W, ALICE)).hoisted[0].key

    assert key(jnp.sin) == key(lambda w: jnp.sin(w)) == key(jax.jit(jnp.sin))
    assert len({key(jnp.sin), key(jnp.cos), key(lambda w: jnp.sin(w) + 1), key(lambda w: jnp.sin(w) + 2)}) == 4


def test_two_owners_make_a_secret():
    t = traced(lambda a, b: a * b, abstract(X, ALICE), abstract(X, BOB))
    assert t.plan.output_types[0].visibility == "secret" and not t.hoisted


def test_mode_secret_hoists_nothing():
    t = traced(lambda x, w: x @ (w * w), abstract(X, BOB), abstract(W, ALICE), mode="secret")
    assert not t.hoisted and {v.visibility for v in t.plan.input_types} == {"secret"}


def test_public_floats_are_computed_by_the_first_party():
    t = traced(lambda x: x * jnp.exp(jnp.arange(3.0)), abstract(X))
    (call,) = t.hoisted
    assert (call.owner, call.visibility, call.leaves) == ("alice", PUBLIC, ())
    assert [n.results[0].public for n in t.plan.inputs].count(True) == 1
    compare(evaluate(t, (X,)), jax.jit(lambda x: x * jnp.exp(jnp.arange(3.0)))(X), 40 * ULP)


def test_exact_constants_are_literals():
    t = traced(lambda x: x * (jnp.sqrt(2.0) / jnp.arange(1.0, 4.0)) + jnp.sum(jnp.ones(10) * 0.1), abstract(X))
    assert not t.hoisted


def test_revealed_values_are_public_inputs():
    t = traced(lambda x, s: (x * s, jnp.exp(s)), abstract(X), abstract(np.float32(2), PUBLIC))
    assert [(c.visibility, c.leaves) for c in t.hoisted] == [(PUBLIC, (1,))]
    assert "msb" not in ops(t.plan)


def test_wires_are_kept():
    t = traced(lambda x: x + 1, Abstract((3,), np.dtype("float32"), "secret", "shared"))
    assert t.plan.inputs[0].attrs["wire"] == "shared"


# -- recognised


def test_relu_is_one_comparison_and_one_selection():
    for relu in (jax.nn.relu, lambda v: jnp.maximum(v, 0.0), lambda v: jnp.where(v > 0, v, 0.0)):
        t = traced(lambda x, w, f=relu: f(x @ w), abstract(X), abstract(W))
        assert [ops(t.plan).count(op) for op in ("msb", "select", "truncate")] == [1, 1, 1]


def test_relu_and_its_gradient_share_the_comparison():
    t = traced(jax.grad(lambda x: jax.nn.relu(x * 2.5).sum()), abstract(X))
    assert ops(t.plan).count("msb") == 1


def test_a_bool_factor_is_a_selection():
    t = traced(lambda x, y: x * (y > 0).astype(jnp.float32), abstract(X), abstract(X))
    assert ops(t.plan).count("mul") == 0 and ops(t.plan).count("select") == 1


def test_mean_needs_one_truncation():
    t = traced(lambda x: (x * x).mean(), abstract(X))
    assert ops(t.plan).count("truncate") <= 2


def test_long_sums_of_products_are_guarded():
    long = abstract(np.zeros(70_000, np.float32))
    t = traced(lambda x, y: (x * y).sum(), long, long)
    assert [n.op for n in t.plan.nodes if n.op in ("truncate", "sum")] == ["truncate", "sum"]
    (warning,) = traced(lambda x, y: x @ y, long, long).warnings
    assert "70000 products" in warning and "2^26" in warning and "test_trace.py" in warning


def test_a_max_of_what_is_not_negative_costs_nothing():
    t = traced(lambda x: jnp.maximum(jnp.square(x), 0), abstract(X))
    assert "msb" not in ops(t.plan)


@pytest.mark.parametrize(
    "function",
    [
        jax.nn.softplus,
        jax.nn.silu,
        jax.nn.gelu,
        lambda x: jax.nn.gelu(x, approximate=False),
        lambda x: jnp.log(1 + jnp.exp(x)),
        lambda x: 0.5 * (1 + lax.erf(x / np.sqrt(2))) * x,
        lambda x: x / 2 * (1 + jnp.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
    ],
)
def test_activations_are_recognised(function):
    """One series, two comparisons that drop low bits, and no product."""
    t = traced(function, abstract(X))
    assert [ops(t.plan).count(op) for op in ("samples", "msb", "mul", "select")] == [1, 2, 0, 2]


def test_late_factors_come_last():
    """x * g does not wait for the comparison, whose result joins in the last product."""

    def late_in_the_middle(x, y, g):
        return (x * jnp.maximum(y, 0.5)) * g

    t = traced(late_in_the_middle, abstract(X), abstract(X), abstract(X))
    inputs = {n.first for n in t.plan.inputs}
    assert any(n.op == "mul" and set(n.operands) <= inputs for n in t.plan.nodes)


# -- trees, dtypes, constants


def test_results_are_as_plain_jax_gives_them():
    def function(tree, scale, power):
        return {
            "a": [tree["x"] * scale, (tree["x"][:0], None)],
            "b": tree["x"].astype(bool),
            "n": 3,
            "p": tree["n"] ** power,
        }

    tree = {"x": X, "n": np.arange(3, dtype=np.int32)}
    t = trace(function, [abstract(tree), 2, 2], parties=("alice", "bob"), static_argnums=(2,))
    compare(evaluate(t, (tree, 2)), jax.jit(function, static_argnums=2)(tree, 2, 2), 4 * ULP)


def test_integers_that_would_be_cut_are_refused():
    with pytest.raises(InputError, match="int64 would be cut to int32"):
        traced(lambda x: x + 1, Abstract((3,), np.dtype("int64")))


def test_large_closures_are_refused_unless_public():
    table = np.ones((200, 200), np.float32)
    x = abstract(np.ones(200, np.float32))
    for function in (
        lambda x: x @ table,
        jax.jit(lambda x: x @ table),
        lambda x: lax.map(lambda v: v @ table, x[None]),
    ):
        with pytest.raises(TraceError, match=r"test_trace.py:\d+.*160000 bytes.*mpcrt.public|160000"):
            traced(function, x)
    marked = Public(table)
    assert traced(lambda x: x @ marked, x).plan.nodes
    assert traced(lambda x: (x @ marked[:, :150], jnp.take(marked, np.arange(3), 0)), x).plan.nodes
    assert traced(lambda x, t: x @ t, x, marked).plan.nodes
    assert traced(lambda x, t: x @ t, x, table).plan.nodes


def test_closures_are_counted_together_and_each_once():
    """Layers that are small one by one are a model together; one that is used again is one."""
    layers = [np.full((90, 90), k, np.float32) for k in range(3)]  # 32 KB each

    def function(x):
        for layer in layers:
            x = jax.jit(lambda v, layer=layer: v @ layer)(x)
        return x

    x = abstract(np.ones(90, np.float32))
    with pytest.raises(TraceError, match=r"of 32400 bytes, 97200 with what else is published.*mpcrt.public"):
        traced(function, x)
    layers[1:] = layers[:1] * 2
    assert traced(function, x).plan.nodes
    layers[1:] = [np.full((90, 90), 1, np.float32), Public(layers[0] + 1)]
    assert traced(function, x).plan.nodes


TABLE = np.arange(40000, dtype=np.float32).reshape(200, 200)
NUMBERS = [float(v) for v in TABLE.reshape(-1)[:20000]]
inside = jax.jit(lambda: jnp.asarray(TABLE))
PUBLISHED_BY_OTHER_WAYS = {
    "numbers one by one": lambda x: x[0] * jnp.stack(NUMBERS),
    "in a scan of constants": lambda x: x @ lax.scan(lambda c, _: (c, inside()), 0.0, None, length=1)[1][0],
    "in a while of constants": lambda x: x @ lax.fori_loop(0, 3, lambda _, c: c + inside(), jnp.zeros((200, 200))),
    "in a map of constants": lambda x: x @ lax.map(lambda i: inside()[i], jnp.arange(200)),
    "in a branch": lambda x: x @ lax.cond(x[0] > 0, inside, lambda: jnp.zeros((200, 200))),
    "a callback's": lambda x: x @ jax.pure_callback(lambda: TABLE, jax.ShapeDtypeStruct((200, 200), jnp.float32)),
}


@pytest.mark.parametrize("case", PUBLISHED_BY_OTHER_WAYS)
def test_what_is_published_counts_wherever_it_is_written(case):
    with pytest.raises(TraceError, match=r"test_trace.py:\d+: the function .*mpcrt.public"):
        traced(PUBLISHED_BY_OTHER_WAYS[case], abstract(np.ones(200, np.float32)))


def test_constant_arguments_and_closures_are_counted_together():
    table, x = np.arange(15000, dtype=np.float32), abstract(np.ones(200, np.float32))
    with pytest.raises(TraceError, match="of 60000 bytes, 120000 with what else is published of this call"):
        traced(lambda x, given: x[0] * given + x[1] * table, x, table + 1)
    assert traced(lambda x, given: x[0] * given + x[1] * table, x, Public(table + 1)).plan.nodes


def test_equal_numbers_count_once_and_what_an_owner_computes_is_not_published():
    x = abstract(np.ones(200, np.float32))
    assert traced(lambda x: jnp.stack([x[0] * jnp.float32(0.5) for _ in range(100)] * 200), x).plan.nodes
    mine = abstract(np.ones(200, np.float32), "private(bob)")
    assert traced(lambda x: lax.scan(lambda c, _: (c @ inside(), None), x, None, length=2)[0], mine).hoisted


# -- errors


def refused(function, *args):
    with pytest.raises(TraceError) as caught:
        traced(function, *(abstract(a) for a in args))
    return str(caught.value)


def line_of(function) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno + 1}"


def test_errors_name_primitive_line_and_remedy():
    def waves(x):
        return jnp.sin(x)

    def jitted(x):
        return jax.jit(jnp.sin)(x)

    for function in (waves, jitted):
        message = refused(function, X)
        assert line_of(function) in message and "sin" in message and "precomputed" in message


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: jnp.floor(x), "round before sharing"),
        (lambda x: x.astype(jnp.int32), "from float32 to int32"),
        (lambda x: jnp.tile(x, (2000, 1))[x[0].astype(bool).sum()], "secret index into 8000"),
        (lambda x: x[(x > 0).sum(0), (x > 1).sum(0)], "several axes"),
        (lambda x: x + 1e30, "does not fit fixed point"),
        (lambda x: x * jnp.inf, "infinity"),
        (lambda x: x + jnp.nan, "NaN"),
        (lambda x: x / 0.0, "by zero"),
        (lambda x: (x > 0).astype(int) // 2, "integers"),
        (lambda x: jnp.linalg.cholesky(x[:3] @ x[:3].T), "cholesky"),
        (lambda x: x.astype(jnp.complex64), "complex"),
        (lambda x: 1.5**x**x, "exponent"),
    ],
)
def test_refusals(function, expected):
    message = refused(function, X)
    assert expected in message and "test_trace.py:" in message


def test_lines_reach_the_plan():
    def function(x):
        return jnp.where(x > 0, x, 2 * x)

    assert any(line_of(function) in line for line in traced(function, abstract(X)).plan.lines)


def test_constants_out_of_range_saturate_where_they_only_bound():
    big = np.finfo(np.float32).min
    t = traced(lambda x: jnp.where(np.tri(4, 3, dtype=bool), x, big).max(1), abstract(X))
    compare(evaluate(t, (X,)), np.where(np.tri(4, 3, dtype=bool), X, big).max(1), ULP)
    t = traced(lambda x: (jnp.where(x > 0, x, -1e9) > -1e6, jnp.clip(x, -1e30, 0.5)), abstract(X))
    compare(evaluate(t, (X,)), (X > 0, np.clip(X, None, np.float32(0.5))), ULP)


# -- canonical plans


def layer(x, w):
    return jax.nn.relu(x @ w).sum(0)


def test_the_same_function_gives_the_same_plan():
    def written_otherwise(x, w):
        unused = jnp.sin(jnp.arange(3.0))  # noqa: F841
        h = jax.jit(lambda a, b: a @ b)(x, w)
        _ = x @ w
        return jnp.sum(jax.checkpoint(jax.nn.relu)(h), axis=0)

    prints = {traced(f, abstract(X), abstract(W)).plan.fingerprint for f in (layer, layer, written_otherwise)}
    assert len(prints) == 1
    assert traced(lambda x, w: layer(x, w) + 1, abstract(X), abstract(W)).plan.fingerprint not in prints


SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from mpcrt.tracing import Abstract, trace
x, w = (Abstract(s, np.dtype("float32"), v) for s, v in (((4, 3), "private(bob)"), ((3, 2), "private(alice)")))
def f(tree):
    h = jax.lax.fori_loop(0, 40, lambda i, c: c + jnp.where(c > 0, c, 0) * i, tree["x"] @ jnp.sin(tree["w"]))
    return {"b": h, "a": h.sum() * jnp.exp(jnp.arange(3.0)), "c": h.at[0].add(2.0)}
t = trace(f, [{"x": x, "w": w}], parties=("alice", "bob"))
print(t.plan.fingerprint, [c.key for c in t.hoisted])
"""


def test_fingerprints_do_not_depend_on_the_process():
    prints = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, done.stderr
        prints.add(done.stdout)
    assert len(prints) == 1


@pytest.mark.parametrize("nested", [False, True])
def test_an_array_that_changes_after_the_trace_is_what_it_was(nested):
    """What an owner computes beforehand has constants of its own, also in a loop's body."""
    weights = np.ones(3, np.float32)
    layer = jax.jit(lambda row: jnp.sin(row) * weights)
    function = (lambda w: lax.map(layer, w)) if nested else layer
    given = abstract(X, "private(bob)"), abstract(X, "private(alice)")
    (call,) = trace(lambda x, w: x * function(w).sum(), given, parties=("alice", "bob")).hoisted
    weights[:] = 5
    np.testing.assert_allclose(call.function(X)[0], np.sin(X).sum(), rtol=1e-5)
