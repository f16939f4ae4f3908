"""Every operation as plain loops, one number after the other: the definition.

The loops are slow, and show what happens to each number. Tests compare them with oracles, and all
other implementations with them; ``minirpn.accel.use("loops")`` runs them. Arguments are those of
the functions they define, which have checked them; arrays are NumPy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minirpn._typing import Array, ImageSize
from minirpn.nn.roi_pool import FAR
from minirpn.nn.window import Pair, conv_output_size

# --- boxes ---


def pair_iou(a: Array, b: Array) -> float:
    """Return the IoU of two boxes (4,), (4,): shared area over covered area.

    Boxes that share no area, such as empty ones, have IoU 0. So there is no division 0/0. A box
    with a NaN shares nothing.
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    if shared == 0:  # two positive sides whose product is too small for the dtype
        return 0.0
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    covered = area_a + area_b - shared
    return shared / covered if covered > 0 else 0.0  # false for a NaN


def iou(a: Array, b: Array) -> Array:
    """Return the IoU of a (N, 4) and b (M, 4), one pair after the other: (N, M)."""
    overlaps = np.zeros((len(a), len(b)), dtype=a.dtype)
    for n in range(len(a)):
        for m in range(len(b)):
            overlaps[n, m] = pair_iou(a[n], b[m])
    return overlaps


def nms(boxes: Array, iou_threshold: float, max_keep: int) -> Array:
    """Return which boxes stay: those that no better box that stayed covers.

    Parameters
    ----------
    boxes
        (N, 4), highest score first.
    iou_threshold
        A box is removed if its IoU with a better one that stayed is above this.
    max_keep
        Stop when this many stay.

    Returns
    -------
    Array
        (R,) int64 positions in `boxes`, ascending; R <= max_keep.
    """
    kept = np.zeros(min(max_keep, len(boxes)), dtype=np.int64)
    # A copy without gaps: the inner loop reads it from end to end.
    kept_boxes = np.zeros((len(kept), 4), dtype=boxes.dtype)
    count = 0
    for candidate in range(len(boxes)):
        if count == len(kept):
            break
        covered = False
        for better in range(count):
            if pair_iou(kept_boxes[better], boxes[candidate]) > iou_threshold:
                covered = True
                break
        if not covered:
            kept[count] = candidate
            kept_boxes[count] = boxes[candidate]
            count += 1
    return kept[:count]


# --- targets and proposals ---


def assign(
    anchors: Array, gt_boxes: Array, eligible: Array, tie_tolerance: float
) -> tuple[Array, Array, Array, Array]:
    """Return the fields of `Assignment`, in two passes over all pairs.

    The second pass computes each IoU again instead of keeping all K x M of them.

    Parameters
    ----------
    anchors, gt_boxes
        (K, 4) and (M, 4), float64.
    eligible
        (K,) bool: the anchors that may be the best of a ground truth.
    tie_tolerance
        An anchor ties with the best IoU if its own is at most this much lower.
    """
    max_iou = np.zeros(len(anchors))
    matched_gt = np.full(len(anchors), -1, np.int64)
    gt_max_iou = np.zeros(len(gt_boxes))
    for k in range(len(anchors)):
        for m in range(len(gt_boxes)):
            overlap = pair_iou(anchors[k], gt_boxes[m])
            if overlap > max_iou[k] or m == 0:
                max_iou[k] = overlap
                matched_gt[k] = m
            if eligible[k] and overlap > gt_max_iou[m]:
                gt_max_iou[m] = overlap

    is_best = np.zeros(len(anchors), dtype=np.bool_)
    for k in range(len(anchors)):
        if not eligible[k] or max_iou[k] == 0:
            continue
        for m in range(len(gt_boxes)):
            overlap = pair_iou(anchors[k], gt_boxes[m])
            if overlap > 0 and overlap >= gt_max_iou[m] - tie_tolerance:
                is_best[k] = True
                break
    return max_iou, matched_gt, gt_max_iou, is_best


