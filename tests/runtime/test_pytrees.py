"""Any pytree as a result, an argument and a reveal; what crosses of its nodes, and what a receiver makes of it."""

import collections
import dataclasses
import functools
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mpcrt
from mpcrt.errors import DisagreementError, InputError, ProtocolError, UsageError, UserFunctionError
from mpcrt.runtime import nodes, trees
from mpcrt.runtime.nodes import Record

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
STEP = 2.0**-16
"""Inputs and results of a few products below 4 in magnitude: four units of 2^-18."""


class Model(NamedTuple):
    w: Any
    b: Any


@functools.partial(jax.tree_util.register_dataclass, data_fields=["model", "step"], meta_fields=[])
@dataclasses.dataclass
class State:
    model: Any
    step: Any


@functools.partial(jax.tree_util.register_dataclass, data_fields=["x"], meta_fields=["power"])
@dataclasses.dataclass(frozen=True)
class Scaled:
    x: Any
    power: int = 2


def array(*values):
    return np.array(values, np.float32)


def flax_state():
    nnx = pytest.importorskip("flax.nnx")
    return nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))


def struct_state():
    struct = pytest.importorskip("flax.struct")
    made = type(sys)("of_a_module_that_is_loaded")
    made.Params = struct.dataclass(type("Params", (), {"__annotations__": {"w": Any}, "__module__": made.__name__}))
    sys.modules.setdefault(made.__name__, made)
    return sys.modules[made.__name__].Params(w=array(1, 2))


def adam_state():
    return pytest.importorskip("optax").adam(0.1).init({"w": array(1, 2)})


TREES = {
    "NamedTuple": lambda: Model(array(1, 2), {"deep": (array(3),)}),
    "dataclass": lambda: State(Model(array(1), None), np.int32(3)),
    "flax.struct": struct_state,
    "optax": adam_state,
    "nnx.State": flax_state,
    "int keys": lambda: {3: array(3), 1: array(1), 10: [array(10)]},
    "OrderedDict": lambda: collections.OrderedDict(b=array(1), a=array(2)),
    "empty": lambda: (Model(array(1), ()), {}, None, [array(2)]),
    "a list": lambda: [array(1), (array(2), array(3))],
}


def same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.shape(g) == np.shape(w) and np.asarray(g).dtype == np.asarray(w).dtype
        np.testing.assert_allclose(g, w, atol=STEP)


@pytest.mark.parametrize("name", TREES)
def test_a_pytree_as_result_argument_and_reveal(world, name):
    """Given by one party, sent in the clear, changed by a secure function, revealed, and given to functions again."""
    tree = TREES[name]()

    def double(t):
        return jax.tree.map(lambda x: x * 2, t), {"again": t}

    def program(session):
        got = []
        given = alice(lambda: tree)()
        sent, (twice, again) = given.to(bob), spu(double)(given)
        shared = given.to(spu)
        more = spu(double)({"a": shared, "b": [twice, again["again"]]})[0]
        shown = more.to(mpcrt.public)
        bob(lambda *trees: got.extend(trees))(sent, twice.to(bob), more["b"][0].to(bob), shown)
        session.finish()
        return got

    got = world(program).check().results["bob"]
    doubled, fourfold = (jax.tree.map(lambda x, n=n: np.asarray(x) * n, tree) for n in (2, 4))
    same(got[0], tree)
    same(got[1], jax.tree.map(lambda x, y: np.asarray(x, np.asarray(y).dtype), doubled, tree))
    same(got[2], jax.tree.map(lambda x, y: np.asarray(x, np.asarray(y).dtype), fourfold, tree))
    assert jax.tree.structure(got[3]) == jax.tree.structure({"a": tree, "b": [tree, tree]})


