"""The heap as a pool: what is freed stays, touched, for the next call, in huge pages where the system has them."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mpcrt.ring.compiled", exc_type=ImportError)

ROUNDS = """
import resource
import numpy as np
from mpcrt.ring import compiled

assert compiled.keep_memory() and compiled.keep_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(1 << size % 4 + 14) for size in range(256)]
    del blocks
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = sum(1 << size % 4 + 14 for size in range(256)) * 8 // 4096
ADVISED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the pool is glibc's heap")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer has its own heap")
def test_freed_memory_is_kept_and_huge():
    run = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    first, again = map(int, run.stdout.split())
    assert again < PAGES / 20, (first, again, PAGES)
    if ADVISED.exists() and "[never]" not in ADVISED.read_text():
        assert first < PAGES / 2, (first, again, PAGES)
