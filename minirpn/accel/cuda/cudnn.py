"""Convolution by cuDNN, NVIDIA's library: the implementation ``cudnn``.

Shapes remain (N,C,H,W). In memory the channels may come last (`Convolution.channels_last`): what
one convolution gives goes into the next as it is, and an array in the other order is copied. The
implementation ``cuda``, a product of matrices, computes what cuDNN has no plan for.
"""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda.cudnn_plans import Convolution, compute
from minirpn.accel.cuda.im2col import conv2d_cuda, conv2d_dweight_cuda, conv2d_dx_cuda, written
from minirpn.accel.cuda.layout import empty_maps, laid, lies
from minirpn.accel.cuda.maps import add_bias_cuda
from minirpn.devices import tf32_allowed
from minirpn.nn.window import Pair, conv_output_size


def not_empty(first: Array, second: Array, *rest: object) -> bool:
    """Tell whether there is anything to multiply: cuDNN refuses empty arrays."""
    return 0 not in first.shape and 0 not in getattr(second, "shape", ())


def conv2d_cudnn(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    out: Array | None = None,
    relu: bool = False,
) -> Array:
    """Return y (N,O,Ho,Wo): cuDNN's product; bias and ReLU are added in place."""
    size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    shape = x.shape[0], weight.shape[0], *size
    convolution = Convolution("y", x.shape, weight.shape, shape, stride, padding, tf32_allowed())
    y = _computed(convolution, x, weight, out)
    if y is None:
        return conv2d_cuda(x, weight, bias, stride, padding, out, relu)
    add_bias_cuda(y, bias, relu)
    return written(y, out)


def conv2d_dx_cudnn(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): the product of output gradients and kernels."""
    shape = dy.shape[0], weight.shape[1], *size
    convolution = Convolution("dx", shape, weight.shape, dy.shape, stride, padding, tf32_allowed())
    dx = _computed(convolution, dy, weight)
    return conv2d_dx_cuda(dy, weight, size, stride, padding) if dx is None else dx


def conv2d_dweight_cudnn(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw), in memory as cuDNN wants the weight."""
    shape = dy.shape[1], x.shape[1], *kernel
    convolution = Convolution("dweight", x.shape, shape, dy.shape, stride, padding, tf32_allowed())
    dweight = _computed(convolution, x, dy)
    return conv2d_dweight_cuda(dy, x, kernel, stride, padding) if dweight is None else dweight


def _computed(
    convolution: Convolution, first: Array, second: Array, out: Array | None = None
) -> Array | None:
    """Return the result, in `out` if that lies as cuDNN wants it; None if cuDNN has no plan."""
    last = convolution.channels_last
    if out is None or not lies(out, last):
        out = empty_maps(convolution.result_shape, first, last)
    found = compute(convolution, laid(first, last), laid(second, last), out)
    return out if found else None
