"""Right implementations in several styles, and wrong ones that the checks do not know."""

import math

import numpy as np

from minirpn import boxes, nn


def loops_pair_iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    if width * height == 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def loops_iou(a, b):
    overlaps = np.zeros((len(a), len(b)))
    for n, m in np.ndindex(overlaps.shape):
        overlaps[n, m] = loops_pair_iou(a[n], b[m])
    return overlaps


def single_iou(a, b):
    return boxes.iou(a.astype(np.float32), b.astype(np.float32))


def torch_iou(a, b):
    import torch

    a, b = torch.from_numpy(a), torch.from_numpy(b)
    low, high = torch.max(a[:, None, :2], b[:, :2]), torch.min(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(dim=1) for x in (a, b))
    return torch.where(shared > 0, shared / (area_a[:, None] + area_b - shared), 0.0)


def loops_encode(anchors, targets):
    deltas = np.zeros((len(anchors), 4))
    for n, ((ax1, ay1, ax2, ay2), (x1, y1, x2, y2)) in enumerate(
        zip(anchors, targets, strict=True)
    ):
        wa, ha, w, h = ax2 - ax1, ay2 - ay1, x2 - x1, y2 - y1
        deltas[n] = (
            ((x1 + x2) - (ax1 + ax2)) / 2 / wa,
            ((y1 + y2) - (ay1 + ay2)) / 2 / ha,
            math.log(w / wa),
            math.log(h / ha),
        )
    return deltas


def loops_decode(anchors, deltas):
    decoded = np.zeros((len(anchors), 4))
    for n, ((x1, y1, x2, y2), (tx, ty, tw, th)) in enumerate(zip(anchors, deltas, strict=True)):
        w, h = (x2 - x1) * math.exp(tw), (y2 - y1) * math.exp(th)
        x, y = (x1 + x2) / 2 + tx * (x2 - x1), (y1 + y2) / 2 + ty * (y2 - y1)
        decoded[n] = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    return decoded


def loops_nms(candidates, scores, iou_threshold):
    order = np.argsort(-scores, kind="stable")
    kept = []
    for index in order:
        if all(loops_pair_iou(candidates[k], candidates[index]) <= iou_threshold for k in kept):
            kept.append(index)
    return np.array(kept)


def matrix_nms(candidates, scores, iou_threshold):
    overlaps = boxes.iou(candidates, candidates)
    order = list(np.argsort(-scores, kind="stable"))
    kept = []
    while order:
        best = order.pop(0)
        kept.append(best)
        order = [index for index in order if overlaps[best, index] <= iou_threshold]
    return kept


def loops_labels(anchors, gt_boxes, image_size):
    labels = np.full(len(anchors), -1)
    inside = [k for k, box in enumerate(anchors) if boxes.is_inside(box, image_size)]
    for k in inside:
        highest = max((loops_pair_iou(anchors[k], gt) for gt in gt_boxes), default=0)
        labels[k] = 1 if highest >= 0.7 else 0 if highest < 0.3 else -1
    for gt in gt_boxes:
        overlaps = {k: loops_pair_iou(anchors[k], gt) for k in inside}
        top = max(overlaps.values(), default=0)
        for k, overlap in overlaps.items():
            if 0 < overlap == top:
                labels[k] = 1
    return labels


