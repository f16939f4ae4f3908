"""Where the region operations look: the cells of a bin (RoI pooling), samples (RoI align).

Each along one axis, on which a box goes from a first to a last corner; once for plain loops, once
for arrays of boxes. RoI align samples the middles of `count` equal parts of the box, at ``position
= first / stride + t (last - first) / stride``, ``t = (k + 1/2) / count``; less half a cell if
`aligned`, for the value of cell 0 is that of its middle.
"""

from __future__ import annotations

from typing import NamedTuple

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels.window import Pair

# Cells. What lies farther out counts as lying here, so that every corner has a whole number.
FAR = 2.0**30


def rounded(position: float) -> int:
    """Return the nearest whole number, halves away from zero, as C's ``round`` does."""
    size = min(abs(position), FAR)
    whole = int(size)
    if size - whole >= 0.5:  # exact, where size + 0.5 may round up
        whole += 1
    return whole if position >= 0 else -whole


def bin_cells(first: int, last: int, k: int, count: int, size: int) -> tuple[int, int]:
    """Return the cells, from one up to another, of bin `k` of `count` on a map of `size`.

    The box spans the cells `first` to `last`, both included, and at least one. A cell that two
    bins share is in both.
    """
    length = max(last - first + 1, 1)
    start = first + k * length // count
    stop = first - (-(k + 1) * length // count)  # rounded up
    return min(max(start, 0), size), min(max(stop, 0), size)


def of_nan(boxes: Array) -> Array:
    """Tell which boxes (R, 4) have a coordinate that is not a number: (R,)."""
    xp = namespace_of(boxes)
    return xp.any(xp.isnan(boxes), axis=1)


def bins(boxes: Array, output_size: Pair, scale: float, size: Pair) -> tuple[Array, Array]:
    """Return first and behind-the-last row (R,h,2), and column (R,w,2), of the bins of each box.

    They are those of `bin_cells`; a box with a NaN has no cells.
    """
    xp = namespace_of(boxes)
    corners = boxes * scale
    sides = xp.clip(xp.abs(corners), 0.0, FAR)
    whole = xp.floor(sides)
    sides = whole + xp.astype(sides - whole >= 0.5, boxes.dtype)
    sides = xp.where(of_nan(boxes)[:, None], xp.zeros_like(sides), sides)
    cells = xp.astype(xp.where(corners >= 0, sides, -sides), xp.int64)
    rows = _bins_along(cells[:, 1], cells[:, 3], output_size[0], size[0])
    columns = _bins_along(cells[:, 0], cells[:, 2], output_size[1], size[1])
    empty = xp.astype(of_nan(boxes), xp.int64)[:, None, None]
    return rows * (1 - empty), columns * (1 - empty)


def _bins_along(first: Array, last: Array, count: int, size: int) -> Array:
    """Return start and stop of the bins along one axis: (R,) and (R,) -> (R,count,2)."""
    xp = namespace_of(first)
    length = xp.clip(last - first + 1, 1, None)[:, None]  # (R,) -> (R,1)
    k = xp.arange(count, dtype=xp.int64, device=device_of(first))
    start = first[:, None] + k * length // count
    stop = first[:, None] - (-(k + 1) * length // count)
    return xp.clip(xp.stack([start, stop], axis=-1), 0, size)


class Sample(NamedTuple):
    """A sample along one axis: the two cells it lies between, and how the box moves it.

    Its numbers are Python's, so that what is computed with them keeps the precision of features.
    """

    cells: tuple[int, int]
    weights: tuple[float, float]
    slope: float  # of the second weight by the position; of the first, minus that
    by_corners: tuple[float, float]  # of the position by the first and by the last corner


def sample_at(
    first: float, last: float, k: int, count: int, size: int, scale: float, aligned: bool
) -> Sample | None:
    """Return sample `k` of `count` on a map of `size`; None if it is over a cell off the map.

    Less far off it is as at the border, where moving it changes nothing.
    """
    t = (k + 0.5) / count
    length, by_corners = (last - first) * scale, (scale * (1 - t), scale * t)
    if not aligned and length < 1:  # one cell, wherever the last corner is
        length, by_corners = 1.0, (scale, 0.0)
    position = first * scale - (0.5 if aligned else 0.0) + length * t
    if not -1 <= position <= size:  # nor is a NaN anywhere
        return None
    moves = 0 < position < size - 1
    position = min(max(position, 0.0), size - 1.0)
    low = int(position)
    weight = position - low
    cells = low, min(low + 1, size - 1)
    return Sample(cells, (float(1 - weight), float(weight)), 1.0 if moves else 0.0, by_corners)


class Samples(NamedTuple):
    """What `Sample` says, of all samples of all boxes along one axis; cells of -1 for None."""

    cells: Array  # (R,count,2) int64
    weights: Array  # (R,count,2)
    slope: Array  # (R,count)
    by_corners: Array  # (R,count,2)


def samples_along(
    first: Array, last: Array, count: int, size: int, scale: float, aligned: bool
) -> Samples:
    """Return the samples of boxes from `first` (R,) to `last` (R,), as `sample_at` finds them."""
    xp, device = namespace_of(first, last), device_of(first)
    parts = [(k + 0.5) / count for k in range(count)]
    t = xp.asarray(parts, dtype=first.dtype, device=device)
    rest = xp.asarray([1 - part for part in parts], dtype=first.dtype, device=device)
    length = ((last - first) * scale)[:, None]  # (R,) -> (R,1)
    short = (length < 1) & (not aligned)
    by_first = xp.where(short, scale, scale * rest)  # (R,1) and (count,) -> (R,count)
    by_last = xp.where(short, 0.0, scale * t)
    length = xp.where(short, 1.0, length)
    position = (first * scale)[:, None] - (0.5 if aligned else 0.0) + length * t
    on_map = (position >= -1) & (position <= size)  # nor is a NaN anywhere
    slope = xp.astype((position > 0) & (position < size - 1), t.dtype)
    position = xp.clip(xp.where(on_map, position, 0.0), 0.0, size - 1.0)
    low = xp.floor(position)
    weight = position - low
    low = xp.astype(low, xp.int64)
    cells = xp.stack([low, xp.clip(low + 1, None, size - 1)], axis=-1)
    return Samples(
        xp.where(on_map[..., None], cells, -1),
        xp.stack([1 - weight, weight], axis=-1),
        slope,
        xp.stack([by_first, by_last], axis=-1),
    )


def samples_of(
    boxes: Array, count: Pair, size: Pair, scale: float, aligned: bool
) -> tuple[Samples, Samples]:
    """Return the samples of boxes (R, 4) along the rows and along the columns of the map."""
    rows = samples_along(boxes[:, 1], boxes[:, 3], count[0], size[0], scale, aligned)
    columns = samples_along(boxes[:, 0], boxes[:, 2], count[1], size[1], scale, aligned)
    return rows, columns


def gradient_by_boxes(drows: Array, dcolumns: Array, rows: Samples, columns: Samples) -> Array:
    """Return dboxes (R, 4), given the gradients by the weights of rows and columns (R,count).

    Those are by the weight of a sample's second cell, if the first one's changes the other way.
    """
    xp = namespace_of(drows, dcolumns)
    by_x, by_y = (
        # (R,count,1) and (R,count,2) -> (R,2)
        xp.sum((by_weight * along.slope)[..., None] * along.by_corners, axis=1)
        for by_weight, along in ((dcolumns, columns), (drows, rows))
    )
    # (R, corner, x or y) -> (R, 4)
    dboxes = xp.reshape(xp.stack([by_x, by_y], axis=-1), (drows.shape[0], 4))
    return xp.astype(dboxes, rows.weights.dtype)
