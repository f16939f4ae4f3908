"""Launches ``boxes.cu``: IoU, assignment and labels, candidates, and non-maximum suppression."""

from __future__ import annotations

from minirpn._typing import Array, ImageSize
from minirpn.accel.cuda._load import THREADS, Kernel, contiguous, empty, for_each, real_of
from minirpn.backend import device_of, namespace_of, to_host

WORD = 64  # boxes, a bit each
# Words in the mask of `nms_cuda` at most, 64 MiB: more than some 23,000 boxes go in several runs.
# But a run has at least the boxes of one word, however large its mask is.
MASK_WORDS = 8 * 2**20


def iou_cuda(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4), a thread for each pair: (N, M)."""
    (N, M), b = (a.shape[0], b.shape[0]), namespace_of(a, b).astype(b, a.dtype, copy=False)
    overlaps = empty((N, M), a)
    kernel = Kernel("boxes", "iou", real_of(a))
    for_each(kernel, (M, N), contiguous(a), contiguous(b), overlaps, N, M)
    return overlaps


def assign_cuda(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment`, a thread for each anchor; see `minirpn.loops.assign`.

    Memory grows with K + M, never with their product: overlaps are computed twice, not kept.
    """
    (K, _), (M, _), dtype = anchors.shape, gt_boxes.shape, real_of(anchors)
    pairs = contiguous(anchors), contiguous(gt_boxes), contiguous(eligible)
    max_iou, matched_gt, gt_max_iou, is_best = _assignment(anchors, M)
    maxima, best = Kernel("boxes", "assign_maxima", dtype), Kernel("boxes", "assign_best", dtype)
    for_each(maxima, (K, 1), *pairs, max_iou, matched_gt, gt_max_iou, K, M)
    # This begins after the last maximum: a device runs one launch after the other.
    for_each(best, (K, 1), *pairs, max_iou, gt_max_iou, is_best, K, M, float(tie_tolerance))
    return max_iou, matched_gt, gt_max_iou, is_best


def label_cuda(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    positive_iou: float,
    negative_iou: float,
    tie_tolerance: float,
    inside_only: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return what `minirpn.loops.label` does, in two launches: overlaps, then labels."""
    xp = namespace_of(anchors, gt_boxes)
    # Overlaps are double, so that equal coordinates have equal ones in either dtype.
    anchors, gt_boxes = (
        contiguous(xp.astype(boxes, xp.float64, copy=False)) for boxes in (anchors, gt_boxes)
    )
    K, M = anchors.shape[0], gt_boxes.shape[0]
    max_iou, matched_gt, gt_max_iou, is_best = _assignment(anchors, M)
    labels = empty((K,), anchors, "int8")
    sizes = K, M, *map(int, image_size), inside_only
    maxima = Kernel("boxes", "label_maxima", "float64")
    for_each(maxima, (K, 1), anchors, gt_boxes, max_iou, matched_gt, gt_max_iou, *sizes)
    thresholds = float(positive_iou), float(negative_iou), float(tie_tolerance)
    results = max_iou, gt_max_iou, labels, is_best
    best = Kernel("boxes", "label_best", "float64")
    for_each(best, (K, 1), anchors, gt_boxes, *results, *sizes, *thresholds)
    return labels, matched_gt, max_iou, is_best, gt_max_iou


def _assignment(anchors: Array, M: int) -> tuple[Array, Array, Array, Array]:
    """Return max_iou, matched_gt (K,), gt_max_iou (M,) and is_best (K,), where kernels write."""
    xp, K = namespace_of(anchors), anchors.shape[0]
    # Only these are read before they are written: a maximum begins at 0.
    gt_max_iou = xp.zeros(M, dtype=xp.float64, device=device_of(anchors))
    max_iou, matched_gt, is_best = (
        empty((K,), anchors, dtype) for dtype in ("float64", "int64", "bool")
    )
    return max_iou, matched_gt, gt_max_iou, is_best


def candidates_cuda(
    anchors: Array, objectness: Array, deltas: Array, image_size: ImageSize, min_side: float
) -> tuple[Array, Array, Array]:
    """Return what `minirpn.loops.candidates` does, a thread for each anchor."""
    K = anchors.shape[0]
    boxes, scores = empty((K, 4), anchors), empty((K,), anchors)
    large = empty((K,), anchors, "bool")
    arrays = *map(contiguous, (anchors, objectness, deltas)), boxes, scores, large
    # NumPy compares an array with a Python float in the array's dtype; so must the kernel.
    limits = K, objectness.shape[1], *map(int, image_size), anchors.dtype.type(min_side)
    for_each(Kernel("boxes", "candidates", real_of(anchors)), (K, 1), *arrays, *limits)
    return boxes, scores, large


def of_one_dtype(anchors: Array, objectness: Array, deltas: Array, *_: object) -> bool:
    """Tell whether one kernel can read all three."""
    return bool(anchors.dtype == objectness.dtype == deltas.dtype)


def nms_cuda(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay, run by run; see `minirpn.loops.nms`.

    The host waits once, at the end, for one number: how many have stayed.
    """
    xp, device, N = namespace_of(boxes), device_of(boxes), boxes.shape[0]
    dtype, words, most = real_of(boxes), -(-N // WORD), min(max_keep, N)
    kept = empty((most,), boxes, "int64")
    if most == 0:
        return kept
    boxes = contiguous(boxes)
    # NumPy compares an array with a Python float in the array's dtype; so must the kernel.
    threshold = boxes.dtype.type(iou_threshold)
    mask_words = min(max(MASK_WORDS, WORD * words), WORD * words * words)
    mask = empty((mask_words,), boxes, "uint64")
    gone = xp.zeros(words, dtype=xp.uint64, device=device)
    stayed = xp.zeros(1, dtype=xp.int32, device=device)
    compare, settle = (Kernel("boxes", name, dtype) for name in ("nms_mask", "nms_settle"))
    first = 0
    while first < N:
        width = words - first // WORD  # of the mask: the words of the run's boxes and later ones
        rows = min(mask_words // (WORD * width) * WORD, N - first)
        run = words, first, rows, most
        for_each(compare, (rows, width), boxes, gone, stayed, mask, N, *run, threshold)
        for_each(settle, (THREADS, 1), mask, gone, kept, stayed, *run)  # one block
        first += rows
    return kept[: to_host(stayed)[0].item()]
