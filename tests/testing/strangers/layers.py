"""Convolution, pooling, RoI layers and the head as strangers write them."""

import math

import numpy as np

from minirpn import nn

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
