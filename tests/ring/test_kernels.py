"""Native kernels give the reference's bits at every level this machine has, for any shapes, strides and values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.ring import kernels, reference

compiled = pytest.importorskip("mpcrt.ring.compiled", exc_type=ImportError)
LEVELS = compiled.levels()
few = settings(max_examples=40, deadline=None)
sizes = st.integers(0, 70)


@pytest.fixture(params=LEVELS, autouse=True)
def level(request):
    before = compiled.level()
    compiled.set_level(request.param)
    yield request.param
    compiled.set_level(before)


def words(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


def strided(seed: int, shape: tuple[int, ...], order: tuple[int, ...], step: int) -> np.ndarray:
    """An array of this shape whose memory runs in another order and with gaps."""
    memory = words(seed, *(shape[axis] * step for axis in order))
    view = memory[tuple(slice(None, None, step) for _ in shape)]
    return view.transpose(np.argsort(order))


@few
@given(st.integers(0, 2**88 - 1), st.integers(0, 2**40), st.integers(0, 300), st.binary(min_size=16, max_size=16))
def test_words(stream, offset, count, key):
    expected = reference.Prg(key).words(stream, count, offset)
    prg = compiled.Prg(key)
    assert np.array_equal(prg.words(stream, count, offset), expected)
    start = words(count, count)
    for method, result in (
        ("fill", expected),
        ("add", start + expected),
        ("subtract", start - expected),
        ("xor", start ^ expected),
        ("subtract_halves", (start.view(np.uint32) - np.ascontiguousarray(expected).view(np.uint32)).view(np.uint64)),
    ):
        out = start.copy()
        getattr(prg, method)(stream, out, offset)
        assert np.array_equal(out, result), method


@few
@given(
    st.sampled_from([(1, 1), (1, 3), (3, 1), (2, 2)]),
    sizes, sizes, sizes,
    st.permutations([0, 1, 2]), st.permutations([0, 1, 2]), st.integers(1, 2), st.integers(0, 2**32),
)  # fmt: skip
def test_matmul(batches, m, k, n, order_a, order_b, step, seed):
    a = strided(seed, (batches[0], m, k), tuple(order_a), step)
    b = strided(seed + 1, (batches[1], k, n), tuple(order_b), step)
    assert np.array_equal(compiled.matmul(a, b), reference.matmul(a, b))


@pytest.mark.parametrize(
    "m, k, n",
    [
        (130, 300, 50),
        (33, 530, 1030),
        (300, 70, 2),
        (2, 600, 1100),
        (5, 70, 1100),
        (64, 784, 128),
        (17, 513, 400),
        (150, 600, 450),
        (1040, 530, 600),
    ],
)
def test_matmul_across_blocks(m, k, n):
    a, b = words(1, 1, m, k), words(2, 1, k, n)
    expected = reference.matmul(a, b)
    assert np.array_equal(compiled.matmul(a, b), expected)
    wide = np.zeros((1, m, n + 5), np.uint64)
    compiled.matmul(a, b, out=wide[:, :, :n])
    assert np.array_equal(wide[:, :, :n], expected)
    assert not wide[:, :, n:].any()


@pytest.mark.parametrize("m, k, n", [(1, 600, 90), (20, 530, 210), (140, 530, 210), (7, 1100, 90), (1030, 65, 700)])
def test_matmul_of_transposed_operands_across_blocks(m, k, n):
    a, b = words(1, 1, k, m).transpose(0, 2, 1), words(2, 1, n, k).transpose(0, 2, 1)
    assert np.array_equal(compiled.matmul(a, b), reference.matmul(a, b))


def test_matmul_does_not_depend_on_threads(monkeypatch):
    a, b = words(3, 3, 200, 250), words(4, 3, 250, 130)
    x, k = words(5, 4, 30, 30, 16), words(6, 3, 3, 16, 40)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(compiled, "threads", threads)
        results.append((compiled.matmul(a, b), compiled.conv(x, k, strides=(1, 1), padding=((1, 1), (1, 1)))))
    for product, image in results[1:]:
        assert np.array_equal(product, results[0][0])
        assert np.array_equal(image, results[0][1])


def test_convolution_across_blocks():
    x, k = words(5, 2, 20, 21, 8), words(6, 3, 3, 8, 600)
    given = {"strides": (1, 1), "padding": ((1, 1), (1, 1))}
    assert np.array_equal(compiled.conv(x, k, **given), reference.conv(x, k, **given))


@st.composite
def convolutions(draw):
    rank = draw(st.integers(0, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depth, width = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    per_dimension = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))  # noqa: E731
    padding = tuple((draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in range(rank))
    x = words(draw(st.integers(0, 99)), draw(st.integers(0, 3)), *per_dimension(1, 9), groups * depth)
    k = words(draw(st.integers(0, 99)), *per_dimension(1, 4), depth, groups * width)
    options = {
        "strides": per_dimension(1, 3),
        "padding": padding,
        "lhs_dilation": per_dimension(1, 3),
        "rhs_dilation": per_dimension(1, 3),
        "groups": groups,
    }
    return x, k, options


@few
@given(convolutions())
def test_conv(case):
    x, k, options = case
    assert np.array_equal(compiled.conv(x, k, **options), reference.conv(x, k, **options))


@few
@given(st.integers(0, 400), st.integers(0, 2**32))
def test_packing(n, seed):
    bits = np.random.default_rng(seed).integers(0, 2, n).astype(np.uint8)
    packed = compiled.pack(bits)
    assert np.array_equal(packed, reference.pack(bits))
    assert np.array_equal(compiled.unpack(packed, n), bits)
    assert np.array_equal(reference.unpack(packed, n), bits)
    assert np.array_equal(compiled.unpack(packed, n // 2), bits[: n // 2])


def test_bad_operands_are_refused():
    a = words(1, 1, 2, 3)
    for module in (compiled, reference):
        with pytest.raises(ValueError, match="cannot multiply"):
            module.matmul(a, a)
        with pytest.raises(ValueError, match="out has"):
            module.matmul(a, words(1, 1, 3, 2), out=words(1, 1, 2, 3))
        with pytest.raises(ValueError, match="channels do not fit"):
            module.conv(words(1, 1, 4, 3), words(1, 2, 2, 5), strides=(1,), padding=((0, 0),))
        with pytest.raises(ValueError, match="do not hold"):
            module.unpack(words(1, 2), 129)
        with pytest.raises(ValueError, match="outside a stream"):
            module.Prg(bytes(16)).words(0, 2, 2**41 - 1)
        with pytest.raises(ValueError, match="16 bytes"):
            module.Prg(bytes(15))


def test_the_facade_switches():
    before = kernels.active()
    try:
        kernels.use("reference")
        assert isinstance(kernels.Prg(bytes(16)), reference.Prg)
        kernels.use("native")
        assert (compiled.level() == "portable") == isinstance(kernels.Prg(bytes(16)), reference.Prg)
        with pytest.raises(ValueError, match="'native' or 'reference'"):
            kernels.use("gpu")
    finally:
        kernels.use(before)
