"""Layout ops in the clear. On shares they are linear: see linear.py."""

import numpy as np

from mpcrt.plan.plan import Node, constant_array
from mpcrt.protocols.rules import plaintext


@plaintext("constant")
def constant(node: Node) -> np.ndarray:
    return constant_array(node)


@plaintext("reshape")
def reshape(node: Node, x: np.ndarray) -> np.ndarray:
    return x.reshape(node.attrs["shape"])


@plaintext("transpose")
def transpose(node: Node, x: np.ndarray) -> np.ndarray:
    return x.transpose(node.attrs["permutation"])


@plaintext("broadcast")
def broadcast(node: Node, x: np.ndarray) -> np.ndarray:
    shape, dims = node.attrs["shape"], node.attrs["dims"]
    wide = [1] * len(shape)
    for i, d in enumerate(dims):
        wide[d] = x.shape[i]
    return np.broadcast_to(x.reshape(wide), shape)


@plaintext("slice")
def slice_(node: Node, x: np.ndarray) -> np.ndarray:
    a = node.attrs
    return x[tuple(slice(b, e, s) for b, e, s in zip(a["start"], a["limit"], a["stride"], strict=True))]


@plaintext("pad")
def pad(node: Node, x: np.ndarray) -> np.ndarray:
    a, (type,) = node.attrs, node.results
    out = np.zeros(type.shape, x.dtype)
    at = zip(a["low"], a["interior"], x.shape, strict=True)
    out[tuple(slice(lo, lo + max(n - 1, 0) * (i + 1) + 1 if n else lo, i + 1) for lo, i, n in at)] = x
    return out


@plaintext("concat")
def concat(node: Node, *xs: np.ndarray) -> np.ndarray:
    return np.concatenate(xs, axis=node.attrs["axis"])


@plaintext("take")
def take(node: Node, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """x.ravel()[indices], 0 where an index is negative."""
    at = indices.view(np.int64)
    flat = x.reshape(-1)
    if not flat.size:
        return np.zeros(at.shape, x.dtype)
    inside = at >= 0
    out = flat[np.where(inside, at, 0)]
    return out if inside.all() else np.where(inside, out, out.dtype.type(0))
