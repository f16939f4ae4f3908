"""Launches ``nms.cu``."""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of, to_host
from minirpn.kernels.cuda._load import Kernel, Launch, contiguous, for_each, on_device

WORD = 64  # boxes, a bit each
# Boxes that are compared with all behind them at once, whole words of them. More would be compared
# in vain when enough have stayed; fewer would make more launches.
TILE = 8 * WORD


def nms_cuda(
    boxes: Array, iou_threshold: float, max_keep: int, *, launch: Launch = on_device
) -> Array:
    """Return which boxes stay, tile by tile, until enough have; see `nms_loops`.

    After each tile a number travels to the host: how many have stayed.
    """
    xp, device, N = namespace_of(boxes), device_of(boxes), boxes.shape[0]
    dtype, words, most = str(boxes.dtype), -(-N // WORD), min(max_keep, N)
    boxes = contiguous(boxes)
    # NumPy compares an array with a Python float in the array's dtype; so must the kernel.
    threshold = boxes.dtype.type(iou_threshold)
    mask = xp.empty(words * min(TILE, N), dtype=xp.uint64, device=device)
    gone = xp.zeros(words, dtype=xp.uint64, device=device)
    kept = xp.empty(most, dtype=xp.int64, device=device)
    count = xp.zeros(2, dtype=xp.int32, device=device)  # stayed before the tile, and with it
    compare, settle, spread = (
        Kernel("nms", name, dtype) for name in ("nms_mask", "nms_settle", "nms_spread")
    )
    stayed = 0
    for first in range(0, N, TILE):
        if stayed == most:
            break
        rows = min(TILE, N - first)
        size = rows, words - first // WORD
        for_each(launch, compare, size, boxes, gone, mask, N, words, first, rows, threshold)
        for_each(launch, settle, (1, 1), mask, gone, kept, count, first, rows, most)
        behind = max(words - (first + TILE) // WORD, 0)
        for_each(launch, spread, (behind, 1), mask, gone, kept, count, words, first, rows)
        stayed = to_host(count)[1].item()
    return kept[:stayed]
