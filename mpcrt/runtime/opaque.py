"""Leaves that are no arrays: they stay where they are, and moving or sharing one says what it is and what to do."""

from __future__ import annotations

import re
from typing import Any

KIND = re.compile(r"[\w.<>]{1,200}( of [\w.<>]{1,60})?")

CURES = {
    r"pandas\..*|polars\..*|xarray\..*|pyarrow\..*": "hand on its numbers: .to_numpy()",
    r"scipy\.sparse\..*|sparse\..*": "make it dense: .toarray()",
    r"torch\..*": "make it an array: .detach().cpu().numpy()",
    r"tensorflow\..*": "make it an array: .numpy()",
    r"(sklearn|xgboost|lightgbm|catboost)\..*": "hand on the arrays that it has learned (.coef_, .intercept_ ...)",
    r"(jax|jaxlib)\..* of key.*": "hand on its numbers: jax.random.key_data(key)",
    r"str|bytes|bytearray|numpy.* of (str|bytes).*": "number the categories: np.unique(..., return_inverse=True)[1]",
    r"datetime\.timedelta|numpy.* of timedelta64.*": "make it a number: value / np.timedelta64(1, 's')",
    r"datetime\..*|numpy.* of datetime64.*": "make it a number: np.asarray(value, 'datetime64[D]').astype(int)",
    r"numpy\.ma\..*": "fill in what is masked: .filled(0)",
    r"numpy.* of object": "make it an array of numbers: .astype(float); rows of several lengths need padding",
    r"numpy.* of void.*": "hand on its fields one by one, or a plain array of them",
    r"complex|numpy.* of complex.*": "hand on .real and .imag",
    r"numpy.* of .*|(jax|jaxlib)\..* of .*": "convert it: .astype(np.float32)",
    r"int": "it needs more than 64 bits; split it, or hand on a float",
    r"decimal\.Decimal|fractions\.Fraction": "make it a float: float(value)",
    r"set|frozenset|range|generator|map|filter|zip|.*\.deque|dict_.*": "make it an array: np.array(list(value))",
    r"coroutine": "await it in the function that gives it",
    r"function|builtin_function_or_method|method|type": "call it in a function of its party",
}
"""What to do about a leaf, by its kind; the first pattern that fits counts."""


def kind_of(leaf: Any) -> str:
    """The type of a leaf as its user knows it: `pandas.DataFrame`, `str`, `numpy.ndarray of object`."""
    kind = type(leaf)
    module = kind.__module__
    root = "scipy.sparse" if module.startswith("scipy.sparse") else "numpy.ma" if module.startswith("numpy.ma") else ""
    root = root or module.split(".")[0]
    name = kind.__qualname__ if root == "builtins" else f"{root}.{kind.__qualname__}"
    dtype = getattr(leaf, "dtype", None)
    if dtype is not None and root in ("numpy", "numpy.ma", "jax", "jaxlib"):
        shown = getattr(dtype, "name", str(dtype))
        shown = shown.rstrip("0123456789") if getattr(dtype, "kind", "") in ("U", "S", "V") else shown.split("[")[0]
        name += f" of {shown}"
    return name if KIND.fullmatch(name) else "object"


def no_array(what: str, kind: str) -> str:
    """The error of a leaf that is none: what it is, and what to do."""
    cure = next((cure for pattern, cure in CURES.items() if re.fullmatch(pattern, kind)), None)
    cure = cure or "keep it in functions of its party, and hand on the arrays that it has"
    return f"{what} is no array but of type {kind}; only numbers and arrays can be shared and moved: {cure}"
