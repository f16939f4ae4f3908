"""Launches ``candidates.cu``."""

from __future__ import annotations

from minirpn._typing import Array, ImageSize
from minirpn.accel.cuda._load import Kernel, contiguous, for_each, real_of
from minirpn.backend import device_of, namespace_of


def candidates_cuda(
    anchors: Array,
    objectness: Array,
    deltas: Array,
    image_size: ImageSize,
    min_side: float,
) -> tuple[Array, Array, Array]:
    """Return what `minirpn.loops.candidates` does, a thread for each anchor."""
    xp, device, K = namespace_of(anchors, objectness, deltas), device_of(anchors), anchors.shape[0]
    boxes = xp.empty((K, 4), dtype=anchors.dtype, device=device)
    scores = xp.empty(K, dtype=anchors.dtype, device=device)
    large = xp.empty(K, dtype=xp.bool, device=device)
    arrays = *map(contiguous, (anchors, objectness, deltas)), boxes, scores, large
    # NumPy compares an array with a Python float in the array's dtype; so must the kernel.
    limits = K, objectness.shape[1], *map(int, image_size), anchors.dtype.type(min_side)
    for_each(Kernel("candidates", "candidates", real_of(anchors)), (K, 1), *arrays, *limits)
    return boxes, scores, large


def of_one_dtype(anchors: Array, objectness: Array, deltas: Array, *_: object) -> bool:
    """Tell whether one kernel can read all three."""
    return bool(anchors.dtype == objectness.dtype == deltas.dtype)
