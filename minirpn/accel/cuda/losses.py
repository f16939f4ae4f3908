"""Launches ``losses.cu``."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.accel.cuda._load import (
    Kernel,
    contiguous,
    for_each,
    real_of,
)
from minirpn.backend import device_of, namespace_of

# What targets the kernels read: those of the RPN and of the detector. Others are copied.
TARGETS = np.dtype(np.int8), np.dtype(np.int64)


def softmax_cross_entropy_cuda(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, Array]:
    """Return the weighted sum of the rows' log losses (), and the softmax of each row (K,L).

    A launch for what each row costs, and another for the sum.
    """
    xp, (K, L) = namespace_of(logits, targets, weights), logits.shape
    options = {"dtype": logits.dtype, "device": device_of(logits)}
    costs, probabilities = xp.empty((K,), **options), xp.empty((K, L), **options)
    of_rows = *_bytes_of(targets), _as(logits.dtype, weights)
    kernel = Kernel("losses", "softmax_cross_entropy", real_of(logits))
    for_each(kernel, (K, 1), contiguous(logits), *of_rows, costs, probabilities, K, L)
    return xp.asarray(xp.sum(costs)), probabilities


def softmax_cross_entropy_dx_cuda(
    probabilities: Array,
    targets: Array,
    weights: Array,
    dloss: Array | float,
) -> Array:
    """Return the gradient of the sum (K,L), times `dloss`, a number or an array of shape ()."""
    xp, dtype = namespace_of(probabilities, targets, weights), probabilities.dtype
    K, L = probabilities.shape
    if not isinstance(dloss, int | float):  # one that lies on the device stays there
        dloss, weights = 1.0, dloss * weights
    dlogits = xp.empty((K, L), dtype=dtype, device=device_of(probabilities))
    of_rows = *_bytes_of(targets), _as(dtype, weights)
    arguments = contiguous(probabilities), *of_rows, dlogits, K, L, dtype.type(dloss)
    kernel = Kernel("losses", "softmax_cross_entropy_dx", real_of(probabilities))
    for_each(kernel, (K * L, 1), *arguments)
    return dlogits


def smooth_l1_cuda(x: Array, sigma: float) -> Array:
    """Return ``0.5 (sigma x)^2`` of each element below ``1 / sigma^2``, a line from there on."""
    y = namespace_of(x).empty(x.shape, dtype=x.dtype, device=device_of(x))
    # NumPy computes with an array and a Python float in the array's dtype; so must the kernel.
    numbers = map(x.dtype.type, (0.5 * sigma**2, 1 / sigma**2, 0.5 / sigma**2))
    kernel = Kernel("losses", "smooth_l1", real_of(x))
    for_each(kernel, (x.size, 1), contiguous(x), y, x.size, *numbers)
    return y


def smooth_l1_dx_cuda(dy: Array, x: Array, sigma: float) -> Array:
    """Return `dy` times the slope at x; dy may have any shape that goes with that of x.

    One number for each row of x, as the RPN's loss has it, is read where it is. What else differs
    in shape or dtype is copied first.
    """
    xp, each = namespace_of(dy, x), 1
    if x.ndim and dy.shape == (*x.shape[:-1], 1):
        each = x.shape[-1]
    elif dy.shape != x.shape:
        shape = np.broadcast_shapes(dy.shape, x.shape)
        dy, x = xp.broadcast_to(dy, shape), xp.broadcast_to(x, shape)
    dtype = dy.dtype if dy.dtype == x.dtype else xp.result_type(dy, x)
    dy, x = _as(dtype, dy), _as(dtype, x)
    dx = xp.empty(x.shape, dtype=dtype, device=device_of(x))
    kernel = Kernel("losses", "smooth_l1_dx", real_of(x))
    for_each(kernel, (dx.size, 1), dy, x, dx, dx.size, each, dtype.type(sigma**2))
    return dx


def _bytes_of(targets: Array) -> tuple[Array, int]:
    """Return whole numbers as their bytes, in row-major order, and how many bytes each has."""
    xp = namespace_of(targets)
    if targets.dtype not in TARGETS:
        targets = xp.astype(targets, xp.int64)
    return contiguous(targets).view(xp.int8), targets.dtype.itemsize


def _as(dtype: np.dtype, array: Array) -> Array:
    """Return the array in this dtype and in row-major order, itself if it is."""
    return contiguous(array if array.dtype == dtype else array.astype(dtype))
