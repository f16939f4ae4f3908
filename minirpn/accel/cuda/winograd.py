"""Launches ``winograd.cu``: 3x3 convolutions of stride 1 with a quarter of the multiplications.

A transform of the kernels and one of the pixels, 36 matrix products at once, and a transform back;
`minirpn.accel.numba.tiles` explains them. In true float32 this is fastest on a GPU: cuDNN 9 has
Winograd's algorithm only for the gradient by the weight. It is not possible in TF32: intermediate
numbers are up to a hundred times larger than the result, and 10 bits are too few for them.

CuPy calls cuBLAS for matrix products, but refuses to while a CUDA graph is recorded, because early
versions of cuBLAS could not be recorded. Today's can, so it is called from here then: in true
float32 whatever is allowed, as CuPy does for many matrices at once.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from minirpn._typing import Array, OtherArray
from minirpn.accel.cuda._load import Kernel, contiguous, empty, for_each, real_of
from minirpn.accel.cuda.graph import is_recording
from minirpn.accel.cuda.im2col import conv2d_cuda, conv2d_dx_cuda, written
from minirpn.accel.numba.winograd import is_winograd
from minirpn.backend import device_of, namespace_of
from minirpn.devices import tf32_allowed
from minirpn.nn.window import Pair, conv_output_size

POINTS = 36
# Bytes of the transformed tiles of both sides. VGG-16's largest layer has 690 MB at 600x1000.
PLANES_BYTES = 2**30
# Tiles times channels of both sides. Measured on an H200: with 42 million of them this needs 0.13
# ms where cuDNN needs 0.50; with 2.6 million it needs twice as long as cuDNN, which starts one
# kernel where this starts four.
LEAST_WORK = 2**23
# C's type, cudaDataType_t and cublasComputeType_t: true float32, without TF32, and float64.
KINDS: dict[str, tuple[Any, int, int]] = {
    "float32": (ctypes.c_float, 0, 68),
    "float64": (ctypes.c_double, 1, 70),
}
AS_IT_IS = 0  # cublasOperation_t: not transposed
CHOOSE = -1  # cublasGemmAlgo_t: cuBLAS chooses


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
    y = out
    if y is None or not y.flags.c_contiguous:
        y = empty((x.shape[0], weight.shape[0], *size), x)
    _convolve(x, _transformed(weight, turned=False), bias, padding, relu, y)
    return written(y, out)


def conv2d_dx_winograd_cuda(
    dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair
) -> Array:
    """Return dx (N,C,H,W): dy convolved with the kernels turned by half a turn."""
    if not is_winograd(weight.shape[2:], stride, padding):
        return conv2d_dx_cuda(dy, weight, size, stride, padding)
    C = weight.shape[1]
    dx = empty((dy.shape[0], C, *size), dy)
    no_bias = namespace_of(dy).zeros(C, dtype=dy.dtype, device=device_of(dy))
    around = 2 - padding[0], 2 - padding[1]
    _convolve(dy, _transformed(weight, turned=True), no_bias, around, False, dx)
    return dx


def _transformed(weight: Array, *, turned: bool) -> Array:
    """Return the kernels of weight (O,C,3,3) as (36,O,C); turned by half a turn, as (36,C,O)."""
    outs, C = weight.shape[:2]
    shape = (POINTS, C, outs) if turned else (POINTS, outs, C)
    U = empty(shape, weight)
    kernel = Kernel("winograd", "winograd_weight", real_of(weight))
    for_each(kernel, (outs * C, 1), contiguous(weight), U, *shape[1:], turned)
    return U


def _convolve(x: Array, kernels: Array, bias: Array, padding: Pair, relu: bool, y: Array) -> None:
    """Write into y (N,O,Ho,Wo) what x (N,C,H,W) and transformed kernels (36,O,C) give."""
    x, dtype = contiguous(x), real_of(x)
    (N, C, H, W), (_, outs, Ho, Wo) = x.shape, y.shape
    columns = -(-Wo // 4)
    for rows in _runs(x, outs, -(-Ho // 4), columns):
        tiles = len(rows) * columns
        some = rows.start, len(rows), columns
        V = empty((POINTS, C, N * tiles), x)
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
    return is_winograd(weight.shape[2:], stride, padding) and _is_faster(x, *weight.shape[:2])


def conv2d_dx_preferred(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> bool:
    """Tell whether the gradient by x is faster this way than by cuDNN."""
    return is_winograd(weight.shape[2:], stride, padding) and _is_faster(dy, *weight.shape[:2])


def _is_faster(maps: Array, outs: int, C: int) -> bool:
    """Tell whether there is enough work for four launches, in true float32."""
    tiles = maps.shape[0] * math.prod(-(-side // 4) for side in maps.shape[2:])
    return tiles * outs * C >= LEAST_WORK and not tf32_allowed()


def batched_product(a: Array, b: Array) -> Array:
    """Return a (P,N,K) times b (P,K,M), matrix by matrix: (P,N,M).

    Parameters
    ----------
    a, b
        Of CuPy, of one dtype, C-contiguous, not empty.

    Raises
    ------
    NotImplementedError
        A graph is being recorded, and there is no cuBLAS to call for it.
    """
    return product_by_cublas(a, b) if is_recording() else namespace_of(a, b).matmul(a, b)


def product_by_cublas(a: Array, b: Array) -> Array:
    """Return the product as `batched_product` does while a graph is recorded."""
    import cupy
    from cupy.cuda.device import get_cublas_handle

    (P, N, K), M = a.shape, b.shape[2]
    product = cupy.empty((P, N, M), dtype=a.dtype)
    real, data, compute = KINDS[real_of(a)]
    library, handle = _cublas(), ctypes.c_void_p(get_cublas_handle())
    stream = ctypes.c_void_p(cupy.cuda.get_current_stream().ptr)
    _check(library.cublasSetStream_v2(handle, stream))
    # What is row by row here is column by column to cuBLAS: it sees the transposed matrices, and
    # computes (a b)^T = b^T a^T.
    _check(
        library.cublasGemmStridedBatchedEx(
            *(handle, AS_IT_IS, AS_IT_IS, M, N, K, ctypes.byref(real(1))),
            *(_pointer(b), data, M, ctypes.c_longlong(K * M)),
            *(_pointer(a), data, K, ctypes.c_longlong(N * K), ctypes.byref(real(0))),
            *(_pointer(product), data, M, ctypes.c_longlong(N * M), P, compute, CHOOSE),
        )
    )
    return product


def _pointer(array: OtherArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.data.ptr)


@cache
def _cublas() -> ctypes.CDLL:
    """Return the library that CuPy has loaded."""
    from cupy.cuda import runtime

    try:
        return ctypes.CDLL(f"libcublas.so.{runtime.runtimeGetVersion() // 1000}")
    except OSError as error:
        raise NotImplementedError(f"no cuBLAS to record: {error}") from error


def _check(status: int) -> None:
    if status:
        raise NotImplementedError(f"cuBLAS refuses: status {status}")
