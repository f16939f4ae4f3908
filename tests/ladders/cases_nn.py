"""Arguments for the operations of nn: operation -> function that draws (args, kwargs).

Values are small whole numbers, whose products and sums float32 holds exactly: whatever the order
of summation, an implementation that errs errs visibly. They tie often, too.
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from minirpn import loops
from minirpn.nn.window import conv_output_size, pool_output_size
from minirpn.testing import strategies

DTYPES = st.sampled_from([np.float32, np.float64])


def whole(draw, shape, dtype):
    """Draw an array of whole numbers, of any layout in memory."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return draw(strategies.layouts(rng.integers(-4, 5, shape).astype(dtype)))


def conv(draw):
    """Draw x, weight, bias, dy and the shape, often one that there is a special way for."""
    s, dtype = draw(strategies.conv_shapes()), draw(DTYPES)
    special = draw(st.sampled_from([None, "pixels", "winograd", "winograd"]))
    if special == "pixels":
        C = draw(st.sampled_from([1, 3, 4, 8]))
        s = s._replace(kernel=(1, 1), stride=(1, 1), padding=(0, 0), C=C)
    elif special == "winograd":
        padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))  # it does up to 2
        size = {"H": max(s.H, 3 - 2 * padding[0]), "W": max(s.W, 3 - 2 * padding[1])}
        s = s._replace(kernel=(3, 3), stride=(1, 1), padding=padding, **size)
    s = s._replace(N=draw(st.sampled_from([s.N, s.N, s.N, s.N, 0])))
    x = whole(draw, (s.N, s.C, s.H, s.W), dtype)
    weight = whole(draw, (s.O, s.C, *s.kernel), dtype)
    output_size = conv_output_size((s.H, s.W), s.kernel, s.stride, s.padding)
    dy = whole(draw, (s.N, s.O, *output_size), dtype)
    return x, weight, whole(draw, (s.O,), dtype), dy, s


def conv2d(draw):
    x, weight, bias, _, s = conv(draw)
    return (x, weight, bias, s.stride, s.padding), {}


def conv2d_relu(draw):
    args, _ = conv2d(draw)
    x, weight, _, *windows = args
    where = draw(st.sampled_from(["new", "positional", "keyword"]))
    if where == "new":
        return args, {}
    # Some channels of a larger array, which nobody else may write to.
    size = conv_output_size(x.shape[2:], weight.shape[2:], *windows)
    before, after, outs = draw(st.integers(0, 2)), draw(st.integers(0, 2)), weight.shape[0]
    joined = np.full((x.shape[0], before + outs + after, *size), np.nan, x.dtype)
    out = joined[:, before : before + outs]
    return ((*args, out), {}) if where == "positional" else (args, {"out": out})


def conv2d_dx(draw):
    _, weight, _, dy, s = conv(draw)
    return (dy, weight, (s.H, s.W), s.stride, s.padding), {}


def conv2d_dweight(draw):
    x, _, _, dy, s = conv(draw)
    return (dy, x, s.kernel, s.stride, s.padding), {}


def conv2d_dbias(draw):
    return (conv(draw)[3],), {}


def max_pool2d(draw):
    s = draw(strategies.conv_shapes())
    if draw(st.integers(0, 3)) == 0:  # threads share channels, eight at a time
        s = s._replace(C=draw(st.sampled_from([8, 9, 17])), H=s.kernel[0], W=s.kernel[1])
    s = s._replace(N=draw(st.sampled_from([s.N, s.N, s.N, s.N, 0])))
    x = whole(draw, (s.N, s.C, s.H, s.W), draw(DTYPES))
    windows = s.kernel, s.stride, s.padding
    output_size = pool_output_size((s.H, s.W), *windows, draw(st.booleans()))
    return (x, *windows, output_size), {"need_winner": draw(st.booleans())}


def max_pool2d_dx(draw):
    (x, *windows, output_size), _ = max_pool2d(draw)
    _, winner = loops.max_pool2d(x, *windows, output_size)
    dy = whole(draw, winner.shape, x.dtype)
    return (dy, draw(strategies.layouts(winner)), *windows, x.shape[2:]), {}


def relu(draw):
    return (whole(draw, draw(array_shapes(min_dims=0, min_side=0)), draw(DTYPES)),), {}


def relu_dx(draw):
    (y,), _ = relu(draw)
    return (whole(draw, y.shape, y.dtype), y), {}


CASES = {
    "conv2d": conv2d,
    "conv2d_relu": conv2d_relu,
    "conv2d_dx": conv2d_dx,
    "conv2d_dweight": conv2d_dweight,
    "conv2d_dbias": conv2d_dbias,
    "max_pool2d": max_pool2d,
    "max_pool2d_dx": max_pool2d_dx,
    "relu": relu,
    "relu_dx": relu_dx,
}
