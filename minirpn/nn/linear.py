"""The fully connected layer's map and its gradients."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of


class LinearCache(NamedTuple):
    """What `linear_backward` needs: the inputs."""

    x: Array
    weight: Array


class LinearGrads(NamedTuple):
    """Gradients by `x`, `weight` and `bias`; None for those not asked for."""

    dx: Array | None
    dweight: Array | None
    dbias: Array | None


def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, LinearCache]:
    r"""Return each row of `x` times the weights, plus the bias, and the cache.

    .. math:: y = x W^T + b

    Parameters
    ----------
    x
        (R, I): one row for each sample.
    weight
        (O, I).
    bias
        (O,).

    Returns
    -------
    y
        (R, O).
    cache
        For `linear_backward`.
    """
    xp = namespace_of(x, weight, bias)
    check_shape(x, (None, None), "x")
    check_shape(weight, (None, x.shape[1]), "weight")
    check_shape(bias, (weight.shape[0],), "bias")
    y = xp.matmul(x, xp.matrix_transpose(weight))
    y += bias
    return y, LinearCache(x, weight)


def linear_backward(
    dy: Array, cache: LinearCache, *, need_dx: bool = True, need_dweight: bool = True
) -> LinearGrads:
    r"""Return the gradients of the loss by `x`, `weight` and `bias`, given that by `y`.

    .. math:: dx = dy \, W \quad dW = dy^T x \quad db = \sum_r dy_r

    Parameters
    ----------
    dy
        (R, O).
    cache
        From `linear_forward`.
    need_dx, need_dweight
        False leaves out ``dx``, or ``dweight`` and ``dbias``.
    """
    xp = namespace_of(dy)
    x, weight = cache
    check_shape(dy, (x.shape[0], weight.shape[0]), "dy")
    dx = xp.matmul(dy, weight) if need_dx else None
    if not need_dweight:
        return LinearGrads(dx, None, None)
    return LinearGrads(dx, xp.matmul(xp.matrix_transpose(dy), x), xp.sum(dy, axis=0))
