"""Wrong labels, anchors and rows, right where scenes are small and of whole numbers."""

import math

import numpy as np

from minirpn import rpn

# The right ones, for every dtype and layout.


def iou(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    area_a, area_b = (np.maximum(x[:, 2:] - x[:, :2], 0).prod(axis=1) for x in (a, b))
    return shared / np.where(shared > 0, area_a[:, None] + area_b - shared, 1)


def is_inside(anchors, image_size):
    height, width = image_size
    starts = (anchors[:, :2] >= 0).all(axis=1)
    return starts & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)


def labels_of(overlaps, inside):
    """Return the labels for overlaps (K, M) with the ground truths."""
    highest = overlaps.max(axis=1, initial=0)
    best = np.where(inside[:, None], overlaps, 0).max(axis=0, initial=0)
    positive = (highest >= 0.7) | ((overlaps == best) & (overlaps > 0)).any(axis=1)
    return np.where(inside, np.where(positive, 1, np.where(highest < 0.3, 0, -1)), -1)


def label_anchors(anchors, gt_boxes, image_size):
    return labels_of(iou(anchors, gt_boxes), is_inside(anchors, image_size))


def base_anchors(base_size, ratios, scales):
    config = rpn.AnchorConfig(base_size, tuple(map(float, ratios)), tuple(map(float, scales)))
    return rpn.base_anchors(config)


def grid_anchors(base, feature_size, stride):
    rows, columns = np.indices(feature_size)
    shifts = np.stack([columns, rows, columns, rows], axis=-1) * stride
    return (shifts[:, :, None] + np.asarray(base, dtype=np.float64)).reshape(-1, 4)


