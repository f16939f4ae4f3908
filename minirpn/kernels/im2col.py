"""Convolution as a matrix product: windows side by side as columns, kernels as rows.

The columns are made for some output rows at a time. How they are made, and put back, is an argument
of the three functions, for there are two ways: as views of the padded image, in any array library,
which is the rung ``im2col``; and by a kernel for the GPU (`minirpn.kernels.cuda.im2col`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels.window import Pair, conv_output_size, surrounded, taps

# Columns are made for as many output rows as fit here: large enough for the matrix product to run
# at full speed, small beside the activations of a 600x1000 image.
COLUMN_BYTES = 2**25
# On a device a run of rows is a dozen launches, some 5 us each, during which a fast GPU multiplies
# some 30 MiB of columns: twice that keeps it at work. Reckoned, not measured.
DEVICE_COLUMN_BYTES = 2**26

# Some output rows -> their windows as columns (N, C kh kw, rows Wo).
Columns: TypeAlias = Callable[[range], Array]
# x (N,C,H,W), kernel, stride, padding -> its columns.
Windows: TypeAlias = Callable[[Array, Pair, Pair, Pair], Columns]
# Some output rows, and the gradients of their columns.
Pieces: TypeAlias = Iterable[tuple[range, Array]]
Shape: TypeAlias = tuple[int, int, int, int]
# All pieces, zeros of the shape of x from an array like dy, kernel, stride, padding -> dx.
PutBack: TypeAlias = Callable[[Pieces, Array, Shape, Pair, Pair, Pair], Array]


def viewed(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Columns:
    """Return what makes columns from one view of the padded image for each tap of the kernel."""
    xp, (N, C) = namespace_of(x), x.shape[:2]
    Wo = conv_output_size(x.shape[2:], kernel, stride, padding)[1]
    image = surrounded(x, padding)

    def columns(rows: range) -> Array:
        views = [image[:, :, ys, xs] for ys, xs in taps(kernel, stride, rows, range(Wo))]
        if len(views) == 1:  # a 1x1 kernel: the pixels are the columns
            return _flat(views[0])
        # kh kw times (N,C,rows,Wo) -> (N,C, kh kw, rows,Wo) -> (N, C kh kw, rows Wo)
        return xp.reshape(xp.stack(views, axis=2), (N, C * len(views), len(rows) * Wo))

    return columns


def added_to_views(
    pieces: Pieces, dy: Array, shape: Shape, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Return dx (N,C,H,W) of this shape: the gradients of columns, added to the pixels' views."""
    xp, (N, C, H, W), (top, left) = namespace_of(dy), shape, padding
    size, Wo = (H + 2 * top, W + 2 * left), dy.shape[3]
    dimage = xp.zeros((N, C, *size), dtype=dy.dtype, device=device_of(dy))
    for rows, dcolumns in pieces:
        # (N, C kh kw, rows Wo) -> (N,C, kh kw, rows,Wo)
        dcolumns = xp.reshape(dcolumns, (N, C, -1, len(rows), Wo))
        for tap, (ys, xs) in enumerate(taps(kernel, stride, rows, range(Wo))):
            dimage[:, :, ys, xs] += dcolumns[:, :, tap, :, :]
    return dimage[:, :, top : top + H, left : left + W]


def conv2d_im2col(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
    out: Array | None = None,
    *,
    windows: Windows = viewed,
) -> Array:
    """Return y (N,O,Ho,Wo): the kernels as rows times the windows as columns."""
    xp = namespace_of(x, weight, bias)
    (N, outs), kernel = (x.shape[0], weight.shape[0]), weight.shape[2:]
    Ho, Wo = conv_output_size(x.shape[2:], kernel, stride, padding)
    kernels = xp.reshape(weight, (outs, -1))  # (O,C,kh,kw) -> (O, C kh kw)
    columns = windows(x, kernel, stride, padding)
    y = out
    if y is None:
        y = xp.empty((N, outs, Ho, Wo), dtype=x.dtype, device=device_of(x))
    for rows in _chunks(x, x.shape[1], kernel, (Ho, Wo)):
        product = products(kernels, columns(rows))
        product += bias[:, None]
        if rectified:
            product = xp.maximum(product, xp.zeros((), dtype=x.dtype, device=device_of(x)))
        # (N, O, rows Wo) -> (N,O,rows,Wo)
        y[:, :, rows.start : rows.stop, :] = xp.reshape(product, (N, outs, len(rows), Wo))
    return y