def test_local_cluster_takes_and_gives_any_pytree():
    nested = {"state": State(Model(array(1, 2), array(3)), np.int32(1)), "flax": flax_state(), 3: None}
    nested = {"all": nested.pop("state"), "flax": nested["flax"], "adam": adam_state()}

    def step(t, scale, *, shift=0.0, mode="plus"):
        assert isinstance(t["all"], State) and isinstance(t["all"].model, Model)
        return jax.tree.map(lambda x: x * scale + (shift if mode == "plus" else -shift), t)

    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        got = cluster.secure(step, static_argnames="mode")(nested, scale=2.0, shift=1.0, mode="minus")
        assert jax.tree.structure(got) == jax.tree.structure(nested)
        np.testing.assert_allclose(got["all"].model.w, [1, 3], atol=STEP)
        x = cluster.secure(lambda x, n=1, *, names: x * n * len(names), static_argnums=1, static_argnames=["names"])
        np.testing.assert_allclose(x(array(1), names=("a", "b")), [2], atol=STEP)
        np.testing.assert_allclose(x(array(1), 3, names=("a",)), [3], atol=STEP)
        with pytest.raises(InputError, match=r"argument shift\['b'\]: contains NaN"):
            cluster.secure(lambda x, *, shift: x + shift["b"])(array(1), shift={"a": 1.0, "b": array(np.nan)})


def test_handles_nested_in_nodes_of_all_kinds(world):
    def program(session):
        got = []
        w, b, n = (alice(lambda v=v: v)() for v in (array(1, 2), array(3), np.int32(4)))
        state = State(Model(w, [b]), n)
        y = spu(lambda s: s.model.w * s.model.b[0] + s.step)(state)
        bob(got.append)(State(Model(y.to(bob), None), step=7))
        alice(lambda s: got.append(s.model.b[0]))(state)
        session.finish()
        return got

    made = world(program).check().results
    (state,), (b,) = made["bob"], made["alice"]
    assert isinstance(state, State) and state.step == 7 and b == 3
    np.testing.assert_allclose(state.model.w, [7, 10], atol=STEP)


def test_a_handle_in_a_node_is_checked_and_described(world):
    def misplaced(session):
        alice(len)(State(Model(bob(lambda: array(1))(), None), 1))

    failures = world(misplaced).failures
    assert all(r".to(alice)" in str(failures[p]) for p in ("alice", "bob") if isinstance(failures[p], UsageError))
    assert any(isinstance(e, UsageError) for e in failures.values())

    def program(session):
        one, two = alice(lambda: array(1))(), alice(lambda: array(2))()
        return bob(lambda: 1)(), alice(lambda s: 1)(State(one if session.me == "alice" else two, 1))

    assert any("call 4" in str(e) and "State(" in str(e) for e in world(program).failures.values())


def test_public_leaves_of_results_are_carried_on(world):
    """A step counter that a secure function makes is public; what the next call makes of it is computed once."""

    def init(w):
        return {"w": w, "step": jnp.zeros((), jnp.int32), "flag": jnp.array([True, False]), "rate": jnp.float32(0.5)}

    def step(state):
        rate = state["rate"] * 0.5 ** state["step"].astype(jnp.float32)
        w = state["w"] - rate * jnp.where(state["flag"], 1.0, 2.0)
        return {**state, "w": w, "step": state["step"] + 1}, (rate, state["step"] * 2)

    def program(session):
        state = spu(init)(alice(lambda: array(4, 5))())
        for _ in range(3):
            state, (rate, twice) = spu(step)(state)
        shown = {k: state[k].to(mpcrt.public) for k in ("w", "step", "flag")}
        assert shown["w"][1] == np.asarray(shown["w"])[1] and shown["w"][:1].shape == (1,), "a public array is indexed"
        return {k: np.asarray(v) for k, v in shown.items()}, float(rate.to(mpcrt.public)), int(twice.to(mpcrt.public))

    plain = init(array(4, 5))
    for _ in range(3):
        plain, (rate, twice) = step(plain)
    for parties in (2, 3):
        for got, r, t in world(program, parties, outside=("frank",)).check().results.values():
            assert t == twice and got["step"] == 3 and got["step"].dtype == np.int32
            np.testing.assert_array_equal(got["flag"], plain["flag"])
            np.testing.assert_allclose(got["w"], plain["w"], atol=STEP)
            np.testing.assert_allclose(r, rate, atol=STEP)


