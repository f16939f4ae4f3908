"""IoU, non-maximum suppression and assignment: compiled loops that run in vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share

# Pairs in one piece of work of `iou`. Fewer are not worth waking a second thread.
PIECE = 2**20
# Kept boxes that `nms` compares a candidate with before it checks whether one of them covers it.
KEPT_BLOCK = 64
# Anchors in a block of `assign`: their columns stay in the first-level cache. With more, fewer
# blocks can be passed over.
ANCHOR_BLOCK = 64
ZERO = np.float32(0)  # does not widen the dtype of a result


def vector_iou(
    x1: float, y1: float, x2: float, y2: float, area: float, box: Any, box_area: float
) -> Any:
    """Return the IoU of a box given by coordinates and area with `box` (4,).

    The results are those of `pair_iou`, but without a branch. So a loop over boxes whose
    coordinates lie in one array each compiles to vectors.
    """
    width = min(x2, box[2]) - max(x1, box[0])
    height = min(y2, box[3]) - max(y1, box[1])
    shared = width * height
    covered = area + box_area - shared
    overlaps = (width > 0) & (height > 0) & (shared > 0) & (covered > 0)  # false for a NaN
    # Computed in any case, and not used where the boxes share nothing.
    overlap = shared / covered
    return overlap if overlaps else ZERO


def iou_rows(a: Array, columns: Array, overlaps: Array) -> None:
    """Write the IoU of a (N, 4) and of boxes in `columns` x1, y1, x2, y2 and area (5, M)."""
    x1, y1, x2, y2, areas = columns[0], columns[1], columns[2], columns[3], columns[4]
    for n in range(len(a)):
        box, row = a[n], overlaps[n]
        area = (box[2] - box[0]) * (box[3] - box[1])
        for m in range(len(row)):
            row[m] = vector_iou(x1[m], y1[m], x2[m], y2[m], areas[m], box, area)


_iou_rows = compiled(iou_rows, vector_iou)


def iou_numba(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4): (N, M)."""
    a, columns = np.ascontiguousarray(a), as_columns(b)
    overlaps = np.empty((len(a), len(b)), a.dtype)
    step = max(1, PIECE // max(1, len(b)))
    if len(a) <= step:
        _iou_rows(a, columns, overlaps)
        return overlaps
    starts = range(0, len(a), step)
    share(lambda n: _iou_rows(a[n : n + step], columns, overlaps[n : n + step]), starts)
    return overlaps


def as_columns(boxes: Array) -> Array:
    """Return x1, y1, x2, y2 and area of boxes (M, 4) as the rows of one array (5, M)."""
    columns = np.empty((5, len(boxes)), boxes.dtype)
    columns[:4] = boxes.T
    columns[4] = (columns[2] - columns[0]) * (columns[3] - columns[1])
    return columns


def nms_blocks(boxes: Array, iou_threshold: float, kept: Array, kept_columns: Array) -> int:
    """Write which boxes stay into `kept` and return how many do; as `minirpn.loops.nms`.

    A candidate is compared with a whole block of kept boxes, in vectors: these are more
    comparisons, but faster. The kept boxes lie in `kept_columns` x1, y1, x2, y2 and area (5,
    max_keep).
    """
    x1, y1, x2, y2 = kept_columns[0], kept_columns[1], kept_columns[2], kept_columns[3]
    areas = kept_columns[4]
    count = 0
    for candidate in range(len(boxes)):
        if count == len(kept):
            break
        box = boxes[candidate]
        area = (box[2] - box[0]) * (box[3] - box[1])
        covering = 0
        for start in range(0, count, KEPT_BLOCK):
            for k in range(start, min(start + KEPT_BLOCK, count)):
                overlap = vector_iou(x1[k], y1[k], x2[k], y2[k], areas[k], box, area)
                covering += overlap > iou_threshold
            if covering:
                break
        if not covering:
            kept[count] = candidate
            x1[count], y1[count], x2[count], y2[count] = box
            areas[count] = area
            count += 1
    return count


_nms_blocks = compiled(nms_blocks, vector_iou)


def nms_numba(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay; see `minirpn.loops.nms`."""
    # NumPy compares an array with a Python float in the array's dtype; so must the machine code.
    threshold = boxes.dtype.type(iou_threshold)
    kept = np.empty(min(max_keep, len(boxes)), np.int64)
    columns = np.empty((5, len(kept)), boxes.dtype)
    count = _nms_blocks(np.ascontiguousarray(boxes), threshold, kept, columns)
    return kept[:count]


def assign_blocks(
    anchors: Array,
    gt_boxes: Array,
    eligible: Array,
    tie_tolerance: float,
    max_iou: Array,
    matched_gt: Array,
    gt_max_iou: Array,
    is_best: Array,
    near: Array,
    first_near: Array,
) -> None:
    """Write the fields of `Assignment` into the four before `near`; as `minirpn.loops.assign`.

    A block of anchors is compared with one ground truth after the other, in vectors. A division
    takes longer than all the rest of an IoU, and few pairs need one. A first look without it
    finds the blocks in which an IoU may be a new maximum: rounding keeps the order of numbers, so
    shared / covered > best is never true without shared >= best * covered, rounded as it is here.

    The last two are room to work in, all 0. `near` (blocks, M) tells in which blocks an anchor
    comes close to the best of a ground truth, and `first_near` (M,) which of them is the first
    that counts; the second pass visits these blocks alone. The four before are 0 too, but
    `matched_gt` is -1 if there is no ground truth.
    """
    # Here, where the compiler sees that no other array shares their memory.
    columns = np.empty((6, ANCHOR_BLOCK))
    x1, y1, x2, y2, areas = columns[0], columns[1], columns[2], columns[3], columns[4]
    overlaps = columns[5]
    for b in range(len(near)):
        start = b * ANCHOR_BLOCK
        count = min(ANCHOR_BLOCK, len(anchors) - start)
        own = slice(start, start + count)
        best_iou, match, can_be_best = max_iou[own], matched_gt[own], eligible[own]
        for k in range(count):
            box = anchors[start + k]
            x1[k], y1[k], x2[k], y2[k] = box[0], box[1], box[2], box[3]
            areas[k] = (x2[k] - x1[k]) * (y2[k] - y1[k])
        for m in range(len(gt_boxes)):
            # Numbers, not a view of the array: a loop that writes need not read them again.
            box = gt_boxes[m, 0], gt_boxes[m, 1], gt_boxes[m, 2], gt_boxes[m, 3]
            area = (box[2] - box[0]) * (box[3] - box[1])
            # A little lower than what ties: a quotient may have been rounded up to it.
            reach = (gt_max_iou[m] - tie_tolerance) * (1 - 1e-15) - 1e-300
            improving, reaching = 0, 0
            for k in range(count):
                width = min(x2[k], box[2]) - max(x1[k], box[0])
                shared = (width if width > 0 else 0.0) * (min(y2[k], box[3]) - max(y1[k], box[1]))
                covered = areas[k] + area - shared
                improving += (shared > 0) & (shared >= best_iou[k] * covered)
                reaching += (shared > 0) & (shared >= reach * covered) & can_be_best[k]
            if not improving and not reaching:
                continue
            for k in range(count):
                overlap = vector_iou(x1[k], y1[k], x2[k], y2[k], areas[k], box, area)
                match[k] = m if overlap > best_iou[k] else match[k]
                best_iou[k] = overlap if overlap > best_iou[k] else best_iou[k]
                overlaps[k] = overlap if can_be_best[k] else 0.0
            if reaching:
                near[b, m] = True
                best = 0.0
                for k in range(count):
                    best = max(best, overlaps[k])
                if best - tie_tolerance > gt_max_iou[m]:
                    first_near[m] = b  # in all blocks before it, the overlaps are too small
                gt_max_iou[m] = max(best, gt_max_iou[m])

    for m in range(len(gt_boxes)):
        box = gt_boxes[m, 0], gt_boxes[m, 1], gt_boxes[m, 2], gt_boxes[m, 3]
        area = (box[2] - box[0]) * (box[3] - box[1])
        enough = gt_max_iou[m] - tie_tolerance
        for b in range(first_near[m], len(near)):
            if not near[b, m]:
                continue
            start = b * ANCHOR_BLOCK
            for k in range(start, min(start + ANCHOR_BLOCK, len(anchors))):
                own_box = anchors[k]
                own_area = (own_box[2] - own_box[0]) * (own_box[3] - own_box[1])
                overlap = vector_iou(
                    own_box[0], own_box[1], own_box[2], own_box[3], own_area, box, area
                )
                is_best[k] |= eligible[k] & (overlap > 0) & (overlap >= enough)


_assign_blocks = compiled(assign_blocks, vector_iou)


def assign_numba(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment`; see `minirpn.loops.assign`."""
    K, M = len(anchors), len(gt_boxes)
    matched_gt = np.full(K, 0 if M else -1, np.int64)
    results = np.zeros(K), matched_gt, np.zeros(M), np.zeros(K, np.bool_)
    near = np.zeros((-(-K // ANCHOR_BLOCK), M), np.bool_)  # a byte for ANCHOR_BLOCK pairs
    _assign_blocks(
        *map(np.ascontiguousarray, (anchors, gt_boxes, eligible)),
        float(tie_tolerance),
        *results,
        near,
        np.zeros(M, np.int64),
    )
    return results
