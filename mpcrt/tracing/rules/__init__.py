"""One rule a JAX primitive, by family; importing the package registers them."""

from mpcrt.tracing.rules import (
    arithmetic,
    compare,
    contract,
    convert,
    index,
    layout,
    logic,
    loop,
    reduce,
    smooth,
    window,
)

__all__ = [
    "arithmetic", "compare", "contract", "convert", "index", "layout", "logic", "loop", "reduce", "smooth", "window",
]  # fmt: skip