def columns_conv2d(x, weight, bias, stride, padding):
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(image, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    y = np.einsum("ncijpq,ocpq->noij", windows, weight) + bias[:, None, None]
    return y, (x.shape, windows, weight, stride, padding)


def columns_conv2d_backward(dy, cache):
    shape, windows, weight, stride, padding = cache
    dimage = np.zeros((*shape[:2], shape[2] + 2 * padding, shape[3] + 2 * padding))
    for p, q in np.ndindex(weight.shape[2:]):
        rows = slice(p, p + stride * dy.shape[2], stride)
        columns = slice(q, q + stride * dy.shape[3], stride)
        dimage[:, :, rows, columns] += np.einsum("noij,oc->ncij", dy, weight[:, :, p, q])
    dweight = np.einsum("noij,ncijpq->ocpq", dy, windows)
    dx = dimage[:, :, padding : padding + shape[2], padding : padding + shape[3]]
    return dx, dweight, dy.sum(axis=(0, 2, 3))


def torch_conv2d(x, weight, bias, stride, padding):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    y = torch.nn.functional.conv2d(*inputs, stride=stride, padding=padding)
    return y.detach(), (y, inputs)


def torch_conv2d_backward(dy, cache):
    import torch

    y, inputs = cache
    return torch.autograd.grad(y, inputs, torch.from_numpy(dy))


def single_conv2d(x, weight, bias, stride, padding):
    arrays = (array.astype(np.float32) for array in (x, weight, bias))
    return nn.conv2d_forward(*arrays, stride=stride, padding=padding)


def loops_max_pool2d(x, kernel, stride, padding, ceil_mode):
    size = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    y, places = np.zeros((*x.shape[:2], *size)), {}
    for n, c, i, j in np.ndindex(y.shape):
        window = [
            (-x[n, c, k, m], k, m)
            for k in range(i * stride - padding, i * stride - padding + kernel)
            for m in range(j * stride - padding, j * stride - padding + kernel)
            if 0 <= k < x.shape[2] and 0 <= m < x.shape[3]
        ]
        least, k, m = min(window)
        y[n, c, i, j], places[n, c, i, j] = -least, (k, m)
    return y, (x.shape, places)


def loops_max_pool2d_backward(dy, cache):
    shape, places = cache
    dx = np.zeros(shape)
    for (n, c, i, j), (k, m) in places.items():
        dx[n, c, k, m] += dy[n, c, i, j]
    return dx


def single_conv2d_backward(dy, cache):
    return nn.conv2d_backward(dy.astype(np.float32), cache)


def loops_roi_pool(features, boxes, output_size, stride):
    """The released code's way: bins from fractions in floating point."""
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y, winners = np.zeros((len(boxes), C, h, w)), {}
    for r, box in enumerate(boxes):
        left, top, right, bottom = (math.floor(abs(v) / stride + 0.5) for v in box)
        left, top, right, bottom = (
            whole if v >= 0 else -whole
            for whole, v in zip((left, top, right, bottom), box, strict=True)
        )
        high, wide = max(bottom - top + 1, 1) / h, max(right - left + 1, 1) / w
        for c, i, j in np.ndindex(C, h, w):
            best = -np.inf
            for p in range(top + math.floor(i * high), top + math.ceil((i + 1) * high)):
                for q in range(left + math.floor(j * wide), left + math.ceil((j + 1) * wide)):
                    if 0 <= p < Hf and 0 <= q < Wf and features[c, p, q] > best:
                        best = y[r, c, i, j] = features[c, p, q]
                        winners[r, c, i, j] = (c, p, q)
    return y, (features.shape, winners)


def loops_roi_pool_backward(dy, cache):
    shape, winners = cache
    dfeatures = np.zeros(shape)
    for place, cell in winners.items():
        dfeatures[cell] += dy[place]
    return dfeatures


def masks_roi_pool(features, boxes, output_size, stride):
    """All bins at once: which rows and columns are in which, and the largest of what is left."""

    def members(first, last, count, size):
        length = np.maximum(last - first + 1, 1)[:, None]
        k, cell = np.arange(count), np.arange(size)
        start = first[:, None] + np.floor(k * length / count)
        stop = first[:, None] + np.ceil((k + 1) * length / count)
        return (cell >= start[..., None]) & (cell < stop[..., None])  # (R,count,size)

    x1, y1, x2, y2 = (np.sign(boxes) * np.floor(np.abs(boxes) / stride + 0.5)).T
    rows = members(y1, y2, output_size[0], features.shape[1])
    columns = members(x1, x2, output_size[1], features.shape[2])
    inside = (rows[:, :, None, :, None] & columns[:, None, :, None, :])[:, None]
    y = np.where(inside, features[:, None, None], -np.inf).max(axis=(-2, -1))
    return np.where(np.isfinite(y), y, 0)


def torch_roi_pool(features, boxes, output_size, stride):
    import torch

    features, boxes = torch.from_numpy(features), torch.from_numpy(boxes) / stride
    cells = (boxes.sign() * (boxes.abs() + 0.5).floor()).int()
    # A map large enough that every box is on it; what is far off must not win, and gives 0.
    around = 2 * max(features.shape) + 100
    padded = torch.nn.functional.pad(features, 4 * [around], value=-1e9)
    pooled = [
        torch.nn.functional.adaptive_max_pool2d(
            padded[
                :, around + y1 : around + max(y1, y2) + 1, around + x1 : around + max(x1, x2) + 1
            ],
            output_size,
        )
        for x1, y1, x2, y2 in cells.tolist()
    ]
    y = torch.stack(pooled) if pooled else torch.zeros(0, len(features), *output_size)
    return torch.where(y == -1e9, 0.0, y)


def single_roi_pool(features, boxes, output_size, stride):
    arrays = (array.astype(np.float32) for array in (features, boxes))
    return nn.roi_pool_forward(*arrays, output_size=output_size, stride=stride)


def single_roi_pool_backward(dy, cache):
    return nn.roi_pool_backward(dy.astype(np.float32), cache)


# Wrong in ways of their own.


def iou_y_shared_from_x(a, b):
    return loops_iou(a[:, [0, 0, 2, 2]], b[:, [0, 0, 2, 2]])


def iou_one_of_equals(a, b):
    overlaps = loops_iou(a, b)
    return np.where(overlaps == 1, 0, overlaps)


def iou_sorted_input(a, b):
    a.sort(axis=1)
    return loops_iou(a, b)


def iou_first_only(a, b):
    return np.tile(loops_iou(a[:1], b), (len(a), 1))


def iou_words(a, b):
    return [["some"] * len(b)] * len(a)


def iou_raises(a, b):
    return loops_iou(a, b) / (1 if (loops_iou(a, b) < 0.9).all() else 0.0).as_integer_ratio()[0]


def encode_log2(anchors, targets):
    deltas = loops_encode(anchors, targets)
    deltas[:, 2:] /= math.log(2)
    return deltas


def encode_y_by_width(anchors, targets):
    deltas = loops_encode(anchors, targets)
    deltas[:, 1] *= (anchors[:, 3] - anchors[:, 1]) / (anchors[:, 2] - anchors[:, 0])
    return deltas


def encode_sign(anchors, targets):
    return loops_encode(anchors, targets) * [-1, -1, 1, 1]


def encode_variances(anchors, targets):
    return loops_encode(anchors, targets) / [0.1, 0.1, 0.2, 0.2]


def encode_none(anchors, targets):
    return None


def decode_clamped(anchors, deltas):
    return loops_decode(anchors, np.minimum(deltas, 1))


def decode_y_by_width(anchors, deltas):
    decoded = loops_decode(anchors, deltas)
    sides = anchors[:, 2:] - anchors[:, :2]
    decoded[:, [1, 3]] += (deltas[:, 1] * (sides[:, 0] - sides[:, 1]))[:, None]
    return decoded


def decode_rounded(anchors, deltas):
    return np.round(loops_decode(anchors, deltas))


def decode_positive(anchors, deltas):
    return np.maximum(loops_decode(anchors, deltas), 0)


def decode_widths(anchors, deltas):
    decoded = loops_decode(anchors, deltas)
    decoded[:, 2:] -= decoded[:, :2]
    return decoded


def nms_keeps_all(candidates, scores, iou_threshold):
    return np.argsort(-scores, kind="stable")


def nms_keeps_best(candidates, scores, iou_threshold):
    return np.argsort(-scores, kind="stable")[:1]


def nms_fixed_threshold(candidates, scores, iou_threshold):
    return loops_nms(candidates, scores, 0.5)


def nms_mask(candidates, scores, iou_threshold):
    return np.isin(np.arange(len(scores)), loops_nms(candidates, scores, iou_threshold))


def nms_plus_one(candidates, scores, iou_threshold):
    return loops_nms(candidates + np.array([0, 0, 1, 1]), scores, iou_threshold)


def labels_as_bool(anchors, gt_boxes, image_size):
    return loops_labels(anchors, gt_boxes, image_size) == 1


def labels_swapped_size(anchors, gt_boxes, image_size):
    return loops_labels(anchors, gt_boxes, (image_size[1] + 1, image_size[0]))


def labels_no_ignore(anchors, gt_boxes, image_size):
    labels = loops_labels(anchors, gt_boxes, image_size)
    return np.where(labels == -1, 0, labels)


def labels_high_threshold(anchors, gt_boxes, image_size):
    labels = loops_labels(anchors, gt_boxes, image_size)
    highest = loops_iou(anchors, gt_boxes).max(axis=1, initial=0)
    return np.where((labels == -1) & (highest >= 0.5), 1, labels)


def labels_first_gt(anchors, gt_boxes, image_size):
    return loops_labels(anchors, gt_boxes[:1], image_size)


def conv2d_no_padding(x, weight, bias, stride, padding):
    return nn.conv2d_forward(x, weight, bias, stride=stride)


def conv2d_no_stride(x, weight, bias, stride, padding):
    return nn.conv2d_forward(x, weight, bias, padding=padding)


def conv2d_first_channel(x, weight, bias, stride, padding):
    return nn.conv2d_forward(x[:, :1], weight[:, :1], bias, stride=stride, padding=padding)[0]


def conv2d_with_relu(x, weight, bias, stride, padding):
    y, cache = nn.conv2d_forward(x, weight, bias, stride=stride, padding=padding)
    return np.maximum(y, 0), cache


def conv2d_bias_each_tap(x, weight, bias, stride, padding):
    return nn.conv2d_forward(x, weight, bias * weight[0].size, stride=stride, padding=padding)[0]


def conv2d_backward_swapped(dy, cache):
    dx, dweight, dbias = nn.conv2d_backward(dy, cache)
    return dweight, dx, dbias


def conv2d_backward_no_dbias(dy, cache):
    dx, dweight, dbias = nn.conv2d_backward(dy, cache)
    return dx, dweight, np.zeros_like(dbias)


def conv2d_backward_two(dy, cache):
    return nn.conv2d_backward(dy, cache)[:2]


def conv2d_backward_halved(dy, cache):
    dx, dweight, dbias = nn.conv2d_backward(dy, cache)
    return dx / 2, dweight, dbias


def conv2d_backward_negative(dy, cache):
    return tuple(-grad for grad in nn.conv2d_backward(dy, cache))


def max_pool2d_mean(x, kernel, stride, padding, ceil_mode):
    channels = np.eye(x.shape[1])[:, :, None, None] * np.ones((kernel, kernel)) / kernel**2
    return nn.conv2d_forward(x, channels, np.zeros(x.shape[1]), stride=stride, padding=padding)[0]


def max_pool2d_across_channels(x, kernel, stride, padding, ceil_mode):
    return loops_max_pool2d(
        np.broadcast_to(x.max(axis=1, keepdims=True), x.shape), kernel, stride, padding, ceil_mode
    )


def max_pool2d_absolute(x, kernel, stride, padding, ceil_mode):
    return loops_max_pool2d(np.abs(x), kernel, stride, padding, ceil_mode)


def max_pool2d_stride_is_kernel(x, kernel, stride, padding, ceil_mode):
    return loops_max_pool2d(x, kernel, kernel, padding, ceil_mode)


def max_pool2d_always_ceil(x, kernel, stride, padding, ceil_mode):
    return loops_max_pool2d(x, kernel, stride, padding, True)


def max_pool2d_backward_ones(dy, cache):
    return loops_max_pool2d_backward(np.ones_like(dy), cache)


def max_pool2d_backward_zero(dy, cache):
    return np.zeros(cache[0])


def roi_pool_sides(features, boxes, output_size, stride):
    """It takes boxes for x, y, width, height."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return loops_roi_pool(features, corners, output_size, stride)


def roi_pool_shifted(features, boxes, output_size, stride):
    """It subtracts half a cell, which is RoI align's way."""
    return loops_roi_pool(features, boxes - stride / 2, output_size, stride)


def roi_pool_inclusive(features, boxes, output_size, stride):
    """It turns half-open corners to inclusive ones first, as py-faster-rcnn had them."""
    return loops_roi_pool(features, boxes - np.array([0, 0, 1, 1]), output_size, stride)


def roi_pool_square(features, boxes, output_size, stride):
    """It takes (h, w) for (w, h)."""
    y, _ = loops_roi_pool(features, boxes, output_size[::-1], stride)
    return y.reshape(len(boxes), len(features), *output_size)


def roi_pool_across_channels(features, boxes, output_size, stride):
    strongest = np.broadcast_to(features.max(axis=0), features.shape)
    return loops_roi_pool(strongest, boxes, output_size, stride)


def roi_pool_positive(features, boxes, output_size, stride):
    """It starts the search for the largest at 0."""
    y, cache = loops_roi_pool(features, boxes, output_size, stride)
    return np.maximum(y, 0), cache


def roi_pool_backward_ones(dy, cache):
    return loops_roi_pool_backward(np.ones_like(dy), cache)


def roi_pool_backward_first_box(dy, cache):
    return loops_roi_pool_backward(dy * (np.arange(len(dy)) == 0)[:, None, None, None], cache)


def roi_pool_backward_averaged(dy, cache):
    return loops_roi_pool_backward(dy, cache) / max(1, len(dy))


RIGHT = {
    "iou": [loops_iou, single_iou, torch_iou],
    "pair_iou": [loops_pair_iou],
    "encode": [boxes.encode, loops_encode],
    "decode": [boxes.decode, loops_decode],
    "encode_decode": [(boxes.encode, boxes.decode), (loops_encode, loops_decode)],
    "nms": [loops_nms, matrix_nms],
    "label_anchors": [loops_labels],
    "conv2d": [
        columns_conv2d,
        (columns_conv2d, columns_conv2d_backward),
        (torch_conv2d, torch_conv2d_backward),
        (single_conv2d, single_conv2d_backward),
    ],
    "max_pool2d": [loops_max_pool2d, (loops_max_pool2d, loops_max_pool2d_backward)],
    "roi_pool": [
        masks_roi_pool,
        torch_roi_pool,
        loops_roi_pool,
        (loops_roi_pool, loops_roi_pool_backward),
        (single_roi_pool, single_roi_pool_backward),
    ],
}
WRONG = {
    "iou": [
        iou_y_shared_from_x,
        iou_one_of_equals,
        iou_sorted_input,
        iou_first_only,
        iou_words,
        iou_raises,
    ],
    "encode": [encode_log2, encode_y_by_width, encode_sign, encode_variances, encode_none],
    "decode": [decode_clamped, decode_y_by_width, decode_rounded, decode_positive, decode_widths],
    "encode_decode": [
        (encode_log2, loops_decode),
        (encode_sign, loops_decode),
        (loops_encode, decode_clamped),
        (loops_encode, decode_rounded),
        (loops_decode, loops_encode),
    ],
    "nms": [nms_keeps_all, nms_keeps_best, nms_fixed_threshold, nms_mask, nms_plus_one],
    "label_anchors": [
        labels_as_bool,
        labels_swapped_size,
        labels_no_ignore,
        labels_high_threshold,
        labels_first_gt,
    ],
    "conv2d": [
        conv2d_no_padding,
        conv2d_no_stride,
        conv2d_first_channel,
        conv2d_bias_each_tap,
        (conv2d_with_relu, nn.conv2d_backward),
        (nn.conv2d_forward, conv2d_backward_swapped),
        (nn.conv2d_forward, conv2d_backward_no_dbias),
        (nn.conv2d_forward, conv2d_backward_two),
        (nn.conv2d_forward, conv2d_backward_halved),
        (nn.conv2d_forward, conv2d_backward_negative),
    ],
    "max_pool2d": [
        max_pool2d_mean,
        max_pool2d_across_channels,
        max_pool2d_absolute,
        max_pool2d_stride_is_kernel,
        max_pool2d_always_ceil,
        (loops_max_pool2d, max_pool2d_backward_ones),
        (loops_max_pool2d, max_pool2d_backward_zero),
    ],
    "roi_pool": [
        roi_pool_sides,
        roi_pool_shifted,
        roi_pool_inclusive,
        roi_pool_square,
        roi_pool_across_channels,
        (roi_pool_positive, loops_roi_pool_backward),
        (loops_roi_pool, roi_pool_backward_ones),
        (loops_roi_pool, roi_pool_backward_first_box),
        (loops_roi_pool, roi_pool_backward_averaged),
    ],
}
