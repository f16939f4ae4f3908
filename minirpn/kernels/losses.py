"""The losses of eq. 1: four ladders, for the values and for the gradients.

On a GPU each is one launch, but for the sum over the rows; as array code they are 28, of a few
microseconds each, most of which is the start.
"""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels._ladder import Ladder, Rung
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.losses import (
    smooth_l1_cuda,
    smooth_l1_dx_cuda,
    softmax_cross_entropy_cuda,
    softmax_cross_entropy_dx_cuda,
)


def softmax_cross_entropy_loops(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, Array]:
    """Return the weighted sum of the rows' log losses (), and the softmax of each row (K,L).

    A row whose target is no class costs nothing.
    """
    (K, L), loss = logits.shape, logits.dtype.type(0)
    probabilities = np.empty((K, L), logits.dtype)
    for k in range(K):
        largest = max(logits[k])
        exponentials = [np.exp(logit - largest) for logit in logits[k]]
        total = sum(exponentials)
        for l in range(L):  # noqa: E741 - L classes, and l one of them
            probabilities[k, l] = exponentials[l] / total
            if l == targets[k]:
                loss += weights[k] * (np.log(total) - (logits[k, l] - largest))
    return np.asarray(loss), probabilities


def softmax_cross_entropy_dx_loops(
    probabilities: Array, targets: Array, weights: Array, dloss: Array | float
) -> Array:
    """Return the gradient of the sum (K,L), times `dloss`, a number or an array of shape ()."""
    dlogits = np.empty_like(probabilities)
    for k, l in np.ndindex(probabilities.shape):  # noqa: E741
        wanted = 1 if l == targets[k] else 0
        dlogits[k, l] = (probabilities[k, l] - wanted) * (dloss * weights[k])
    return dlogits


def smooth_l1_loops(x: Array, sigma: float) -> Array:
    """Return ``0.5 (sigma x)^2`` of each element below ``1 / sigma^2``, a line from there on."""
    y = np.empty(x.shape, x.dtype)
    half, turn, rest = map(x.dtype.type, (0.5 * sigma**2, 1 / sigma**2, 0.5 / sigma**2))
    for place in np.ndindex(x.shape):
        number, size = x[place], abs(x[place])
        y[place] = half * number * number if size < turn else size - rest
    return y


def smooth_l1_dx_loops(dy: Array, x: Array, sigma: float) -> Array:
    """Return `dy` times the slope at x, which is ``sigma^2 x``, but never beyond -1 and 1.

    dy may have another shape that goes with that of x, such as (K,1) where x is (K,4).
    """
    dy, x = np.broadcast_arrays(dy, x)
    dx = np.empty(x.shape, np.result_type(dy, x))
    steep = x.dtype.type(sigma**2)
    for place in np.ndindex(x.shape):
        dx[place] = dy[place] * min(max(steep * x[place], -1), 1)
    return dx


def softmax_cross_entropy_xp(logits: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
    """Return the same for all rows together; the largest of a row is taken off before `exp`."""
    xp = namespace_of(logits, targets, weights)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    exponentials = xp.exp(shifted)
    sums = xp.sum(exponentials, axis=1, keepdims=True)  # (K,L) -> (K,1)
    nothing = xp.zeros((), dtype=logits.dtype, device=device_of(logits))
    is_target = _is_target(logits, targets)
    chosen = xp.sum(xp.where(is_target, shifted - xp.log(sums), nothing), axis=1)  # (K,L) -> (K,)
    return -xp.sum(weights * chosen), exponentials / sums


def softmax_cross_entropy_dx_xp(
    probabilities: Array, targets: Array, weights: Array, dloss: Array | float
) -> Array:
    """Return the same for all rows together."""
    xp = namespace_of(probabilities, targets, weights)
    is_target = _is_target(probabilities, targets)
    difference = probabilities - xp.astype(is_target, probabilities.dtype)
    return difference * (dloss * weights)[:, None]


def _is_target(like: Array, targets: Array) -> Array:
    """Return for each class of each row (K,L) whether it is the row's target."""
    xp = namespace_of(like, targets)
    classes = xp.arange(like.shape[1], dtype=targets.dtype, device=device_of(like))
    return targets[:, None] == classes  # (K,1) == (L,) -> (K,L)


def smooth_l1_xp(x: Array, sigma: float) -> Array:
    """Return the same for all elements together."""
    xp = namespace_of(x)
    size = xp.abs(x)
    turn = 1.0 / sigma**2
    return xp.where(size < turn, (0.5 * sigma**2) * x * x, size - 0.5 * turn)


def smooth_l1_dx_xp(dy: Array, x: Array, sigma: float) -> Array:
    """Return the same for all elements together."""
    xp = namespace_of(dy, x)
    # Not `sign` beyond the turn: array-api-compat's asks a GPU whether there is a NaN, and waits.
    return dy * xp.minimum(xp.maximum(sigma**2 * x, -1.0), 1.0)


# NumPy's exp and log of float32 may err by three epsilons, and rows are summed in another order;
# what was seen in thousands of rows is 2.5.
ROUNDING = 8

SOFTMAX_CROSS_ENTROPY = Ladder(
    "softmax_cross_entropy",
    (
        Rung("loops", softmax_cross_entropy_loops, takes=is_numpy),
        Rung("xp", softmax_cross_entropy_xp),
        Rung(
            "cuda",
            softmax_cross_entropy_cuda,
            takes=on_cuda,
            present=cuda_present,
            rounding=ROUNDING,
        ),
    ),
)
SOFTMAX_CROSS_ENTROPY_DX = Ladder(
    "softmax_cross_entropy_dx",
    (
        Rung("loops", softmax_cross_entropy_dx_loops, takes=is_numpy),
        Rung("xp", softmax_cross_entropy_dx_xp),
        Rung("cuda", softmax_cross_entropy_dx_cuda, takes=on_cuda, present=cuda_present),
    ),
)
SMOOTH_L1 = Ladder(
    "smooth_l1",
    (
        Rung("loops", smooth_l1_loops, takes=is_numpy),
        Rung("xp", smooth_l1_xp),
        Rung("cuda", smooth_l1_cuda, takes=on_cuda, present=cuda_present),
    ),
)
SMOOTH_L1_DX = Ladder(
    "smooth_l1_dx",
    (
        Rung("loops", smooth_l1_dx_loops, takes=is_numpy),
        Rung("xp", smooth_l1_dx_xp),
        Rung("cuda", smooth_l1_dx_cuda, takes=on_cuda, present=cuda_present),
    ),
)
