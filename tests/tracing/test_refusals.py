"""What cannot be traced is refused at its line, for its reason, with a way round; and the ways round work."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import PARTIES, abstract, check
from jax import lax

from mpcrt.errors import TraceError
from mpcrt.tracing import trace

X = np.random.default_rng(0).uniform(0.2, 2.0, size=(4, 3)).astype(np.float32)
V = np.float32([3, 1, 2, 0.5])
Y = np.arange(8, dtype=np.float32).reshape(4, 2)
AT = np.array([2, 0, 1, 2], np.int32)
EDGES = np.float32([0.6, 1.5, 2.5])


LEVELS = np.float32([1, 3, -1])


def filled(x):
    out = np.zeros(3)
    out[0] = x[0, 0]
    return out


def inserted(x):
    x[0, 0] = 1.0
    return x


# Each: the function, its arguments, what the refusal says, and what it says to do instead (None: nothing to run).
REFUSED = {
    "np": (lambda x: np.exp(x), [X], "NumPy.*jnp.exp for np.exp", lambda x: jnp.exp(x)),
    "np.linalg": (lambda x: np.linalg.norm(x), [X], "NumPy.*same name in jax.numpy", lambda x: jnp.linalg.norm(x)),
    "if": (lambda x: x if x[0, 0] > 1 else -x, [X], "if, while.*jnp.where", lambda x: jnp.where(x[0, 0] > 1, x, -x)),
    "and": (lambda x: (x > 1) and (x < 2), [X], "and, or.*&", lambda x: (x > 1) & (x < 2)),
    "max": (lambda x: max(x[0, 0], x[0, 1]), [X], "jnp.maximum", lambda x: jnp.maximum(x[0, 0], x[0, 1])),
    "mask": (lambda x: x[x > 1].sum(), [X], r"boolean mask.*x\.sum\(where=mask", lambda x: x.sum(where=x > 1)),
    "mask kept": (lambda x: x[x > 1], [X], r"jnp.where\(mask, x, 0", lambda x: jnp.where(x > 1, x, 0)),
    "nonzero": (
        lambda x: x.at[jnp.nonzero(x > 1)].set(0), [X], r"result's shape.*jnp.where\(mask, x, 0",
        lambda x: jnp.where(x > 1, 0, x),
    ),
    "unique": (
        lambda i: jnp.unique(i, return_counts=True), [AT], r"result's shape.*\(x == v\).sum",
        lambda i: (i[:, None] == jnp.arange(3)).sum(0),
    ),
    "bincount": (lambda i: jnp.bincount(i), [AT], r"\(x == v\).sum", lambda i: (i == 2).sum()),
    "mask set": (
        lambda x: x.at[x > 1].set(0), [X], r"jnp.where\(mask, y, x\) for", lambda x: jnp.where(x > 1, 0, x)
    ),
    "a NumPy array's entry": (
        filled, [X], r"NumPy array cannot hold.*out = out.at\[i\]", lambda x: jnp.zeros(3).at[0].set(x[0, 0])
    ),
    "number of things": (lambda i: jnp.arange(i[0]), [AT], "cannot be a size.*static argument", None),
    "axis": (lambda x, i: x.sum(axis=i[0]), [X, AT], "an axis.*static argument", None),
    "tiles": (lambda x, i: jnp.tile(x, i[0]), [X, AT], "cannot be a size.*static argument", None),
    "tolist": (lambda x: x[0].tolist()[0] * x, [X], "no number of Python.*leave it an array", lambda x: x[0][0] * x),
    "percent": (lambda i: "%d".__mod__(i[0]), [AT], r"printed.*\.to\(party\)", None),
    "apply": (
        lambda x: x.at[0].apply(jnp.tanh), [X], r"with a function.*set\(f\(x\[i\]\)",
        lambda x: x.at[0].set(jnp.tanh(x[0])),
    ),
    "histogram": (
        lambda v: jnp.histogram(v, bins=EDGES)[0], [V], r"x\[:, None\] >= edges\[:-1\]",
        lambda v: ((v[:, None] >= EDGES[:-1]) & (v[:, None] < EDGES[1:])).sum(0),
    ),
    "interp": (
        lambda v: jnp.interp(v, EDGES, LEVELS), [V], r"jnp.interp is y\[0\] \+ \(jnp.clip",
        lambda v: LEVELS[0]
        + (jnp.clip(v[:, None], EDGES[:-1], EDGES[1:]) - EDGES[:-1]) @ (jnp.diff(LEVELS) / jnp.diff(EDGES)),
    ),
    "power of a whole base": (
        lambda i: 2**i, [AT], r"whole base.*2.0 \*\* i.astype", lambda i: 2.0 ** i.astype(float)
    ),
    "float": (lambda x: x * float(x[0, 0]), [X], r"leave it an array.*float\(\)", lambda x: x * x[0, 0]),
    "item": (lambda x: x * x[0, 0].item(), [X], r"leave it an array.*item\(\)", lambda x: x * x[0, 0]),
    "math": (lambda x: math.exp(x[0, 0]), [X], "leave it an array.*math", lambda x: jnp.exp(x[0, 0])),
    "range": (
        lambda x, i: sum(x[k] for k in range(i[0])), [X, AT], "constant bound.*jnp.where",
        lambda x, i: sum(jnp.where(k < i[0], x[k], 0) for k in range(4)),
    ),
    "slice": (
        lambda x, i: x[: i[0]].sum(), [X, AT], "bound a slice.*jnp.where",
        lambda x, i: jnp.where(jnp.arange(4)[:, None] < i[0], x, 0).sum(),
    ),
    "size": (lambda i: jnp.zeros(i[0]), [AT], "cannot be a size.*static argument", None),
    "format": (lambda x: f"{x[0, 0]:.2f}", [X], r"printed.*\.to\(party\)", None),
    "key of a dict": (lambda x: {1.0: x}[x[0, 0]], [X], "key of a dict", None),
    "text": (lambda x: "done", [X], "returns a value of type <class 'str'>.*arrays and numbers", None),
    "key": (lambda x: jax.random.key(0), [X], "random key.*key_data", lambda x: jax.random.key_data(jax.random.key(0))),
    "exponents": (
        lambda x: x ** jnp.float32([1, 2.5, 3]), [X], "with exponents that differ.*stack",
        lambda x: jnp.stack([x[:, 0], x[:, 1] ** 2.5, x[:, 2] ** 3], 1),
    ),
    "exponents, by exp": (
        lambda x: x ** jnp.float32([1, 2.5, 3]), [X], r"jnp.exp\(y \* jnp.log",
        lambda x: jnp.exp(jnp.float32([1, 2.5, 3]) * jnp.log(x)),
    ),
    "secret exponent": (
        lambda x: x**x, [X], "a secret exponent of a base that is no constant", lambda x: jnp.exp(x * jnp.log(x))
    ),
    "negative base": (lambda x: (-2.0) ** x, [X], "a secret exponent of a base that is not positive", None),
    "digitize": (
        lambda v: jnp.digitize(v, EDGES), [V], 'method="compare_all"',
        lambda v: jnp.digitize(v, EDGES, method="compare_all"),
    ),
    "searchsorted": (
        lambda v: jnp.searchsorted(EDGES, v), [V], 'method="compare_all"',
        lambda v: jnp.searchsorted(EDGES, v, method="compare_all"),
    ),
    "integer division": (lambda i: i // 2, [AT], "of integers.*convert to float", lambda i: i.astype(jnp.float32) / 2),
    "top_k": (
        lambda v: lax.top_k(v, 2)[0], [V], r"jnp.sort\(x\)\[..., ::-1\]\[..., :k\]",
        lambda v: jnp.sort(v)[..., ::-1][..., :2],
    ),
    "top_k's places": (lambda v: lax.top_k(v, 2)[1], [V], "marks the places", lambda v: (v[:, None] < v).sum(1) < 2),
    "argsort": (
        lambda v, y: y[jnp.argsort(v)], [V, Y], r"\(x\[:, None\] > x\).sum\(1\).*one_hot\(r, n\).T @ y",
        lambda v, y: jax.nn.one_hot((v[:, None] > v).sum(1), 4).T @ y,
    ),
    "sort of two": (lambda v: lax.sort((v, v), num_keys=1)[1], [V], "of 2 operands", lambda v: jnp.sort(v)),
    "sort of bools": (
        lambda v: jnp.sort(v > 1), [V], "of bools.*numbers", lambda v: jnp.sort((v > 1).astype(jnp.int32))
    ),
    "scatter": (
        lambda x, i: x.at[i[0]].set(7.0), [X, AT], r"secret index.*jnp.where\(jnp.arange\(n\)",
        lambda x, i: jnp.where(jnp.arange(4)[:, None] == i[0], 7.0, x),
    ),
    "scatter-add": (
        lambda x, i, y: jnp.zeros((4, 2)).at[i].add(y), [X, AT, Y], r"one_hot\(i, n\).T @ y",
        lambda x, i, y: jnp.zeros((4, 2)) + jax.nn.one_hot(i, 4).T @ y,
    ),
    "gather of two": (
        lambda x, i: x[i, i], [X, AT], r"x.ravel\(\)\[i \* n \+ j\]", lambda x, i: x.ravel()[i * 3 + i]
    ),
    "take_along_axis": (
        lambda x, i: jnp.take_along_axis(x, i[:, None], 1)[:, 0], [X, AT], r"\(x \* jax.nn.one_hot\(i, n\)\).sum\(-1",
        lambda x, i: (x * jax.nn.one_hot(i, 3)).sum(-1),
    ),
    "scatter-max": (
        lambda x: x.at[0].max(1.0), [X], "set.jnp.maximum", lambda x: x.at[0].set(jnp.maximum(x[0], 1.0))
    ),
    "scatter-mul": (lambda x: x.at[0].mul(2.0), [X], r"set\(x\[i\] \* y", lambda x: x.at[0].set(x[0] * 2.0)),
    "shift": (lambda i: i << 2, [AT], "power of two", lambda i: i * 4),
    "while": (
        lambda v: lax.while_loop(lambda c: c[0] < 9, lambda c: c * 2, v), [V], "constant number of times.*jnp.where",
        lambda v: lax.fori_loop(0, 4, lambda _, c: jnp.where(c[0] < 9, c * 2, c), v),
    ),
    "infinity": (lambda x: x * jnp.inf, [X], "contains infinity", None),
    "large constant": (lambda x: (jnp.float32(1e12), x), [X], "an output: a constant: magnitude.*scale it down", None),
    "floor": (lambda x: jnp.floor(x), [X], "round before sharing", None),
    "seed": (lambda i: jax.random.normal(jax.random.key(i[0])), [AT], "random_seed.*seed with a constant", None),
    "assignment": (inserted, [X], None, lambda x: x.at[0, 0].set(1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_line_reason_and_cure(name):
    function, args, said, _ = REFUSED[name]
    with pytest.raises(TraceError if said else TypeError, match=said) as caught:
        trace(function, [abstract(a) for a in args], parties=PARTIES)
    first = function.__code__.co_firstlineno
    lines = range(first, first + len(inspect.getsourcelines(function)[0]) + 1)
    text = str(caught.value)
    if said:
        assert any(text.startswith(f"{__file__}:{line}: ") for line in lines), text


@pytest.mark.parametrize("name", [name for name in REFUSED if REFUSED[name][3]])
def test_the_way_round_works(name):
    """To a part in a hundred thousand of values up to about 16."""
    _, args, _, instead = REFUSED[name]
    check(instead, *args, ulps=64)


def test_a_public_exponent_is_not_called_secret():
    with pytest.raises(TraceError, match="an exponent that is not known while tracing of a base that is no constant"):
        trace(lambda x, y: x**y, [abstract(X), abstract(np.float32(2), "public")], parties=PARTIES)


def test_a_large_closure_is_named_at_a_line():
    large = np.ones(20_000, np.float32)
    with pytest.raises(TraceError, match=r"^\S+test_refusals.py:\d+: the function closes over an array"):
        trace(lambda x: x.sum() + jnp.asarray(large), [abstract(X)], parties=PARTIES)


def test_an_error_about_something_else_stays_as_it_is():
    with pytest.raises(ValueError, match="mine"):
        trace(lambda x: (_ for _ in ()).throw(ValueError("mine")), [abstract(X)], parties=PARTIES)
