"""Overlaps, deltas, suppression, labels and anchors as strangers write them."""

import math

import numpy as np

from minirpn import rpn

# Boxes.


def iou_pixels(dets, gts, eps=1e-9):
    dets, gts = np.float64(dets), np.float64(gts)
    w = np.minimum(dets[:, None, 2], gts[:, 2]) - np.maximum(dets[:, None, 0], gts[:, 0])
    h = np.minimum(dets[:, None, 3], gts[:, 3]) - np.maximum(dets[:, None, 1], gts[:, 1])
    inter = np.clip(w, 0, None) * np.clip(h, 0, None)
    area1 = np.clip(dets[:, 2] - dets[:, 0], 0, None) * np.clip(dets[:, 3] - dets[:, 1], 0, None)
    area2 = np.clip(gts[:, 2] - gts[:, 0], 0, None) * np.clip(gts[:, 3] - gts[:, 1], 0, None)
    return inter / (area1[:, None] + area2 - inter + eps)


def iou_numbers(a, b):
    """In the style of compiled loops: numbers one by one, no temporary arrays."""
    n, m = a.shape[0], b.shape[0]
    out = np.zeros((n, m), dtype=np.float64)
    for i in range(n):
        for j in range(m):
            iw = min(float(a[i, 2]), float(b[j, 2])) - max(float(a[i, 0]), float(b[j, 0]))
            if iw > 0:
                ih = min(float(a[i, 3]), float(b[j, 3])) - max(float(a[i, 1]), float(b[j, 1]))
                if ih > 0:
                    area_a = (float(a[i, 2]) - float(a[i, 0])) * (float(a[i, 3]) - float(a[i, 1]))
                    area_b = (float(b[j, 2]) - float(b[j, 0])) * (float(b[j, 3]) - float(b[j, 1]))
                    out[i, j] = iw * ih / (area_a + area_b - iw * ih)
    return out


def iou_rows(boxes1, boxes2):
    """Lists of lists of Python floats; an empty list of boxes gives an empty list."""
    one, two = np.asarray(boxes1, float).tolist(), np.asarray(boxes2, float).tolist()
    return [[pair_iou(first, second) for second in two] for first in one]


def pair_iou(box1, box2):
    w = float(min(box1[2], box2[2])) - float(max(box1[0], box2[0]))
    h = float(min(box1[3], box2[3])) - float(max(box1[1], box2[1]))
    if w <= 0 or h <= 0:
        return 0.0
    sizes = [float(b[2] - 0.0 - b[0]) * float(b[3] - 0.0 - b[1]) for b in (box1, box2)]
    return w * h / (sum(sizes) - w * h)


class IoU:
    """A callable object, as layers are."""

    def __call__(self, prediction, target):
        return iou_numbers(prediction, target)


def torch_iou(a, b):
    import torch

    a, b = (torch.from_numpy(np.array(x, dtype=float)).requires_grad_() for x in (a, b))
    wh = (torch.min(a[:, None, 2:], b[:, 2:]) - torch.max(a[:, None, :2], b[:, :2])).clamp(min=0)
    inter = wh[..., 0] * wh[..., 1]
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(dim=1) for x in (a, b))
    return inter / (area_a[:, None] + area_b - inter + 1e-9)


def torch_iou_strict(a, b):
    """It raises for negative strides, and for numbers that are not floats of one kind."""
    import torch

    a, b = torch.from_numpy(a), torch.from_numpy(b)
    wh = (torch.min(a[:, None, 2:], b[:, 2:]) - torch.max(a[:, None, :2], b[:, :2])).clamp(min=0)
    inter = wh.prod(dim=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(dim=1) for x in (a, b))
    return torch.where(inter > 0, inter / (area_a[:, None] + area_b - inter), 0.0)


def bbox2delta(proposals, gt):
    proposals, gt = np.float64(proposals), np.float64(gt)
    px, py = (proposals[:, 0] + proposals[:, 2]) * 0.5, (proposals[:, 1] + proposals[:, 3]) * 0.5
    pw, ph = proposals[:, 2] - proposals[:, 0], proposals[:, 3] - proposals[:, 1]
    gx, gy = (gt[:, 0] + gt[:, 2]) * 0.5, (gt[:, 1] + gt[:, 3]) * 0.5
    gw, gh = gt[:, 2] - gt[:, 0], gt[:, 3] - gt[:, 1]
    return np.stack([(gx - px) / pw, (gy - py) / ph, np.log(gw / pw), np.log(gh / ph)], axis=-1)


