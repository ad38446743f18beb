"""Tests of the native kernels are skipped where there are none; this one is not, where there could be."""

import importlib
import os
import shutil

import pytest


def test_native_kernels_are_built_where_there_is_a_compiler():
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl"))):
        pytest.skip("no C++ compiler: NumPy's kernels are used")
    importlib.import_module("mpcrt.ring.compiled")
