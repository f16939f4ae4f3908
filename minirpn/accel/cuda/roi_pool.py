"""Launches ``roi_pool.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, for_each, real_of
from minirpn.backend import device_of, namespace_of
from minirpn.nn.window import Pair


def roi_pool_cuda(
    features: Array,
    boxes: Array,
    output_size: Pair,
    scale: float,
) -> tuple[Array, Array]:
    """Return the largest cell of each bin of each box (R,C,h,w), and which, a thread for each."""
    xp, device = namespace_of(features, boxes), device_of(features)
    (C, Hf, Wf), R, (h, w) = features.shape, boxes.shape[0], output_size
    y = xp.empty((R, C, h, w), dtype=features.dtype, device=device)
    argmax = xp.empty(y.shape, dtype=xp.int32, device=device)
    # Multiplied in the dtype of the boxes, as in the loops; double then holds any of them.
    corners = contiguous(xp.astype(boxes * scale, xp.float64, copy=False))
    for_each(
        Kernel("roi_pool", "roi_pool", real_of(features)),
        (C * h * w, R),
        *(contiguous(features), corners, y, argmax, R, C, Hf, Wf, h, w),
    )
    return y, argmax


def roi_pool_dx_cuda(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return dfeatures (C,Hf,Wf), a thread for each cell, which gathers what it gets."""
    xp, device, dtype = namespace_of(dy, argmax), device_of(dy), real_of(dy)
    (R, C, h, w), (Hf, Wf) = dy.shape, size
    argmax, sizes = contiguous(argmax), (R, C, Hf, Wf, h, w)
    bounds = xp.empty((R, C, 4), dtype=xp.int32, device=device)
    dfeatures = xp.empty((C, Hf, Wf), dtype=dy.dtype, device=device)
    find = Kernel("roi_pool", "roi_pool_bounds", dtype)
    gather = Kernel("roi_pool", "roi_pool_dx", dtype)
    for_each(find, (C, R), argmax, bounds, *sizes)
    for_each(gather, (Hf * Wf, C), contiguous(dy), argmax, bounds, dfeatures, *sizes)
    return dfeatures