def test_a_public_result_without_a_computing_party_that_has_the_program_is_named(world):
    carol = mpcrt.party("carol")

    def program(session):
        state = spu(lambda w: (w, jnp.zeros(())))(carol(lambda: array(1))())
        if session.moves:
            return spu(lambda w, n: w * jnp.exp(n + 1))(state[0], state[1].to(mpcrt.public)).to(mpcrt.public)[0]
        return spu(lambda s: s[0] * jnp.exp(s[1] + 1))(state).to(mpcrt.public)[0]

    def bound(moves):
        def main(session):
            session.moves = moves
            return program(session)

        return main

    names = {"outside": ("carol",), "workers": ("alice", "bob")}
    assert ".to(mpcrt.public)" in str(world(bound(False), **names).failures["carol"])
    np.testing.assert_allclose(float(world(bound(True), **names).check().results["carol"]), np.e, atol=STEP)


def test_optax_trains_with_its_state_carried_on(world):
    optax = pytest.importorskip("optax")
    optimizer = optax.adam(0.1, b1=0.5, b2=0.5)

    def loss(params, x, y):
        return jnp.mean((x @ params["w"] - y) ** 2)

    def step(params, state, x, y):
        grads = jax.grad(loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    x, y, start = np.eye(3, dtype=np.float32), array(1, -1, 0.5), {"w": np.zeros(3, np.float32)}

    def program(session):
        rows, wanted, params = alice(lambda: x)(), bob(lambda: y)(), alice(lambda: start)()
        state = spu(optimizer.init)(params)
        for _ in range(2):
            params, state = spu(step)(params, state, rows, wanted)
        assert state[0].count.placement == spu and len(state) == 2
        return np.asarray(params.to(mpcrt.public)["w"]), int(state[0].count.to(mpcrt.public))

    params, state = start, optimizer.init(start)
    for _ in range(2):
        params, state = step(params, state, x, y)
    for w, count in world(program).check().results.values():
        assert count == 2
        # The second moments are above 0.05, off by some units of 2^-18: less than 0.1 % each, of steps of 0.1.
        np.testing.assert_allclose(w, params["w"], atol=2e-4)


PROGRAM = """
import dataclasses, functools
from typing import Any, NamedTuple
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
optimizer = optax.sgd(0.5, momentum=0.5)

@functools.partial(jax.tree_util.register_dataclass, data_fields=["params", "opt", "step"], meta_fields=[])
@dataclasses.dataclass
class Train:
    params: Any
    opt: optax.OptState
    step: Any

@alice
def start():
    params = nnx.state(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))
    params = jax.tree.map(jnp.zeros_like, params)
    return Train(params, optimizer.init(params), 0)

@bob
def rows():
    return np.eye(2, dtype=np.float32), np.ones((2, 1), np.float32)

graph = nnx.graphdef(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))

def loss(params, x, y):
    return jnp.mean((nnx.merge(graph, params)(x) - y) ** 2)

@spu
def step(train: Train, data):
    grads = jax.grad(loss)(train.params, *data)
    updates, opt = optimizer.update(grads, train.opt, train.params)
    return dataclasses.replace(train, params=optax.apply_updates(train.params, updates), opt=opt, step=train.step + 1)

@bob
def report(train):
    assert isinstance(train, Train) and isinstance(train.params, nnx.State)
    model = nnx.merge(graph, train.params)
    print("bob:", np.asarray(model.kernel[...]).ravel().tolist(), float(model.bias[0]), int(train.step), flush=True)

def main():
    train, data = start(), rows()
    for _ in range(2):
        train = step(train, data)
    report(train.to(bob))
    report(start().to(bob))
"""


def test_a_train_state_of_a_dataclass_flax_and_optax_at_real_processes(launcher):
    """Each process has the classes, since it loaded the same program; no name of them is imported."""
    pytest.importorskip("optax")
    ended = launcher.run("run", launcher.cluster(), launcher.program(PROGRAM))
    assert ended.code == 0, ended.err
    assert "bob: [0.0, 0.0] 0.0 0" in ended.out
    # By hand: the gradients at 0 are -1, -1, -2; at (0.5, 0.5, 1) the opposite halves, which the momentum cancels.
    (line,) = [line for line in ended.out.splitlines() if line.endswith(" 2")]
    shown = [float(v) for v in line.replace("[", "").replace("]", "").replace(",", "").split()[1:4]]
    np.testing.assert_allclose(shown, [0.5, 0.5, 1.0], atol=STEP)


# -- handles


def test_handles_are_unpacked_and_counted_by_their_structure(world):
    def program(session):
        y = spu(lambda x: (x, {"b": x, "a": x}, Model(x, x)))(bob(lambda: array(1, 2))())
        first, inner, model = y
        assert len(y) == 3 and len(inner) == 2 and list(inner) == ["a", "b"] and "a" in inner and "c" not in inner
        assert [(k, v.shape) for k, v in inner.items()] == [("a", (2,)), ("b", (2,))] and list(dict(inner)) == [
            "a",
            "b",
        ]
        w, b = model
        assert (w.shape, b.dtype, model.w.shape, model["b"].shape, model[0].shape) == (
            (2,),
            np.float32,
            (2,),
            (2,),
            (2,),
        )
        for look in (len, iter, lambda h: 1 in h, lambda h: h.sum, lambda h: h.w):
            with pytest.raises(UsageError, match=r"\.to\("):
                look(first)
        with pytest.raises(UsageError, match=r"has no \[5\]"):
            _ = y[5]
        a, b = bob(lambda: [array(1), array(2)])()
        assert repr(a) == "<result of <lambda>()[0]: float32[1] at bob>"
        return repr(model), [float(v) for v in b.to(mpcrt.public)]

    for shown, values in world(program).check().results.values():
        assert shown == "<result of <lambda>()[2]: Model(w: float32[2], b: float32[2]) at spu>" and values == [2]


def test_a_repr_does_not_wait(world):
    import threading

    gate = threading.Event()

    def program(session):
        handle = alice(lambda: gate.wait(20) and array(1))()
        before = repr(handle)
        gate.set()
        return before, handle.shape, repr(handle)

    for before, _, after in world(program).check().results.values():
        assert before == "<result of <lambda>() at alice>" and after == "<result of <lambda>(): float32[1] at alice>"


# -- calls


def test_keywords_and_static_arguments_of_secure_functions(world):
    traced = []

    @spu(static_argnames=("mode", "axis"), static_argnums=1)
    def reduce(x, power, *others, scale=1.0, mode="sum", axis=None):
        traced.append((power, mode, axis))
        return sum((v.sum(axis) for v in (x**power, *others)), 0.0) * scale if mode == "sum" else x

    def program(session):
        x, s = bob(lambda: np.full((2, 3), 2, np.float32))(), alice(lambda: np.float32(0.5))()
        calls = [
            reduce(x, 2), reduce(x, power=1, scale=s), reduce(x, 2, x, x, mode="sum", scale=3.0), reduce(x, 2, axis=0),
            reduce(power=2, x=x), reduce(x, 1, mode="no"), spu(lambda *, a, b: a - b)(b=s, a=x),
            spu(lambda x, **rest: x * rest["k"])(x, k=s), spu(lambda x, n=2: x * n, static_argnums=1)(x),
            spu(jnp.sum, static_argnames="axis")(x, axis=1), spu(lambda x, n=2: x * n, static_argnums=-1)(x, 3),
            spu(lambda n: jnp.full(n, 2.0), static_argnums=0)(2), spu(lambda: jnp.ones(2))(),
        ]  # fmt: skip
        return [np.asarray(y.to(mpcrt.public)) for y in calls]

    want = [24, 6, 144, [8] * 3, 24, np.full((2, 3), 2), np.full((2, 3), 1.5), np.ones((2, 3)), np.full((2, 3), 4)]
    want += [[6, 6], np.full((2, 3), 6), [2, 2], [1, 1]]
    for got in world(program).check().results.values():
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, atol=STEP * 40)
    assert len([t for t in traced if t == (2, "sum", None)]) == 2 * 2, "a call by name is the same call"


