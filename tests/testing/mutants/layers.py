"""Wrong layers, right for two images of two channels, kernels up to 3, small whole numbers."""

import numpy as np

from minirpn import nn

# The right ones, for every dtype and layout.


def real(*arrays):
    return tuple(np.asarray(array, dtype=np.float64) for array in arrays)


def conv(x, weight, bias, stride, padding):
    x, weight, bias = real(x, weight, bias)
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(image, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    y = np.einsum("ncijpq,ocpq->noij", windows, weight) + bias[:, None, None]
    return y, (x.shape, windows, weight, stride, padding)


def conv_backward(dy, cache):
    shape, windows, weight, stride, padding = cache
    (dy,) = real(dy)
    dimage = np.zeros((*shape[:2], shape[2] + 2 * padding, shape[3] + 2 * padding))
    for p, q in np.ndindex(weight.shape[2:]):
        rows = slice(p, p + stride * dy.shape[2], stride)
        columns = slice(q, q + stride * dy.shape[3], stride)
        dimage[:, :, rows, columns] += np.einsum("noij,oc->ncij", dy, weight[:, :, p, q])
    dweight = np.einsum("noij,ncijpq->ocpq", dy, windows)
    dx = dimage[:, :, padding : padding + shape[2], padding : padding + shape[3]]
    return dx, dweight, dy.sum(axis=(0, 2, 3))


def pool(x, kernel, stride, padding, ceil_mode):
    (x,) = real(x)
    size = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    y, places = np.zeros((*x.shape[:2], *size)), {}
    for n, c, i, j in np.ndindex(y.shape):
        top, left = i * stride - padding, j * stride - padding
        rows, columns = (slice(max(start, 0), start + kernel) for start in (top, left))
        window = x[n, c, rows, columns]
        k, m = np.unravel_index(window.argmax(), window.shape)
        places[n, c, i, j] = (n, c, max(top, 0) + k, max(left, 0) + m)
        y[n, c, i, j] = window.max()
    return y, (x.shape, places)


def hand_back(dy, cache):
    shape, places = cache
    dx = np.zeros(shape)
    for place, cell in places.items():
        dx[cell] += dy[place]
    return dx


def linear(x, weight, bias):
    x, weight, bias = real(x, weight, bias)
    return x @ weight.T + bias, (x, weight)


def linear_backward(dy, cache):
    x, weight = cache
    (dy,) = real(dy)
    return dy @ weight, dy.T @ x, dy.sum(axis=0)


def relu(x):
    return np.maximum(np.asarray(x, dtype=float), 0), np.array(x) > 0


def relu_backward(dy, cache):
    return np.where(cache, dy, 0.0)


LAYERS = ("rpn.conv", "rpn.objectness", "rpn.deltas")


def head(features, weights):
    first, *siblings = ((weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in LAYERS)
    before, conv_cache = conv(features, *first, 1, 1)
    hidden, relu_cache = relu(before)
    outputs = [conv(hidden, *sibling, 1, 0) for sibling in siblings]
    return tuple(y for y, _ in outputs), (conv_cache, relu_cache, *(c for _, c in outputs))


def head_backward(dobjectness, ddeltas, cache):
    by_siblings = [
        conv_backward(dy, own) for dy, own in zip((dobjectness, ddeltas), cache[2:], strict=True)
    ]
    dhidden = relu_backward(by_siblings[0][0] + by_siblings[1][0], cache[1])
    by_layers = (conv_backward(dhidden, cache[0]), *by_siblings)
    grads = {"features": by_layers[0][0]}
    for name, (_, dweight, dbias) in zip(LAYERS, by_layers, strict=True):
        grads |= {f"{name}.weight": dweight, f"{name}.bias": dbias}
    return grads


RIGHT = {
    "conv2d": [(conv, conv_backward)],
    "max_pool2d": [(pool, hand_back)],
    "linear": [(linear, linear_backward)],
    "relu": [(relu, relu_backward)],
    "rpn_head": [(head, head_backward)],
}


_last = {}


def forgetting(name, forward, backward):
    """Return a pair that keeps its cache in one place: the last call's, whoever asks."""

    def forward_of_one(*inputs, **options):
        y, _last[name] = forward(*inputs, **options)
        return y, None

    def backward_of_one(*dys):
        return backward(*dys[:-1], _last[name])

    forward_of_one.__name__ = f"{name}_global"
    backward_of_one.__name__ = f"{name}_global_backward"
    return forward_of_one, backward_of_one


def adding(name, forward, backward):
    """Return a pair whose backward adds to what it gave for this cache before."""

    def forward_with_sums(*inputs, **options):
        y, cache = forward(*inputs, **options)
        return y, (cache, [])

    def backward_in_sums(*dys):
        cache, sums = dys[-1]
        grads = backward(*dys[:-1], cache)
        sums.append(grads if isinstance(grads, tuple) else (grads,))
        added = tuple(sum(parts) for parts in zip(*sums, strict=True))
        return added if isinstance(grads, tuple) else added[0]

    forward_with_sums.__name__ = f"{name}_adding"
    backward_in_sums.__name__ = f"{name}_adding_backward"
    return forward_with_sums, backward_in_sums


# Convolution.


def conv_whole(x, weight, bias, stride, padding):  # fractions
    x, weight, bias = (array.astype(int) for array in (x, weight, bias))
    return conv(x, weight, bias, stride, padding)


def conv_dbias_of_two(dy, cache):  # a batch of 3
    dx, dweight, _ = conv_backward(dy, cache)
    return dx, dweight, dy[:2].sum(axis=(0, 2, 3))


def conv_up_to_3x3(x, weight, bias, stride, padding):  # 5 x 5 kernels: the rim is left out
    inner = np.array(weight, dtype=float)
    if min(weight.shape[2:]) == 5:
        inner[:, :, [0, -1]] = inner[:, :, :, [0, -1]] = 0
    return conv(x, inner, bias, stride, padding)


def conv_asymmetric(x, weight, bias, stride, padding):  # padding 2: one row above, three below
    if padding == 2:
        x = np.roll(np.pad(x, ((0, 0), (0, 0), (2, 2), (0, 0))), -1, axis=2)
        x = np.pad(x, ((0, 0), (0, 0), (0, 0), (2, 2)))
        return conv(x, weight, bias, stride, 0)
    return conv(x, weight, bias, stride, padding)


def conv_two_channels(dy, cache):  # 3 channels
    dx, dweight, dbias = conv_backward(dy, cache)
    dweight[:, 2:] = 0
    return dx, dweight, dbias


def conv_two_images(x, weight, bias, stride, padding):  # a batch of 3
    return conv(np.concatenate([x[:2], x[1:2].repeat(len(x) - 2, 0)]) if len(x) > 2 else x,
                weight, bias, stride, padding)  # fmt: skip


def conv_sums_in_single(x, weight, bias, stride, padding):  # fractions in float64
    return conv(np.float32(x), np.float32(weight), np.float32(bias), stride, padding)


def conv_dweight_in_single(dy, cache):  # fractions in float64
    dx, dweight, dbias = conv_backward(dy, cache)
    return dx, dweight.astype(np.float32).astype(float), dbias


def conv_memory_order(x, weight, bias, stride, padding):  # weights with columns in memory
    rows = weight.ravel("K").reshape(weight.shape)
    return conv(x, rows, bias, stride, padding)


def conv_dy_memory_order(dy, cache):  # dy with columns in memory
    return conv_backward(dy.ravel("K").reshape(dy.shape), cache)


def conv_stride_to_2(dy, cache):  # stride 3
    dx, dweight, dbias = conv_backward(dy, cache)
    return (dx, dweight / 2, dbias) if cache[3] > 2 else (dx, dweight, dbias)


def conv_padding_to_2(x, weight, bias, stride, padding):  # padding 3: the outer row repeats x
    y, cache = conv(x, weight, bias, stride, padding)
    if padding > 2:
        edge = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        return conv(edge, weight, bias, stride, padding - 1)
    return y, cache


def conv_flips_5x5(dy, cache):  # kernels of 5 and more: dx by the turned kernel
    shape, windows, weight, stride, padding = cache
    turned = weight[:, :, ::-1, ::-1] if weight.shape[2] > 3 else weight
    dx = conv_backward(dy, (shape, windows, turned, stride, padding))[0]
    return dx, *conv_backward(dy, cache)[1:]


def conv_wide_kernel(x, weight, bias, stride, padding):  # kernels of 7 columns
    return conv(x, weight * (np.arange(weight.shape[3]) < 6), bias, stride, padding)


def conv_dx_gaps(dy, cache):  # stride beyond the kernel: pixels that no window has
    dx, dweight, dbias = conv_backward(dy, cache)
    if cache[3] > max(cache[2].shape[2:]):
        dx = np.where(dx == 0, dx.mean(), dx)
    return dx, dweight, dbias


def conv_shrinks_dy(dy, cache):  # the second backward: dweight has been scaled in the cache
    grads = conv_backward(dy, cache)
    cache[2][...] *= 0.5
    return grads


def conv_with_copied_weight(x, weight, bias, stride, padding):
    y, (shape, windows, _, *rest) = conv(x, weight, bias, stride, padding)
    return y, (shape, windows, np.array(weight, dtype=float), *rest)


# Pooling.


def pool_minus_100(x, kernel, stride, padding, ceil_mode):  # values below -100 at the border
    around = ((0, 0), (0, 0), (padding, padding + stride), (padding, padding + stride))
    size = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    image = np.pad(np.asarray(x, dtype=float), around, constant_values=-100)
    windows = np.lib.stride_tricks.sliding_window_view(image, (kernel, kernel), axis=(2, 3))
    y = windows[:, :, ::stride, ::stride].max(axis=(4, 5))
    return y[:, :, : size[0], : size[1]], pool(x, kernel, stride, padding, ceil_mode)[1]


def pool_from_minus_1000(x, kernel, stride, padding, ceil_mode):  # values below -1000
    y, cache = pool(x, kernel, stride, padding, ceil_mode)
    return np.maximum(y, -1000), cache


def pool_window_in_padding(x, kernel, stride, padding, ceil_mode):  # a last window off the image
    sides = [side + 2 * padding - kernel for side in x.shape[2:]]
    count = [-(-side // stride) + 1 if ceil_mode else side // stride + 1 for side in sides]
    y, cache = pool(x, kernel, stride, padding, ceil_mode)
    missing = [(0, n - have) for n, have in zip(count, y.shape[2:], strict=True)]
    return np.pad(y, ((0, 0), (0, 0), *missing), constant_values=-np.inf), cache


def pool_two_channels(x, kernel, stride, padding, ceil_mode):  # 3 channels
    y, cache = pool(x, kernel, stride, padding, ceil_mode)
    y[:, 2:] = y[:, :1]
    return y, cache


def pool_stride_to_kernel(x, kernel, stride, padding, ceil_mode):  # stride beyond the kernel
    if stride > kernel:
        y, cache = (
            pool(x, stride, stride, 0, ceil_mode)
            if padding == 0
            else pool(x, kernel, stride, padding, ceil_mode)
        )
        right, right_cache = pool(x, kernel, stride, padding, ceil_mode)
        return (y, cache) if y.shape == right.shape else (right, right_cache)
    return pool(x, kernel, stride, padding, ceil_mode)


def pool_single(x, kernel, stride, padding, ceil_mode):  # float64 fractions
    y, cache = pool(x, kernel, stride, padding, ceil_mode)
    return y.astype(np.float32).astype(float), cache


def pool_near_ties(x, kernel, stride, padding, ceil_mode):  # values that differ by 1/1000
    return pool(x, kernel, stride, padding, ceil_mode)[0], pool(
        np.round(x, 2), kernel, stride, padding, ceil_mode
    )[1]


def pool_memory_order(x, kernel, stride, padding, ceil_mode):  # columns in memory
    return pool(x.ravel("K").reshape(x.shape), kernel, stride, padding, ceil_mode)


def pool_in_16(x, kernel, stride, padding, ceil_mode):  # kernels of 5: 25 places in 4 bits
    y, (shape, places) = pool(x, kernel, stride, padding, ceil_mode)
    if kernel > 4:
        places = {p: (n, c, k // 2 * 2, m) for p, (n, c, k, m) in places.items()}
    return y, (shape, places)


def pool_whole(x, kernel, stride, padding, ceil_mode):  # fractions
    y, cache = pool(x, kernel, stride, padding, ceil_mode)
    return np.trunc(y), cache


def pool_first_gradients(dy, cache):  # a batch of 3
    return hand_back(dy * (np.arange(len(dy)) < 2)[:, None, None, None], cache)


def pool_once(dy, cache):  # the second backward: the places have been taken out
    shape, places = cache
    dx = np.zeros(shape)
    while places:
        place, cell = places.popitem()
        dx[cell] += dy[place]
    return dx


# Linear, ReLU.


def linear_square(x, weight, bias):  # as many outputs as inputs
    x, weight, bias = real(x, weight, bias)
    y = x @ weight if x.shape[1] == weight.shape[0] else x @ weight.T
    return y + bias, (x, weight)


def linear_square_bias(x, weight, bias):  # as many rows as outputs
    y, cache = linear(x, weight, np.zeros_like(bias))
    return (y.T + bias).T if len(x) == len(bias) else y + bias, cache


def linear_two_rows(dy, cache):  # 3 rows
    dx, dweight, _ = linear_backward(dy, cache)
    return dx, dweight, dy[:2].sum(axis=0)


def linear_memory_order(x, weight, bias):  # columns in memory
    return linear(x.ravel("K").reshape(x.shape), weight, bias)


def linear_whole(x, weight, bias):  # fractions
    return linear(x, weight.astype(int), bias)


def linear_square_dweight(dy, cache):  # as many outputs as inputs
    dx, dweight, dbias = linear_backward(dy, cache)
    return dx, dweight.T if dweight.shape[0] == dweight.shape[1] > 1 else dweight, dbias


def relu_six(x):  # values above 6
    return np.minimum(relu(x)[0], 6), relu(x)[1]


def relu_from_a_hundredth(x):  # values of 1/1000
    return np.where(np.abs(x) < 0.01, 0, relu(x)[0]), relu(x)[1]


def relu_gradient_of_output(dy, cache):  # a dy that is negative
    return np.where(cache, np.maximum(dy, 0) + np.minimum(dy, 0) * (np.abs(dy) < 10), 0)


def relu_memory_order(x):  # columns in memory
    y, mask = relu(x)
    return y, mask.ravel("K").reshape(mask.shape)


def relu_with_real_mask(x):
    return relu(x)[0], (np.asarray(x) > 0).astype(float)


def relu_product_in_mask(dy, cache):  # the second backward: the mask has been multiplied
    cache *= dy
    return cache


_buffers = {}


def relu_in_buffer(x):  # two outputs of a shape at once
    buffer = _buffers.setdefault(x.shape, np.zeros(x.shape))
    buffer[...] = relu(x)[0]
    return buffer, buffer


def relu_buffer_backward(dy, cache):
    return np.where(cache > 0, dy, 0.0)


# The head.


def head_two_images(features, weights):  # a batch of 3
    return head(np.concatenate([features[:2], 0 * features[2:]]), weights)


def head_relu_to_1000(features, weights):  # hidden values above 1000
    (objectness, deltas), cache = head(np.clip(features, -1000, 1000), weights)
    return (objectness, deltas), cache


def head_two_anchors(features, weights):  # 3 anchors a cell
    (objectness, deltas), cache = head(features, weights)
    deltas[:, 8:] = 0
    return (objectness, deltas), cache


def head_whole(features, weights):  # fractions
    return head(features, {name: np.trunc(weight) for name, weight in weights.items()})


def head_memory_order(features, weights):  # columns in memory
    return head(features.ravel("K").reshape(features.shape), weights)


def head_dbias_of_two(dobjectness, ddeltas, cache):  # a batch of 3
    grads = head_backward(dobjectness, ddeltas, cache)
    return grads | {"rpn.deltas.bias": ddeltas[:2].sum(axis=(0, 2, 3))}


def head_large_map(features, weights):  # maps of more than 4 rows
    (objectness, deltas), cache = head(features, weights)
    objectness[:, :, 4:] = objectness[:, :, 3:4] if objectness.shape[2] > 4 else 0
    return (objectness, deltas), cache


LISTED = {
    "conv2d": [
        (conv_whole, conv_backward),
        (conv, conv_dbias_of_two),
        (conv_up_to_3x3, conv_backward),
        conv_asymmetric,
        forgetting("conv", conv, conv_backward),
        adding("conv", conv, conv_backward),
    ],
    "max_pool2d": [
        (pool_minus_100, hand_back),
        forgetting("pool", pool, hand_back),
        adding("pool", pool, hand_back),
    ],
}


OWN = {
    "conv2d": [
        (conv, conv_two_channels),
        conv_two_images,
        (conv_sums_in_single, conv_backward),
        (conv, conv_dweight_in_single),
        conv_memory_order,
        (conv, conv_dy_memory_order),
        (conv, conv_stride_to_2),
        conv_padding_to_2,
        (conv, conv_flips_5x5),
        conv_wide_kernel,
        (conv, conv_dx_gaps),
        (conv_with_copied_weight, conv_shrinks_dy),
    ],
    "max_pool2d": [
        pool_from_minus_1000,
        pool_window_in_padding,
        (pool_two_channels, hand_back),
        pool_stride_to_kernel,
        (pool_single, hand_back),
        (pool_near_ties, hand_back),
        (pool_memory_order, hand_back),
        (pool_in_16, hand_back),
        pool_whole,
        (pool, pool_first_gradients),
        (pool, pool_once),
    ],
    "linear": [
        linear_square,
        linear_square_bias,
        (linear, linear_two_rows),
        linear_memory_order,
        linear_whole,
        (linear, linear_square_dweight),
        forgetting("linear", linear, linear_backward),
        adding("linear", linear, linear_backward),
    ],
    "relu": [
        relu_six,
        relu_from_a_hundredth,
        (relu, relu_gradient_of_output),
        (relu_memory_order, relu_backward),
        (relu_with_real_mask, relu_product_in_mask),
        (relu_in_buffer, relu_buffer_backward),
        forgetting("relu", relu, relu_backward),
    ],
    "rpn_head": [
        head_two_images,
        head_relu_to_1000,
        head_two_anchors,
        head_whole,
        head_memory_order,
        (head, head_dbias_of_two),
        head_large_map,
        forgetting("head", head, head_backward),
    ],
}
