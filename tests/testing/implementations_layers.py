"""Right and wrong linear layers, rectifiers and RoI align; see `implementations`."""

import numpy as np

from minirpn import nn


def product_linear(x, weight, bias):
    return x @ weight.T + bias, (x, weight)


def product_linear_backward(dy, cache):
    x, weight = cache
    return dy @ weight, dy.T @ x, dy.sum(axis=0)


def loops_linear(x, weight, bias):
    rows = [[sum(a * b for a, b in zip(row, w, strict=True)) for w in weight] for row in x]
    return [[value + b for value, b in zip(row, bias, strict=True)] for row in rows]


def torch_linear(x, weight, bias):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    return (y := torch.nn.functional.linear(*inputs)), (y, inputs)


def torch_linear_backward(dy, cache):
    import torch

    y, inputs = cache
    return torch.autograd.grad(y, inputs, torch.from_numpy(dy), retain_graph=True)


def single_linear(x, weight, bias):
    return nn.linear_forward(*(array.astype(np.float32) for array in (x, weight, bias)))


def single_linear_backward(dy, cache):
    return nn.linear_backward(dy.astype(np.float32), cache)


def linear_without_first_row(x, weight, bias):
    y, cache = product_linear(x, weight, bias)
    y[1:] -= bias
    return y, cache


def linear_whole_numbers(x, weight, bias):
    return product_linear(x.astype(int), weight, bias)


def linear_rectified(x, weight, bias):
    y, cache = product_linear(x, weight, bias)
    return np.maximum(y, 0), cache


def linear_two_images(dy, cache):
    dx, dweight, _ = product_linear_backward(dy, cache)
    return dx, dweight, dy[:2].sum(axis=0)


def linear_no_dbias(dy, cache):
    return product_linear_backward(dy, cache)[:2]


def linear_swapped(dy, cache):
    dx, dweight, dbias = product_linear_backward(dy, cache)
    return dweight, dx, dbias


def linear_kept_outside(x, weight, bias):
    linear_kept_outside.weight = weight
    return product_linear(x, weight, bias)


def linear_kept_outside_backward(dy, cache):
    return product_linear_backward(dy, (cache[0], linear_kept_outside.weight))


def where_relu(x):
    return np.where(x > 0, x, 0), x > 0


def where_relu_backward(dy, mask):
    return dy * mask


def loops_relu(x):
    y = x.copy()
    for place in np.ndindex(x.shape):
        y[place] = max(y[place], 0)
    return y, x


def loops_relu_backward(dy, x):
    dx = np.zeros(dy.shape)
    dx[x > 0] = dy[x > 0]
    return dx


def torch_relu(x):
    import torch

    x = torch.from_numpy(x).requires_grad_()
    return (y := torch.relu(x)), (y, x)


def torch_relu_backward(dy, cache):
    import torch

    return torch.autograd.grad(*cache, torch.from_numpy(dy), retain_graph=True)[0]


def relu_in_place(x):
    x[x < 0] = 0
    return x, x


def relu_flat(x):
    return np.maximum(x, 0).ravel(), x


def relu_from_one(x):
    return np.where(x >= 1, x, 0), x


def relu_whole(x):
    return np.maximum(x, 0).astype(int), x


def relu_soft(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0), x


def relu_backward_half_at_zero(dy, x):
    return dy * np.heaviside(x, 0.5)


def relu_backward_accumulates(dy, x):
    dy *= x > 0
    return dy


def grid_roi_align(features, boxes, output_size, stride, samples, aligned):
    """torchvision's way: bins, then a grid of samples in each, then four corners at once."""
    (_, Hf, Wf), (h, w) = features.shape, output_size
    R, shift = len(boxes), 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (boxes / stride - shift).T
    wide, high = x2 - x1, y2 - y1
    if not aligned:
        wide, high = np.maximum(wide, 1), np.maximum(high, 1)
    offsets = (np.arange(samples) + 0.5) / samples
    ys = y1[:, None, None] + (np.arange(h)[:, None] + offsets) * (high / h)[:, None, None]
    xs = x1[:, None, None] + (np.arange(w)[:, None] + offsets) * (wide / w)[:, None, None]
    y = ys.reshape(R, h, samples, 1, 1) + np.zeros((1, 1, 1, w, samples))
    x = xs.reshape(R, 1, 1, w, samples) + np.zeros((1, h, samples, 1, 1))
    counts = (y >= -1) & (y <= Hf) & (x >= -1) & (x <= Wf)
    y, x = np.clip(y, 0, Hf - 1), np.clip(x, 0, Wf - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, Hf - 1), np.minimum(left + 1, Wf - 1)
    down, across = y - top, x - left
    corners = [
        (top, left, (1 - down) * (1 - across) * counts),
        (top, right, (1 - down) * across * counts),
        (bottom, left, down * (1 - across) * counts),
        (bottom, right, down * across * counts),
    ]
    # (C,R,h,samples,w,samples)
    values = sum(features[:, p, q] * weight for p, q, weight in corners)
    return values.mean(axis=(3, 5)).transpose(1, 0, 2, 3), (features.shape, corners, samples)


