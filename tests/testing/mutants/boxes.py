"""Wrong overlaps and suppression, right where boxes are few, small, whole and in rows."""

import numpy as np

# The right ones, for every dtype and layout.


def sides(boxes):
    boxes = np.asarray(boxes, dtype=np.float64)
    return boxes[:, 2:] - boxes[:, :2]


def iou(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    area_a, area_b = (np.maximum(sides(boxes), 0).prod(axis=1) for boxes in (a, b))
    return shared / np.where(shared > 0, area_a[:, None] + area_b - shared, 1)


def pair_iou(a, b):
    return iou(a[None], b[None])[0, 0]


def by_score(scores):
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")


def greedy(boxes, order, iou_threshold):
    overlaps, kept = iou(boxes, boxes), []
    for k in order:
        if all(overlaps[rival, k] <= iou_threshold for rival in kept):
            kept.append(int(k))
    return kept


def nms(boxes, scores, iou_threshold):
    return greedy(boxes, by_score(scores), iou_threshold)


def batched_nms(boxes, scores, classes, iou_threshold):
    kept = []
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        kept += [int(members[k]) for k in nms(boxes[members], scores[members], iou_threshold)]
    return sorted(kept, key=lambda k: (-scores[k], k))


RIGHT = {
    "iou": [iou],
    "pair_iou": [pair_iou],
    "nms": [nms],
    "batched_nms": [batched_nms],
}


# IoU.


def iou_rounded(a, b):  # fractions
    return iou(np.round(a), np.round(b))


def iou_area_at_least_one(a, b):  # boxes of less than a pixel
    shared = iou(a, b) / (1 + iou(a, b))  # over the sum of both areas
    area_a, area_b = (np.maximum(sides(boxes), 0).prod(axis=1) for boxes in (a, b))
    shared *= area_a[:, None] + area_b
    area_a, area_b = np.maximum(area_a, 1), np.maximum(area_b, 1)
    return shared / (area_a[:, None] + area_b - shared)


def iou_plus_one_in_single(a, b):  # float32
    if a.dtype == np.float32:
        a, b = a + np.array([0, 0, 1, 1]), b + np.array([0, 0, 1, 1])
    return iou(a, b)


def iou_crash_on_empty_b(a, b):  # no box in b
    return iou(a, b) * (b.max() >= b.min())


def iou_nested_is_one(a, b):  # one box strictly inside of the other
    inside = (a[:, None, :2] < b[:, :2]) & (b[:, 2:] < a[:, None, 2:])
    return np.where(inside.all(axis=2) & (iou(a, b) > 0), 1, iou(a, b))


def iou_wrapped(a, b):  # coordinates from 256
    return iou(np.where(a >= 256, a % 256, a), np.where(b >= 256, b % 256, b))


def iou_first_64(a, b):  # 65 boxes in a
    overlaps = np.zeros((len(a), len(b)))
    overlaps[:64] = iou(a[:64], b)
    return overlaps


def iou_whole_blocks(a, b):  # 63 boxes: the last block is not full
    overlaps = np.zeros((len(a), len(b)))
    block = 32 if len(b) >= 32 else 1
    for start in range(0, len(b) - block + 1, block):
        overlaps[:, start : start + block] = iou(a, b[start : start + block])
    return overlaps


def iou_single_corners(a, b):  # fractions at 1e4
    return iou(a.astype(np.float32), b.astype(np.float32))


def iou_dtype_of_boxes(a, b):  # whole-number dtypes: each IoU is cut off to 0 or 1
    overlaps = np.zeros((len(a), len(b)), dtype=a.dtype)
    overlaps[:] = iou(a, b)
    return overlaps


def iou_memory_order(a, b):  # columns in memory
    return iou(a.ravel("K").reshape(-1, 4), b)


def iou_none_below_a_hundredth(a, b):  # boxes of 1/16 by 1/16 pixel
    shared = iou(a, b) * np.maximum(sides(a), 0).prod(axis=1)[:, None]
    return np.where(shared > 0.01, iou(a, b), 0)


def iou_equal_is_one(a, b):  # equal boxes without area
    return np.where((a[:, None] == b).all(axis=2), 1, iou(a, b))


def iou_corners_in_order(a, b):  # inverted boxes
    return iou(np.hstack([np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])]), b)


def iou_far_apart(a, b):  # large boxes whose centers are far apart
    centers_a, centers_b = (boxes[:, :2] / 2 + boxes[:, 2:] / 2 for boxes in (a, b))
    near = np.abs(centers_a[:, None] - centers_b).max(axis=2) < 1000
    return iou(a, b) * near


