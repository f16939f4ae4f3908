"""RoI max pooling: one small map of fixed size for each box, and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_box_list, check_floating, check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of, to_host
from minirpn.nn.window import Pair, pair

# Cells. A corner farther out counts as this far, so that it fits into a whole number.
FAR = 2.0**30


class RoIPoolCache(NamedTuple):
    """What `roi_pool_backward` needs: the cell of each maximum, and the size of the map."""

    argmax: Array  # (R,C,h,w) int32, row Wf + column; -1 where the bin had no cell
    size: Pair


def roi_pool_forward(
    features: Array, boxes: Array, *, output_size: int | Pair = (7, 7), stride: float = 16.0
) -> tuple[Array, RoIPoolCache]:
    r"""Return the largest feature in each of ``h`` by ``w`` bins of each box, and the cache.

    A box covers the cells from ``round(x1 / stride)`` to ``round(x2 / stride)``, the last included,
    and at least one. Of these l cells, bin j of w begins at cell a_j and ends before cell b_j:

    .. math:: a_j = \lfloor j \, l / w \rfloor \quad b_j = \lceil (j + 1) \, l / w \rceil

    cut off at the borders of the map.

    Parameters
    ----------
    features
        (C,Hf,Wf), floating point: of one image.
    boxes
        (R, 4) floating point, half-open pixels of the resized image; the dtype may differ from
        that of `features`.
    output_size
        (h, w), or an int for both.
    stride
        Image pixels per feature cell.

    Returns
    -------
    y
        (R,C,h,w), of the dtype of `features`.
    cache
        For `roi_pool_backward`.

    Raises
    ------
    ValueError
        A shape does not fit, or `output_size` or `stride` is not positive.
    TypeError
        A dtype is not floating point.

    Notes
    -----
    Girshick, *Fast R-CNN*, 2015, section 2.1; rounding and bins are those of the released code and
    of torchvision: halves are rounded away from zero, and `stride` is a factor ``1 / stride``. An
    empty or inverted box is one cell wide. A bin without a cell, off the map, gives 0.

    Ties: of equal cells the first in row-major order wins and gets all of the gradient. A NaN in a
    bin or in a box makes the output NaN. Bins are computed in integers, so exactly: in floating
    point, the last of 7 bins over 57 cells would reach one cell too far.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(8.0).reshape(1, 2, 4)  # columns 0 to 2 of rows 0 and 1, in one bin
    >>> roi_pool_forward(ramp, np.array([[0.0, 0, 32, 16]]), output_size=1)[0].item()
    6.0
    """
    namespace_of(features, boxes)
    scale, output_size = check_regions(features, boxes, output_size, stride)
    y, argmax = roi_pool(features, boxes, output_size, scale)
    return y, RoIPoolCache(argmax, features.shape[1:])


@accelerated("roi_pool")
def roi_pool(features: Array, boxes: Array, output_size: Pair, scale: float) -> tuple[Array, Array]:
    """Return the largest cell of each bin of each box (R,C,h,w), and which cell, int32.

    The loops go over the cells of a bin, for all bins at once. The cells of the map (C,Hf,Wf) are
    numbered in row-major order; a bin without a cell has the value 0 and the winner -1.
    """
    xp = namespace_of(features, boxes)
    (C, Hf, Wf), (h, w) = features.shape, output_size
    shape = (C, boxes.shape[0], h, w)
    rows, columns = bins(boxes, output_size, scale, (Hf, Wf))
    cells = xp.reshape(features, (C, Hf * Wf))
    y = xp.zeros(shape, dtype=features.dtype, device=device_of(features))
    argmax = xp.full(shape, -1, dtype=xp.int32, device=device_of(features))
    most_rows, most_columns = _most(rows), _most(columns)
    for p in range(most_rows):
        row = rows[..., 0] + p  # (R,h)
        for q in range(most_columns):
            column = columns[..., 0] + q  # (R,w)
            # (R,h,1) and (R,1,w) -> (R,h,w)
            inside = (row < rows[..., 1])[:, :, None] & (column < columns[..., 1])[:, None, :]
            cell = xp.where(inside, row[:, :, None] * Wf + column[:, None, :], 0)
            value = xp.reshape(xp.take(cells, xp.reshape(cell, (-1,)), axis=1), shape)
            wins = inside & ((value > y) | xp.isnan(value) | (argmax < 0))
            y = xp.where(wins, value, y)
            argmax = xp.where(wins, xp.astype(cell, xp.int32), argmax)
    y = xp.where(of_nan(boxes)[:, None, None], xp.nan, y)
    # (C,R,h,w) -> (R,C,h,w)
    return xp.permute_dims(y, (1, 0, 2, 3)), xp.permute_dims(argmax, (1, 0, 2, 3))


def _most(bins: Array) -> int:
    """Return the length of the longest of the bins (R,n,2); 0 if there are none."""
    xp = namespace_of(bins)
    lengths = bins[..., 1] - bins[..., 0]
    return to_host(xp.max(lengths, keepdims=True)).item() if lengths.shape[0] else 0


def of_nan(boxes: Array) -> Array:
    """Return which boxes (R, 4) have a NaN: (R,)."""
    xp = namespace_of(boxes)
    return xp.any(xp.isnan(boxes), axis=1)


def bins(boxes: Array, output_size: Pair, scale: float, size: Pair) -> tuple[Array, Array]:
    """Return the rows (R,h,2) and the columns (R,w,2) of the bins of each box, as start and stop.

    They are those of `minirpn.loops.bin_cells`; a box with a NaN has no cells.
    """
    xp = namespace_of(boxes)
    corners = boxes * scale
    sides = xp.clip(xp.abs(corners), 0.0, FAR)
    whole = xp.floor(sides)
    sides = whole + xp.astype(sides - whole >= 0.5, boxes.dtype)
    nowhere = of_nan(boxes)[:, None]
    cells = xp.astype(xp.where(nowhere, 0.0, xp.where(corners >= 0, sides, -sides)), xp.int64)
    rows, columns = (
        xp.where(nowhere[..., None], 0, _bins_along(cells[:, k], cells[:, k + 2], n, length))
        for k, n, length in zip((1, 0), output_size, size, strict=True)
    )
    return rows, columns


def _bins_along(first: Array, last: Array, count: int, size: int) -> Array:
    """Return start and stop of the bins along one axis: (R,) and (R,) -> (R,count,2)."""
    xp = namespace_of(first)
    length = xp.clip(last - first + 1, 1, None)[:, None]  # (R,) -> (R,1)
    k = xp.arange(count, dtype=xp.int64, device=device_of(first))
    start = first[:, None] + k * length // count
    stop = first[:, None] - (-(k + 1) * length // count)
    return xp.clip(xp.stack([start, stop], axis=-1), 0, size)


def roi_pool_backward(dy: Array, cache: RoIPoolCache) -> Array:
    """Return dfeatures (C,Hf,Wf): each output's gradient goes to the cell that won its bin.

    A cell that won several bins gets the sum. There is no gradient by the boxes: the output
    does not change with a box until a corner rounds to the next cell.
    """
    namespace_of(dy)
    check_shape(dy, cache.argmax.shape, "dy")
    return roi_pool_dx(dy, cache.argmax, cache.size)


@accelerated("roi_pool_dx")
def roi_pool_dx(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return dfeatures (C,Hf,Wf): for each cell the sum over the bins that it won.

    The gradients are sorted by cell, so those of one cell are a slice, and a difference of running
    sums is their sum.
    """
    xp = namespace_of(dy, argmax)
    C, (Hf, Wf) = dy.shape[1], size
    channel = xp.arange(C, dtype=xp.int64, device=device_of(dy))[:, None, None]
    winner = xp.astype(argmax, xp.int64)
    # The number of a cell among those of all channels; one past the last for bins without a cell.
    cell = xp.where(winner >= 0, channel * (Hf * Wf) + winner, C * Hf * Wf)
    cell, gradients = xp.reshape(cell, (-1,)), xp.reshape(dy, (-1,))
    order = xp.argsort(cell, stable=True)
    # In double precision, because of the differences.
    by_cell = xp.astype(xp.take(gradients, order), xp.float64)
    sums = xp.cumulative_sum(by_cell, include_initial=True)
    bounds = xp.arange(C * Hf * Wf + 1, dtype=xp.int64, device=device_of(dy))
    starts = xp.searchsorted(xp.take(cell, order), bounds)
    total = xp.take(sums, starts[1:]) - xp.take(sums, starts[:-1])
    return xp.reshape(xp.astype(total, dy.dtype), (C, Hf, Wf))


def check_regions(
    features: Array, boxes: Array, output_size: int | Pair, stride: float
) -> tuple[float, Pair]:
    """Return ``1 / stride`` and ``(h, w)`` of valid arguments of RoI pooling or RoI align.

    Raises
    ------
    ValueError
        A shape does not fit, or `output_size` or `stride` is not positive.
    TypeError
        A dtype is not floating point.
    """
    check_shape(features, (None, None, None), "features")
    check_floating(features, "features")
    check_box_list(boxes)
    if not stride > 0:
        raise ValueError(f"stride: expected a positive number of pixels, got {stride}")
    return 1.0 / stride, pair(output_size, "output_size", least=1)