def encode_rows(anchors, boxes):
    return [bbox2delta(a[None], b[None])[0].tolist() for a, b in zip(anchors, boxes, strict=True)]


def delta2bbox(rois, deltas):
    """Also for several classes: four columns of deltas for each."""
    rois, deltas = np.float64(rois), np.float64(deltas)
    w, h = (rois[:, 2] - rois[:, 0])[:, None], (rois[:, 3] - rois[:, 1])[:, None]
    x, y = rois[:, :1] + 0.5 * w, rois[:, 1:2] + 0.5 * h
    gx, gy = x + w * deltas[:, 0::4], y + h * deltas[:, 1::4]
    gw, gh = w * np.exp(deltas[:, 2::4]), h * np.exp(deltas[:, 3::4])
    corners = [gx - gw * 0.5, gy - gh * 0.5, gx + gw * 0.5, gy + gh * 0.5]
    return np.stack(corners, axis=-1).reshape(deltas.shape)


def decode_rows(anchors, deltas):
    return [delta2bbox(a[None], d[None])[0].tolist() for a, d in zip(anchors, deltas, strict=True)]


LIMIT = math.log(1000.0 / 16)


def delta2bbox_limited(rois, deltas):
    deltas = np.array(deltas, dtype=np.float64)
    deltas[:, 2::4] = np.minimum(deltas[:, 2::4], LIMIT)
    deltas[:, 3::4] = np.minimum(deltas[:, 3::4], LIMIT)
    return delta2bbox(rois, deltas)


def clip_boxes(boxes, im_shape):
    boxes = np.array(boxes, dtype=np.float64)
    boxes[:, 0::2] = np.maximum(np.minimum(boxes[:, 0::2], im_shape[1]), 0)
    boxes[:, 1::2] = np.maximum(np.minimum(boxes[:, 1::2], im_shape[0]), 0)
    return boxes


def clip_rows(boxes, hw):
    h, w = hw
    limits = (w, h, w, h)
    rows = np.asarray(boxes, float).tolist()
    return [[min(max(v, 0.0), top) for v, top in zip(row, limits, strict=True)] for row in rows]


def filter_boxes(boxes, least):
    ws, hs = boxes[:, 2] - 0.0 - boxes[:, 0], boxes[:, 3] - 0.0 - boxes[:, 1]
    return np.where((ws >= least) & (hs >= least))[0]


def large_enough(boxes, min_side):
    """A mask of bool."""
    return np.asarray(boxes[:, 2:] - 0.0 - boxes[:, :2] >= min_side).all(axis=1)


def large_ones(boxes, min_side):
    """A list of Python ints."""
    return [k for k, keep in enumerate(large_enough(boxes, min_side)) if keep]


def nms_fast(dets, confidences, iou_threshold):
    order = np.argsort(-np.float64(confidences), kind="stable")
    keep = []
    while order.size > 0:
        i = order[0]
        keep.append(i)  # a list of np.int64
        ious = iou_numbers(dets[i : i + 1], dets[order[1:]])[0]
        order = order[1:][ious <= iou_threshold]
    return keep


def nms_keyword_only(boxes, scores, *, iou_threshold, top_k=None):
    return np.array(nms_fast(boxes, scores, iou_threshold), dtype=np.int32)[:top_k]


def nms_matrix(boxes, scores, iou_threshold):
    order = sorted(range(len(scores)), key=lambda k: (-float(scores[k]), k))
    overlaps = iou_numbers(boxes, boxes) > iou_threshold
    alive = np.ones(len(scores), dtype=bool)
    for place, k in enumerate(order):
        if alive[k]:
            alive[[j for j in order[place + 1 :] if overlaps[k, j]]] = False
    return tuple(k for k in order if alive[k])