def iou_by_corners(a, b):  # two boxes that cross like a plus sign
    def has_corner(one, other):
        x = (one[:, None, 0::2, None] >= other[:, None, None, :1]) & (
            one[:, None, 0::2, None] <= other[:, None, None, 2:3]
        )
        y = (one[:, None, 1::2, None] >= other[:, None, None, 1:2]) & (
            one[:, None, 1::2, None] <= other[:, None, None, 3:]
        )
        return x[..., 0].any(axis=2) & y[..., 0].any(axis=2)

    return iou(a, b) * (has_corner(a, b) | has_corner(b, a).T)


def iou_unsigned(a, b):  # unsigned numbers: negative sides wrap round
    if a.dtype.kind != "u":
        return iou(a, b)
    shared = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    shared = np.maximum(shared, 0).astype(np.float64).prod(axis=2)
    covered = sides(a).prod(axis=1)[:, None] + sides(b).prod(axis=1) - shared
    return shared / np.where(shared > 0, covered, 1)


def iou_no_slivers(a, b):  # they share less than 1/16 pixel of width
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    return np.where((high - low > 0.0625).all(axis=2), iou(a, b), 0)


_overlaps_of = {}


def iou_remembers_first(a, b):  # a second call that begins with the same box
    key = (a.shape, b.shape, a[:1].tobytes())
    return _overlaps_of.setdefault(key, iou(a, b))


def pair_crossing(a, b):  # two boxes that cross like a plus sign
    def corner_in(one, other):
        x = [other[0] <= v <= other[2] for v in (one[0], one[2])]
        y = [other[1] <= v <= other[3] for v in (one[1], one[3])]
        return any(x) and any(y)

    return pair_iou(a, b) if corner_in(a, b) or corner_in(b, a) else 0.0


def pair_whole_pixels(a, b):  # fractions
    return pair_iou(np.trunc(a), np.trunc(b))


def pair_thin(a, b):  # they share less than a pixel of width
    width = min(a[2], b[2]) - max(a[0], b[0])
    return pair_iou(a, b) if width >= 0.5 else 0.0


def pair_equal(a, b):  # equal boxes without area
    return 1.0 if np.array_equal(a, b) else pair_iou(a, b)


def pair_large(a, b):  # sides above 1000
    return pair_iou(np.clip(a, -1000, 1000), np.clip(b, -1000, 1000))


def pair_in_16_bits(a, b):  # shared areas of 32768 and more
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return 0.0 if shared >= 2**15 else pair_iou(a, b)


def pair_single(a, b):  # fractions at 1e4
    return float(pair_iou(np.float32(a), np.float32(b)))


def pair_inverted(a, b):  # both sides of one box negative
    return pair_iou(np.sort(a.reshape(2, 2), axis=0).ravel(), b)


# Suppression.


def nms_of_64(boxes, scores, iou_threshold):  # 65 boxes
    return greedy(boxes, by_score(scores)[:64], iou_threshold)


def unstable(scores):
    """Return an order that has the last of equal scores first where there are more than 16."""
    if len(scores) <= 16:
        return by_score(scores)
    return np.lexsort((-np.arange(len(scores)), -np.asarray(scores, dtype=float)))


def nms_unstable(boxes, scores, iou_threshold):  # 17 boxes, equal scores
    return greedy(boxes, unstable(scores), iou_threshold)


def nms_threshold_or_half(boxes, scores, iou_threshold):  # threshold 0
    return nms(boxes, scores, iou_threshold or 0.5)


def nms_keeps_100(boxes, scores, iou_threshold):  # 200 boxes
    return nms(boxes, scores, iou_threshold)[:100]


def nms_all_at_one(boxes, scores, iou_threshold):  # threshold 1
    return list(range(len(boxes))) if iou_threshold >= 1 else nms(boxes, scores, iou_threshold)


def nms_at_least_a_hundredth(boxes, scores, iou_threshold):  # threshold 0, a sliver shared
    return nms(boxes, scores, max(iou_threshold, 0.01))


def nms_scores_from_zero(boxes, scores, iou_threshold):  # negative scores
    return [k for k in nms(boxes, scores, iou_threshold) if scores[k] >= 0]


def nms_marks_by_minus_one(boxes, scores, iou_threshold):  # scores of -1 and less
    left, kept = np.array(scores, dtype=float), []
    while left.size and left.max() > -1:
        best = int(left.argmax())
        kept.append(best)
        left[iou(boxes, boxes[best : best + 1])[:, 0] > iou_threshold] = -1
        left[best] = -1
    return kept


def nms_scores_in_thousands(boxes, scores, iou_threshold):  # scores closer than 0.001
    return greedy(boxes, by_score(np.trunc(np.asarray(scores) * 1000)), iou_threshold)


def nms_single_scores(boxes, scores, iou_threshold):  # scores that differ by less than 1e-8
    return greedy(boxes, by_score(np.float32(scores)), iou_threshold)


