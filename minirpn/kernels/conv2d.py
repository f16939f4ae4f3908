"""Convolution in two dimensions: four ladders, for the output and for each gradient.

Three of them are sums over the same products, "pixel times weight goes to output"::

    y[n,o,i,j]       = bias[o] + sum over c, p, q of  x[n, c, i s + p, j s + q] weight[o,c,p,q]
    dx[n,c,k,l]      = sum over o, p, q and the i, j with k = i s + p, l = j s + q
                                         of  dy[n,o,i,j] weight[o,c,p,q]
    dweight[o,c,p,q] = sum over n, i, j  of  dy[n,o,i,j] x[n, c, i s + p, j s + q]

with x padded by zeros; the gradient by the bias is the sum of dy over images and pixels. The output
may be rectified on the way, ``max(y, 0)``, which a layer of its own would do in one more walk
through memory, and be written into a given place.

Every rung of a ladder is a function of plain arrays and pairs, so that the gradient of one rung
follows the output of any other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn._typing import Array
from minirpn.backend import is_numpy, namespace_of
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.conv2d_cudnn import (
    conv2d_cudnn,
    conv2d_dweight_cudnn,
    conv2d_dx_cudnn,
    on_cuda_float32,
)
from minirpn.kernels.conv2d_cudnn import suits as suits_cudnn
from minirpn.kernels.conv2d_strips import conv2d_dweight_strips, conv2d_dx_strips, conv2d_strips
from minirpn.kernels.conv2d_winograd import (
    conv2d_dweight_winograd,
    conv2d_dx_winograd,
    conv2d_winograd,
    suits,
    suits_dweight,
    suits_dx,
)
from minirpn.kernels.cuda import winograd as cuda_winograd
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.bias import dbias_cuda
from minirpn.kernels.cuda.im2col import conv2d_cuda, conv2d_dweight_cuda, conv2d_dx_cuda
from minirpn.kernels.cuda.winograd import conv2d_dx_winograd_cuda, conv2d_winograd_cuda
from minirpn.kernels.cudnn_plans import cudnn_present
from minirpn.kernels.im2col import conv2d_dweight_im2col, conv2d_dx_im2col, conv2d_im2col
from minirpn.kernels.layout import is_channels_last
from minirpn.kernels.window import Pair, conv_output_size, surrounded

# --- loops: the three sums, window by window ---


def conv2d_loops(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
    out: Array | None = None,
) -> Array:
    """Return y (N,O,Ho,Wo): each output is a window of `x` times a kernel, summed."""
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    image = surrounded(x, padding)
    size = conv_output_size(x.shape[2:], kernel, stride, padding)
    y = np.empty((N, outs, *size), x.dtype) if out is None else out
    for n, o, i, j in np.ndindex(y.shape):
        rows, columns = _window(i, j, kernel, stride)
        value = np.sum(image[n, :, rows, columns] * weight[o]) + bias[o]
        y[n, o, i, j] = 0 if rectified and value < 0 else value
    return y


def conv2d_dx_loops(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): each output hands its gradient to the window it came from."""
    (N, C), kernel = (dy.shape[0], weight.shape[1]), weight.shape[2:]
    (H, W), (top, left) = size, padding
    dimage = np.zeros((N, C, H + 2 * top, W + 2 * left), dy.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        rows, columns = _window(i, j, kernel, stride)
        dimage[n, :, rows, columns] += dy[n, o, i, j] * weight[o]
    return dimage[:, :, top : top + H, left : left + W]


def conv2d_dweight_loops(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw): each output hands its gradient to the kernel that made it."""
    image = surrounded(x, padding)
    dweight = np.zeros((dy.shape[1], x.shape[1], *kernel), x.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        rows, columns = _window(i, j, kernel, stride)
        dweight[o] += dy[n, o, i, j] * image[n, :, rows, columns]
    return dweight


def conv2d_dbias_loops(dy: Array) -> Array:
    """Return dbias (O,): each output hands its gradient to the bias of its channel."""
    dbias = np.zeros(dy.shape[1], dy.dtype)
    for n, o, i, j in np.ndindex(dy.shape):
        dbias[o] += dy[n, o, i, j]
    return dbias


def conv2d_dbias_xp(dy: Array) -> Array:
    """Return dbias (O,): the sum over images and pixels."""
    return namespace_of(dy).sum(dy, axis=(0, 2, 3))


def _window(i: int, j: int, kernel: Pair, stride: Pair) -> tuple[slice, slice]:
    """Return the rows and columns of the padded image behind output (i, j)."""
    top, left = i * stride[0], j * stride[1]
    return slice(top, top + kernel[0]), slice(left, left + kernel[1])


def _winograd(function: Callable[..., Array], suits: Callable[..., bool]) -> Rung:
    """Return a rung whose intermediate numbers are larger than the result, and so its rounding."""
    return Rung("winograd", function, is_numpy, numba_present, suits, rounding=1000)


def _cuda(function: Callable[..., Array], suits: Callable[..., bool]) -> Rung:
    """Return a rung that makes columns on the GPU. A 1x1 kernel has none to make: im2col views."""
    return Rung("cuda", function, on_cuda, cuda_present, suits)


def _cuda_winograd(function: Callable[..., Array], suits: Callable[..., bool]) -> Rung:
    """Return the rung ``winograd`` on the GPU, for true float32 the fastest."""
    return Rung("cuda-winograd", function, on_cuda, cuda_present, suits, rounding=1000)


def _cudnn(function: Callable[..., Array]) -> Rung:
    """Return a rung of NVIDIA's library, which may take Winograd's way, too."""
    return Rung("cudnn", function, on_cuda_float32, cudnn_present, suits_cudnn, rounding=1000)


CONV2D = Ladder(
    "conv2d",
    (
        Rung("loops", conv2d_loops, takes=is_numpy),
        Rung("im2col", conv2d_im2col),
        Rung("strips", conv2d_strips, takes=is_numpy, present=numba_present),
        _winograd(conv2d_winograd, suits),
        _cuda(conv2d_cuda, lambda x, weight, *rest: tuple(weight.shape[2:]) != (1, 1)),
        _cudnn(conv2d_cudnn),
        _cuda_winograd(conv2d_winograd_cuda, cuda_winograd.suits),
    ),
)
CONV2D_DX = Ladder(
    "conv2d_dx",
    (
        Rung("loops", conv2d_dx_loops, takes=is_numpy),
        Rung("im2col", conv2d_dx_im2col),
        Rung("strips", conv2d_dx_strips, takes=is_numpy, present=numba_present),
        _winograd(conv2d_dx_winograd, suits_dx),
        _cuda(conv2d_dx_cuda, lambda dy, weight, *rest: tuple(weight.shape[2:]) != (1, 1)),
        _cudnn(conv2d_dx_cudnn),
        _cuda_winograd(conv2d_dx_winograd_cuda, cuda_winograd.suits_dx),
    ),
)
CONV2D_DWEIGHT = Ladder(
    "conv2d_dweight",
    (
        Rung("loops", conv2d_dweight_loops, takes=is_numpy),
        Rung("im2col", conv2d_dweight_im2col),
        Rung("strips", conv2d_dweight_strips, takes=is_numpy, present=numba_present),
        _winograd(conv2d_dweight_winograd, suits_dweight),
        _cuda(conv2d_dweight_cuda, lambda dy, x, kernel, *rest: tuple(kernel) != (1, 1)),
        _cudnn(conv2d_dweight_cudnn),
    ),
)
CONV2D_DBIAS = Ladder(
    "conv2d_dbias",
    (
        Rung("loops", conv2d_dbias_loops, takes=is_numpy),
        Rung("xp", conv2d_dbias_xp, rounding=100),
        # With channels last alone: otherwise CuPy's own sum is as good.
        Rung("cuda", dbias_cuda, on_cuda, cuda_present, is_channels_last, rounding=100),
    ),
)
