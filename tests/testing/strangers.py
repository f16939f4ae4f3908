"""Right functions as strangers write them, and ones that are right by another contract.

Those in `ACCEPTED` are right as they are. Those in `BY_OPTION` are right only where the check is
told what their author meant.
"""

import math
from functools import partial

import numpy as np

from minirpn import nn, rpn
from minirpn.evaluation import AVERAGES, precision_recall


class Tensor:
    """Like a tensor of PyTorch that requires a gradient: NumPy cannot read it as it is."""

    def __init__(self, values, requires_grad=True):
        self.values, self.requires_grad = np.asarray(values), requires_grad

    @property
    def shape(self):
        return self.values.shape

    @property
    def ndim(self):
        return self.values.ndim

    def __len__(self):
        return len(self.values)

    def detach(self):
        return Tensor(self.values, requires_grad=False)

    def cpu(self):
        return self

    def numpy(self):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


def as_tensors(function):
    """Return the function with each array of its answer as a tensor."""

    def tensors(*places, **options):
        result = function(*places, **options)
        if isinstance(result, tuple):
            return tuple(Tensor(part) for part in result)
        return Tensor(result)

    tensors.__name__ = f"{function.__name__}_as_tensor"
    return tensors


def in_lists(function):
    """Return the function with its answer in nested lists."""

    def lists(*places, **options):
        return np.asarray(function(*places, **options)).tolist()

    lists.__name__ = f"{function.__name__}_in_lists"
    return lists


def in_single(function):
    """Return the function with its answer in float32."""

    def single(*places, **options):
        return np.float32(function(*places, **options))

    single.__name__ = f"{function.__name__}_in_single"
    return single


def of_plain_arrays(function):
    """Return the function, but raising for negative strides, as `torch.from_numpy` does."""

    def plain(*places, **options):
        for array in places:
            if any(stride < 0 for stride in getattr(array, "strides", ())):
                raise ValueError("At least one stride in the given numpy array is negative.")
        return function(*places, **options)

    plain.__name__ = f"{function.__name__}_of_plain_arrays"
    return plain


def of_writable_arrays(function):
    """Return the function, but raising for read-only arrays, as compiled code may."""

    def writable(*places, **options):
        for array in places:
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                raise ValueError("buffer source array is read-only")
        return function(*places, **options)

    writable.__name__ = f"{function.__name__}_of_writable_arrays"
    return writable


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


# Losses.


def smooth_l1_huber(x, sigma):
    """Huber's loss with delta = 1 / sigma^2, over delta."""
    delta, size = 1.0 / (sigma * sigma), np.abs(np.float64(x))
    inner = np.minimum(size, delta)
    return (0.5 * inner * inner + delta * (size - inner)) / delta


def smooth_l1_masks(x, sigma):
    x, sigma2 = np.float64(x), sigma**2
    sign = (np.abs(x) < 1.0 / sigma2).astype(float)
    return sign * x * x * sigma2 * 0.5 + (np.abs(x) - 0.5 / sigma2) * (1 - sign)


def smooth_l1_each(x, sigma):
    return [float(smooth_l1_huber(v, sigma)) for v in x]


def smooth_l1_slope(x, sigma):
    return [max(-1.0, min(1.0, float(v) * sigma * sigma)) for v in x]


def smooth_l1_beta(x, beta):
    size = np.abs(np.float64(x))
    return np.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


def smooth_l1_beta_slope(x, beta):
    return np.clip(np.float64(x) / beta, -1, 1)


def cross_entropy(scores, y):
    """With the logarithm of a sum, in another order."""
    scores = np.float64(scores)
    largest = np.amax(scores, axis=-1)
    logs = largest + np.log(np.sum(np.exp(scores - largest[:, None]), axis=-1))
    return logs - scores[range(len(y)), y]


def cross_entropy_mean(scores, y):
    return float(np.mean(cross_entropy(scores, y)))


def cross_entropy_sum(scores, y):
    return float(np.sum(cross_entropy(scores, y)))


def cross_entropy_pairs(scores, y):
    """By the differences to the right class alone."""
    rows = np.asarray(scores, dtype=float).tolist()
    losses = []
    for row, label in zip(rows, y, strict=True):
        differences = [v - row[label] for v in row]
        top = max(differences)
        losses.append(top + math.log(math.fsum(math.exp(d - top) for d in differences)))
    return sum(losses) / len(losses)


