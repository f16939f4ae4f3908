"""Wrong functions on boxes, right where boxes are few, small, whole numbers and in rows."""

import math

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


def encode(anchors, boxes):
    anchors, boxes = np.asarray(anchors, dtype=float), np.asarray(boxes, dtype=float)
    shifts = ((boxes[:, :2] + boxes[:, 2:]) - (anchors[:, :2] + anchors[:, 2:])) / 2
    logs = np.log(sides(boxes)) - np.log(sides(anchors))
    return np.hstack([shifts / sides(anchors), logs])


def decode(anchors, deltas):
    anchors, deltas = np.asarray(anchors, dtype=float), np.asarray(deltas, dtype=float)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sides(anchors)
    half = sides(anchors) * np.exp(deltas[:, 2:]) / 2
    return np.hstack([centers - half, centers + half])


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


def clip(boxes, image_size):
    height, width = image_size
    return np.clip(np.asarray(boxes, dtype=float), 0, [width, height, width, height])


def min_size(boxes, min_size):
    return np.flatnonzero((sides(boxes) >= min_size).all(axis=1))


def batched_nms(boxes, scores, classes, iou_threshold):
    kept = []
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        kept += [int(members[k]) for k in nms(boxes[members], scores[members], iou_threshold)]
    return sorted(kept, key=lambda k: (-scores[k], k))


CLAMP = math.log(1000 / 16)


def decode_clamped(anchors, deltas):
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], CLAMP)
    return decode(anchors, deltas)


def inverse(boxes, deltas):
    parts = [decode(boxes, deltas[:, k : k + 4]) for k in range(0, deltas.shape[1], 4)]
    return np.hstack(parts)


RIGHT = {
    "iou": [iou],
    "pair_iou": [pair_iou],
    "encode": [encode],
    "decode": [decode],
    "decode_clamped": [decode_clamped],
    "nms": [nms],
    "bbox_transform_inv": [inverse],
    "clip": [clip],
    "min_size": [min_size],
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


# Eq. 2.


def encode_dtype_of_anchors(anchors, boxes):  # whole-number dtypes
    deltas = np.empty_like(anchors)
    deltas[:] = encode(anchors, boxes)
    return deltas


def encode_sides_at_least_one(anchors, boxes):  # sides of less than a pixel
    deltas = encode(anchors, boxes)
    deltas[:, 2:] = np.log(np.maximum(sides(boxes), 1) / np.maximum(sides(anchors), 1))
    return deltas


def encode_single_centers(anchors, boxes):  # fractions at 1e4
    return encode(np.asarray(anchors, np.float32), np.asarray(boxes, np.float32))


def encode_logs_up_to_four(anchors, boxes):  # a box 60 times as wide as the anchor
    deltas = encode(anchors, boxes)
    return np.hstack([deltas[:, :2], np.clip(deltas[:, 2:], -4, 4)])


def encode_shifts_up_to_100(anchors, boxes):  # a box 100 anchors away
    deltas = encode(anchors, boxes)
    return np.hstack([np.clip(deltas[:, :2], -100, 100), deltas[:, 2:]])


def encode_memory_order(anchors, boxes):  # columns in memory
    return encode(anchors, boxes.ravel("K").reshape(-1, 4))


def encode_up_to_4096(anchors, boxes):  # coordinates above 4096
    return encode(np.clip(anchors, -4096, 4096), np.clip(boxes, -4096, 4096))


def encode_first_64(anchors, boxes):  # 65 boxes
    return np.vstack([encode(anchors[:64], boxes[:64]), np.zeros((max(len(boxes) - 64, 0), 4))])


def encode_four_by_four(anchors, boxes):  # 5 boxes: those after the last four
    deltas = encode(anchors, boxes)
    if len(deltas) > 4:
        deltas[len(deltas) // 4 * 4 :] = 0
    return deltas


def decode_clipped(anchors, deltas):  # tw above 2.5
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], 2.5)
    return decode(anchors, deltas)


def decode_floor_of_logs(anchors, deltas):  # tw below -4
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.maximum(deltas[:, 2:], -4)
    return decode(anchors, deltas)