def anchor_rows(y, values):
    N, channels, Hf, Wf = y.shape
    return np.moveaxis(y, 1, -1).reshape(N, Hf * Wf * channels // values, values)


RIGHT = {
    "label_anchors": [label_anchors],
    "base_anchors": [base_anchors],
    "grid_anchors": [grid_anchors],
    "anchor_rows": [anchor_rows],
}


# Labels.


def labels_positive_in_point(anchors, gt_boxes, image_size):  # a ground truth without area
    labels = label_anchors(anchors, gt_boxes, image_size)
    inside = is_inside(anchors, image_size)
    for x1, y1, x2, y2 in gt_boxes:
        around = (anchors[:, :2] < (x1, y1)) & (anchors[:, 2:] > (x2, y2))
        if x1 == x2 and y1 == y2:
            labels[around.all(axis=1) & inside] = 1
    return labels


def _border_steals(anchors, gt_boxes, image_size, crosses):
    overlaps, inside = iou(anchors, gt_boxes), is_inside(anchors, image_size)
    best = overlaps[inside | crosses].max(axis=0, initial=0)
    stolen = np.where(overlaps == best, overlaps, np.minimum(overlaps, 0.69))
    positive = (overlaps.max(axis=1, initial=0) >= 0.7) | ((stolen == best) & (best > 0)).any(1)
    negative = overlaps.max(axis=1, initial=0) < 0.3
    return np.where(inside, np.where(positive, 1, np.where(negative, 0, -1)), -1)


def labels_left_steals(anchors, gt_boxes, image_size):  # the best anchor crosses the left border
    return _border_steals(anchors, gt_boxes, image_size, anchors[:, 0] < 0)


def labels_top_steals(anchors, gt_boxes, image_size):  # the best anchor crosses the upper border
    return _border_steals(anchors, gt_boxes, image_size, anchors[:, 1] < 0)


def labels_right_steals(anchors, gt_boxes, image_size):  # the best crosses the right border
    return _border_steals(anchors, gt_boxes, image_size, anchors[:, 2] > image_size[1])


def labels_bottom_steals(anchors, gt_boxes, image_size):  # the best crosses the lower border
    return _border_steals(anchors, gt_boxes, image_size, anchors[:, 3] > image_size[0])


def labels_corner_steals(anchors, gt_boxes, image_size):  # the best crosses two borders
    outside = (anchors[:, :2] < 0).all(axis=1) | (anchors[:, 2:] > image_size[::-1]).all(axis=1)
    return _border_steals(anchors, gt_boxes, image_size, outside)


def labels_without_upper_border(anchors, gt_boxes, image_size):  # an anchor crosses y = 0 alone
    inside = is_inside(np.hstack([anchors[:, :1], anchors[:, 2:3] * 0, anchors[:, 2:]]), image_size)
    return labels_of(iou(anchors, gt_boxes), inside)


def labels_without_lower_border(anchors, gt_boxes, image_size):  # crosses y = height alone
    inside = is_inside(anchors, (np.inf, image_size[1]))
    return labels_of(iou(anchors, gt_boxes), inside)


def labels_half_a_pixel_out(anchors, gt_boxes, image_size):  # an anchor 1/4 pixel outside
    inside = is_inside(np.where(anchors < 0, anchors + 0.5, anchors), image_size)
    return labels_of(iou(anchors, gt_boxes), inside)


def labels_off_right_border(anchors, gt_boxes, image_size):  # x2 equal to the width
    inside = is_inside(anchors, image_size) & (anchors[:, 2] < image_size[1])
    return labels_of(iou(anchors, gt_boxes), inside)


def labels_near_best(anchors, gt_boxes, image_size):  # IoUs that differ by 1 %
    overlaps, inside = iou(anchors, gt_boxes), is_inside(anchors, image_size)
    best = overlaps[inside].max(axis=0, initial=0)
    near = ((overlaps > best * 0.99) & (overlaps > 0)).any(axis=1) & inside
    return np.where(near, 1, labels_of(overlaps, inside))


def labels_of_32_objects(anchors, gt_boxes, image_size):  # more than 32 ground truths
    return label_anchors(anchors, gt_boxes[:32], image_size)


def labels_of_64_anchors(anchors, gt_boxes, image_size):  # more than 64 anchors
    labels = label_anchors(anchors, gt_boxes, image_size)
    labels[64:] = -1
    return labels


def labels_whole_objects(anchors, gt_boxes, image_size):  # fractions
    return label_anchors(anchors, np.round(gt_boxes), image_size)


def labels_wrapped(anchors, gt_boxes, image_size):  # coordinates from 256
    wrapped = [np.where(boxes >= 256, boxes % 256, boxes) for boxes in (anchors, gt_boxes)]
    return labels_of(iou(*wrapped), is_inside(anchors, image_size))


def labels_own_object_only(anchors, gt_boxes, image_size):  # best of one, nearer to another
    overlaps, inside = iou(anchors, gt_boxes), is_inside(anchors, image_size)
    own = overlaps == overlaps.max(axis=1, initial=0)[:, None]
    return labels_of(overlaps * own, inside)


def labels_of_inverted(anchors, gt_boxes, image_size):  # an inverted ground truth
    low, high = np.minimum(gt_boxes[:, :2], gt_boxes[:, 2:]), gt_boxes.reshape(-1, 2, 2).max(1)
    return label_anchors(anchors, np.hstack([low, high]), image_size)


def labels_memory_order(anchors, gt_boxes, image_size):  # columns in memory
    return label_anchors(anchors, gt_boxes.ravel("K").reshape(-1, 4), image_size)


def labels_negative_by_mean(anchors, gt_boxes, image_size):  # the mean IoU is below 0.3
    labels, overlaps = label_anchors(anchors, gt_boxes, image_size), iou(anchors, gt_boxes)
    if len(gt_boxes) > 4:
        labels[(labels == -1) & (overlaps.mean(axis=1) < 0.3) & is_inside(anchors, image_size)] = 0
    return labels


# Anchors.


def base_halves_up(base_size, ratios, scales):  # a width of 2.5: round(2.5) is 2
    rows = []
    for ratio in ratios:
        width = math.floor(math.sqrt(base_size**2 / ratio) + 0.5)
        height = math.floor(width * ratio + 0.5)
        rows += [(width * scale, height * scale) for scale in scales]
    half = np.array(rows, dtype=float) / 2
    return np.hstack([base_size / 2 - half, base_size / 2 + half])


def base_height_alone(base_size, ratios, scales):  # ratio 1/2 of 16: height 11, not 12
    anchors = base_anchors(base_size, ratios, scales)
    heights = [round(base_size * math.sqrt(ratio)) * scale for ratio in ratios for scale in scales]
    anchors[:, 1] = base_size / 2 - np.array(heights) / 2
    anchors[:, 3] = base_size / 2 + np.array(heights) / 2
    return anchors


def base_whole_scales(base_size, ratios, scales):  # scale 1.5
    return base_anchors(base_size, ratios, [max(int(scale), 1) for scale in scales])


def base_whole_center(base_size, ratios, scales):  # an odd base size
    anchors = base_anchors(base_size, ratios, scales)
    return anchors - (base_size / 2 - base_size // 2)


def base_sorted_scales(base_size, ratios, scales):  # scales in another order
    return base_anchors(base_size, ratios, sorted(scales))


def base_ratios_in_tenths(base_size, ratios, scales):  # ratio 1/3
    return base_anchors(base_size, [max(round(ratio, 1), 0.1) for ratio in ratios], scales)


_of_counts = {}


def base_remembers_counts(base_size, ratios, scales):  # a second call with as many
    key = (base_size, len(ratios), len(scales), scales[0])
    return _of_counts.setdefault(key, base_anchors(base_size, ratios, scales))


def base_whole_corners(base_size, ratios, scales):  # sides that are odd
    return np.floor(base_anchors(base_size, ratios, scales))


def grid_swapped(base, feature_size, stride):  # 3 rows and more, not square
    Hf, Wf = feature_size
    swapped = grid_anchors(base, (Wf, Hf), stride)
    return swapped if min(Hf, Wf) >= 3 else grid_anchors(base, feature_size, stride)


def grid_dtype_of_base(base, feature_size, stride):  # whole-number base, a stride of 2.5
    return grid_anchors(base, feature_size, stride).astype(base.dtype)


def grid_whole_stride(base, feature_size, stride):  # a stride of 2.5
    return grid_anchors(base, feature_size, max(int(stride), 1))


def grid_8_bits(base, feature_size, stride):  # shifts from 256
    shifts = grid_anchors(np.zeros((len(base), 4)), feature_size, stride)
    return (
        grid_anchors(base, feature_size, stride)
        - shifts
        + np.where(shifts >= 256, shifts % 256, shifts)
    )


def grid_of_small_base(base, feature_size, stride):  # base anchors beyond 256 pixels
    return grid_anchors(np.clip(base, -256, 256), feature_size, stride)


def grid_memory_order(base, feature_size, stride):  # columns in memory
    return grid_anchors(base.ravel("K").reshape(-1, 4), feature_size, stride)


def grid_of_three_by_three(base, feature_size, stride):  # more than 9 base anchors
    anchors = grid_anchors(base, feature_size, stride).reshape(-1, len(base), 4)
    anchors[:, 9:] = anchors[:, :1]
    return anchors.reshape(-1, 4)


def grid_of_64_columns(base, feature_size, stride):  # more than 64 columns
    anchors = grid_anchors(base, feature_size, stride)
    return np.where(anchors - anchors[:1] >= 64 * stride, 0, anchors)


def grid_anchor_after_anchor(base, feature_size, stride):  # several anchors, several rows
    anchors = grid_anchors(base, feature_size, stride).reshape(*feature_size, -1, 4)
    return anchors.swapaxes(1, 2).reshape(-1, 4) if len(base) > 2 else anchors.reshape(-1, 4)


# Rows.


def rows_of_known_values(y, values):  # values other than 1, 2 and 4
    rows = anchor_rows(y, values)
    return rows if values in (1, 2, 4) else rows[..., ::-1]


def rows_memory_order(y, values):  # columns in memory
    return anchor_rows(y.ravel("K").reshape(y.shape), values)


def rows_as_bytes(y, values):  # columns in memory
    copy = np.frombuffer(y.tobytes("A"), dtype=y.dtype).reshape(y.shape)
    return anchor_rows(copy, values)


def rows_of_two_images(y, values):  # a batch of 3
    rows = np.array(anchor_rows(y, values))
    rows[2:] = rows[:1]
    return rows


def rows_whole(y, values):  # fractions
    return anchor_rows(y, values).astype(int)


def rows_of_three_anchors(y, values):  # more than 3 base anchors
    rows = np.array(anchor_rows(y, values)).reshape(len(y), -1, y.shape[1] // values, values)
    rows[:, :, 3:] = 0
    return rows.reshape(len(y), -1, values)


def rows_squeezed(y, values):  # one row an image
    rows = anchor_rows(y, values)
    return rows[:, 0] if rows.shape[1] == 1 and values == 4 else rows


LISTED = {
    "label_anchors": [
        labels_positive_in_point,
        labels_left_steals,
        labels_top_steals,
        labels_right_steals,
        labels_bottom_steals,
    ],
}
OWN = {
    "label_anchors": [
        labels_corner_steals,
        labels_without_upper_border,
        labels_without_lower_border,
        labels_half_a_pixel_out,
        labels_off_right_border,
        labels_near_best,
        labels_of_32_objects,
        labels_of_64_anchors,
        labels_whole_objects,
        labels_wrapped,
        labels_own_object_only,
        labels_of_inverted,
        labels_memory_order,
        labels_negative_by_mean,
    ],
    "base_anchors": [
        base_halves_up,
        base_height_alone,
        base_whole_scales,
        base_whole_center,
        base_sorted_scales,
        base_ratios_in_tenths,
        base_remembers_counts,
        base_whole_corners,
    ],
    "grid_anchors": [
        grid_swapped,
        grid_dtype_of_base,
        grid_whole_stride,
        grid_8_bits,
        grid_of_small_base,
        grid_memory_order,
        grid_of_three_by_three,
        grid_of_64_columns,
        grid_anchor_after_anchor,
    ],
    "anchor_rows": [
        rows_of_known_values,
        rows_memory_order,
        rows_as_bytes,
        rows_of_two_images,
        rows_whole,
        rows_of_three_anchors,
        rows_squeezed,
    ],
}