def label(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    positive_iou: float,
    negative_iou: float,
    tie_tolerance: float,
    inside_only: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return labels, matched_gt, max_iou, is_best (K,) and gt_max_iou (M,), anchor by anchor.

    The label of an anchor is 1, 0 or -1: positive, negative or ignored; see
    `minirpn.rpn.label_anchors`.
    """
    height, width = image_size
    eligible = np.ones(len(anchors), np.bool_)
    if inside_only:
        for k, (x1, y1, x2, y2) in enumerate(anchors):
            eligible[k] = x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height
    doubles = anchors.astype(np.float64), gt_boxes.astype(np.float64)
    max_iou, matched_gt, gt_max_iou, is_best = assign(*doubles, eligible, tie_tolerance)
    labels = np.full(len(anchors), -1, np.int8)
    for k in range(len(anchors)):
        if not eligible[k]:
            continue
        if is_best[k] or max_iou[k] >= positive_iou:
            labels[k] = 1
        elif max_iou[k] < negative_iou:
            labels[k] = 0
    return labels, matched_gt, max_iou, is_best, gt_max_iou


def candidates(
    anchors: Array, objectness: Array, deltas: Array, image_size: ImageSize, min_side: float
) -> tuple[Array, Array, Array]:
    """Return boxes (K, 4), scores (K,) and whether a box is large enough (K,) bool.

    Parameters
    ----------
    anchors, deltas
        (K, 4).
    objectness
        (K, 2) softmax scores, or (K, 1) logits.
    image_size
        (height, width); boxes are clipped to the image.
    min_side
        A box is large enough if its shorter side is at least this.
    """
    real, (height, width) = anchors.dtype.type, image_size
    boxes, scores = np.empty_like(anchors), np.empty(len(anchors), anchors.dtype)
    large = np.empty(len(anchors), np.bool_)
    with np.errstate(over="ignore"):  # a side may be infinite until it is clipped
        for k, ((x1, y1, x2, y2), (tx, ty, tw, th)) in enumerate(zip(anchors, deltas, strict=True)):
            # Eq. 2, solved for x, y, w and h.
            x, half_w = tx * (x2 - x1) + (x1 + real(0.5) * (x2 - x1)), real(0.5) * (x2 - x1)
            y, half_h = ty * (y2 - y1) + (y1 + real(0.5) * (y2 - y1)), real(0.5) * (y2 - y1)
            half_w, half_h = half_w * np.exp(tw), half_h * np.exp(th)
            boxes[k] = x - half_w, y - half_h, x + half_w, y + half_h
            for side, far in enumerate((width, height, width, height)):
                boxes[k, side] = min(max(boxes[k, side], 0), far)
            sides = boxes[k, 2] - boxes[k, 0], boxes[k, 3] - boxes[k, 1]
            large[k] = all(side >= real(min_side) for side in sides)  # false for a NaN
            logit = objectness[k, 0]
            if objectness.shape[1] == 2:  # softmax of two is the logistic function of a difference
                logit = objectness[k, 1] - objectness[k, 0]
            small = np.exp(-abs(logit))  # at most 1: nothing overflows
            scores[k] = (1 if logit >= 0 else small) / (1 + small)
    return boxes, scores, large


# --- convolution: three sums over the same products ---


def conv2d(x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair) -> Array:
    """Return y (N,O,Ho,Wo): each output is a window of `x` times a kernel, summed."""
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    image = _padded(x, padding)
    size = conv_output_size(x.shape[2:], kernel, stride, padding)
    y = np.empty((N, outs, *size), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        rows, columns = _window(i, j, kernel, stride)
        y[n, o, i, j] = np.sum(image[n, :, rows, columns] * weight[o]) + bias[o]
    return y


def conv2d_dx(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): the gradient of each output is added to its window, times the kernel."""
    (N, C), kernel = (dy.shape[0], weight.shape[1]), weight.shape[2:]
    (H, W), (top, left) = size, padding
    dimage = np.zeros((N, C, H + 2 * top, W + 2 * left), dy.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        rows, columns = _window(i, j, kernel, stride)
        dimage[n, :, rows, columns] += dy[n, o, i, j] * weight[o]
    return dimage[:, :, top : top + H, left : left + W]


def conv2d_dweight(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw): each window, times the gradient of its output, summed."""
    image = _padded(x, padding)
    dweight = np.zeros((dy.shape[1], x.shape[1], *kernel), x.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        rows, columns = _window(i, j, kernel, stride)
        dweight[o] += dy[n, o, i, j] * image[n, :, rows, columns]
    return dweight


def conv2d_dbias(dy: Array) -> Array:
    """Return dbias (O,): the gradients of all outputs of a channel, summed."""
    dbias = np.zeros(dy.shape[1], dy.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        dbias[o] += dy[n, o, i, j]
    return dbias


def conv2d_relu(
    x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair, out: Array | None = None
) -> Array:
    """Return ``max(y, 0)`` of the convolution's y, written into `out` if it is given."""
    y = relu(conv2d(x, weight, bias, stride, padding))
    if out is None:
        return y
    out[...] = y
    return out


def _padded(x: Array, padding: Pair) -> Array:
    """Return `x` (N,C,H,W) with `padding` zeros on each side."""
    (top, left) = padding
    return np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))


