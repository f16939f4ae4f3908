"""Launches ``losses.cu``."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.accel.cuda._load import Kernel, contiguous, empty, for_each, real_of
from minirpn.backend import namespace_of

# The kernels read targets of these dtypes, those of the RPN and of the detector. Others are copied.
TARGETS = np.dtype(np.int8), np.dtype(np.int64)


def softmax_cross_entropy_cuda(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, Array]:
    """Return the weighted sum of the rows' log losses (), and the softmax of each row (K,L).

    One launch computes the loss of each row; the sum is another.
    """
    xp, (K, L) = namespace_of(logits, targets, weights), logits.shape
    row_losses, probabilities = empty((K,), logits), empty((K, L), logits)
    of_rows = *_bytes_of(targets), _as(logits.dtype, weights)
    kernel = Kernel("losses", "softmax_cross_entropy", real_of(logits))
    for_each(kernel, (K, 1), contiguous(logits), *of_rows, row_losses, probabilities, K, L)
    return xp.asarray(xp.sum(row_losses)), probabilities


def softmax_cross_entropy_dx_cuda(
    probabilities: Array,
    targets: Array,
    weights: Array,
    dloss: Array | float,
) -> Array:
    """Return the gradient of the sum (K,L), times `dloss`, a number or an array of shape ()."""
    (K, L), dtype = probabilities.shape, probabilities.dtype
    if not isinstance(dloss, int | float):  # an array on the device stays there
        dloss, weights = 1.0, dloss * weights
    dlogits = empty((K, L), probabilities)
    of_rows = *_bytes_of(targets), _as(dtype, weights)
    arguments = contiguous(probabilities), *of_rows, dlogits, K, L, dtype.type(dloss)
    kernel = Kernel("losses", "softmax_cross_entropy_dx", real_of(probabilities))
    for_each(kernel, (K * L, 1), *arguments)
    return dlogits


def smooth_l1_cuda(x: Array, sigma: float) -> Array:
    """Return ``0.5 (sigma x)^2`` where ``|x| < 1 / sigma^2``, ``|x| - 0.5 / sigma^2`` elsewhere."""
    y = empty(x.shape, x)
    # NumPy computes with an array and a Python float in the array's dtype; so must the kernel.
    numbers = map(x.dtype.type, (0.5 * sigma**2, 1 / sigma**2, 0.5 / sigma**2))
    kernel = Kernel("losses", "smooth_l1", real_of(x))
    for_each(kernel, (x.size, 1), contiguous(x), y, x.size, *numbers)
    return y


def smooth_l1_dx_cuda(dy: Array, x: Array, sigma: float) -> Array:
    """Return `dy` times the slope at x; the shape of dy may be any that broadcasts with that of x.

    The RPN's loss has one number for each row of x, which the kernel reads as it is. If shapes or
    dtypes differ in another way, arrays are copied first.
    """
    xp, each = namespace_of(dy, x), 1
    if x.ndim and dy.shape == (*x.shape[:-1], 1):
        each = x.shape[-1]
    elif dy.shape != x.shape:
        shape = np.broadcast_shapes(dy.shape, x.shape)
        dy, x = xp.broadcast_to(dy, shape), xp.broadcast_to(x, shape)
    dtype = dy.dtype if dy.dtype == x.dtype else xp.result_type(dy, x)
    dy, x = _as(dtype, dy), _as(dtype, x)
    dx = empty(x.shape, x)
    kernel = Kernel("losses", "smooth_l1_dx", real_of(x))
    for_each(kernel, (dx.size, 1), dy, x, dx, dx.size, each, dtype.type(sigma**2))
    return dx


def _bytes_of(targets: Array) -> tuple[Array, int]:
    """Return the bytes of whole numbers in row-major order, and how many bytes a number has."""
    xp = namespace_of(targets)
    if targets.dtype not in TARGETS:
        targets = xp.astype(targets, xp.int64)
    return contiguous(targets).view(xp.int8), targets.dtype.itemsize


def _as(dtype: np.dtype, array: Array) -> Array:
    """Return the array in this dtype and in row-major order, itself if it is."""
    return contiguous(array if array.dtype == dtype else array.astype(dtype))