def grid_roi_align_backward(dy, cache):
    shape, corners, samples = cache
    dfeatures = np.zeros(shape)
    given = dy.transpose(1, 0, 2, 3)[:, :, :, None, :, None] / samples**2
    for p, q, weight in corners:
        for c in range(shape[0]):
            np.add.at(dfeatures[c], (p, q), given[c] * weight)
    return dfeatures


def hats(first, last, n, size, samples, aligned):
    """The weights (n, size) of one axis as hat functions, sample by sample."""
    length = last - first if aligned else max(last - first, 1)
    weights = np.zeros((n, size))
    for k in range(n * samples):
        at = first - 0.5 * aligned + length * (k + 0.5) / (n * samples)
        if -1 <= at <= size:
            at = min(max(at, 0), size - 1)
            weights[k // samples] += np.maximum(1 - np.abs(at - np.arange(size)), 0) / samples
    return weights


def product_roi_align(features, boxes, output_size, stride, samples, aligned):
    """Two matrix products for each box."""
    (h, w), (_, Hf, Wf) = output_size, features.shape
    weights = [
        (
            hats(y1, y2, h, Hf, samples, aligned),
            hats(x1, x2, w, Wf, samples, aligned),
        )
        for x1, y1, x2, y2 in boxes / stride
    ]
    y = [rows @ features @ columns.T for rows, columns in weights]
    return y, (features.shape, weights)


def product_roi_align_backward(dy, cache):
    shape, weights = cache
    dfeatures = np.zeros(shape)
    for given, (rows, columns) in zip(dy, weights, strict=True):
        dfeatures += rows.T @ given @ columns
    return dfeatures


def align_transposed(features, boxes, output_size, stride, samples, aligned):
    turned = grid_roi_align(
        features.transpose(0, 2, 1), boxes, output_size[::-1], stride, samples, aligned
    )[0]
    return turned.transpose(0, 1, 3, 2)


def align_first_channel(features, *rest, **options):
    y, cache = grid_roi_align(features, *rest, **options)
    return np.repeat(y[:, :1], len(features), axis=1), cache


def align_positive(*asked, **options):
    y, cache = grid_roi_align(*asked, **options)
    return np.maximum(y, 0), cache


def align_inverted_empty(features, boxes, **options):
    upright = np.concatenate([boxes[:, :2], np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    return grid_roi_align(features, upright, **options)


def align_cut(features, boxes, output_size, stride, **options):
    (_, Hf, Wf), limits = features.shape, np.zeros(4)
    limits[:] = Wf * stride, Hf * stride, Wf * stride, Hf * stride
    return grid_roi_align(features, np.clip(boxes, 0, limits), output_size, stride, **options)


def align_backward_first_box(dy, cache):
    return grid_roi_align_backward(dy * (np.arange(len(dy)) == 0)[:, None, None, None], cache)


def align_backward_buffered(dy, cache):
    """It adds once to a cell that has several samples."""
    shape, corners, samples = cache
    dfeatures = np.zeros(shape)
    given = dy.transpose(1, 0, 2, 3)[:, :, :, None, :, None] / samples**2
    for p, q, weight in corners:
        dfeatures[:, p, q] += given * weight
    return dfeatures


RIGHT = {
    "linear": [
        loops_linear,
        (product_linear, product_linear_backward),
        (nn.linear_forward, nn.linear_backward),
        (single_linear, single_linear_backward),
        (torch_linear, torch_linear_backward),
    ],
    "relu": [
        loops_relu,
        (loops_relu, loops_relu_backward),
        (where_relu, where_relu_backward),
        (nn.relu_forward, nn.relu_backward),
        (torch_relu, torch_relu_backward),
    ],
    "roi_align": [
        product_roi_align,
        (product_roi_align, product_roi_align_backward),
        (grid_roi_align, grid_roi_align_backward),
        (nn.roi_align_forward, nn.roi_align_backward),
    ],
}
WRONG = {
    "linear": [
        linear_without_first_row,
        linear_whole_numbers,
        linear_rectified,
        (product_linear, linear_two_images),
        (product_linear, linear_no_dbias),
        (product_linear, linear_swapped),
        (linear_kept_outside, linear_kept_outside_backward),
    ],
    "relu": [
        relu_in_place,
        relu_flat,
        relu_from_one,
        relu_whole,
        relu_soft,
        (loops_relu, relu_backward_half_at_zero),
        (loops_relu, relu_backward_accumulates),
    ],
    "roi_align": [
        align_transposed,
        align_first_channel,
        align_positive,
        align_inverted_empty,
        align_cut,
        (grid_roi_align, align_backward_first_box),
        (grid_roi_align, align_backward_buffered),
    ],
}
