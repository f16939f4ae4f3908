"""Right and wrong functions on boxes: several styles of each, and mistakes without a hint."""

import math

import numpy as np

from minirpn import boxes, rpn


def loops_decode(anchors, deltas):
    decoded = np.zeros((len(anchors), 4))
    for n, ((x1, y1, x2, y2), (tx, ty, tw, th)) in enumerate(zip(anchors, deltas, strict=True)):
        w, h = (x2 - x1) * math.exp(tw), (y2 - y1) * math.exp(th)
        x, y = (x1 + x2) / 2 + tx * (x2 - x1), (y1 + y2) / 2 + ty * (y2 - y1)
        decoded[n] = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    return decoded


def released_transform_inv(rois, deltas):
    """py-faster-rcnn's, without its + 1: every fourth column at once."""
    if rois.shape[0] == 0:
        return np.zeros((0, deltas.shape[1]), dtype=deltas.dtype)
    widths, heights = rois[:, 2] - rois[:, 0], rois[:, 3] - rois[:, 1]
    x = deltas[:, 0::4] * widths[:, None] + (rois[:, 0] + 0.5 * widths)[:, None]
    y = deltas[:, 1::4] * heights[:, None] + (rois[:, 1] + 0.5 * heights)[:, None]
    w = np.exp(deltas[:, 2::4]) * widths[:, None]
    h = np.exp(deltas[:, 3::4]) * heights[:, None]
    decoded = np.zeros(deltas.shape)
    decoded[:, 0::4], decoded[:, 1::4] = x - 0.5 * w, y - 0.5 * h
    decoded[:, 2::4], decoded[:, 3::4] = x + 0.5 * w, y + 0.5 * h
    return decoded


def loops_transform_inv(rois, deltas):
    rows = []
    for roi, row in zip(rois, deltas, strict=True):
        parts = [loops_decode(roi[None], row[None, k : k + 4])[0] for k in range(0, len(row), 4)]
        rows.append(np.concatenate(parts))
    return rows


