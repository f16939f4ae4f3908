"""Launches ``roi_align.cu``."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, for_each, real_of
from minirpn.backend import device_of, namespace_of
from minirpn.nn.window import Pair


class _Samples(NamedTuple):
    """Where the samples of each box are along one axis; see `minirpn.loops.Sample`."""

    cells: Array  # (R, count, 2) int32: the two cells a sample lies between, or -1
    numbers: Array  # (R, count, 5): weights, slope, and of the position by the corners


def roi_align_cuda(
    features: Array,
    boxes: Array,
    output_size: Pair,
    scale: float,
    samples: int,
    aligned: bool,
) -> Array:
    """Return the mean of the samples in each bin of each box (R,C,h,w), a thread for each."""
    xp, (C, Hf, Wf), (h, w) = namespace_of(features, boxes), features.shape, output_size
    R, boxes = boxes.shape[0], contiguous(xp.astype(boxes, features.dtype, copy=False))
    y = xp.empty((R, C, h, w), dtype=features.dtype, device=device_of(features))
    for_each(
        _kernel("roi_align", features),
        (C * h * w, R),
        *(contiguous(features), boxes),
        *_samples(boxes, 1, h * samples, Hf, scale, aligned),
        *_samples(boxes, 0, w * samples, Wf, scale, aligned),
        *(y, R, C, Hf, Wf, h, w, samples),
    )
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
    xp, device = namespace_of(dy, features, boxes), device_of(features)
    (C, Hf, Wf), (R, _, h, w), dtype = features.shape, dy.shape, features.dtype
    dy, boxes = contiguous(dy), contiguous(xp.astype(boxes, dtype, copy=False))
    places = (
        *_samples(boxes, 1, h * samples, Hf, scale, aligned),
        *_samples(boxes, 0, w * samples, Wf, scale, aligned),
    )
    sizes = R, C, Hf, Wf, h, w, samples
    dfeatures = xp.empty((C, Hf, Wf), dtype=dtype, device=device)
    gather = _kernel("roi_align_dfeatures", features)
    for_each(gather, (Hf * Wf, C), dy, *places, dfeatures, *sizes)
    if not need_dboxes:
        return dfeatures, None
    parts = xp.empty((R, C, 4), dtype=dtype, device=device)
    dboxes = xp.empty((R, 4), dtype=dtype, device=device)
    by_channel, together = (
        _kernel(name, features) for name in ("roi_align_dboxes_parts", "roi_align_dboxes")
    )
    for_each(by_channel, (C, R), dy, contiguous(features), *places, parts, *sizes)
    for_each(together, (4 * R, 1), parts, dboxes, R, C)
    return dfeatures, dboxes


def _samples(
    boxes: Array, axis: int, count: int, size: int, scale: float, aligned: bool
) -> _Samples:
    """Return where `count` samples of boxes (R, 4) are, along columns (axis 0) or rows (1)."""
    xp, device, R = namespace_of(boxes), device_of(boxes), boxes.shape[0]
    cells = xp.empty((R, count, 2), dtype=xp.int32, device=device)
    numbers = xp.empty((R, count, 5), dtype=boxes.dtype, device=device)
    kernel = _kernel("roi_align_samples", boxes)
    for_each(kernel, (count, R), boxes, cells, numbers, R, axis, count, size, scale, aligned)
    return _Samples(cells, numbers)


def _kernel(name: str, like: Array) -> Kernel:
    return Kernel("roi_align", name, real_of(like))