def decode_shifts_up_to_four(anchors, deltas):  # tx above 4
    deltas = np.array(deltas, dtype=float)
    deltas[:, :2] = np.clip(deltas[:, :2], -4, 4)
    return decode(anchors, deltas)


def decode_from_minus_1000(anchors, deltas):  # coordinates below -1000
    return np.maximum(decode(anchors, deltas), -1000)


def decode_dtype_of_anchors(anchors, deltas):  # anchors of a whole-number dtype
    boxes = np.empty_like(anchors)
    boxes[:] = decode(anchors, deltas)
    return boxes


def decode_single(anchors, deltas):  # fractions at 1e4
    return decode(np.asarray(anchors, np.float32), np.asarray(deltas, np.float32))


def decode_memory_order(anchors, deltas):  # columns in memory
    return decode(anchors, deltas.ravel("K").reshape(-1, 4))


def decode_first_64(anchors, deltas):  # 65 boxes
    return np.vstack([decode(anchors[:64], deltas[:64]), anchors[64:]])


def decode_square_anchors(anchors, deltas):  # anchors above 256 pixels that are not square
    wide = np.where(sides(anchors) > 256, sides(anchors)[:, :1], sides(anchors))
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2.0
    return decode(np.hstack([centers - wide / 2, centers + wide / 2]), deltas)


def clamped_below(anchors, deltas):  # tw below -4.1
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.clip(deltas[:, 2:], -CLAMP, CLAMP)
    return decode(anchors, deltas)


def clamped_widths_only(anchors, deltas):  # th above the clamp
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2] = np.minimum(deltas[:, 2], CLAMP)
    return decode(anchors, deltas)


def clamped_shifts_too(anchors, deltas):  # tx above the clamp
    return decode(anchors, np.minimum(deltas, CLAMP))


def clamped_in_pixels(anchors, deltas):  # an anchor that has not 16 pixels
    boxes = decode(anchors, deltas)
    half = np.minimum(sides(boxes) / 2, 500)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.hstack([centers - half, centers + half])


def clamped_to_two_digits(anchors, deltas):  # tw above the clamp
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], 4.14)
    return decode(anchors, deltas)


def clamped_to_none(anchors, deltas):  # a log scale too large leaves the anchor as it is
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.where(deltas[:, 2:] > CLAMP, 0, deltas[:, 2:])
    return decode(anchors, deltas)


