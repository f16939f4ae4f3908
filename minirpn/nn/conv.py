"""Convolution and its gradients."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels.conv2d import CONV2D, CONV2D_DBIAS, CONV2D_DWEIGHT, CONV2D_DX
from minirpn.kernels.layout import laid_as
from minirpn.kernels.window import Pair, conv_output_size, pair

__all__ = ["Conv2dCache", "Conv2dGrads", "conv2d_backward", "conv2d_forward", "conv_output_size"]


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs: the inputs, as they were."""

    x: Array
    weight: Array
    stride: Pair
    padding: Pair


class Conv2dGrads(NamedTuple):
    """Gradients by `x`, `weight` and `bias`; None for those not asked for."""

    dx: Array | None
    dweight: Array | None
    dbias: Array | None


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    rectified: bool = False,
    out: Array | None = None,
) -> tuple[Array, Conv2dCache]:
    """Return the convolution (cross-correlation) of `x` with each kernel, and the cache.

    ``y[n,o,i,j] = bias[o] + sum_{c,p,q} x[n, c, i s - pad + p, j s - pad + q] weight[o,c,p,q]``,
    where pixels outside the image are zero.

    Parameters
    ----------
    x
        (N,C,H,W), floating point.
    weight
        (O,C,kh,kw), of the same dtype.
    bias
        (O,), of the same dtype.
    stride, padding
        An int, or (vertical, horizontal).
    rectified
        Give ``max(y, 0)`` instead, computed on the way: the ReLU that follows costs no walk
        through memory then. Its gradient remains `relu_backward`'s, before `conv2d_backward`.
    out
        Where to write the output: some channels of a larger array, to be joined with others'. The
        pixels of each image must lie one after the other in memory.

    Returns
    -------
    y
        (N,O,Ho,Wo), see `conv_output_size`; it is `out` if that was given.
    cache
        For `conv2d_backward`. It refers to the inputs, so they must not change until then.

    Raises
    ------
    ValueError
        The shapes do not fit each other, the kernel exceeds the padded image, or the pixels of
        `out` lie apart.
    TypeError
        The dtypes are not floating point, or not the same.

    Notes
    -----
    Linear in `x` and in `weight`; `conv2d_backward` gives the adjoint maps.
    """
    namespace_of(x, weight, bias)
    check_shape(x, (None, None, None, None), "x")
    check_shape(weight, (None, x.shape[1], None, None), "weight")
    check_shape(bias, (weight.shape[0],), "bias")
    check_floating(x, "x")
    for other, name in ((weight, "weight"), (bias, "bias"), (out, "out")):
        if other is not None and other.dtype != x.dtype:
            raise TypeError(f"{name}: expected the dtype of x, {x.dtype}, got {other.dtype}")
    stride, padding = pair(stride, "stride", least=1), pair(padding, "padding", least=0)
    size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    if out is not None:
        check_shape(out, (x.shape[0], weight.shape[0], *size), "out")
    y = CONV2D(x, weight, bias, stride, padding, rectified, out)
    return y, Conv2dCache(x, weight, stride, padding)


def conv2d_backward(
    dy: Array, cache: Conv2dCache, *, need_dx: bool = True, need_dweight: bool = True
) -> Conv2dGrads:
    """Return the gradients of the loss by `x`, `weight` and `bias`, given that by `y`.

    ``dx`` spreads each ``dy[n,o,i,j] weight[o]`` over its window; ``dweight[o]`` sums each window
    times ``dy[n,o,i,j]``; ``dbias[o]`` sums ``dy[:,o]``.

    Parameters
    ----------
    dy
        (N,O,Ho,Wo), as `y`.
    cache
        From `conv2d_forward`, whichever rung it ran on.
    need_dx, need_dweight
        False leaves out ``dx``, or ``dweight`` and ``dbias`` (the layer below, or this one, is
        frozen).
    """
    namespace_of(dy)
    x, weight, stride, padding = cache
    output_size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    check_shape(dy, (x.shape[0], weight.shape[0], *output_size), "dy")
    laid = laid_as(dy, x)  # both gradients read it; so it is copied once at most
    dx = CONV2D_DX(laid, weight, x.shape[2:], stride, padding) if need_dx else None
    if not need_dweight:
        return Conv2dGrads(dx, None, None)
    dweight = CONV2D_DWEIGHT(laid, x, weight.shape[2:], stride, padding)
    return Conv2dGrads(dx, dweight, CONV2D_DBIAS(dy))