def softmax_slopes_sum(scores, y):
    scores = np.float64(scores)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return p


def softmax_slopes(scores, y):
    return softmax_slopes_sum(scores, y) / len(y)


def bce(logits, t):
    z = np.float64(logits)
    return np.where(np.asarray(t) == 1, np.logaddexp(0, -z), np.logaddexp(0, z))


def bce_mean(logits, t):
    return bce(logits, t).mean()


def bce_sum(logits, t):
    return bce(logits, t).sum()


def bce_caffe(logits, t):
    z = np.float64(logits)
    losses = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
    return np.sum(losses) / len(losses)


def bce_slopes_sum(logits, t):
    z = np.float64(logits)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e)) - t


def bce_slopes(logits, t):
    return bce_slopes_sum(logits, t) / len(t)


def rpn_loss_rows(cls_score, bbox_pred, labels, targets, cells):
    total = 0.0
    for scores, said, label, meant in zip(cls_score, bbox_pred, labels, targets, strict=True):
        if label >= 0:
            total += float(cross_entropy(scores[None], [int(label)])[0]) / 256
        if label == 1:
            errors = np.float64(said) - np.float64(meant)
            total += 10 * float(np.sum(smooth_l1_huber(errors, 1.0))) / cells
    return total


def rpn_slopes_rows(cls_score, bbox_pred, labels, targets, cells):
    by_scores, by_boxes = np.zeros(cls_score.shape), np.zeros(bbox_pred.shape)
    for k, label in enumerate(labels):
        if label >= 0:
            by_scores[k] = softmax_slopes_sum(cls_score[k][None], [int(label)])[0] / 256
        if label == 1:
            errors = np.float64(bbox_pred[k]) - np.float64(targets[k])
            by_boxes[k] = np.clip(errors, -1, 1) * 10 / cells
    return [by_scores, by_boxes]


# Layers.


