"""Launches ``regions.cu``: RoI pooling and RoI align, and their gradients."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, empty, for_each, real_of
from minirpn.backend import namespace_of
from minirpn.nn.window import Pair


def roi_pool_cuda(
    features: Array, boxes: Array, output_size: Pair, scale: float
) -> tuple[Array, Array]:
    """Return the largest cell of each bin of each box (R,C,h,w), and which, a thread for each."""
    xp = namespace_of(features, boxes)
    (C, Hf, Wf), R, (h, w) = features.shape, boxes.shape[0], output_size
    y, argmax = empty((R, C, h, w), features), empty((R, C, h, w), features, "int32")
    # Multiplied in the dtype of the boxes, as in the loops; double then holds any of them.
    corners = contiguous(xp.astype(boxes * scale, xp.float64, copy=False))
    arrays = contiguous(features), corners, y, argmax
    for_each(_kernel("roi_pool", features), (C * h * w, R), *arrays, R, C, Hf, Wf, h, w)
    return y, argmax


def roi_pool_dx_cuda(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return dfeatures (C,Hf,Wf), a thread for each cell, which gathers what it gets."""
    (R, C, h, w), (Hf, Wf) = dy.shape, size
    argmax, sizes = contiguous(argmax), (R, C, Hf, Wf, h, w)
    bounds, dfeatures = empty((R, C, 4), dy, "int32"), empty((C, Hf, Wf), dy)
    for_each(_kernel("roi_pool_bounds", dy), (C, R), argmax, bounds, *sizes)
    arrays = contiguous(dy), argmax, bounds, dfeatures
    for_each(_kernel("roi_pool_dx", dy), (Hf * Wf, C), *arrays, *sizes)
    return dfeatures


def roi_align_cuda(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the mean of the samples in each bin of each box (R,C,h,w), a thread for each."""
    (C, Hf, Wf), R, (h, w) = features.shape, boxes.shape[0], output_size
    boxes = contiguous(namespace_of(boxes).astype(boxes, features.dtype, copy=False))
    places = _samples(boxes, output_size, (Hf, Wf), scale, samples, aligned)
    y = empty((R, C, h, w), features)
    arrays = contiguous(features), boxes, *places, y
    sizes = R, C, Hf, Wf, h, w, samples
    for_each(_kernel("roi_align", features), (C * h * w, R), *arrays, *sizes)
    return y


def roi_align_dx_cuda(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return dfeatures (C,Hf,Wf), which each cell gathers, and dboxes (R, 4) or None."""
    (C, Hf, Wf), (R, _, h, w) = features.shape, dy.shape
    boxes = contiguous(namespace_of(boxes).astype(boxes, features.dtype, copy=False))
    places = _samples(boxes, (h, w), (Hf, Wf), scale, samples, aligned)
    dy, sizes = contiguous(dy), (R, C, Hf, Wf, h, w, samples)
    dfeatures = empty((C, Hf, Wf), features)
    gather = _kernel("roi_align_dfeatures", features)
    for_each(gather, (Hf * Wf, C), dy, *places, dfeatures, *sizes)
    if not need_dboxes:
        return dfeatures, None
    parts, dboxes = empty((R, C, 4), features), empty((R, 4), features)
    by_channel = _kernel("roi_align_dboxes_parts", features)
    for_each(by_channel, (C, R), dy, contiguous(features), *places, parts, *sizes)
    for_each(_kernel("roi_align_dboxes", features), (4 * R, 1), parts, dboxes, R, C)
    return dfeatures, dboxes


def _samples(
    boxes: Array, output_size: Pair, size: Pair, scale: float, samples: int, aligned: bool
) -> list[Array]:
    """Return where the samples of boxes (R, 4) are: along rows, then along columns.

    There are two arrays for each axis, see `minirpn.loops.AxisSample`: cells (R, count, 2) int32,
    or -1 for a sample off the map; and numbers (R, count, 5), which are weights, slope, and
    derivatives by the corners.
    """
    R, places = boxes.shape[0], []
    for axis, bins, cells_there in ((1, output_size[0], size[0]), (0, output_size[1], size[1])):
        count = bins * samples
        cells, numbers = empty((R, count, 2), boxes, "int32"), empty((R, count, 5), boxes)
        arguments = R, axis, count, cells_there, scale, aligned
        for_each(_kernel("roi_align_samples", boxes), (count, R), boxes, cells, numbers, *arguments)
        places += [cells, numbers]
    return places


def _kernel(name: str, like: Array) -> Kernel:
    return Kernel("regions", name, real_of(like))
