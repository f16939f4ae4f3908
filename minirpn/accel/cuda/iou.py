"""Launches ``iou.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, for_each
from minirpn.backend import device_of, namespace_of


def iou_cuda(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4), a thread for each pair: (N, M)."""
    xp, dtype, (N, M) = namespace_of(a, b), a.dtype, (a.shape[0], b.shape[0])
    overlaps = xp.empty((N, M), dtype=dtype, device=device_of(a))
    b = xp.astype(b, dtype, copy=False)
    kernel = Kernel("iou", "iou", str(dtype))
    for_each(kernel, (M, N), contiguous(a), contiguous(b), overlaps, N, M)
    return overlaps