def conv_loops(x, w, b, stride, padding):
    """As the exercise of cs231n is solved; a list in place of a tuple."""
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    Ho, Wo = 1 + (H + 2 * padding - HH) // stride, 1 + (W + 2 * padding - WW) // stride
    xp = np.pad(np.float64(x), ((0,), (0,), (padding,), (padding,)), mode="constant")
    out = np.zeros((N, F, Ho, Wo))
    for i in range(Ho):
        for j in range(Wo):
            window = xp[:, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
            out[:, :, i, j] = np.tensordot(window, np.float64(w), ([1, 2, 3], [1, 2, 3])) + b
    return [out, (x, w, b, stride, padding)]


def conv_loops_backward(dout, cache):
    x, w, _, stride, padding = cache
    HH, WW = w.shape[2:]
    xp = np.pad(np.float64(x), ((0,), (0,), (padding,), (padding,)), mode="constant")
    dxp, dw = np.zeros_like(xp), np.zeros(w.shape)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            place = np.s_[:, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
            dxp[place] += np.tensordot(np.float64(dout[:, :, i, j]), np.float64(w), 1)
            dw += np.tensordot(np.float64(dout[:, :, i, j]).T, xp[place], 1)
    H, W = x.shape[2:]
    return [dxp[:, :, padding : padding + H, padding : padding + W], dw, dout.sum(axis=(0, 2, 3))]


def conv_dict_backward(dout, cache):
    return dict(zip(("dx", "dweight", "dbias"), conv_loops_backward(dout, cache), strict=True))


def conv_divisible(x, w, b, stride, padding):
    """The fast layer of cs231n: it asserts that the stride divides."""
    assert (x.shape[2] + 2 * padding - w.shape[2]) % stride == 0, "width does not work"
    assert (x.shape[3] + 2 * padding - w.shape[3]) % stride == 0, "height does not work"
    return tuple(conv_loops(x, w, b, stride, padding))


class Conv:
    """A callable object, as layers are."""

    def __call__(self, x, weight, bias, stride=1, padding=0):
        return conv_loops(x, weight, bias, stride, padding)[0]


def torch_conv(x, weight, bias, stride, padding):
    import torch

    inputs = [
        torch.from_numpy(np.array(a, dtype=float)).requires_grad_() for a in (x, weight, bias)
    ]
    y = torch.nn.functional.conv2d(*inputs, stride=stride, padding=padding)
    return y, (y, inputs)


def torch_conv_backward(dy, cache):
    import torch

    y, inputs = cache
    dy = torch.from_numpy(np.array(dy, dtype=float))
    return list(torch.autograd.grad(y, inputs, dy, retain_graph=True))


def pool_windows(x, size, kernel, stride, padding):
    """Yield each place of the output, and the pixels of its window that are on the image."""
    for i, j in np.ndindex(*size):
        top, left = i * stride - padding, j * stride - padding
        rows = slice(max(top, 0), min(top + kernel, x.shape[2]))
        columns = slice(max(left, 0), min(left + kernel, x.shape[3]))
        yield (i, j), (rows, columns)


def pool_all_ties(x, kernel, stride, padding, ceil_mode):
    size = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    out = np.zeros((*x.shape[:2], *size))
    for (i, j), (rows, columns) in pool_windows(x, size, kernel, stride, padding):
        out[:, :, i, j] = x[:, :, rows, columns].max(axis=(2, 3))
    return out, (np.array(x, dtype=float), kernel, stride, padding)


def pool_all_ties_backward(dout, cache):
    """Every pixel that ties gets the gradient, as with the mask of cs231n."""
    x, kernel, stride, padding = cache
    dx = np.zeros(x.shape)
    for (i, j), (rows, columns) in pool_windows(x, dout.shape[2:], kernel, stride, padding):
        window = x[:, :, rows, columns]
        mask = window == window.max(axis=(2, 3), keepdims=True)
        dx[:, :, rows, columns] += mask * dout[:, :, i, j][:, :, None, None]
    return dx


def pool_first_backward(dout, cache):
    x, kernel, stride, padding = cache
    dx = np.zeros(x.shape)
    for (i, j), (rows, columns) in pool_windows(x, dout.shape[2:], kernel, stride, padding):
        for n, c in np.ndindex(*x.shape[:2]):
            window = x[n, c, rows, columns]
            k, m = divmod(int(np.argmax(window)), window.shape[1])
            dx[n, c, rows.start + k, columns.start + m] += dout[n, c, i, j]
    return dx


def pool_last_backward(dout, cache):
    """The last pixel that ties gets the gradient."""
    x, kernel, stride, padding = cache
    dx = np.zeros(x.shape)
    for (i, j), (rows, columns) in pool_windows(x, dout.shape[2:], kernel, stride, padding):
        for n, c in np.ndindex(*x.shape[:2]):
            window = x[n, c, rows, columns]
            k, m = np.argwhere(window == window.max())[-1]
            dx[n, c, rows.start + k, columns.start + m] += dout[n, c, i, j]
    return dx


def pool_divisible(x, kernel, stride, padding, ceil_mode):
    """The fast layer of cs231n: it asserts that the stride divides, and knows no `ceil_mode`."""
    assert not ceil_mode, "not supported"
    assert (x.shape[2] + 2 * padding - kernel) % stride == 0
    assert (x.shape[3] + 2 * padding - kernel) % stride == 0
    return pool_all_ties(x, kernel, stride, padding, False)


def roi_bins(features, boxes, output_size, stride):
    """Yield each output's place, and the rows and columns of its bin that are on the map."""
    cells = [[math.floor(abs(v) / stride + 0.5) * (1 if v >= 0 else -1) for v in b] for b in boxes]
    for r, (x1, y1, x2, y2) in enumerate(cells):
        wide, high = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
        for i, j in np.ndindex(*output_size):
            spans = []
            for first, length, k, n, size in (
                (y1, high, i, output_size[0], features.shape[1]),
                (x1, wide, j, output_size[1], features.shape[2]),
            ):
                start, stop = first + k * length // n, first + ((k + 1) * length + n - 1) // n
                spans.append(slice(min(max(start, 0), size), min(max(stop, 0), size)))
            yield (r, i, j), tuple(spans)


def roi_pool_bins(features, boxes, output_size, stride):
    out = np.zeros((len(boxes), len(features), *output_size))
    for (r, i, j), (rows, columns) in roi_bins(features, boxes, output_size, stride):
        window = features[:, rows, columns]
        if window.size:
            out[r, :, i, j] = window.max(axis=(1, 2))
    return [out, (np.array(features, dtype=float), boxes, output_size, stride)]


def roi_pool_all_ties_backward(dy, cache):
    features = cache[0]
    dfeatures = np.zeros(features.shape)
    for (r, i, j), (rows, columns) in roi_bins(*cache):
        window = features[:, rows, columns]
        if window.size:
            mask = window == window.max(axis=(1, 2), keepdims=True)
            dfeatures[:, rows, columns] += mask * dy[r, :, i, j][:, None, None]
    return dfeatures


def roi_align_points(features, boxes, output_size, stride, samples, aligned):
    """Point by point, each from its four neighbours."""
    C, H, W = features.shape
    h, w = output_size
    y, shares = np.zeros((len(boxes), C, h, w)), []
    for r, box in enumerate(np.asarray(boxes, dtype=float)):
        x1, y1, x2, y2 = box / stride - (0.5 if aligned else 0.0)
        wide, high = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        for i, j, p, q in np.ndindex(h, w, samples, samples):
            v = y1 + (i + (p + 0.5) / samples) * high / h
            u = x1 + (j + (q + 0.5) / samples) * wide / w
            if not (-1 <= v <= H and -1 <= u <= W):
                continue
            v, u = min(max(v, 0.0), H - 1.0), min(max(u, 0.0), W - 1.0)
            top, left = math.floor(v), math.floor(u)
            for a, b in np.ndindex(2, 2):
                share = abs(1 - a - (v - top)) * abs(1 - b - (u - left)) / samples**2
                if share:
                    y[r, :, i, j] += share * features[:, top + a, left + b]
                    shares.append(((r, i, j), (top + a, left + b), share))
    return y, (features.shape, shares)


def roi_align_points_backward(dy, cache):
    shape, shares = cache
    dfeatures = np.zeros(shape)
    for (r, i, j), (row, column), share in shares:
        dfeatures[:, row, column] += share * dy[r, :, i, j]
    return dfeatures


def affine(x, w, b):
    return [np.einsum("nd,od->no", np.float64(x), np.float64(w)) + b, (x, w, b)]


def affine_backward(dout, cache):
    x, w, _ = cache
    return [np.dot(dout, w), np.dot(np.transpose(dout), x), np.sum(dout, axis=0)]


def relu(x):
    return x * (x > 0), x


def relu_backward(dout, x):
    return dout * (x > 0)


def relu_by_parts(x):
    return [(np.abs(x) + x) / 2, np.sign(np.maximum(x, 0))]


# Steps.


def momentum_step(w, v, dw, learning_rate, mu, decay):
    """A list in place of a tuple."""
    v = [mu * v_k + learning_rate * (g + decay * w_k) for w_k, v_k, g in zip(w, v, dw, strict=True)]
    return [[w_k - v_k for w_k, v_k in zip(w, v, strict=True)], v]


def torch_momentum_step(p, buf, d_p, lr, momentum, weight_decay):
    d_p = d_p + weight_decay * p
    buf = momentum * buf + d_p
    return p - lr * buf, buf


def step_in_place(w, v, dw, lr, momentum, decay):
    v *= momentum
    v += lr * (dw + decay * w)
    w -= v


def torch_step_in_place(p, buf, d_p, lr, momentum, weight_decay):
    buf[:] = momentum * buf + d_p + weight_decay * p
    p[:] -= lr * buf


# Average precision.


def ap_in_percent_of_one(scores, hits, positives, method):
    return AVERAGES[method](precision_recall(np.array(scores, float), np.array(hits), positives))


eleven_point, area_under_curve = (
    partial(ap_in_percent_of_one, method=method) for method in ("voc07", "area")
)
eleven_point.__name__, area_under_curve.__name__ = "eleven_point", "area_under_curve"


def ordered_curve(scores, hits, positives):
    """A point for each answer, as in the devkit of VOC: equal scores in the order of the list."""
    order = np.argsort(-np.float64(scores), kind="stable")
    tp = np.cumsum(np.asarray(hits, dtype=float)[order])
    return tp / positives, tp / np.arange(1, len(order) + 1)


def tied_curve(scores, hits, positives):
    """A point for each score."""
    order = np.argsort(-np.float64(scores), kind="stable")
    ordered = np.float64(scores)[order]
    last = np.append(ordered[1:] != ordered[:-1], np.ones(min(len(order), 1), dtype=bool))
    rec, prec = ordered_curve(scores, hits, positives)
    return rec[last], prec[last]


def voc_ap(rec, prec, levels):
    """As in py-faster-rcnn."""
    ap = 0.0
    for t in levels:
        p = 0 if np.sum(rec >= t) == 0 else np.max(prec[rec >= t])
        ap = ap + p / 11.0
    return ap


def voc_area(rec, prec):
    mrec, mpre = np.concatenate(([0.0], rec, [1.0])), np.concatenate(([0.0], prec, [0.0]))
    for i in range(mpre.size - 1, 0, -1):
        mpre[i - 1] = np.maximum(mpre[i - 1], mpre[i])
    i = np.where(mrec[1:] != mrec[:-1])[0]
    return np.sum((mrec[i + 1] - mrec[i]) * mpre[i + 1])


def voc07_floats(scores, hits, positives):
    return voc_ap(*tied_curve(scores, hits, positives), np.arange(0.0, 1.1, 0.1))


def voc07_floats_ordered(scores, hits, positives):
    return voc_ap(*ordered_curve(scores, hits, positives), np.arange(0.0, 1.1, 0.1))


def voc07_ordered(scores, hits, positives):
    return voc_ap(*ordered_curve(scores, hits, positives), [k / 10 for k in range(11)])


def area_tied(scores, hits, positives):
    return voc_area(*tied_curve(scores, hits, positives))


def area_ordered(scores, hits, positives):
    return voc_area(*ordered_curve(scores, hits, positives))


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


def head_in_lists(features, weights):
    outputs = []
    hidden = conv_loops(features, weights["rpn.conv.weight"], weights["rpn.conv.bias"], 1, 1)[0]
    for name in ("rpn.objectness", "rpn.deltas"):
        of_layer = weights[f"{name}.weight"], weights[f"{name}.bias"]
        outputs.append(conv_loops(np.maximum(hidden, 0), *of_layer, 1, 0)[0])
    return outputs


def library_align(features, boxes, output_size, stride, samples, aligned):
    features, boxes = np.array(features, dtype=float), np.array(boxes, dtype=float)
    return nn.roi_align_forward(
        features, boxes, output_size=output_size, stride=stride, samples=samples, aligned=aligned
    )


def library_align_backward(dy, cache):
    return nn.roi_align_backward(np.array(dy, dtype=float), cache, need_dboxes=False).dfeatures


def library_base_anchors(base_size, ratios, scales):
    return rpn.base_anchors(rpn.AnchorConfig(base_size, tuple(ratios), tuple(scales)))


ACCEPTED = {
    "iou": [
        iou_pixels,
        iou_numbers,
        iou_rows,
        IoU(),
        in_lists(iou_numbers),
        as_tensors(iou_numbers),
        in_single(iou_numbers),
        of_plain_arrays(iou_numbers),
        of_writable_arrays(iou_pixels),
        torch_iou,
        torch_iou_strict,
    ],
    "pair_iou": [pair_iou, in_single(pair_iou), as_tensors(pair_iou)],
    "encode": [
        bbox2delta,
        encode_rows,
        in_lists(bbox2delta),
        as_tensors(bbox2delta),
        in_single(bbox2delta),
        of_plain_arrays(bbox2delta),
    ],
    "decode": [
        delta2bbox,
        decode_rows,
        in_lists(delta2bbox),
        as_tensors(delta2bbox),
        in_single(delta2bbox),
        of_writable_arrays(delta2bbox),
    ],
    "encode_decode": [(bbox2delta, delta2bbox), (encode_rows, decode_rows)],
    "bbox_transform_inv": [delta2bbox, as_tensors(delta2bbox), in_lists(delta2bbox)],
    "clip": [clip_boxes, clip_rows, as_tensors(clip_boxes), of_plain_arrays(clip_boxes)],
    "min_size": [filter_boxes, large_enough, large_ones, as_tensors(filter_boxes)],
    "nms": [
        nms_fast,
        nms_keyword_only,
        nms_matrix,
        in_lists(nms_fast),
        as_tensors(nms_keyword_only),
        of_plain_arrays(nms_fast),
    ],
    "batched_nms": [batched_nms, batched_nms_loop, as_tensors(batched_nms_loop)],
    "label_anchors": [
        labels_with_assignment,
        labels_list,
        labels_float,
        as_tensors(labels_list),
        of_writable_arrays(labels_list),
    ],
    "base_anchors": [generate_anchors, library_base_anchors, in_lists(generate_anchors)],
    "grid_anchors": [shifted_anchors, listed_anchors, as_tensors(shifted_anchors)],
    "anchor_rows": [rows_einsum, in_lists(rows_einsum), as_tensors(rows_einsum)],
    "smooth_l1": [
        smooth_l1_huber,
        (smooth_l1_each, smooth_l1_slope),
        (smooth_l1_masks, smooth_l1_slope),
        as_tensors(smooth_l1_huber),
        in_single(smooth_l1_huber),
        of_plain_arrays(smooth_l1_masks),
    ],
    "softmax_cross_entropy": [
        (cross_entropy_mean, softmax_slopes),
        cross_entropy_pairs,
        as_tensors(cross_entropy_mean),
        in_single(cross_entropy_mean),
    ],
    "sigmoid_cross_entropy": [(bce_mean, bce_slopes), bce_caffe, as_tensors(bce_mean)],
    "rpn_loss": [
        (rpn_loss_rows, rpn_slopes_rows),
        (as_tensors(rpn_loss_rows), rpn_slopes_rows),
        in_single(rpn_loss_rows),
    ],
    "conv2d": [
        (conv_loops, conv_loops_backward),
        (conv_loops, conv_dict_backward),
        Conv(),
        (torch_conv, torch_conv_backward),
    ],
    "max_pool2d": [(pool_all_ties, pool_first_backward), pool_all_ties],
    "roi_pool": [roi_pool_bins],
    "roi_align": [
        (roi_align_points, roi_align_points_backward),
        (library_align, library_align_backward),
    ],
    "linear": [(affine, affine_backward)],
    "relu": [(relu, relu_backward), (relu_by_parts, relu_backward), relu],
    "rpn_head": [head_in_lists],
    "sgd_step": [momentum_step],
    "torch_sgd_step": [torch_momentum_step],
    "eleven_point": [eleven_point, in_single(eleven_point), as_tensors(eleven_point)],
    "area_under_curve": [area_under_curve, area_tied],
}

BY_OPTION = [
    ("iou", {"plus_one": True}, (bbox_overlaps,)),
    ("pair_iou", {"plus_one": True}, (pair_overlap,)),
    ("encode", {"plus_one": True}, (bbox_transform,)),
    ("decode", {"plus_one": True}, (bbox_transform_inv,)),
    ("bbox_transform_inv", {"plus_one": True}, (bbox_transform_inv,)),
    ("nms", {"plus_one": True}, (py_cpu_nms,)),
    ("decode", {"max_log_scale": LIMIT}, (delta2bbox_limited,)),
    ("bbox_transform_inv", {"max_log_scale": LIMIT}, (delta2bbox_limited,)),
    ("nms", {"ties": "any"}, (nms_last_first,)),
    ("batched_nms", {"ties": "any"}, (batched_last_first,)),
    ("base_anchors", {"rounding": None}, (base_anchors_exact,)),
    ("smooth_l1", {"parameter": "beta"}, (smooth_l1_beta,)),
    ("smooth_l1", {"parameter": "beta"}, (smooth_l1_beta, smooth_l1_beta_slope)),
    ("softmax_cross_entropy", {"reduction": "sum"}, (cross_entropy_sum, softmax_slopes_sum)),
    ("softmax_cross_entropy", {"reduction": "none"}, (cross_entropy,)),
    ("sigmoid_cross_entropy", {"reduction": "sum"}, (bce_sum, bce_slopes_sum)),
    ("sigmoid_cross_entropy", {"reduction": "none"}, (bce,)),
    ("conv2d", {"divisible_only": True}, (conv_divisible,)),
    ("conv2d", {"divisible_only": True}, (conv_divisible, conv_loops_backward)),
    ("max_pool2d", {"divisible_only": True}, (pool_divisible,)),
    ("max_pool2d", {"divisible_only": True}, (pool_divisible, pool_first_backward)),
    ("max_pool2d", {"ties": "any"}, (pool_all_ties, pool_all_ties_backward)),
    ("max_pool2d", {"ties": "any"}, (pool_all_ties, pool_last_backward)),
    (
        "max_pool2d",
        {"ties": "any", "divisible_only": True},
        (pool_divisible, pool_all_ties_backward),
    ),
    ("roi_pool", {"ties": "any"}, (roi_pool_bins, roi_pool_all_ties_backward)),
    ("sgd_step", {"in_place": True}, (step_in_place,)),
    ("torch_sgd_step", {"in_place": True}, (torch_step_in_place,)),
    ("eleven_point", {"float_levels": True}, (voc07_floats,)),
    ("eleven_point", {"ties": "order"}, (voc07_ordered,)),
    ("eleven_point", {"float_levels": True, "ties": "order"}, (voc07_floats_ordered,)),
    ("area_under_curve", {"ties": "order"}, (area_ordered,)),
]
