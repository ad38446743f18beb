"""Every decoder on the kept corpus, on well-formed bytes damaged, and on bytes out of nowhere: see fuzz_targets.py."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest
from fuzz_targets import TARGETS, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_damaged_seeds(name: str):
    """What the fuzzer found worth keeping, and every seed with bytes changed, cut out, put in and cut off."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    kept = [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))]
    starts = seeds(name) + kept
    assert kept
    for data in starts:
        TARGETS[name](data)
    tracemalloc.start()
    for _ in range(150):
        data = bytearray(rng.choice(starts))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del data[at : at + rng.randrange(1, 9)]
                case 2:
                    data[at:at] = rng.randbytes(rng.randrange(1, 9))
                case 3:
                    data = data[:at]
        TARGETS[name](bytes(data))
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_out_of_nowhere(name: str):
    @settings(max_examples=40, deadline=None)
    @given(st.binary(max_size=300))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()