def _window(i: int, j: int, kernel: Pair, stride: Pair) -> tuple[slice, slice]:
    """Return the rows and columns of the padded image behind output (i, j)."""
    top, left = i * stride[0], j * stride[1]
    return slice(top, top + kernel[0]), slice(left, left + kernel[1])


# --- ReLU, max pooling, local response normalization ---


def write_relu(x: Array, y: Array) -> None:
    """Write ``max(x, 0)`` into `y`, both (P,); a NaN remains a NaN."""
    for k in range(len(x)):
        y[k] = 0 if x[k] < 0 else x[k]


def write_relu_dx(dy: Array, y: Array, dx: Array) -> None:
    """Write `dy` where `y` is positive, and zero elsewhere, into `dx`, all (P,)."""
    for k in range(len(y)):
        dx[k] = dy[k] if y[k] > 0 else 0


def relu(x: Array) -> Array:
    """Return ``max(x, 0)`` of any shape; a NaN remains a NaN."""
    y = np.empty(x.shape, x.dtype)
    write_relu(x.reshape(-1), y.reshape(-1))
    return y


def relu_dx(dy: Array, y: Array) -> Array:
    """Return `dy` where `y` is positive, and zero elsewhere."""
    dx = np.empty(dy.shape, dy.dtype)
    write_relu_dx(dy.reshape(-1), y.reshape(-1), dx.reshape(-1))
    return dx


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, output_size: Pair, need_winner: bool = True
) -> tuple[Array, Array | None]:
    """Return the largest pixel of each window (N,C,Ho,Wo), and which tap it was, int32.

    Without `need_winner`, the latter is None: a layer does not need it if nothing below is trained.
    Taps are numbered in row-major order; of equal pixels the first wins. A NaN makes the output
    NaN; which tap then gets the gradient is undefined.
    """
    N, C, H, W = x.shape
    Ho, Wo = output_size
    y = np.empty((N, C, Ho, Wo), x.dtype)
    winner = np.empty((N, C, Ho, Wo), np.int32)
    for n, c, i, j in np.ndindex(y.shape):
        top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
        best, best_tap = -np.inf, -1
        # Only over pixels of the image, so padding never wins.
        for row in range(max(top, 0), min(top + kernel[0], H)):
            for column in range(max(left, 0), min(left + kernel[1], W)):
                value = x[n, c, row, column]
                if value > best or np.isnan(value) or best_tap < 0:
                    best, best_tap = value, (row - top) * kernel[1] + column - left
        y[n, c, i, j] = best
        winner[n, c, i, j] = best_tap
    return y, winner if need_winner else None


def max_pool2d_dx(
    dy: Array, winner: Array, kernel: Pair, stride: Pair, padding: Pair, size: Pair
) -> Array:
    """Return dx (N,C,H,W): each output's gradient is added to the pixel that won its window."""
    dx = np.empty((*dy.shape[:2], *size), dy.dtype)
    for n in range(len(dy)):
        write_max_pool2d_dx(dy[n], winner[n], dx[n], kernel, stride, padding)
    return dx


def write_max_pool2d_dx(
    dy: Array, winner: Array, dx: Array, kernel: Pair, stride: Pair, padding: Pair
) -> None:
    """Write into `dx` (C,H,W) the sum of `dy` (C,Ho,Wo) over the windows that each pixel won."""
    C, Ho, Wo = dy.shape
    dx[:] = 0
    for c in range(C):
        for i in range(Ho):
            for j in range(Wo):
                tap = winner[c, i, j]
                row = i * stride[0] - padding[0] + tap // kernel[1]
                column = j * stride[1] - padding[1] + tap % kernel[1]
                dx[c, row, column] += dy[c, i, j]