def test_what_does_not_fit_a_secure_function_is_refused_in_main(world):
    def program(session):
        x = bob(lambda: array(1))()
        for call, says in {
            "missing": (lambda: spu(lambda x, *, n: x)(x, m=1), "missing a required argument: 'n'"),
            "unknown": (lambda: spu(lambda x: x, static_argnames="mode")(x), "no parameter mode"),
            "handle": (lambda: spu(lambda x, n: x, static_argnums=1)(x, x), "n is static"),
            "type": (lambda: spu(lambda x: x, static_argnums="n"), "static_argnums takes positions"),
            "text": (
                lambda: spu(lambda x, mode: x)(x, "sum").block_until_ready(),
                r"argument 'mode' of <lambda>\(\) is no array but of type str.*static_argnames='mode'",
            ),
            "unnamed": (lambda: spu(lambda *x: x[0])(x, {"k": {1}}).block_until_ready(), r"argument 2\['k'\] of "),
        }.values():
            with pytest.raises(UsageError, match=says):
                call()
        return np.asarray(x.to(mpcrt.public))

    world(program).check()


# -- leaves that are no arrays


LEAVES = {
    "a string": (lambda: "north", "of type str", "np.unique"),
    "text": (lambda: np.array(["a", "bc"]), "numpy.ndarray of str", "np.unique"),
    "a date": (lambda: __import__("datetime").date(2020, 1, 1), "datetime.date", "datetime64"),
    "dates": (lambda: np.array(["2020-01-01"], "datetime64[D]"), "numpy.ndarray of datetime64", "datetime64"),
    "objects": (lambda: np.array([1, "a"], object), "numpy.ndarray of object", r"astype\(float\)"),
    "complex": (lambda: np.ones(2, complex), "numpy.ndarray of complex128", r"\.real"),
    "masked": (lambda: np.ma.masked_array([1.0, 2.0], [0, 1]), "numpy.ma.MaskedArray", r"\.filled"),
    "wide": (lambda: 1 << 70, "of type int", "64 bits"),
    "a set": (lambda: {1, 2}, "of type set", "np.array"),
    "a key": (lambda: jax.random.key(0), "of key", "key_data"),
    "a function": (lambda: test_a_repr_does_not_wait, "of type function", "of its party"),
    "sparse": (lambda: pytest.importorskip("scipy.sparse").csr_array(np.eye(2)), "scipy.sparse.csr_array", "toarray"),
    "an estimator": (
        lambda: pytest.importorskip("sklearn.linear_model").LogisticRegression(), "sklearn.LogisticRegression", "coef_",
    ),
    "pandas": (lambda: pytest.importorskip("pandas").DataFrame({"a": [1]}), "pandas.DataFrame", "to_numpy"),
    "a series": (lambda: pytest.importorskip("pandas").Series([1]), "pandas.Series", "to_numpy"),
    "torch": (lambda: pytest.importorskip("torch").ones(2), "torch.Tensor", "detach"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_that_is_no_array_is_named_with_its_cure(world, name):
    make, kind, cure = LEAVES[name]
    leaf = make()

    def shares(session):
        return spu(lambda t: t["rows"][1])(alice(lambda: {"rows": [1.0, leaf]})()).shape

    def moves(session):
        return alice(lambda: {"rows": [1.0, leaf]})().to(bob).shape

    def constant(session):
        return spu(lambda x, t: x)(alice(lambda: array(1))(), {"rows": [1.0, leaf]}).shape

    for program in (shares, moves) if name == "complex" else (shares, moves, constant):
        said = [e for e in world(program).failures.values() if isinstance(e, UsageError)]  # others may only hear of it
        assert said
        for failure in said:
            assert "['rows'][1]" in str(failure), failure
            with pytest.raises(UsageError, match=f"{kind}.*{cure}"):
                raise failure

    def stays(session):
        same = []
        alice(lambda t: same.append(t["rows"][1] is leaf))(alice(lambda: {"rows": [1.0, leaf]})())
        session.finish()
        return same

    assert world(stays).check().results["alice"] == [True]


# -- what crosses, and what does not


def test_static_data_and_odd_keys_stay_with_their_owner(world):
    tree = {("secret", 17): Scaled(array(1), power=31337)}
    structure, leaves = trees.flatten(tree)
    data = trees.encode(structure, tuple(map(trees.leaf_type, leaves)))
    assert b"secret" not in data and b"31337" not in str(trees.decode(data)).encode()

    def program(session):
        kept, seen = [], []
        given = alice(lambda: tree)()
        alice(lambda t: kept.append(t[("secret", 17)].power))(given)
        bob(seen.append)(given.to(bob))
        session.finish()
        return kept, seen

    made = world(program).check().results
    assert made["alice"] == ([31337], [])
    (record,) = made["bob"][1]
    assert isinstance(record, Record) and record[0].x == 1 and len(record) == 1
    with pytest.raises(TypeError, match="neither methods nor what is static; for a call of it"):
        record(1)
    with pytest.raises(AttributeError, match=r"Scaled comes from another party.*\(x\).*static"):
        _ = record[0].power


def test_a_function_that_needs_what_is_static_says_so(world, caplog):
    """Its owner, who has the class, could trace it; the others cannot, so the parties differ, and they say why."""

    def program(session):
        return spu(lambda s: s.x**s.power)(alice(lambda: Scaled(array(1), 2))()).shape

    failures = world(program).failures
    assert isinstance(
        failures["bob"], DisagreementError
    ) and "fails with TraceError at bob and does not fail at alice" in str(failures["bob"])
    assert "what is static" in caplog.text
    made = spu(lambda x: Scaled(x, 2))

    def cured(session):
        return np.asarray(spu(lambda s: s.x**s.power)(made(alice(lambda: array(3))())).to(mpcrt.public))

    np.testing.assert_allclose(world(cured).check().results["bob"], [9], atol=STEP)


def test_static_data_that_cannot_be_hashed_is_named(world, caplog):
    def nested(session):
        return spu(lambda s: s.x)([Scaled(alice(lambda: array(1))(), [1])]).shape

    def given(session):
        return spu(lambda s: s.x)(alice(lambda: Scaled(array(1), [1]))()).shape

    said = [str(e) for e in world(nested).failures.values() if isinstance(e, UsageError)]
    assert said and all("of a Scaled in an argument cannot be hashed" in text for text in said)
    failures = world(given).failures  # its owner alone has the class and its static data
    assert isinstance(failures["alice"], DisagreementError) and "fails with UsageError at alice" in str(
        failures["alice"]
    )
    assert "of a Scaled in <result of <lambda>()" in caplog.text


def test_a_record_is_a_pytree_that_keeps_its_name():
    record = nodes.put_together("elsewhere:Thing", ["a", "b"], [array(1), {"c": array(2)}])
    assert isinstance(record, Record) and record.a == 1 and record["b"]["c"] == 2 and next(iter(record)) == 1
    doubled = jax.tree.map(lambda x: x * 2, record)
    assert doubled.b["c"] == 4 and doubled._replace(a=5).a == 5 and "Thing(a=" in repr(doubled)
    assert (
        trees.flatten(doubled)[0]
        == trees.flatten(record)[0]
        == ["r", "elsewhere:Thing", ["a", "b"], 0, ["d", ["c"], 1]]
    )
    with pytest.raises(ValueError, match="has no z"):
        record._replace(z=1)


Alias = Model


class Lazy(type(sys)):
    """A module that would import itself at the first look into it."""

    def __getattribute__(self, name):
        raise AssertionError("a peer's name imported a module")


class Loud(NamedTuple):
    """Its constructor is not run while a name is looked up."""

    a: Any


class Stranger:
    """Neither a NamedTuple nor a dataclass nor known to JAX."""

    def __init__(self, *args):
        raise AssertionError("a peer's name ran a constructor")


@dataclasses.dataclass
class Unregistered:
    a: Any


@pytest.mark.parametrize(
    "name",
    [
        "os:system", "subprocess:Popen", "builtins:dict", "antigravity:x", "this:d", f"{__name__}:Stranger",
        f"{__name__}:Unregistered", f"{__name__}:Model", f"{__name__}:TREES", "sys:modules", "mpcrt:LocalCluster",
        "tests.of.nothing:A", "json:decoder.JSONDecoder", f"{__name__}:test_a_repr_does_not_wait.__globals__",
    ],
)  # fmt: skip
def test_a_peers_name_imports_nothing_and_runs_nothing(name):
    before = set(sys.modules)
    assert isinstance(nodes.put_together(name, ["a"], [1]), Record)
    assert set(sys.modules) == before


def test_a_peers_name_does_not_wake_a_lazy_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "lazy_module", Lazy("lazy_module"))
    assert nodes.loaded("lazy_module:Thing") is None


def test_a_peers_name_finds_only_a_container_with_just_these_fields():
    assert type(nodes.put_together(f"{__name__}:Loud", ["a"], [1])) is Loud
    assert type(nodes.put_together(f"{__name__}:State", ["model", "step"], [1, 2])) is State
    for keys in (["step", "model"], ["model"], ["model", "step", "more"]):
        assert isinstance(nodes.put_together(f"{__name__}:State", keys, [1] * len(keys)), Record)
    assert isinstance(nodes.put_together(f"{__name__}:Alias", ["w", "b"], [1, 2]), Record), "a class has one name"
    assert isinstance(nodes.put_together(f"{__name__}:Scaled", ["x"], [1]), Record), "what is static is not made up"


@pytest.mark.parametrize(
    "bad",
    [
        ["r", "a:b"], ["r", "a:b", ["x"]], ["r", "a b", []], ["r", "a:b[/red]", []], ["r", 1, []], ["r", "a:b", "x", 0],
        ["r", "a:b", ["x", "x"], 0, 1], ["r", "a:b", [[]], 0], ["d", [2, 1], 0, 1], ["d", [True], 0],
        ["d", ["a", 1], 0, 1],        ["r", "a" * 300 + ":b", []], ["d", [1.5], 0], ["d"], ["r"], ["x"], [],
    ],
)  # fmt: skip
def test_malformed_nodes_are_protocol_errors(bad):
    import msgpack

    count = max([0, *[v + 1 for v in bad if type(v) is int]])
    with pytest.raises(ProtocolError):
        trees.decode(msgpack.packb([bad, [[[], "float32", ""]] * count]))


def test_a_leaf_kind_is_checked():
    import msgpack

    for kind in ("a\x1b[31m", "[/red]", "x" * 500, "", 7):
        with pytest.raises(ProtocolError):
            trees.decode(msgpack.packb([0, [[[], "object", kind]]]))
    assert trees.decode(msgpack.packb([0, [[[], "object", "pandas.DataFrame"]]]))[1][0].kind == "pandas.DataFrame"


def test_keys_of_several_types_are_refused_at_home(world):
    def program(session):
        return alice(lambda: {1: array(1), "a": array(2)})().shape

    failure = world(program).failures["alice"]
    assert isinstance(failure, UserFunctionError) and "JAX cannot sort" in str(failure)
