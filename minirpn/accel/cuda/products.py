"""Products of many matrices at once by cuBLAS, which a CUDA graph may record.

CuPy calls cuBLAS for all products, but refuses while a graph is recorded, since cuBLAS once could
not be. It can be since long, so it is called from here then, in true float32 whatever is allowed,
as CuPy does for many matrices at once.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from minirpn._typing import Array
from minirpn.accel.cuda._load import real_of
from minirpn.accel.cuda.graph import is_recording
from minirpn.backend import namespace_of

# C's type, cudaDataType_t and cublasComputeType_t: true float32, without TF32, and float64.
KINDS: dict[str, tuple[Any, int, int]] = {
    "float32": (ctypes.c_float, 0, 68),
    "float64": (ctypes.c_double, 1, 70),
}
AS_IT_IS = 0  # cublasOperation_t: not transposed
CHOOSE = -1  # cublasGemmAlgo_t: by rule


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
    # is asked for (a b)^T = b^T a^T.
    _check(
        library.cublasGemmStridedBatchedEx(
            *(handle, AS_IT_IS, AS_IT_IS, M, N, K, ctypes.byref(real(1))),
            *(_pointer(b), data, M, ctypes.c_longlong(K * M)),
            *(_pointer(a), data, K, ctypes.c_longlong(N * K), ctypes.byref(real(0))),
            *(_pointer(product), data, M, ctypes.c_longlong(N * M), P, compute, CHOOSE),
        )
    )
    return product


def _pointer(array: Array) -> ctypes.c_void_p:
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
