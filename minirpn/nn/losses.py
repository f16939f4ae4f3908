"""Losses and their gradients, from which the paper's eq. 1 is put together.

    L({p_i}, {t_i}) = 1/N_cls sum_i L_cls(p_i, p_i*) + lambda/N_reg sum_i p_i* L_reg(t_i, t_i*)

`softmax_cross_entropy` (or `sigmoid_cross_entropy`) sums L_cls with a weight for each anchor, such
as 1/N_cls where it is sampled and 0 elsewhere. `smooth_l1` is L_reg's robust function R of each
difference t - t*; the caller masks, weights and sums.
"""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels.losses import (
    SMOOTH_L1,
    SMOOTH_L1_DX,
    SOFTMAX_CROSS_ENTROPY,
    SOFTMAX_CROSS_ENTROPY_DX,
)


class SoftmaxCrossEntropyCache(NamedTuple):
    """What `softmax_cross_entropy_backward` needs."""

    probabilities: Array  # (K,L)
    targets: Array  # (K,)
    weights: Array  # (K,)


def softmax_cross_entropy_forward(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, SoftmaxCrossEntropyCache]:
    """Return the weighted sum of the rows' log losses, and the cache.

    ``sum_k weights[k] (-log softmax(logits[k])[targets[k]])``: L_cls of eq. 1 with L = 2 classes.

    Parameters
    ----------
    logits
        (K, L), floating point, any size (the largest of a row is taken off first).
    targets
        (K,), integers in [0, L); where the weight is zero, anything (such as ``IGNORE``).
    weights
        (K,), of the dtype of `logits`.

    Returns
    -------
    loss
        Of shape ().
    cache
        For `softmax_cross_entropy_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> one_row = np.zeros((1, 2)), np.array([1]), np.array([1.0])
    >>> bool(softmax_cross_entropy_forward(*one_row)[0] == np.log(2))
    True
    """
    namespace_of(logits, targets, weights)  # raises where they do not go together
    check_shape(logits, (None, None), "logits")
    check_shape(targets, (logits.shape[0],), "targets")
    check_shape(weights, (logits.shape[0],), "weights")
    check_floating(logits, "logits")
    loss, probabilities = SOFTMAX_CROSS_ENTROPY(logits, targets, weights)
    return loss, SoftmaxCrossEntropyCache(probabilities, targets, weights)


def softmax_cross_entropy_backward(dloss: Array | float, cache: SoftmaxCrossEntropyCache) -> Array:
    """Return dlogits (K,L): ``dloss weights[k] (softmax(logits[k]) - [l is targets[k]])``."""
    return SOFTMAX_CROSS_ENTROPY_DX(*cache, dloss)


class SigmoidCrossEntropyCache(NamedTuple):
    """What `sigmoid_cross_entropy_backward` needs."""

    logits: Array
    targets: Array
    weights: Array


def sigmoid_cross_entropy_forward(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, SigmoidCrossEntropyCache]:
    """Return the weighted sum of logistic log losses, and the cache.

    ``sum_k weights[k] (max(z, 0) - z t + log(1 + exp(-|z|)))`` for ``z = logits[k]`` and
    ``t = targets[k]``: the two-class log loss from one score, the "logistic regression" that the
    paper's section 3.1 names as the alternative to two softmax scores.

    Parameters
    ----------
    logits
        (K,), floating point: the log odds of "object".
    targets
        (K,), of the same dtype, 0 or 1 (or between).
    weights
        (K,), of the same dtype.

    Returns
    -------
    loss
        Of shape ().
    cache
        For `sigmoid_cross_entropy_backward`.

    Notes
    -----
    Equal to `softmax_cross_entropy_forward` of the two scores ``(0, z)``.
    """
    xp = namespace_of(logits, targets, weights)
    check_shape(logits, (None,), "logits")
    check_shape(targets, logits.shape, "targets")
    check_shape(weights, logits.shape, "weights")
    check_floating(logits, "logits")
    nothing = xp.zeros((), dtype=logits.dtype, device=device_of(logits))
    largest = xp.maximum(logits, nothing)
    losses = largest - logits * targets + xp.log1p(xp.exp(-xp.abs(logits)))
    return xp.sum(weights * losses), SigmoidCrossEntropyCache(logits, targets, weights)


def sigmoid_cross_entropy_backward(dloss: Array | float, cache: SigmoidCrossEntropyCache) -> Array:
    """Return dlogits (K,): ``dloss weights[k] (sigmoid(logits[k]) - targets[k])``."""
    xp = namespace_of(cache.logits)
    logits, targets, weights = cache
    decay = xp.exp(-xp.abs(logits))  # at most 1: no overflow on either side
    one = xp.ones((), dtype=logits.dtype, device=device_of(logits))
    sigmoid = xp.where(logits >= 0, one, decay) / (one + decay)
    return (dloss * weights) * (sigmoid - targets)


class SmoothL1Cache(NamedTuple):
    """What `smooth_l1_backward` needs."""

    x: Array
    sigma: float


def smooth_l1_forward(x: Array, *, sigma: float = 1.0) -> tuple[Array, SmoothL1Cache]:
    """Return smooth L1 of each element, and the cache.

    ``0.5 (sigma x)^2`` where ``|x| < 1/sigma^2``, ``|x| - 0.5/sigma^2`` elsewhere: the R of
    L_reg in eq. 1 (sigma 1; defined in Fast R-CNN, eq. 3).

    Parameters
    ----------
    x
        Differences t - t*, any shape, floating point.
    sigma
        How early it turns linear. The paper's is 1; py-faster-rcnn's RPN uses 3.
    """
    namespace_of(x)  # raises where it is no array
    check_floating(x, "x")
    return SMOOTH_L1(x, sigma), SmoothL1Cache(x, sigma)


def smooth_l1_backward(dy: Array, cache: SmoothL1Cache) -> Array:
    """Return dx: ``dy sigma^2 x`` where ``|x| < 1/sigma^2``, ``dy sign(x)`` elsewhere."""
    return SMOOTH_L1_DX(dy, *cache)
