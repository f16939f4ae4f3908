"""Convolution by cuDNN, the implementation ``cudnn``: what NVIDIA's own library is fastest with.

The shapes remain (N,C,H,W). In memory the channels may come last (`Convolution.channels_last`):
what one convolution gives goes into the next as it is, and what comes otherwise is copied. What
cuDNN has no plan for is a product of matrices (implementation ``cuda``).
"""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.accel.cuda._load import Launch, on_device
from minirpn.accel.cuda.bias import add_bias_cuda
from minirpn.accel.cuda.cudnn_plans import Convolution, Engine, NoPlanError, OnDevice
from minirpn.accel.cuda.im2col import conv2d_cuda, conv2d_dweight_cuda, conv2d_dx_cuda
from minirpn.accel.layout import empty, is_channels_last, laid
from minirpn.nn.window import Pair, conv_output_size

ON_DEVICE = OnDevice()


def suits(first: Array, second: Array, *rest: object) -> bool:
    """Tell whether there is anything to multiply, which cuDNN insists on."""
    return 0 not in first.shape and 0 not in getattr(second, "shape", ())


def conv2d_cudnn(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    relu: bool = False,
    out: Array | None = None,
    *,
    engine: Engine = ON_DEVICE,
    launch: Launch = on_device,
) -> Array:
    """Return y (N,O,Ho,Wo): cuDNN's product; bias and ReLU are added in place."""
    size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    shape = x.shape[0], weight.shape[0], *size
    convolution = Convolution("y", x.shape, weight.shape, shape, stride, padding, engine.tf32)
    last = convolution.channels_last
    y = out if out is not None and _lies(out, last) else empty(shape, x, last)
    try:
        engine.compute(convolution, laid(x, last), laid(weight, last), y)
    except NoPlanError:
        return conv2d_cuda(x, weight, bias, stride, padding, relu, out, launch=launch)
    add_bias_cuda(y, bias, relu, launch=launch)
    if out is None or out is y:
        return y
    out[...] = y
    return out


def conv2d_relu_cudnn(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    out: Array | None = None,
    *,
    engine: Engine = ON_DEVICE,
    launch: Launch = on_device,
) -> Array:
    """Return ``max(y, 0)``, written into `out` if it is given; as `conv2d_cudnn`."""
    return conv2d_cudnn(x, weight, bias, stride, padding, True, out, engine=engine, launch=launch)


def conv2d_dx_cudnn(
    dy: Array,
    weight: Array,
    size: Pair,
    stride: Pair,
    padding: Pair,
    *,
    engine: Engine = ON_DEVICE,
    launch: Launch = on_device,
) -> Array:
    """Return dx (N,C,H,W): the product of output gradients and kernels."""
    shape = dy.shape[0], weight.shape[1], *size
    convolution = Convolution("dx", shape, weight.shape, dy.shape, stride, padding, engine.tf32)
    last = convolution.channels_last
    dx = empty(shape, dy, last)
    try:
        engine.compute(convolution, laid(dy, last), laid(weight, last), dx)
    except NoPlanError:
        return conv2d_dx_cuda(dy, weight, size, stride, padding, launch=launch)
    return dx


def conv2d_dweight_cudnn(
    dy: Array,
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    *,
    engine: Engine = ON_DEVICE,
    launch: Launch = on_device,
) -> Array:
    """Return dweight (O,C,kh,kw), in memory as the weight lies that cuDNN multiplies with."""
    shape = dy.shape[1], x.shape[1], *kernel
    convolution = Convolution("dweight", x.shape, shape, dy.shape, stride, padding, engine.tf32)
    last = convolution.channels_last
    dweight = empty(shape, x, last)
    try:
        engine.compute(convolution, laid(x, last), laid(dy, last), dweight)
    except NoPlanError:
        return conv2d_dweight_cuda(dy, x, kernel, stride, padding, launch=launch)
    return dweight


def _lies(array: Array, channels_last: bool) -> bool:
    """Tell whether (N,C,H,W) lies in memory in this way."""
    return is_channels_last(array) if channels_last else bool(array.flags.c_contiguous)