def conv2d_dx_im2col(
    dy: Array,
    weight: Array,
    size: Pair,
    stride: Pair,
    padding: Pair,
    *,
    put_back: PutBack = added_to_views,
) -> Array:
    """Return dx (N,C,H,W): the gradient of every column, put back where its pixels came from."""
    xp = namespace_of(dy, weight)
    (N, outs, *output_size), (C, *kernel) = dy.shape, weight.shape[1:]
    kernels = xp.matrix_transpose(xp.reshape(weight, (outs, -1)))  # (O,C,kh,kw) -> (C kh kw, O)
    pieces = (
        # (N,O,rows,Wo) -> (N, O, rows Wo) -> (N, C kh kw, rows Wo)
        (rows, products(kernels, _flat(dy[:, :, rows.start : rows.stop, :])))
        for rows in _chunks(dy, C, kernel, output_size)
    )
    return put_back(pieces, dy, (N, C, *size), tuple(kernel), stride, padding)


def conv2d_dweight_im2col(
    dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair, *, windows: Windows = viewed
) -> Array:
    """Return dweight (O,C,kh,kw): output gradients as rows times the columns, transposed.

    The columns are made again rather than kept: they are kh kw times larger than `x`.
    """
    xp = namespace_of(dy, x)
    (outs, Ho, Wo), C = dy.shape[1:], x.shape[1]
    columns = windows(x, kernel, stride, padding)
    dkernels = xp.zeros((outs, C * math.prod(kernel)), dtype=x.dtype, device=device_of(x))
    for rows in _chunks(x, C, kernel, (Ho, Wo)):
        made, given = columns(rows), _flat(dy[:, :, rows.start : rows.stop, :])
        for n in range(given.shape[0]):
            # (O, rows Wo) @ (rows Wo, C kh kw) -> (O, C kh kw)
            dkernels += xp.matmul(given[n, :, :], xp.matrix_transpose(made[n, :, :]))
    return xp.reshape(dkernels, (outs, C, *kernel))


def products(kernels: Array, columns: Array) -> Array:
    """Return kernels (O, C kh kw) times columns (N, C kh kw, P), image by image: (N, O, P).

    One product for all would be one call, but of a kind that CuPy computes without TF32 even where
    that is allowed, and from copies of what is transposed.
    """
    xp = namespace_of(kernels, columns)
    if columns.shape[0] == 1:
        return xp.matmul(kernels, columns[0, :, :])[None, :, :]
    if columns.shape[0] == 0:
        return xp.matmul(kernels, columns)
    return xp.stack([xp.matmul(kernels, columns[n, :, :]) for n in range(columns.shape[0])])


def _chunks(like: Array, C: int, kernel: Pair, output_size: Pair) -> Iterator[range]:
    """Yield the output rows in runs whose columns stay within `COLUMN_BYTES`, or the device's."""
    N, (Ho, Wo) = like.shape[0], output_size
    item_bytes = namespace_of(like).finfo(like.dtype).bits // 8
    row_bytes = N * C * math.prod(kernel) * Wo * item_bytes
    step = max(1, (COLUMN_BYTES if is_numpy(like) else DEVICE_COLUMN_BYTES) // row_bytes)
    for start in range(0, Ho, step):
        yield range(start, min(start + step, Ho))


def _flat(maps: Array) -> Array:
    """Return (N, C, H W) of (N,C,H,W)."""
    N, C, H, W = maps.shape
    return namespace_of(maps).reshape(maps, (N, C, H * W))
