r"""Losses and their gradients, from which the paper's equation 1 is put together.

.. math:: L = 1/N_{cls} \sum_i L_{cls}(p_i, p_i^*) + \lambda/N_{reg} \sum_i p_i^*L_{reg}(t_i, t_i^*)

`softmax_cross_entropy` (or `sigmoid_cross_entropy`) sums L_cls with a weight for each anchor, such
as 1/N_cls where it is sampled and 0 elsewhere. `smooth_l1` is the robust function R in L_reg, of
each difference t - t*; the caller masks, weights and sums.
"""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of


class SoftmaxCrossEntropyCache(NamedTuple):
    """What `softmax_cross_entropy_backward` needs."""

    probabilities: Array  # (K,L)
    targets: Array  # (K,)
    weights: Array  # (K,)


def softmax_cross_entropy_forward(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, SoftmaxCrossEntropyCache]:
    r"""Return the weighted sum of the rows' log losses, and the cache.

    .. math:: -\sum_k w_k \log(e^{z_{k,t_k}} / \sum_l e^{z_{k,l}})

    w are the weights, z the logits, t the targets: L_cls of eq. 1 with L = 2 classes.

    Parameters
    ----------
    logits
        (K, L), floating point, of any magnitude.
    targets
        (K,), integers in [0, L); any value where the weight is 0, such as ``IGNORE``.
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
    namespace_of(logits, targets, weights)  # raises where their libraries differ
    check_shape(logits, (None, None), "logits")
    check_shape(targets, (logits.shape[0],), "targets")
    check_shape(weights, (logits.shape[0],), "weights")
    check_floating(logits, "logits")
    loss, probabilities = softmax_cross_entropy(logits, targets, weights)
    return loss, SoftmaxCrossEntropyCache(probabilities, targets, weights)


@accelerated("softmax_cross_entropy")
def softmax_cross_entropy(logits: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
    """Return the weighted sum of the rows' log losses (), and the softmax of each row (K,L).

    The largest logit of a row is subtracted before `exp`, so nothing overflows. The loss of a row
    is 0 if its target is not a class.
    """
    xp = namespace_of(logits, targets, weights)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    exponentials = xp.exp(shifted)
    sums = xp.sum(exponentials, axis=1, keepdims=True)  # (K,L) -> (K,1)
    nothing = xp.zeros((), dtype=logits.dtype, device=device_of(logits))
    is_target = _is_target(logits, targets)
    chosen = xp.sum(xp.where(is_target, shifted - xp.log(sums), nothing), axis=1)  # (K,L) -> (K,)
    return -xp.sum(weights * chosen), exponentials / sums


def softmax_cross_entropy_backward(dloss: Array | float, cache: SoftmaxCrossEntropyCache) -> Array:
    """Return dlogits (K,L): ``dloss weights[k] (softmax(logits[k]) - [l is targets[k]])``."""
    return softmax_cross_entropy_dx(*cache, dloss)


@accelerated("softmax_cross_entropy_dx")
def softmax_cross_entropy_dx(
    probabilities: Array, targets: Array, weights: Array, dloss: Array | float
) -> Array:
    """Return the gradient of the sum (K,L), times `dloss`, a number or an array of shape ()."""
    xp = namespace_of(probabilities, targets, weights)
    is_target = _is_target(probabilities, targets)
    difference = probabilities - xp.astype(is_target, probabilities.dtype)
    return difference * (dloss * weights)[:, None]


def _is_target(like: Array, targets: Array) -> Array:
    """Return for each row and class (K,L) whether the class is the target."""
    xp = namespace_of(like, targets)
    classes = xp.arange(like.shape[1], dtype=targets.dtype, device=device_of(like))
    return targets[:, None] == classes  # (K,1) == (L,) -> (K,L)


class SigmoidCrossEntropyCache(NamedTuple):
    """What `sigmoid_cross_entropy_backward` needs."""

    logits: Array
    targets: Array
    weights: Array


def sigmoid_cross_entropy_forward(
    logits: Array, targets: Array, weights: Array
) -> tuple[Array, SigmoidCrossEntropyCache]:
    r"""Return the weighted sum of logistic log losses, and the cache.

    .. math:: \sum_k w_k (\max(z_k, 0) - z_k t_k + \log(1 + e^{-|z_k|}))

    w are the weights, z the logits, t the targets: the two-class log loss of one score. The paper's
    section 3.1 names this "logistic regression" as the alternative to two softmax scores.

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
    r"""Return smooth L1 of each element, and the cache.

    .. math:: 0.5 \, (\sigma x)^2 \text{ if } |x| < 1/\sigma^2, \text{ else } |x| - 0.5/\sigma^2

    This is the R of L_reg in eq. 1 (sigma 1; defined in Fast R-CNN, eq. 3).

    Parameters
    ----------
    x
        Differences t - t*, any shape, floating point.
    sigma
        It turns linear at ``1 / sigma^2``. The paper has 1; py-faster-rcnn's RPN has 3.
    """
    namespace_of(x)  # raises where it is not an array
    check_floating(x, "x")
    return smooth_l1(x, sigma), SmoothL1Cache(x, sigma)


@accelerated("smooth_l1")
def smooth_l1(x: Array, sigma: float) -> Array:
    """Return the formula of `smooth_l1_forward` for each element."""
    xp = namespace_of(x)
    size = xp.abs(x)
    turn = 1.0 / sigma**2
    return xp.where(size < turn, (0.5 * sigma**2) * x * x, size - 0.5 * turn)


def smooth_l1_backward(dy: Array, cache: SmoothL1Cache) -> Array:
    """Return dx: ``dy sigma^2 x`` where ``|x| < 1/sigma^2``, ``dy sign(x)`` elsewhere."""
    return smooth_l1_dx(dy, *cache)


@accelerated("smooth_l1_dx")
def smooth_l1_dx(dy: Array, x: Array, sigma: float) -> Array:
    """Return `dy` times the slope at x: ``sigma^2 x``, limited to [-1, 1].

    The shape of dy broadcasts with that of x, such as (K,1) with (K,4).
    """
    xp = namespace_of(dy, x)
    # Not `sign`: that of array-api-compat waits for a GPU to tell whether there is a NaN.
    return dy * xp.minimum(xp.maximum(sigma**2 * x, -1.0), 1.0)
