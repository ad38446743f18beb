"""Functions as plan builders: each takes a Builder and values, and returns a value. No I/O, no JAX."""

from mpcrt.numerics.exponential import exp, exp_nonpositive, expm1
from mpcrt.numerics.extrema import argmax, argmin, max_reduce, maximum, min_reduce, minimum, relu
from mpcrt.numerics.normalised import log, log1p, power, reciprocal, reciprocal_positive, rsqrt, sqrt
from mpcrt.numerics.quotient import divide, softmax
from mpcrt.numerics.saturated import erf, erfc, gelu, sigmoid, silu, softplus, tanh
from mpcrt.numerics.sorting import sort

__all__ = [
    "argmax",
    "argmin",
    "divide",
    "erf",
    "erfc",
    "exp",
    "exp_nonpositive",
    "expm1",
    "gelu",
    "log",
    "log1p",
    "max_reduce",
    "maximum",
    "min_reduce",
    "minimum",
    "power",
    "reciprocal",
    "reciprocal_positive",
    "relu",
    "rsqrt",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "sort",
    "sqrt",
    "tanh",
]
