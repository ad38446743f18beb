"""convert_element_type: fixed point, integers and bits."""

import numpy as np

from mpcrt.plan import Value
from mpcrt.tracing.graph import Eqn, is_float
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.patterns import width
from mpcrt.tracing.registry import rule


@rule("convert_element_type")
def convert(low: Lowering, e: Eqn) -> Value:
    (var,) = e.inputs
    x, target = low.value(var), e.outputs[0].dtype
    if var.boolean:
        return x if target == np.bool_ else low.b.to_ring(x)
    if target == np.bool_:
        return low.b.not_(low.b.equal(low.b.truncate(x), low.b.integer(0), width(var) or 48))
    if var.floating and not is_float(target) and x.fraction:
        raise low.fail(
            e, f"from {var.dtype} to {target} of a secret value",
            "round in a party function before sharing or after revealing, or compare with thresholds",
        )  # fmt: skip
    return x