def nms_last_first(boxes, scores, iou_threshold):
    """The order of ``scores.argsort()[::-1]``: of equal scores the last comes first."""
    order = np.lexsort((np.arange(len(scores)), scores))[::-1]
    keep = []
    while order.size:
        keep.append(order[0])
        order = order[1:][iou_numbers(boxes[order[:1]], boxes[order[1:]])[0] <= iou_threshold]
    return np.array(keep)


def batched(one_class, boxes, scores, idxs, iou_threshold):
    keep = []
    for label in np.unique(idxs):
        members = np.nonzero(idxs == label)[0]
        keep.extend(members[list(one_class(boxes[members], scores[members], iou_threshold))])
    return keep


def batched_nms(boxes, scores, idxs, iou_threshold):
    keep = batched(nms_fast, boxes, scores, idxs, iou_threshold)
    return sorted(keep, key=lambda k: (-scores[k], k))


def batched_nms_loop(boxes, scores, labels, iou_threshold):
    overlaps = iou_numbers(boxes, boxes)
    keep = []
    for k in np.argsort(-np.float64(scores), kind="stable"):
        rivals = [j for j in keep if labels[j] == labels[k]]
        if all(overlaps[j, k] <= iou_threshold for j in rivals):
            keep.append(int(k))
    return np.array(keep, dtype=np.int64)


def batched_last_first(boxes, scores, idxs, iou_threshold):
    keep = batched(nms_last_first, boxes, scores, idxs, iou_threshold)
    return sorted(keep, key=lambda k: (-scores[k], -k))


# Labels, anchors, rows.


def labels_with_assignment(anchors, gts, hw):
    """The labels, and the ground truth that is nearest to each anchor."""
    overlaps = iou_numbers(anchors, gts)
    labels = np.full(len(anchors), -1, dtype=np.int64)
    inside = np.array([x1 >= 0 and y1 >= 0 and x2 <= hw[1] and y2 <= hw[0] for x1, y1, x2, y2 in anchors], dtype=bool)  # fmt: skip  # noqa: E501
    if len(gts) == 0:
        labels[inside] = 0
        return labels, None
    most = overlaps.max(axis=1) if len(anchors) else np.zeros(0)
    labels[inside & (most < 0.3)] = 0
    for column in overlaps.T:
        top = column[inside].max(initial=0.0)
        if top > 0:
            labels[inside & (column == top)] = 1
    labels[inside & (most >= 0.7)] = 1
    return labels, overlaps.argmax(axis=1)


def labels_list(anchors, gts, hw):
    return [int(label) for label in labels_with_assignment(anchors, gts, hw)[0]]


def labels_float(anchors, gts, hw):
    """Labels as floats, which is how Caffe had them."""
    return labels_with_assignment(anchors, gts, hw)[0].astype(np.float32)


def generate_anchors(base_size, ratios, scales):
    """As py-faster-rcnn does: corners of pixels, made half-open in the end."""
    x = (base_size - 1) / 2
    anchors = []
    for ratio in ratios:
        ws = np.round(np.sqrt(base_size * base_size / ratio))
        hs = np.round(ws * ratio)
        for scale in scales:
            w, h = ws * scale, hs * scale
            corners = (x - (w - 1) / 2, x - (h - 1) / 2, x + (w - 1) / 2, x + (h - 1) / 2)
            anchors.append(np.add(corners, (0, 0, 1, 1)))
    return np.vstack(anchors)


def base_anchors_exact(base_size, ratios, scales):
    """Areas are exact: nothing is rounded."""
    corners = []
    for ratio in ratios:
        w, h = base_size / math.sqrt(ratio), base_size * math.sqrt(ratio)
        for scale in scales:
            c = base_size / 2
            corners.append([c - w * scale / 2, c - h * scale / 2, c + w * scale / 2, c + h * scale / 2])  # fmt: skip  # noqa: E501
    return corners


def shifted_anchors(base, grid, step):
    height, width = grid
    shift_x, shift_y = np.meshgrid(np.arange(width) * step, np.arange(height) * step)
    shifts = np.vstack([shift_x.ravel(), shift_y.ravel(), shift_x.ravel(), shift_y.ravel()]).T
    A, K = len(base), len(shifts)
    return (base.reshape(1, A, 4) + shifts.reshape(1, K, 4).transpose(1, 0, 2)).reshape(K * A, 4)


