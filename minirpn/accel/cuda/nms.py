"""Launches ``nms.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import (
    THREADS,
    Kernel,
    contiguous,
    for_each,
    real_of,
)
from minirpn.backend import device_of, namespace_of, to_host

WORD = 64  # boxes, a bit each
# Words in the mask at most, 64 MiB: what is above some 23,000 boxes goes in several runs. But a run
# has at least the boxes of one word, whatever its mask takes.
MASK_WORDS = 8 * 2**20


def nms_cuda(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay, run by run; see `minirpn.loops.nms`.

    The host waits once, at the end, for one number: how many have stayed.
    """
    xp, device, N = namespace_of(boxes), device_of(boxes), boxes.shape[0]
    dtype, words, most = real_of(boxes), -(-N // WORD), min(max_keep, N)
    kept = xp.empty(most, dtype=xp.int64, device=device)
    if most == 0:
        return kept
    boxes = contiguous(boxes)
    # NumPy compares an array with a Python float in the array's dtype; so must the kernel.
    threshold = boxes.dtype.type(iou_threshold)
    mask_words = min(max(MASK_WORDS, WORD * words), WORD * words * words)
    mask = xp.empty(mask_words, dtype=xp.uint64, device=device)
    gone = xp.zeros(words, dtype=xp.uint64, device=device)
    stayed = xp.zeros(1, dtype=xp.int32, device=device)
    compare, settle = (Kernel("nms", name, dtype) for name in ("nms_mask", "nms_settle"))
    first = 0
    while first < N:
        width = words - first // WORD  # of the mask: the words of the run's boxes and those behind
        rows = min(mask_words // (WORD * width) * WORD, N - first)
        run = words, first, rows, most
        for_each(compare, (rows, width), boxes, gone, stayed, mask, N, *run, threshold)
        for_each(settle, (THREADS, 1), mask, gone, kept, stayed, *run)  # one block
        first += rows
    return kept[: to_host(stayed)[0].item()]