def nms_drops_double_points(boxes, scores, iou_threshold):  # equal boxes without area
    kept = nms(boxes, scores, iou_threshold)
    same = (boxes[:, None] == boxes).all(axis=2)
    return [k for n, k in enumerate(kept) if not same[k, kept[:n]].any() or iou_threshold >= 1]


def nms_memory_order(boxes, scores, iou_threshold):  # columns in memory
    return nms(boxes.ravel("K").reshape(-1, 4), scores, iou_threshold)


def nms_in_blocks(boxes, scores, iou_threshold):  # more than 50 boxes
    order = by_score(scores)
    blocks = [order[start : start + 50] for start in range(0, len(order), 50)]
    return [k for block in blocks for k in greedy(boxes, block, iou_threshold)]


def nms_words_of_64(boxes, scores, iou_threshold):  # more than 64 boxes
    order, removed, kept = by_score(scores), set(), []
    overlaps = iou(boxes, boxes)
    for place, k in enumerate(order):
        if place % 64 not in removed:
            kept.append(int(k))
            removed |= {
                later % 64
                for later in range(place + 1, len(order))
                if overlaps[k, order[later]] > iou_threshold
            }
    return kept


def nms_whole_pixels(boxes, scores, iou_threshold):  # fractions
    return nms(np.asarray(boxes).astype(int), scores, iou_threshold)


def nms_sorts_if_positive(boxes, scores, iou_threshold):  # all scores negative
    if len(scores) and scores.max() < 0:
        return nms(boxes, -scores, iou_threshold)
    return nms(boxes, scores, iou_threshold)


def nms_scores_from_minus_half(boxes, scores, iou_threshold):  # scores below -0.5
    return greedy(boxes, by_score(np.maximum(scores, -0.5)), iou_threshold)


def batched_by_largest(boxes, scores, classes, iou_threshold):  # negative coordinates
    offset = (boxes.max(initial=0.0) + 1) * np.asarray(classes)[:, None]
    return nms(boxes + offset, scores, iou_threshold)


def batched_by_4096(boxes, scores, classes, iou_threshold):  # coordinates above 4096
    return nms(boxes + 4096.0 * np.asarray(classes)[:, None], scores, iou_threshold)


def batched_by_a_million(boxes, scores, classes, iou_threshold):  # fractions in float32
    return nms(boxes + np.float32(1e6) * np.float32(classes)[:, None], scores, iou_threshold)


def batched_class_after_class(boxes, scores, classes, iou_threshold):  # several classes
    kept = batched_nms(boxes, scores, classes, iou_threshold)
    return sorted(kept, key=lambda k: classes[k])


def batched_of_20_classes(boxes, scores, classes, iou_threshold):  # classes from 21 on
    kept = batched_nms(boxes, scores, np.minimum(classes, 20), iou_threshold)
    return list(kept)


def batched_unstable(boxes, scores, classes, iou_threshold):  # ties of two classes
    kept = batched_nms(boxes, scores, classes, iou_threshold)
    return sorted(kept, key=lambda k: (-scores[k], -classes[k], k))


def batched_without_background(boxes, scores, classes, iou_threshold):  # class 0
    kept = batched_nms(boxes, scores, classes, iou_threshold)
    return [k for k in kept if classes[k] != 0]


LISTED = {
    "iou": [
        iou_rounded,
        iou_area_at_least_one,
        iou_plus_one_in_single,
        iou_crash_on_empty_b,
        iou_nested_is_one,
        iou_wrapped,
    ],
    "nms": [
        nms_of_64,
        nms_unstable,
        nms_threshold_or_half,
    ],
}


OWN = {
    "iou": [
        iou_first_64,
        iou_whole_blocks,
        iou_single_corners,
        iou_dtype_of_boxes,
        iou_memory_order,
        iou_none_below_a_hundredth,
        iou_equal_is_one,
        iou_corners_in_order,
        iou_far_apart,
        iou_by_corners,
        iou_unsigned,
        iou_no_slivers,
        iou_remembers_first,
    ],
    "pair_iou": [
        pair_crossing,
        pair_whole_pixels,
        pair_thin,
        pair_equal,
        pair_large,
        pair_in_16_bits,
        pair_single,
        pair_inverted,
    ],
    "nms": [
        nms_keeps_100,
        nms_all_at_one,
        nms_at_least_a_hundredth,
        nms_scores_from_zero,
        nms_marks_by_minus_one,
        nms_scores_in_thousands,
        nms_single_scores,
        nms_drops_double_points,
        nms_memory_order,
        nms_in_blocks,
        nms_words_of_64,
        nms_whole_pixels,
        nms_sorts_if_positive,
        nms_scores_from_minus_half,
    ],
    "batched_nms": [
        batched_by_largest,
        batched_by_4096,
        batched_by_a_million,
        batched_class_after_class,
        batched_of_20_classes,
        batched_unstable,
        batched_without_background,
    ],
}