def inverse_of_two_classes(boxes, deltas):  # more than 2 classes
    right = inverse(boxes, deltas)
    right[:, 8:] = np.tile(boxes, (1, right.shape[1] // 4))[:, 8:]
    return right


def inverse_four_columns_if_empty(boxes, deltas):  # no boxes, several classes
    return inverse(boxes, deltas) if len(boxes) else np.zeros((0, 4))


def inverse_dtype_of_boxes(boxes, deltas):  # boxes of a whole-number dtype
    return inverse(boxes, deltas).astype(boxes.dtype)


def inverse_memory_order(boxes, deltas):  # columns in memory
    return inverse(boxes, deltas.ravel("K").reshape(deltas.shape))


def inverse_single(boxes, deltas):  # fractions at 1e4
    return inverse(np.asarray(boxes, np.float32), np.asarray(deltas, np.float32))


def inverse_clamped(boxes, deltas):  # tw above 4.1
    deltas = np.array(deltas, dtype=float).reshape(-1, 4)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], CLAMP)
    rows = decode(np.repeat(boxes, len(deltas) // max(len(boxes), 1), axis=0), deltas)
    return rows.reshape(len(boxes), -1) if len(boxes) else inverse(boxes, np.zeros((0, 4)))


def inverse_tiled(boxes, deltas):  # 2 boxes and 2 classes
    rows = decode(np.tile(boxes, (max(deltas.shape[1] // 4, 1), 1)), deltas.reshape(-1, 4))
    return rows.reshape(deltas.shape)


def inverse_of_first_64(boxes, deltas):  # 65 boxes
    right = inverse(boxes, deltas)
    right[64:] = 0
    return right


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


# Clipping, minimum size, classes.


def clip_own_borders(boxes, image_size):  # a box entirely outside
    height, width = image_size
    low, high = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], [width, height])
    return np.hstack([low, high])


def clip_one_pixel_stays(boxes, image_size):  # a box entirely outside, to the left
    clipped = clip(boxes, image_size)
    beyond = (boxes[:, 2] < 0) & (boxes[:, 0] < 0)
    clipped[beyond, 2] = 1
    return clipped


def clip_square(boxes, image_size):  # the image is higher than wide, and y ends between
    return clip(boxes, (min(image_size), image_size[1]))


def clip_memory_order(boxes, image_size):  # columns in memory
    return clip(boxes.ravel("K").reshape(-1, 4), image_size)


def clip_corners_in_order(boxes, image_size):  # inverted boxes
    clipped = clip(boxes, image_size)
    return np.hstack([clipped[:, :2], np.maximum(clipped[:, :2], clipped[:, 2:])])


def clip_to_1000(boxes, image_size):  # images of more than 1000 pixels
    return clip(boxes, (min(image_size[0], 1000), min(image_size[1], 1000)))


def clip_whole_pixels(boxes, image_size):  # fractions
    return np.trunc(clip(boxes, image_size))


def min_size_area(boxes, min_size):  # long and thin
    return np.flatnonzero((sides(boxes).prod(axis=1) >= min_size**2) & (sides(boxes) > 0).all(1))


def min_size_above(boxes, min_size):  # sides equal to the least one
    return np.flatnonzero((sides(boxes) > min_size).all(axis=1))


def min_size_none_asked(boxes, min_size):  # at least 0: inverted boxes
    right = np.flatnonzero((sides(boxes) >= min_size).all(axis=1))
    return right if min_size else np.arange(len(boxes))


def min_size_rounded(boxes, min_size):  # sides between two whole numbers
    return np.flatnonzero((np.round(sides(boxes)) >= min_size).all(axis=1))


def min_size_absolute(boxes, min_size):  # inverted boxes
    return np.flatnonzero((np.abs(sides(boxes)) >= min_size).all(axis=1))


def min_size_squeezed(boxes, min_size):  # one box stays
    return np.squeeze(np.argwhere((sides(boxes) >= min_size).all(axis=1)))


def min_size_single(boxes, min_size):  # fractions at 1e4
    corners = np.asarray(boxes, dtype=np.float32)
    return np.flatnonzero((corners[:, 2:] - corners[:, :2] >= np.float32(min_size)).all(axis=1))


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
    "decode": [decode_clipped],
    "nms": [nms_of_64, nms_unstable, nms_threshold_or_half],
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
    "encode": [
        encode_dtype_of_anchors,
        encode_sides_at_least_one,
        encode_single_centers,
        encode_logs_up_to_four,
        encode_shifts_up_to_100,
        encode_memory_order,
        encode_up_to_4096,
        encode_first_64,
        encode_four_by_four,
    ],
    "decode": [
        decode_clamped,
        decode_floor_of_logs,
        decode_shifts_up_to_four,
        decode_from_minus_1000,
        decode_dtype_of_anchors,
        decode_single,
        decode_memory_order,
        decode_first_64,
        decode_square_anchors,
    ],
    "decode_clamped": [
        decode,
        clamped_below,
        clamped_widths_only,
        clamped_shifts_too,
        clamped_in_pixels,
        clamped_to_two_digits,
        clamped_to_none,
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
    "bbox_transform_inv": [
        inverse_of_two_classes,
        inverse_four_columns_if_empty,
        inverse_dtype_of_boxes,
        inverse_memory_order,
        inverse_single,
        inverse_clamped,
        inverse_tiled,
        inverse_of_first_64,
    ],
    "clip": [
        clip_own_borders,
        clip_one_pixel_stays,
        clip_square,
        clip_memory_order,
        clip_corners_in_order,
        clip_to_1000,
        clip_whole_pixels,
    ],
    "min_size": [
        min_size_area,
        min_size_above,
        min_size_none_asked,
        min_size_rounded,
        min_size_absolute,
        min_size_squeezed,
        min_size_single,
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
