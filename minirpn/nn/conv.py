"""Convolution and its gradients.

Three of them are sums over the same products, "pixel times weight goes to output"::

    y[n,o,i,j]       = bias[o] + sum over c, p, q of  x[n, c, i s + p, j s + q] weight[o,c,p,q]
    dx[n,c,k,l]      = sum over o, p, q and the i, j with k = i s + p, l = j s + q
                                         of  dy[n,o,i,j] weight[o,c,p,q]
    dweight[o,c,p,q] = sum over n, i, j  of  dy[n,o,i,j] x[n, c, i s + p, j s + q]

with x padded by zeros; the gradient by the bias is the sum of dy over images and pixels.

Each is one product of matrices here: the windows of the image side by side as columns, the kernels
as rows ("im2col"). The columns are made for some output rows at a time, because they are kh kw
times as large as the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from minirpn._checks import check_floating, check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.nn.window import Pair, conv_output_size, padded, pair, taps

__all__ = ["Conv2dCache", "Conv2dGrads", "conv2d_backward", "conv2d_forward", "conv_output_size"]


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs: the inputs."""

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
) -> tuple[Array, Conv2dCache]:
    r"""Return the convolution (cross-correlation) of `x` with each kernel, and the cache.

    .. math:: y_{noij} = b_o + \sum_{c,p,q} x_{n, c, i s - pad + p, j s - pad + q} \, w_{ocpq}

    b are the biases, w the weights, s the stride; pixels outside the image are zero.

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

    Returns
    -------
    y
        (N,O,Ho,Wo), see `conv_output_size`.
    cache
        For `conv2d_backward`. It refers to the inputs: do not change them before.

    Raises
    ------
    ValueError
        The shapes do not fit each other, or the kernel exceeds the padded image.
    TypeError
        The dtypes are not floating point, or not the same.

    Notes
    -----
    Linear in `x` and in `weight`; `conv2d_backward` gives the adjoint maps.
    """
    stride, padding = check_conv2d(x, weight, bias, stride, padding)
    return conv2d(x, weight, bias, stride, padding), Conv2dCache(x, weight, stride, padding)


def check_conv2d(
    x: Array, weight: Array, bias: Array, stride: int | Pair, padding: int | Pair
) -> tuple[Pair, Pair]:
    """Return stride and padding as pairs; raise where the arguments do not fit each other."""
    namespace_of(x, weight, bias)  # raises where their libraries differ
    check_shape(x, (None, None, None, None), "x")
    check_shape(weight, (None, x.shape[1], None, None), "weight")
    check_shape(bias, (weight.shape[0],), "bias")
    check_floating(x, "x")
    for other, name in ((weight, "weight"), (bias, "bias")):
        if other.dtype != x.dtype:
            raise TypeError(f"{name}: expected the dtype of x, {x.dtype}, got {other.dtype}")
    stride, padding = pair(stride, "stride", least=1), pair(padding, "padding", least=0)
    conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)  # raises if it is empty
    return stride, padding


@accelerated("conv2d")
def conv2d(x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair) -> Array:
    """Return y (N,O,Ho,Wo): one matrix product, kernels as rows times windows as columns."""
    xp = namespace_of(x, weight, bias)
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    Ho, Wo = conv_output_size(x.shape[2:], kernel, stride, padding)
    kernels = xp.reshape(weight, (outs, -1))  # (O,C,kh,kw) -> (O, C kh kw)
    image = padded(x, padding)
    y = xp.empty((N, outs, Ho, Wo), dtype=x.dtype, device=device_of(x))
    for rows in runs_of_rows(x, x.shape[1], kernel, (Ho, Wo)):
        product = products(kernels, _columns(image, kernel, stride, rows, Wo))
        product += bias[:, None]
        # (N, O, rows Wo) -> (N,O,rows,Wo)
        y[:, :, rows.start : rows.stop, :] = xp.reshape(product, (N, outs, len(rows), Wo))
    return y


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
        From `conv2d_forward`, whichever implementation ran.
    need_dx, need_dweight
        False leaves out ``dx`` (nothing below is trained), or ``dweight`` and ``dbias`` (this layer
        is frozen).
    """
    namespace_of(dy)  # raises where it is not an array
    x, weight, stride, padding = cache
    output_size = conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    check_shape(dy, (x.shape[0], weight.shape[0], *output_size), "dy")
    dx = conv2d_dx(dy, weight, x.shape[2:], stride, padding) if need_dx else None
    if not need_dweight:
        return Conv2dGrads(dx, None, None)
    dweight = conv2d_dweight(dy, x, weight.shape[2:], stride, padding)
    return Conv2dGrads(dx, dweight, conv2d_dbias(dy))


@accelerated("conv2d_dx")
def conv2d_dx(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): the gradients of the columns, added where their pixels came from."""
    xp = namespace_of(dy, weight)
    (N, outs, Ho, Wo), C, kernel = dy.shape, weight.shape[1], weight.shape[2:]
    (H, W), (top, left) = size, padding
    kernels = xp.matrix_transpose(xp.reshape(weight, (outs, -1)))  # (O,C,kh,kw) -> (C kh kw, O)
    dimage = xp.zeros((N, C, H + 2 * top, W + 2 * left), dtype=dy.dtype, device=device_of(dy))
    for rows in runs_of_rows(dy, C, kernel, (Ho, Wo)):
        # (N,O,rows,Wo) -> (N, O, rows Wo) -> (N, C kh kw, rows Wo) -> (N,C, kh kw, rows,Wo)
        dcolumns = products(kernels, flat(dy[:, :, rows.start : rows.stop, :]))
        dcolumns = xp.reshape(dcolumns, (N, C, math.prod(kernel), len(rows), Wo))
        for tap, (ys, xs) in enumerate(taps(kernel, stride, rows, range(Wo))):
            dimage[:, :, ys, xs] += dcolumns[:, :, tap, :, :]
    return dimage[:, :, top : top + H, left : left + W]


