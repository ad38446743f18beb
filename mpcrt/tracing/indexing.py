"""Index arithmetic of gather, scatter, pad and dynamic slices (XLA's semantics): which flat element goes where."""

from typing import Any

import numpy as np


def pad(x: np.ndarray, value: np.ndarray, config: list[tuple[int, int, int]]) -> np.ndarray:
    """lax.pad: interior padding first, then edges, which crop where negative."""
    shape = [n + max(n - 1, 0) * inner for n, (_, _, inner) in zip(x.shape, config, strict=True)]
    result = np.full(shape, value, x.dtype)
    result[tuple(slice(None, None, inner + 1) for _, _, inner in config)] = x
    outer = np.full([n + max(lo, 0) + max(hi, 0) for n, (lo, hi, _) in zip(shape, config, strict=True)], value, x.dtype)
    outer[tuple(slice(max(lo, 0), max(lo, 0) + n) for n, (lo, _, _) in zip(shape, config, strict=True))] = result
    return outer[tuple(slice(max(-lo, 0), outer.shape[i] - max(-hi, 0)) for i, (lo, hi, _) in enumerate(config))]


def clamped(starts: Any, shape: tuple[int, ...], sizes: tuple[int, ...]) -> list[int]:
    """Start indices moved so that the slice lies inside."""
    return [int(np.clip(int(s), 0, n - k)) for s, n, k in zip(starts, shape, sizes, strict=True)]


def flat(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64).reshape(shape)


def _starts(indices: np.ndarray, dims: tuple[int, ...], rank: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Full start vectors [batch..., rank] and the batch shape."""
    indices = np.asarray(indices, np.int64)
    full = np.zeros((*indices.shape[:-1], rank), np.int64)
    full[..., list(dims)] = indices
    return full, indices.shape[:-1]


def _clips(mode: Any) -> bool:
    return "CLIP" in str(mode).upper()


def _positions(shape, starts, sizes, batch, operand_batching, indices_batching, clip):
    """Flat operand positions [batch..., *sizes], -1 in windows that are not wholly inside."""
    for o, i in zip(operand_batching, indices_batching, strict=True):
        starts[..., o] += np.arange(batch[i]).reshape([-1 if k == i else 1 for k in range(len(batch))])
    room = np.array(shape, np.int64) - np.array(sizes, np.int64)
    if clip:
        starts = np.clip(starts, 0, room)
    at = np.zeros((*batch, *sizes), np.int64)
    inside = np.ones((*batch, *sizes), bool)
    whole = ((starts >= 0) & (starts <= room)).all(-1)
    stride = 1
    for axis in range(len(shape) - 1, -1, -1):
        offset = np.arange(sizes[axis]).reshape([-1 if k == axis else 1 for k in range(len(shape))])
        position = starts[..., axis].reshape(*batch, *[1] * len(shape)) + offset
        inside &= (position >= 0) & (position < shape[axis])
        at += position * stride
        stride *= shape[axis]
    inside &= whole.reshape(*batch, *[1] * len(shape))
    return np.where(inside, at, -1)


def gather(shape: tuple[int, ...], indices: np.ndarray, p: dict) -> np.ndarray:
    """The flat operand position of every result element of lax.gather; -1 where it is filled."""
    d = p["dimension_numbers"]
    operand_batching = tuple(getattr(d, "operand_batching_dims", ()))
    starts, batch = _starts(indices, d.start_index_map, len(shape))
    at = _positions(
        shape, starts, tuple(p["slice_sizes"]), batch, operand_batching,
        tuple(getattr(d, "start_indices_batching_dims", ())), _clips(p["mode"]),
    )  # fmt: skip
    dropped = sorted((*d.collapsed_slice_dims, *operand_batching))
    at = at.reshape((*batch, *[n for i, n in enumerate(p["slice_sizes"]) if i not in dropped]))
    rank = at.ndim
    offsets = list(d.offset_dims)
    order = [0] * rank
    batches = iter(range(len(batch)))
    windows = iter(range(len(batch), rank))
    for i in range(rank):
        order[i] = next(windows) if i in offsets else next(batches)
    return at.transpose(order)


def scatter(shape: tuple[int, ...], indices: np.ndarray, updates: tuple[int, ...], p: dict) -> np.ndarray:
    """The flat operand position of every update element of lax.scatter; -1 where it is dropped."""
    d = p["dimension_numbers"]
    operand_batching = tuple(getattr(d, "operand_batching_dims", ()))
    starts, batch = _starts(indices, d.scatter_dims_to_operand_dims, len(shape))
    dropped = sorted((*d.inserted_window_dims, *operand_batching))
    window = iter([updates[i] for i in d.update_window_dims])
    sizes = tuple(1 if i in dropped else next(window) for i in range(len(shape)))
    at = _positions(
        shape, starts, sizes, batch, operand_batching, tuple(getattr(d, "scatter_indices_batching_dims", ())),
        _clips(p["mode"]),
    )  # fmt: skip
    at = at.reshape((*batch, *[n for i, n in enumerate(sizes) if i not in dropped]))
    order = [0] * at.ndim
    batches = iter(range(len(batch)))
    windows = iter(range(len(batch), at.ndim))
    for i in range(at.ndim):
        order[i] = next(windows) if i in d.update_window_dims else next(batches)
    return at.transpose(order)


def grouped(at: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """For targets at[j] (flat, -1 dropped): sources[i, r] = the r-th j with at[j] = i, else -1; and the most r."""
    at = at.reshape(-1)
    order = np.argsort(at, kind="stable")
    order = order[at[order] >= 0]
    targets = at[order]
    counts = np.bincount(targets, minlength=size)
    most = int(counts.max(initial=0))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    sources = np.full((size, most), -1, np.int64)
    sources[targets, rank] = order
    return sources, most