def library_transform_inv(rois, deltas):
    decoded = boxes.decode(rois[:, None], deltas.reshape(len(rois), deltas.shape[1] // 4, 4))
    return decoded.reshape(deltas.shape)


def torch_transform_inv(rois, deltas):
    import torch

    rois, deltas = torch.tensor(rois), torch.tensor(deltas, requires_grad=True)
    sides = rois[:, None, 2:] - rois[:, None, :2]
    shifts, logs = deltas.reshape(len(rois), deltas.shape[1] // 4, 4).split(2, dim=2)
    centers, half = rois[:, None, :2] + sides / 2 + shifts * sides, sides * torch.exp(logs) / 2
    return torch.cat([centers - half, centers + half], dim=2).reshape(deltas.shape)


def loops_limited_decode(anchors, deltas):
    limited = [(tx, ty, min(tw, 2.5), min(th, 2.5)) for tx, ty, tw, th in deltas]
    return loops_decode(anchors, limited)


def library_limited_decode(anchors, deltas):
    return boxes.decode(anchors, deltas, max_log_scale=2.5)


def columns_clip(candidates, image_size):
    height, width = image_size
    clipped = candidates.copy()
    clipped[:, 0::2] = np.clip(candidates[:, 0::2], 0, width)
    clipped[:, 1::2] = np.clip(candidates[:, 1::2], 0, height)
    return clipped


def released_clip(candidates, image_size):
    clipped = np.zeros(candidates.shape, dtype=candidates.dtype)
    for column in range(4):
        far = image_size[1 - column % 2]
        clipped[:, column] = np.maximum(np.minimum(candidates[:, column], far), 0)
    return clipped


def loops_clip(candidates, image_size):
    height, width = image_size
    return [
        [min(max(v, 0), far) for v, far in zip(box, (width, height, width, height), strict=True)]
        for box in candidates.tolist()
    ]


def torch_clip(candidates, image_size):
    import torch

    height, width = image_size
    clipped = torch.tensor(candidates)
    clipped[:, 0::2].clamp_(0, width)
    clipped[:, 1::2].clamp_(0, height)
    return clipped


def where_min_size(candidates, min_size):
    sides = candidates[:, 2:] - candidates[:, :2]
    return np.where((sides[:, 0] >= min_size) & (sides[:, 1] >= min_size))[0]


def where_tuple_min_size(candidates, min_size):
    return np.where((candidates[:, 2:] - candidates[:, :2]).min(axis=1) >= min_size)


def mask_min_size(candidates, min_size):
    return (candidates[:, 2:] - candidates[:, :2] >= min_size).all(axis=1)


def loops_min_size(candidates, min_size):
    kept = []
    for n, (x1, y1, x2, y2) in enumerate(candidates):
        if x2 - x1 >= min_size and y2 - y1 >= min_size:
            kept.append(n)
    return kept


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def epsilon_iou(a, b):
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clip(0).prod(axis=1) for x in (a, b))
    return shared / (area_a[:, None] + area_b - shared + 1e-9)


def epsilon_nms(candidates, scores, iou_threshold):
    overlaps = epsilon_iou(candidates, candidates)
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if all(overlaps[index, other] <= iou_threshold for other in kept):
            kept.append(index)
    return kept


def released_nms(candidates, scores, iou_threshold):
    """py_cpu_nms, without its + 1, with a stable order and an IoU that is never 0/0."""
    x1, y1, x2, y2 = candidates.T
    areas = (x2 - x1) * (y2 - y1)
    order = np.argsort(-scores, kind="stable")
    keep = []
    while order.size > 0:
        i = order[0]
        keep.append(i)
        w = np.maximum(0.0, np.minimum(x2[i], x2[order[1:]]) - np.maximum(x1[i], x1[order[1:]]))
        h = np.maximum(0.0, np.minimum(y2[i], y2[order[1:]]) - np.maximum(y1[i], y1[order[1:]]))
        shared = w * h
        covered = areas[i] + areas[order[1:]] - shared
        ratio = np.where(shared > 0, shared / np.where(shared > 0, covered, 1), 0)
        order = order[1:][ratio <= iou_threshold]
    return keep


def loops_batched_nms(candidates, scores, classes, iou_threshold):
    kept = []
    for index in sorted(range(len(scores)), key=lambda index: -scores[index]):
        rivals = [k for k in kept if classes[k] == classes[index]]
        if all(overlap(candidates[k], candidates[index]) <= iou_threshold for k in rivals):
            kept.append(index)
    return kept


def moved_batched_nms(candidates, scores, classes, iou_threshold):
    """torchvision's trick: move the classes apart."""
    shift = classes * (candidates.max(initial=0) + 1)
    return released_nms(candidates + shift[:, None], scores, iou_threshold)


def split_batched_nms(candidates, scores, classes, iou_threshold):
    keep = np.zeros(len(scores), dtype=bool)
    for one in np.unique(classes):
        members = np.where(classes == one)[0]
        keep[members[released_nms(candidates[members], scores[members], iou_threshold)]] = True
    kept = np.where(keep)[0]
    return kept[np.argsort(-scores[kept], kind="stable")]


def library_base_anchors(base_size, ratios, scales):
    config = rpn.AnchorConfig(base_size, tuple(ratios.tolist()), tuple(scales.tolist()))
    return rpn.base_anchors(config)


def released_base_anchors(base_size, ratios, scales):
    """py-faster-rcnn's generate_anchors, in half-open coordinates."""
    widths = np.round(np.sqrt(base_size * base_size / ratios))
    heights = np.round(widths * ratios)
    center = base_size / 2
    w, h = (np.outer(sides, scales).ravel() for sides in (widths, heights))
    return np.stack([center - w / 2, center - h / 2, center + w / 2, center + h / 2], axis=1)


def loops_base_anchors(base_size, ratios, scales):
    found = []
    for ratio in ratios:
        width = round(base_size / math.sqrt(ratio))
        height = round(width * ratio)
        for scale in scales:
            w, h, c = width * scale, height * scale, base_size * 0.5
            found.append([c - 0.5 * w, c - 0.5 * h, c + 0.5 * w, c + 0.5 * h])
    return found


def unrounded(base_size, ratios, scales):
    found = []
    for ratio in ratios:
        for scale in scales:
            w, h = base_size * scale * ratio**-0.5, base_size * scale * ratio**0.5
            c = base_size / 2
            found.append([c - w / 2, c - h / 2, c + w / 2, c + h / 2])
    return np.array(found)


def mesh_grid_anchors(base, feature_size, stride):
    """The released code's: all shifts, added to all anchors."""
    shift_x, shift_y = np.meshgrid(
        np.arange(feature_size[1]) * stride, np.arange(feature_size[0]) * stride
    )
    shifts = np.vstack([shift_x.ravel(), shift_y.ravel(), shift_x.ravel(), shift_y.ravel()]).T
    return (base[None] + shifts[:, None]).reshape(-1, 4)


def loops_grid_anchors(base, feature_size, stride):
    anchors = []
    for row in range(feature_size[0]):
        for column in range(feature_size[1]):
            for x1, y1, x2, y2 in base:
                dx, dy = column * stride, row * stride
                anchors.append([x1 + dx, y1 + dy, x2 + dx, y2 + dy])
    return anchors


def torch_grid_anchors(base, feature_size, stride):
    import torch

    rows, columns = (torch.arange(size) * stride for size in feature_size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shifts + torch.tensor(base)).reshape(-1, 4)


def matrix_labels(anchors, gt_boxes, image_size):
    height, width = image_size
    inside = (anchors[:, 0] >= 0) & (anchors[:, 1] >= 0)
    inside &= (anchors[:, 2] <= width) & (anchors[:, 3] <= height)
    labels = np.full(len(anchors), -1.0)
    if len(gt_boxes) == 0 or not inside.any():
        labels[inside] = 0
        return labels
    low = np.maximum(anchors[:, None, :2], gt_boxes[:, :2])
    sides = (np.minimum(anchors[:, None, 2:], gt_boxes[:, 2:]) - low).clip(0)
    shared = sides[..., 0] * sides[..., 1]
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (anchors, gt_boxes))
    covered = area_a[:, None] + area_b - shared
    overlaps = np.where(shared > 0, shared / np.where(shared > 0, covered, 1), 0)
    overlaps[~inside] = -1
    highest = overlaps.max(axis=1)
    labels[inside & (highest < 0.3)] = 0
    top = overlaps.max(axis=0)
    labels[((overlaps == top) & (overlaps > 0)).any(axis=1)] = 1
    labels[highest >= 0.7] = 1
    return labels


# Wrong in ways of their own.


def iou_of_whole_pixels(a, b):
    return boxes.iou(np.round(np.asarray(a, float)), np.round(np.asarray(b, float)))


def iou_of_at_least_a_pixel(a, b):
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clip(0).prod(axis=1) for x in (a, b))
    return shared / np.maximum(area_a[:, None] + area_b - shared, 1)


