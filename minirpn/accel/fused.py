"""Two operations in one, which reads and writes memory once less.

The layers use it; the result equals that of the two, one after the other.
"""

from __future__ import annotations

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.nn.activations import ReluCache, relu
from minirpn.nn.conv import Conv2dCache, check_conv2d, conv2d
from minirpn.nn.window import Pair, conv_output_size


def conv2d_relu_forward(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    out: Array | None = None,
) -> tuple[Array, Conv2dCache, ReluCache]:
    """Return ``relu_forward`` of ``conv2d_forward``, and the caches of both.

    Parameters
    ----------
    x, weight, bias, stride, padding
        As of `minirpn.nn.conv2d_forward`.
    out
        Where to write the output, such as some channels of a larger array that holds the outputs
        of several layers. The pixels of each image must lie one after the other in memory.

    Returns
    -------
    y
        (N,O,Ho,Wo); `out` itself if it was given.
    caches
        For `conv2d_backward` and `relu_backward`; the latter runs first.

    Raises
    ------
    ValueError
        The shapes do not fit each other, the kernel exceeds the padded image, or the pixels of
        `out` lie apart.
    TypeError
        The dtypes are not floating point, or not the same.
    """
    stride, padding = check_conv2d(x, weight, bias, stride, padding)
    if out is not None:
        if out.dtype != x.dtype:
            raise TypeError(f"out: expected the dtype of x, {x.dtype}, got {out.dtype}")
        size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
        check_shape(out, (x.shape[0], weight.shape[0], *size), "out")
    y = conv2d_relu(x, weight, bias, stride, padding, out)
    return y, Conv2dCache(x, weight, stride, padding), ReluCache(y)


@accelerated("conv2d_relu")
def conv2d_relu(
    x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair, out: Array | None = None
) -> Array:
    """Return ``max(y, 0)`` of the convolution's y, written into `out` if it is given."""
    y = relu(conv2d(x, weight, bias, stride, padding))
    if out is None:
        return y
    out[...] = y
    return out
