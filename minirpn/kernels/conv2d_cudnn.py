"""Convolution by cuDNN, rung ``cudnn``: what NVIDIA's own library is fastest with.

The shapes remain (N,C,H,W). In memory the channels may come last (`Convolution.channels_last`):
what one convolution gives goes into the next as it is, and what comes otherwise is copied.
"""

from __future__ import annotations

from minirpn._typing import Array
from minirpn.backend import device_of, host_dtype, namespace_of
from minirpn.kernels.cuda._load import contiguous, on_cuda
from minirpn.kernels.cudnn_plans import Convolution, Engine, OnDevice, Shape
from minirpn.kernels.window import Pair, conv_output_size

ON_DEVICE = OnDevice()


def on_cuda_float32(array: Array) -> bool:
    """Tell whether cuDNN is for this array: of CuPy, and float; there is little for doubles."""
    return on_cuda(array) and host_dtype(array) == "float32"


def suits(first: Array, second: Array, *rest: object) -> bool:
    """Tell whether there is anything to multiply, which cuDNN insists on."""
    return 0 not in first.shape and 0 not in getattr(second, "shape", ())


def conv2d_cudnn(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
    out: Array | None = None,
    *,
    engine: Engine = ON_DEVICE,
) -> Array:
    """Return y (N,O,Ho,Wo): cuDNN's product; bias and rectification are added in place."""
    xp = namespace_of(x, weight, bias)
    size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    shape = x.shape[0], weight.shape[0], *size
    convolution = Convolution("y", x.shape, weight.shape, shape, stride, padding, engine.tf32)
    last = convolution.channels_last
    y = out if out is not None and _lies(out, last) else _empty(shape, x, last)
    engine.compute(convolution, _laid(x, last), _laid(weight, last), y)
    y += bias[:, None, None]
    if rectified:
        xp.maximum(y, 0, out=y)
    if out is None or out is y:
        return y
    out[...] = y
    return out


def conv2d_dx_cudnn(
    dy: Array,
    weight: Array,
    size: Pair,
    stride: Pair,
    padding: Pair,
    *,
    engine: Engine = ON_DEVICE,
) -> Array:
    """Return dx (N,C,H,W): the product of output gradients and kernels."""
    shape = dy.shape[0], weight.shape[1], *size
    convolution = Convolution("dx", shape, weight.shape, dy.shape, stride, padding, engine.tf32)
    last = convolution.channels_last
    dx = _empty(shape, dy, last)
    engine.compute(convolution, _laid(dy, last), _laid(weight, last), dx)
    return dx


def conv2d_dweight_cudnn(
    dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair, *, engine: Engine = ON_DEVICE
) -> Array:
    """Return dweight (O,C,kh,kw), in memory as a weight is: the optimizer adds it to one."""
    shape = dy.shape[1], x.shape[1], *kernel
    convolution = Convolution("dweight", x.shape, shape, dy.shape, stride, padding, engine.tf32)
    last = convolution.channels_last
    dweight = _empty(shape, x, last)
    engine.compute(convolution, _laid(x, last), _laid(dy, last), dweight)
    return contiguous(dweight)


def _laid(array: Array, channels_last: bool) -> Array:
    """Return (N,C,H,W) laid in memory in this way, itself if it is."""
    if not channels_last:
        return contiguous(array)
    xp = namespace_of(array)
    return xp.moveaxis(contiguous(xp.moveaxis(array, 1, -1)), -1, 1)


def _lies(array: Array, channels_last: bool) -> bool:
    """Tell whether (N,C,H,W) lies in memory in this way."""
    plain = namespace_of(array).moveaxis(array, 1, -1) if channels_last else array
    return bool(plain.flags.c_contiguous)


def _empty(shape: Shape, like: Array, channels_last: bool) -> Array:
    """Return an array (N,C,H,W) with nothing in it yet, laid in this way."""
    xp, (N, C, H, W) = namespace_of(like), shape
    options = {"dtype": like.dtype, "device": device_of(like)}
    if not channels_last:
        return xp.empty(shape, **options)
    return xp.moveaxis(xp.empty((N, H, W, C), **options), -1, 1)