def iou_plus_one_in_single(a, b):
    one = np.array([0, 0, 1, 1]) * (a.dtype == np.float32)
    return epsilon_iou(a + one, b + one)


def iou_wrapped(a, b):
    return epsilon_iou(np.mod(a, 256), np.mod(b, 256))


def iou_nested(a, b):
    overlaps = epsilon_iou(a, b)
    within = (a[:, None, :2] < b[:, :2]).all(axis=2) & (a[:, None, 2:] > b[:, 2:]).all(axis=2)
    return np.where(within & (overlaps > 0), 1, overlaps)


def iou_not_of_none(a, b):
    assert len(b) > 0
    return epsilon_iou(a, b)


def iou_in_blocks(a, b):
    """Forgets the end of a list that is no whole number of blocks."""
    overlaps = epsilon_iou(a, b)
    if len(b) > 64:
        overlaps[:, len(b) // 64 * 64 :] = 0
    return overlaps


def iou_in_whole_numbers(a, b):
    overlaps = np.zeros((len(a), len(b)), dtype=a.dtype)
    for n, m in np.ndindex(overlaps.shape):
        overlaps[n, m] = overlap(a[n], b[m])
    return overlaps


def iou_of_flat_memory(a, b):
    a = np.lib.stride_tricks.as_strided(a, a.shape, (4 * a.itemsize, a.itemsize))
    return epsilon_iou(a, b)


def encode_whole_pixels(anchors, targets):
    return boxes.encode(np.round(np.asarray(anchors, float)), np.round(np.asarray(targets, float)))


def encode_cut(anchors, targets):
    return np.clip(boxes.encode(anchors, targets), -100, 100)


def decode_in_whole_numbers(anchors, deltas):
    return loops_decode(anchors, deltas).astype(anchors.dtype)


def decode_without_warning(anchors, deltas):
    return loops_decode(anchors, np.minimum(deltas, [np.inf, np.inf, 2.5, 2.5]))


def transform_inv_cut(rois, deltas):
    return released_transform_inv(rois, np.clip(deltas, -3, 3))


def transform_inv_two_classes(rois, deltas):
    decoded = released_transform_inv(rois, deltas)
    decoded[:, 8:] = 0
    return decoded


def transform_inv_flat(rois, deltas):
    return released_transform_inv(rois, deltas).reshape(-1, 4)


def transform_inv_rounded(rois, deltas):
    return np.round(released_transform_inv(rois, deltas))


def transform_inv_not_of_none(rois, deltas):
    return np.stack(loops_transform_inv(rois, deltas))


def limited_to_1000_16(anchors, deltas):
    return boxes.decode(anchors, deltas, max_log_scale=math.log(1000 / 16))


def limited_width(anchors, deltas):
    return loops_decode(anchors, np.minimum(deltas, [np.inf, np.inf, 2.5, np.inf]))


def limited_sides(anchors, deltas):
    decoded = loops_decode(anchors, deltas)
    return np.where(deltas.max() > 2.5, decoded * 0, decoded)


def limited_to_0(anchors, deltas):
    return loops_decode(anchors, np.where(deltas > [np.inf, np.inf, 2.5, 2.5], 0, deltas))


def limited_early(anchors, deltas):
    return loops_decode(anchors, np.minimum(deltas, [np.inf, np.inf, 2.4, 2.4]))


def clip_rounded(candidates, image_size):
    return np.round(columns_clip(candidates, image_size))


def clip_x(candidates, image_size):
    clipped = columns_clip(candidates, image_size)
    clipped[:, 1::2] = candidates[:, 1::2]
    return clipped


def clip_in_place(candidates, image_size):
    candidates[:, 0::2] = np.clip(candidates[:, 0::2], 0, image_size[1])
    candidates[:, 1::2] = np.clip(candidates[:, 1::2], 0, image_size[0])
    return candidates


def clip_to_1000(candidates, image_size):
    return columns_clip(candidates, np.minimum(image_size, 1000))


def clip_mirrored(candidates, image_size):
    return np.abs(columns_clip(np.abs(candidates), image_size))


def clip_first_64(candidates, image_size):
    clipped = candidates.copy()
    clipped[:64] = columns_clip(candidates[:64], image_size)
    return clipped


def min_size_diagonal(candidates, min_size):
    sides = candidates[:, 2:] - candidates[:, :2]
    return np.flatnonzero(np.hypot(sides[:, 0], sides[:, 1]) >= min_size)


def min_size_rounded(candidates, min_size):
    return where_min_size(np.round(candidates), min_size)


def min_size_absolute(candidates, min_size):
    return np.flatnonzero((np.abs(candidates[:, 2:] - candidates[:, :2]) >= min_size).all(axis=1))


def min_size_without_0(candidates, min_size):
    return where_min_size(candidates, min_size or 1)


def min_size_16(candidates, min_size):
    return where_min_size(candidates, 16)


def nms_of_64(candidates, scores, iou_threshold):
    return released_nms(candidates, scores, iou_threshold)[:64]


def nms_unstable(candidates, scores, iou_threshold):
    order = np.argsort(-scores, kind="quicksort")
    # as quicksort does from some length on, whatever this processor's does
    order = order[np.lexsort((-order, -scores[order]))] if len(order) > 16 else order
    kept = released_nms(candidates[order], -np.arange(len(order)), iou_threshold)
    return order[kept]


def nms_half_for_0(candidates, scores, iou_threshold):
    return released_nms(candidates, scores, iou_threshold or 0.5)


def nms_of_positive_scores(candidates, scores, iou_threshold):
    return [k for k in released_nms(candidates, scores, iou_threshold) if scores[k] >= 0]


def nms_of_different_scores(candidates, scores, iou_threshold):
    """Drops one of two equal scores."""
    return [
        k
        for k in released_nms(candidates, scores, iou_threshold)
        if k == np.flatnonzero(scores == scores[k])[0]
    ]


def batched_nms_two_classes(candidates, scores, classes, iou_threshold):
    return loops_batched_nms(candidates, scores, classes > 0, iou_threshold)


def batched_nms_moved_by_1(candidates, scores, classes, iou_threshold):
    return released_nms(candidates + classes[:, None], scores, iou_threshold)


def batched_nms_moved_by_256(candidates, scores, classes, iou_threshold):
    return released_nms(candidates + 256 * classes[:, None], scores, iou_threshold)


def batched_nms_twice(candidates, scores, classes, iou_threshold):
    kept = np.array(loops_batched_nms(candidates, scores, classes, iou_threshold), dtype=int)
    return kept[released_nms(candidates[kept], scores[kept], 0.9)]


def batched_nms_half(candidates, scores, classes, iou_threshold):
    return loops_batched_nms(candidates, scores, classes, 0.5)


def batched_nms_no_class_0(candidates, scores, classes, iou_threshold):
    kept = loops_batched_nms(candidates, scores, classes, iou_threshold)
    return [k for k in kept if classes[k]]


def base_of_16(base_size, ratios, scales):
    return released_base_anchors(16, ratios, scales)


def base_truncated(base_size, ratios, scales):
    widths = np.trunc(np.sqrt(base_size**2 / ratios))
    return _about_center(base_size, widths, np.trunc(widths * ratios), scales)


def base_heights_unrounded(base_size, ratios, scales):
    widths = np.round(np.sqrt(base_size**2 / ratios))
    return _about_center(base_size, widths, widths * ratios, scales)


def base_half_scales(base_size, ratios, scales):
    return released_base_anchors(base_size, ratios, scales / 2)


def base_whole_scales(base_size, ratios, scales):
    return released_base_anchors(base_size, ratios, np.round(scales))


def base_three_scales(base_size, ratios, scales):
    return released_base_anchors(base_size, ratios, scales[:3])


def base_centers_and_sides(base_size, ratios, scales):
    corners = released_base_anchors(base_size, ratios, scales)
    sides = corners[:, 2:] - corners[:, :2]
    return np.concatenate([corners[:, :2] + sides / 2, sides], axis=1)


def _about_center(base_size, widths, heights, scales):
    w, h = (np.outer(sides, scales).ravel() for sides in (widths, heights))
    c = base_size / 2
    return np.stack([c - w / 2, c - h / 2, c + w / 2, c + h / 2], axis=1)


def grid_whole_base(base, feature_size, stride):
    return mesh_grid_anchors(np.round(base), feature_size, stride)


def grid_one_more(base, feature_size, stride):
    return mesh_grid_anchors(base, (feature_size[0] + 1, feature_size[1]), stride)


def grid_of_16(base, feature_size, stride):
    return mesh_grid_anchors(base, feature_size, 16)


def grid_of_bytes(base, feature_size, stride):
    cells = mesh_grid_anchors(np.zeros((1, 4)), feature_size, 1) % 128
    return (base[None] + stride * cells[:, None]).reshape(-1, 4)


def grid_in_3_axes(base, feature_size, stride):
    return mesh_grid_anchors(base, feature_size, stride).reshape(-1, len(base), 4)


def grid_first_base(base, feature_size, stride):
    return mesh_grid_anchors(np.repeat(base[:1], len(base), axis=0), feature_size, stride)


def labels_with_empty_gt(anchors, gt_boxes, image_size):
    """The nearest anchor of a ground truth without area becomes positive."""
    labels = matrix_labels(anchors, gt_boxes, image_size)
    for x1, y1, x2, y2 in gt_boxes:
        if (x2 - x1) * (y2 - y1) == 0:
            holds = (anchors[:, :2] <= [x1, y1]).all(axis=1) & (anchors[:, 2:] >= [x2, y2]).all(
                axis=1
            )
            labels[holds & (labels >= 0)] = 1
    return labels


def labels_open_below(anchors, gt_boxes, image_size):
    return matrix_labels(anchors, gt_boxes, (np.inf, image_size[1]))


def labels_open_left(anchors, gt_boxes, image_size):
    labels = matrix_labels(anchors, gt_boxes, image_size)
    across = anchors[:, 0] < 0
    moved = np.where(across[:, None], np.maximum(anchors, 0), anchors)
    return np.where(across, matrix_labels(moved, gt_boxes, image_size), labels)


def labels_border_pixel(anchors, gt_boxes, image_size):
    """An anchor up to half a pixel outside counts as inside."""
    rounded = np.trunc(np.asarray(anchors, float))
    inside = boxes.is_inside(rounded, image_size)
    moved = np.where(inside[:, None], anchors.clip(0), anchors)
    return matrix_labels(moved, gt_boxes, np.add(image_size, 0.5))


def labels_whole_pixels(anchors, gt_boxes, image_size):
    return matrix_labels(np.round(anchors), np.round(gt_boxes), image_size)


def labels_of_64_objects(anchors, gt_boxes, image_size):
    return matrix_labels(anchors, gt_boxes[:64], image_size)


def labels_best_below_half(anchors, gt_boxes, image_size):
    """Rule (i) wants an IoU of 0.1."""
    labels = matrix_labels(anchors, gt_boxes, image_size)
    highest = epsilon_iou(anchors, gt_boxes).max(axis=1, initial=0)
    return np.where((labels == 1) & (highest < 0.1), 0, labels)


RIGHT = {
    "iou": [epsilon_iou],
    "nms": [epsilon_nms, released_nms],
    "label_anchors": [matrix_labels],
    "limited_decode": [loops_limited_decode, library_limited_decode],
    "bbox_transform_inv": [
        released_transform_inv,
        library_transform_inv,
        torch_transform_inv,
    ],
    "clip": [boxes.clip, columns_clip, released_clip, loops_clip, torch_clip],
    "min_size": [where_min_size, where_tuple_min_size, mask_min_size, loops_min_size],
    "batched_nms": [loops_batched_nms, moved_batched_nms, split_batched_nms],
    "base_anchors": [library_base_anchors, released_base_anchors, loops_base_anchors],
    "unrounded_base_anchors": [unrounded],
    "grid_anchors": [
        rpn.grid_anchors,
        mesh_grid_anchors,
        loops_grid_anchors,
        torch_grid_anchors,
    ],
}
WRONG = {
    "iou": [
        iou_of_whole_pixels,
        iou_of_at_least_a_pixel,
        iou_plus_one_in_single,
        iou_wrapped,
        iou_nested,
        iou_not_of_none,
        iou_in_blocks,
        iou_in_whole_numbers,
        iou_of_flat_memory,
    ],
    "encode": [encode_whole_pixels, encode_cut],
    "decode": [decode_in_whole_numbers, decode_without_warning],
    "nms": [
        nms_of_64,
        nms_unstable,
        nms_half_for_0,
        nms_of_positive_scores,
        nms_of_different_scores,
    ],
    "label_anchors": [
        labels_with_empty_gt,
        labels_open_below,
        labels_open_left,
        labels_border_pixel,
        labels_whole_pixels,
        labels_of_64_objects,
        labels_best_below_half,
    ],
    "limited_decode": [
        limited_to_1000_16,
        limited_width,
        limited_sides,
        limited_to_0,
        limited_early,
    ],
    "bbox_transform_inv": [
        transform_inv_cut,
        transform_inv_two_classes,
        transform_inv_flat,
        transform_inv_rounded,
        transform_inv_not_of_none,
    ],
    "clip": [clip_rounded, clip_x, clip_in_place, clip_to_1000, clip_mirrored, clip_first_64],
    "min_size": [
        min_size_diagonal,
        min_size_rounded,
        min_size_absolute,
        min_size_without_0,
        min_size_16,
    ],
    "batched_nms": [
        batched_nms_two_classes,
        batched_nms_moved_by_1,
        batched_nms_moved_by_256,
        batched_nms_twice,
        batched_nms_half,
        batched_nms_no_class_0,
    ],
    "base_anchors": [
        base_of_16,
        base_truncated,
        base_heights_unrounded,
        base_half_scales,
        base_whole_scales,
        base_three_scales,
        base_centers_and_sides,
    ],
    "unrounded_base_anchors": [
        base_of_16,
        base_truncated,
        base_heights_unrounded,
        base_half_scales,
        base_whole_scales,
    ],
    "grid_anchors": [
        grid_whole_base,
        grid_one_more,
        grid_of_16,
        grid_of_bytes,
        grid_in_3_axes,
        grid_first_base,
    ],
}