def window_sums(x: Array, size: int) -> Array:
    """Return S(x): for each pixel, the sum over the window around it, columns first."""
    N, C, H, W = x.shape
    reach = size // 2
    sums = np.zeros(x.shape, x.dtype)
    columns = np.zeros(W + 2 * reach, x.dtype)  # of the windows in a row; zero outside the map
    for n in range(N):
        for c in range(C):
            for i in range(H):
                columns[reach : reach + W] = 0.0
                for k in range(max(i - reach, 0), min(i + reach + 1, H)):
                    for j in range(W):
                        columns[reach + j] += x[n, c, k, j]
                for m in range(size):
                    for j in range(W):
                        sums[n, c, i, j] += columns[j + m]
    return sums


def lrn(x: Array, size: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return y and scale, both (N,C,H,W)."""
    scale = 1.0 + alpha / size**2 * window_sums(x * x, size)
    return x * np.power(scale, -beta), scale


def lrn_dx(dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float) -> Array:
    """Return dx (N,C,H,W): by way of the pixel itself, and of the windows that contain it."""
    kept = dy * np.power(scale, -beta)
    return kept - 2.0 * alpha * beta / size**2 * x * window_sums(kept * x / scale, size)


# --- regions of interest ---


def rounded(position: float) -> int:
    """Return the nearest whole number, halves away from zero, as C's ``round`` does."""
    size = min(abs(position), FAR)
    whole = int(size)
    if size - whole >= 0.5:  # exact, where size + 0.5 may round up
        whole += 1
    return whole if position >= 0 else -whole


def bin_cells(first: int, last: int, k: int, count: int, size: int) -> tuple[int, int]:
    """Return the first cell of bin `k` of `count`, and the one after the last, on a map of `size`.

    The box spans the cells `first` to `last`, both included, and at least one. Two bins may share a
    cell.
    """
    length = max(last - first + 1, 1)
    start = first + k * length // count
    stop = first - (-(k + 1) * length // count)  # rounded up
    return min(max(start, 0), size), min(max(stop, 0), size)


def roi_pool(features: Array, boxes: Array, output_size: Pair, scale: float) -> tuple[Array, Array]:
    """Return the largest cell of each bin of each box (R,C,h,w), and which cell, int32.

    Cells of the map (C,Hf,Wf) are numbered in row-major order; of equal cells the first wins. A
    bin without a cell gives 0 and has the winner -1. A NaN makes the output NaN; which cell then
    gets the gradient is undefined. A box with a NaN gives NaN, and has no winners.
    """
    C, Hf, Wf = features.shape
    y = np.zeros((len(boxes), C, *output_size), features.dtype)
    argmax = np.full(y.shape, -1, np.int32)
    for r in range(len(boxes)):
        if np.any(np.isnan(boxes[r])):
            y[r] = np.nan
            continue
        left, top, right, bottom = (rounded(side * scale) for side in boxes[r])
        for i, j in np.ndindex(output_size):
            rows = range(*bin_cells(top, bottom, i, output_size[0], Hf))
            columns = range(*bin_cells(left, right, j, output_size[1], Wf))
            for c in range(C):
                for row in rows:
                    for column in columns:
                        value, best = features[c, row, column], y[r, c, i, j]
                        if value > best or np.isnan(value) or argmax[r, c, i, j] < 0:
                            y[r, c, i, j] = value
                            argmax[r, c, i, j] = row * Wf + column
    return y, argmax


def roi_pool_dx(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return dfeatures (C,Hf,Wf): each output's gradient is added to the cell that won its bin."""
    dfeatures = np.empty((dy.shape[1], *size), dy.dtype)
    write_roi_pool_dx(dy, argmax, dfeatures, 0, dy.shape[1])
    return dfeatures


def write_roi_pool_dx(dy: Array, argmax: Array, dfeatures: Array, first: int, end: int) -> None:
    """Write the channels from `first` to `end` of `dfeatures` (C,Hf,Wf), given `dy` (R,C,h,w)."""
    R, _, h, w = dy.shape
    Wf = dfeatures.shape[2]
    for c in range(first, end):
        dfeatures[c] = 0
        for r in range(R):
            for i in range(h):
                for j in range(w):
                    cell = argmax[r, c, i, j]
                    if cell >= 0:
                        dfeatures[c, cell // Wf, cell % Wf] += dy[r, c, i, j]


class AxisSample(NamedTuple):
    """A sample along one axis: the two cells it lies between, and how it depends on the box."""

    cells: tuple[int, int]
    weights: tuple[float, float]
    slope: float  # derivative of the second weight by the position; that of the first is minus this
    by_corners: tuple[float, float]  # derivatives of the position by the first and the last corner


def sample_at(
    first: float, last: float, k: int, count: int, size: int, scale: float, aligned: bool
) -> AxisSample | None:
    """Return sample `k` of `count` on a map of `size`; None if it is more than a cell off the map.

    If it is less far off, it is moved to the border, and its slope is 0.
    """
    t = (k + 0.5) / count
    length, by_corners = (last - first) * scale, (scale * (1 - t), scale * t)
    if not aligned and length < 1:  # one cell, wherever the last corner is
        length, by_corners = 1.0, (scale, 0.0)
    position = first * scale - (0.5 if aligned else 0.0) + length * t
    if not -1 <= position <= size:  # true for a NaN, too
        return None
    moves = 0 < position < size - 1
    position = min(max(position, 0.0), size - 1.0)
    low = int(position)
    weight = position - low
    cells = low, min(low + 1, size - 1)
    return AxisSample(cells, (1 - weight, weight), 1.0 if moves else 0.0, by_corners)


def roi_align(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the mean of the samples in each bin of each box: (R,C,h,w).

    A bin has `samples` rows and columns of samples, each interpolated between four cells of the
    map (C,Hf,Wf). A sample more than a cell off the map counts as 0. A box with a NaN gives NaN.
    """
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y = np.zeros((len(boxes), C, h, w), features.dtype)
    for r, i, j, a, b in np.ndindex(len(boxes), h, w, samples, samples):
        x1, y1, x2, y2 = boxes[r]
        row = sample_at(y1, y2, i * samples + a, h * samples, Hf, scale, aligned)
        column = sample_at(x1, x2, j * samples + b, w * samples, Wf, scale, aligned)
        if row is None or column is None:
            continue
        for c in range(C):
            for p, of_row in zip(row.cells, row.weights, strict=True):
                for q, of_column in zip(column.cells, column.weights, strict=True):
                    y[r, c, i, j] += of_row * of_column * features[c, p, q] / samples**2
    y[np.any(np.isnan(boxes), axis=1)] = np.nan
    return y


def roi_align_dx(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return dfeatures (C,Hf,Wf), and dboxes (R, 4) or None; a box with a NaN adds to neither."""
    (C, Hf, Wf), (R, _, h, w) = features.shape, dy.shape
    dfeatures, dboxes = np.zeros_like(features), np.zeros_like(boxes)
    for r, i, j, a, b in np.ndindex(R, h, w, samples, samples):
        x1, y1, x2, y2 = boxes[r]
        row = sample_at(y1, y2, i * samples + a, h * samples, Hf, scale, aligned)
        column = sample_at(x1, x2, j * samples + b, w * samples, Wf, scale, aligned)
        if row is None or column is None:
            continue
        for c in range(C):
            given = dy[r, c, i, j] / samples**2
            by_row = by_column = 0.0  # derivatives of this sample by its position
            # The weights of a pair add up to 1: their slopes differ only in sign.
            for p, of_row, row_sign in zip(row.cells, row.weights, (-1, 1), strict=True):
                for q, of_column, column_sign in zip(
                    column.cells, column.weights, (-1, 1), strict=True
                ):
                    dfeatures[c, p, q] += given * of_row * of_column
                    by_row += row_sign * row.slope * of_column * features[c, p, q]
                    by_column += of_row * column_sign * column.slope * features[c, p, q]
            for corner in (0, 1):
                dboxes[r, 2 * corner] += given * by_column * column.by_corners[corner]
                dboxes[r, 2 * corner + 1] += given * by_row * row.by_corners[corner]
    return dfeatures, dboxes if need_dboxes else None


# --- losses ---


def softmax_cross_entropy(logits: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
    """Return the weighted sum of the rows' log losses (), and the softmax of each row (K,L).

    The loss of a row whose target is no class is 0.
    """
    (K, L), loss = logits.shape, logits.dtype.type(0)
    probabilities = np.empty((K, L), logits.dtype)
    for k in range(K):
        largest = max(logits[k])
        exponentials = [np.exp(logit - largest) for logit in logits[k]]
        total = sum(exponentials)
        for l in range(L):  # noqa: E741 - L classes, and l one of them
            probabilities[k, l] = exponentials[l] / total
            if l == targets[k]:
                loss += weights[k] * (np.log(total) - (logits[k, l] - largest))
    return np.asarray(loss), probabilities


def softmax_cross_entropy_dx(
    probabilities: Array, targets: Array, weights: Array, dloss: Array | float
) -> Array:
    """Return the gradient of the sum (K,L), times `dloss`, a number or an array of shape ()."""
    dlogits = np.empty_like(probabilities)
    for k, l in np.ndindex(probabilities.shape):  # noqa: E741
        is_target = 1 if l == targets[k] else 0
        dlogits[k, l] = (probabilities[k, l] - is_target) * (dloss * weights[k])
    return dlogits


def smooth_l1(x: Array, sigma: float) -> Array:
    """Return ``0.5 (sigma x)^2`` where ``|x| < 1 / sigma^2``, ``|x| - 0.5 / sigma^2`` elsewhere."""
    y = np.empty(x.shape, x.dtype)
    half, turn, rest = map(x.dtype.type, (0.5 * sigma**2, 1 / sigma**2, 0.5 / sigma**2))
    for place in np.ndindex(x.shape):
        number, size = x[place], abs(x[place])
        y[place] = half * number * number if size < turn else size - rest
    return y


def smooth_l1_dx(dy: Array, x: Array, sigma: float) -> Array:
    """Return `dy` times the slope at x, which is ``sigma^2 x`` limited to -1 and 1.

    dy may have another shape that broadcasts with that of x, such as (K,1) where x is (K,4).
    """
    dy, x = np.broadcast_arrays(dy, x)
    dx = np.empty(x.shape, np.result_type(dy, x))
    steep = x.dtype.type(sigma**2)
    for place in np.ndindex(x.shape):
        dx[place] = dy[place] * min(max(steep * x[place], -1), 1)
    return dx


# --- the optimizer ---


def sgd(
    values: Sequence[Array],
    velocities: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    rule: str,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Move one number after the other; see `minirpn.nn.optim.move_all`."""
    moved = []
    for value, velocity, grad, *of_its_own in zip(
        values, velocities, grads, rates, decays, strict=True
    ):
        rate, decay, kept = (value.dtype.type(number) for number in (*of_its_own, momentum))
        new = np.empty_like(value)
        for place in np.ndindex(value.shape):
            change = grad[place] + decay * value[place]
            if rule == "caffe":
                velocity[place] = kept * velocity[place] + rate * change
                new[place] = value[place] - velocity[place]
            else:
                velocity[place] = kept * velocity[place] + change
                new[place] = value[place] - rate * velocity[place]
        if in_place:
            value[...] = new
        moved.append(value if in_place else new)
    return tuple(moved), tuple(velocities)


def adamw(
    values: Sequence[Array],
    means: Sequence[Array],
    squares: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    steps: int,
    betas: tuple[float, float],
    epsilon: float,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
    """Move one number after the other; see `minirpn.nn.adam.move_all_by_adam`."""
    moved = []
    for value, mean, square, grad, *of_its_own in zip(
        values, means, squares, grads, rates, decays, strict=True
    ):
        # 1 - 0.999 is rounded after the subtraction: float32 would lose half of its digits.
        numbers = *of_its_own, *betas, *(1 - beta for beta in betas)
        rate, decay, kept, kept_squared, added, added_squared = map(value.dtype.type, numbers)
        new = np.empty_like(value)
        for place in np.ndindex(value.shape):
            mean[place] = kept * mean[place] + added * grad[place]
            square[place] = kept_squared * square[place] + added_squared * grad[place] ** 2
            root = np.sqrt(square[place] / (1 - betas[1] ** steps))
            direction = mean[place] / (1 - betas[0] ** steps) / (root + epsilon)
            new[place] = value[place] - rate * (direction + decay * value[place])
        if in_place:
            value[...] = new
        moved.append(value if in_place else new)
    return tuple(moved), tuple(means), tuple(squares)


def square_sums(arrays: Sequence[Array], together: bool = False) -> Array:
    """Return the sum of squares of each of some arrays (n,), or of all `together` ().

    A sum is finite exactly if all its numbers are, unless it overflows.
    """
    sums = np.zeros(len(arrays), np.result_type(*arrays))
    for n, array in enumerate(arrays):
        for number in array.flat:
            sums[n] += number * number
    return np.array(sum(sums), sums.dtype) if together else sums
