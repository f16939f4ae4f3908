"""Launches ``winograd.cu``: 3x3 convolutions of stride 1 with a quarter of the multiplications.

Two transforms, 36 matrix products at once, and a transform back; `minirpn.accel.numba.tiles` tells
why. For true float32 it is what is fastest on a GPU: cuDNN 9 has Winograd's way for the gradient by
the weight alone. For TF32 it is not to be had: intermediate numbers are up to a hundred times
larger than the result, and 10 bits of them are too few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, for_each, real_of
from minirpn.accel.cuda.im2col import conv2d_cuda, conv2d_dx_cuda
from minirpn.accel.cuda.products import batched_product
from minirpn.accel.numba.winograd import is_winograd
from minirpn.backend import device_of, namespace_of
from minirpn.devices import tf32_allowed
from minirpn.nn.window import Pair, conv_output_size

POINTS = 36
# What the transformed tiles of both sides may take. VGG-16's largest layer has 690 MB at 600x1000.
PLANES_BYTES = 2**30
# Tiles times channels of both sides. Measured on an H200: with 42 million of them this takes 0.13
# ms where cuDNN takes 0.50; with 2.6 million twice as long as cuDNN, which starts one kernel for
# four.
LEAST_WORK = 2**23


def conv2d_winograd_cuda(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    out: Array | None = None,
    relu: bool = False,
) -> Array:
    """Return y (N,O,Ho,Wo): bias and ReLU come with the transform back."""
    if not is_winograd(weight.shape[2:], stride, padding):
        return conv2d_cuda(x, weight, bias, stride, padding, out, relu)
    size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    shape = x.shape[0], weight.shape[0], *size
    in_place = out is not None and out.flags.c_contiguous
    y = out if in_place else namespace_of(x).empty(shape, dtype=x.dtype, device=device_of(x))
    _convolve(x, _transformed(weight, False), bias, padding, relu, y)
    if out is None or in_place:
        return y
    out[...] = y
    return out


def conv2d_dx_winograd_cuda(
    dy: Array,
    weight: Array,
    size: Pair,
    stride: Pair,
    padding: Pair,
) -> Array:
    """Return dx (N,C,H,W): each pixel sees the outputs around it through the kernels turned."""
    if not is_winograd(weight.shape[2:], stride, padding):
        return conv2d_dx_cuda(dy, weight, size, stride, padding)
    xp, C = namespace_of(dy), weight.shape[1]
    dx = xp.empty((dy.shape[0], C, *size), dtype=dy.dtype, device=device_of(dy))
    no_bias = xp.zeros(C, dtype=dy.dtype, device=device_of(dy))
    around = 2 - padding[0], 2 - padding[1]
    _convolve(dy, _transformed(weight, True), no_bias, around, False, dx)
    return dx


def _transformed(weight: Array, turned: bool) -> Array:
    """Return the kernels of weight (O,C,3,3) as (36,O,C); turned by half a turn, as (36,C,O)."""
    outs, C = weight.shape[:2]
    shape = (POINTS, C, outs) if turned else (POINTS, outs, C)
    U = namespace_of(weight).empty(shape, dtype=weight.dtype, device=device_of(weight))
    kernel = Kernel("winograd", "winograd_weight", real_of(weight))
    for_each(kernel, (outs * C, 1), contiguous(weight), U, *shape[1:], turned)
    return U


def _convolve(
    x: Array,
    kernels: Array,
    bias: Array,
    padding: Pair,
    relu: bool,
    y: Array,
) -> None:
    """Write into y (N,O,Ho,Wo) what x (N,C,H,W) and transformed kernels (36,O,C) give."""
    xp, x, dtype = namespace_of(x), contiguous(x), real_of(x)
    (N, C, H, W), (_, outs, Ho, Wo) = x.shape, y.shape
    columns = -(-Wo // 4)
    place = {"dtype": x.dtype, "device": device_of(x)}
    for rows in _runs(x, outs, -(-Ho // 4), columns):
        tiles = len(rows) * columns
        some = rows.start, len(rows), columns
        V = xp.empty((POINTS, C, N * tiles), **place)
        pixels = Kernel("winograd", "winograd_pixels", dtype)
        for_each(pixels, (tiles, N * C), x, V, N, C, H, W, *some, *padding)
        M = batched_product(kernels, V)  # (36,O,C) @ (36,C,N tiles)
        back = Kernel("winograd", "winograd_products", dtype)
        sizes = N, outs, Ho, Wo, *some, relu
        for_each(back, (tiles, N * outs), M, contiguous(bias), y, *sizes)


def _runs(x: Array, outs: int, rows: int, columns: int) -> Iterator[range]:
    """Yield the rows of tiles in runs whose transformed tiles stay within `PLANES_BYTES`."""
    N, C = x.shape[:2]
    row_bytes = POINTS * (C + outs) * N * columns * x.dtype.itemsize
    step = max(1, PLANES_BYTES // max(1, row_bytes))
    for start in range(0, rows, step):
        yield range(start, min(start + step, rows))


def conv2d_preferred(
    x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair, out: Array | None = None
) -> bool:
    """Tell whether the output is faster this way than by cuDNN."""
    return is_winograd(weight.shape[2:], stride, padding) and _pays(x, *weight.shape[:2])


def conv2d_dx_preferred(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> bool:
    """Tell whether the gradient by x is faster this way than by cuDNN."""
    return is_winograd(weight.shape[2:], stride, padding) and _pays(dy, *weight.shape[:2])


def _pays(maps: Array, outs: int, C: int) -> bool:
    """Tell whether there is work enough for four launches, and true float32 is asked for."""
    tiles = maps.shape[0] * math.prod(-(-side // 4) for side in maps.shape[2:])
    return tiles * outs * C >= LEAST_WORK and not tf32_allowed()