def listed_anchors(base, grid, step):
    return [
        [x1 + column * step, y1 + row * step, x2 + column * step, y2 + row * step]
        for row in range(grid[0])
        for column in range(grid[1])
        for x1, y1, x2, y2 in np.asarray(base, dtype=float).tolist()
    ]


def rows_einsum(y, values):
    N, channels, H, W = y.shape
    split = np.reshape(y, (N, channels // values, values, H, W))
    return np.einsum("navhw->nhwav", split).reshape(N, -1, values)


# Corners of whole pixels, both in the box, as in py-faster-rcnn.


def bbox_overlaps(boxes, query_boxes):
    overlaps = np.zeros((len(boxes), len(query_boxes)), dtype=np.float64)
    for k, q in enumerate(np.asarray(query_boxes, dtype=float)):
        box_area = (q[2] - q[0] + 1) * (q[3] - q[1] + 1)
        for n, b in enumerate(np.asarray(boxes, dtype=float)):
            iw = min(b[2], q[2]) - max(b[0], q[0]) + 1
            ih = min(b[3], q[3]) - max(b[1], q[1]) + 1
            if iw > 0 and ih > 0:
                ua = (b[2] - b[0] + 1) * (b[3] - b[1] + 1) + box_area - iw * ih
                overlaps[n, k] = iw * ih / ua
    return overlaps


def pair_overlap(box, query):
    return bbox_overlaps(box[None], query[None])[0, 0]


def bbox_transform(ex_rois, gt_rois):
    ex_rois, gt_rois = np.float64(ex_rois), np.float64(gt_rois)
    ex_widths, ex_heights = (ex_rois[:, k + 2] - ex_rois[:, k] + 1.0 for k in (0, 1))
    gt_widths, gt_heights = (gt_rois[:, k + 2] - gt_rois[:, k] + 1.0 for k in (0, 1))
    dx = (gt_rois[:, 0] + 0.5 * gt_widths - (ex_rois[:, 0] + 0.5 * ex_widths)) / ex_widths
    dy = (gt_rois[:, 1] + 0.5 * gt_heights - (ex_rois[:, 1] + 0.5 * ex_heights)) / ex_heights
    logs = np.log(gt_widths / ex_widths), np.log(gt_heights / ex_heights)
    return np.vstack((dx, dy, *logs)).transpose()


def bbox_transform_inv(boxes, deltas):
    boxes, deltas = np.float64(boxes), np.float64(deltas)
    widths, heights = boxes[:, 2] - boxes[:, 0] + 1.0, boxes[:, 3] - boxes[:, 1] + 1.0
    ctr_x, ctr_y = boxes[:, 0] + 0.5 * widths, boxes[:, 1] + 0.5 * heights
    pred_ctr_x = deltas[:, 0::4] * widths[:, None] + ctr_x[:, None]
    pred_ctr_y = deltas[:, 1::4] * heights[:, None] + ctr_y[:, None]
    pred_w = np.exp(deltas[:, 2::4]) * widths[:, None]
    pred_h = np.exp(deltas[:, 3::4]) * heights[:, None]
    pred_boxes = np.zeros(deltas.shape)
    pred_boxes[:, 0::4], pred_boxes[:, 1::4] = pred_ctr_x - 0.5 * pred_w, pred_ctr_y - 0.5 * pred_h
    pred_boxes[:, 2::4], pred_boxes[:, 3::4] = pred_ctr_x + 0.5 * pred_w, pred_ctr_y + 0.5 * pred_h
    return pred_boxes


def py_cpu_nms(boxes, scores, iou_threshold):
    order, keep = np.argsort(-np.float64(scores), kind="stable"), []
    while order.size > 0:
        keep.append(order[0])
        overlaps = bbox_overlaps(boxes[order[:1]], boxes[order[1:]])[0]
        order = order[1:][overlaps <= iou_threshold]
    return keep


def library_base_anchors(base_size, ratios, scales):
    return rpn.base_anchors(rpn.AnchorConfig(base_size, tuple(ratios), tuple(scales)))
