"""Streams against the published AES vectors, and what keeps two uses apart."""

import subprocess
import sys

import numpy as np
import pytest

from mpcrt.ring import kernels, prg, reference


def test_aes_vector():
    """FIPS 197, appendix C.1: the plaintext is the counter block."""
    key = bytes(range(16))
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    expected = np.frombuffer(bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a"), "<u8")
    number = int.from_bytes(block, "big")
    stream, index = number >> 40, number & (1 << 40) - 1
    modules = [reference]
    if "native" in kernels.available():
        from mpcrt.ring import compiled

        modules.append(compiled)
    for module in modules:
        assert np.array_equal(module.Prg(key).words(stream, 2, 2 * index), expected)


def test_any_split_gives_the_same_words():
    generator = kernels.Prg(b"0123456789abcdef")
    number = prg.stream(7, 1, 2, 3)
    whole = generator.words(number, 500, 11)
    parts = [generator.words(number, count, 11 + start) for start, count in ((0, 1), (1, 130), (131, 64), (195, 305))]
    assert np.array_equal(np.concatenate(parts), whole)


def test_streams_do_not_collide():
    numbers = {prg.stream(*fields) for fields in np.ndindex(3, 3, 3, 3)}
    assert len(numbers) == 81
    assert prg.stream(2**32 - 1, 2**24 - 1, 2**24 - 1, 255) == 2**88 - 1
    for fields in ((2**32, 0, 0, 0), (0, 2**24, 0, 0), (0, 0, 2**24, 0), (0, 0, 0, 256), (-1, 0, 0, 0)):
        with pytest.raises(ValueError, match="out of range"):
            prg.stream(*fields)


def test_keys_depend_on_every_part():
    base = prg.derive_key([b"a", b"b"], b"nonce", b"label")
    assert len(base) == 16
    assert base == prg.derive_key([b"a", b"b"], b"nonce", b"label")
    others = [([b"ab", b""], b"nonce", b"label"), ([b"b", b"a"], b"nonce", b"label"), ([b"a", b"b"], b"n", b"label")]
    others.append(([b"a", b"b"], b"nonce", b"other"))
    assert len({base, *(prg.derive_key(*other) for other in others)}) == 5


def test_random_words_are_writable_and_differ():
    a, b = prg.random_words(4, 5), prg.random_words(4, 5)
    assert a.shape == (4, 5) and a.dtype == np.uint64
    assert not np.array_equal(a, b)
    a += np.uint64(1)


def test_pure_install_warns_once_and_works():
    """Without the native module the reference runs, with one warning."""
    code = """
import sys, warnings
sys.modules["mpcrt.ring._native"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from mpcrt.ring import kernels
    import numpy as np
    a = np.arange(6, dtype=np.uint64).reshape(1, 2, 3)
    kernels.matmul(a, a.transpose(0, 2, 1))
    kernels.Prg(bytes(16)).words(1, 5)
assert kernels.active() == "reference" and kernels.available() == ("reference",)
assert [str(w.message)[:37] for w in caught] == ["mpcrt runs without its native kernels"], caught
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