@accelerated("conv2d_dweight")
def conv2d_dweight(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw): output gradients as rows times the columns, transposed.

    The columns are computed again, not kept: they are kh kw times larger than `x`.
    """
    xp = namespace_of(dy, x)
    (outs, Ho, Wo), C = dy.shape[1:], x.shape[1]
    image = padded(x, padding)
    dkernels = xp.zeros((outs, C * math.prod(kernel)), dtype=x.dtype, device=device_of(x))
    for rows in runs_of_rows(x, C, kernel, (Ho, Wo)):
        columns = _columns(image, kernel, stride, rows, Wo)
        drows = flat(dy[:, :, rows.start : rows.stop, :])
        for n in range(drows.shape[0]):
            # (O, rows Wo) @ (rows Wo, C kh kw) -> (O, C kh kw)
            dkernels += xp.matmul(drows[n, :, :], xp.matrix_transpose(columns[n, :, :]))
    return xp.reshape(dkernels, (outs, C, *kernel))


@accelerated("conv2d_dbias")
def conv2d_dbias(dy: Array) -> Array:
    """Return dbias (O,): the sum over images and pixels."""
    return namespace_of(dy).sum(dy, axis=(0, 2, 3))


def _columns(image: Array, kernel: Pair, stride: Pair, rows: range, Wo: int) -> Array:
    """Return the windows of some output rows of the padded image as columns (N, C kh kw, rows Wo).

    One view of the image for each tap of the kernel, stacked.
    """
    xp, (N, C) = namespace_of(image), image.shape[:2]
    views = [image[:, :, ys, xs] for ys, xs in taps(kernel, stride, rows, range(Wo))]
    if len(views) == 1:  # with a 1x1 kernel the pixels are the columns
        return flat(views[0])
    # kh kw times (N,C,rows,Wo) -> (N,C, kh kw, rows,Wo) -> (N, C kh kw, rows Wo)
    return xp.reshape(xp.stack(views, axis=2), (N, C * len(views), len(rows) * Wo))


def products(kernels: Array, columns: Array) -> Array:
    """Return kernels (O, C kh kw) times columns (N, C kh kw, P), image by image: (N, O, P).

    One batched product would be a single call, but CuPy computes it without TF32 even where TF32 is
    allowed, and copies transposed matrices first.
    """
    xp = namespace_of(kernels, columns)
    if columns.shape[0] == 1:
        return xp.matmul(kernels, columns[0, :, :])[None, :, :]
    if columns.shape[0] == 0:
        return xp.matmul(kernels, columns)
    return xp.stack([xp.matmul(kernels, columns[n, :, :]) for n in range(columns.shape[0])])


# Columns are made for as many output rows as fit into this: enough for a matrix product at full
# speed, little beside the activations of a 600x1000 image.
COLUMN_BYTES = 2**25
# On a GPU one run of rows takes about a dozen launches of 5 us. In that time a fast GPU multiplies
# about 30 MiB of columns, so twice that keeps it busy. Estimated, not measured.
DEVICE_COLUMN_BYTES = 2**26


def runs_of_rows(like: Array, C: int, kernel: Pair, output_size: Pair) -> Iterator[range]:
    """Yield the output rows in runs whose columns stay within `COLUMN_BYTES`, or the device's."""
    N, (Ho, Wo) = like.shape[0], output_size
    item_bytes = namespace_of(like).finfo(like.dtype).bits // 8
    row_bytes = max(1, N * C * math.prod(kernel) * Wo * item_bytes)  # there may be no image
    step = max(1, (COLUMN_BYTES if is_numpy(like) else DEVICE_COLUMN_BYTES) // row_bytes)
    for start in range(0, Ho, step):
        yield range(start, min(start + step, Ho))


def flat(maps: Array) -> Array:
    """Return (N, C, H W) of (N,C,H,W)."""
    N, C, H, W = maps.shape
    return namespace_of(maps).reshape(maps, (N, C, H * W))
