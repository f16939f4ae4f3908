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


class Sample(NamedTuple):
    """A sample along one axis: the two cells it lies between, and how the box moves it."""

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
    return Sample(cells, (1 - weight, weight), 1.0 if moves else 0.0, by_corners)


class Positions(NamedTuple):
    """Where the samples of each bin are along one axis, (R,n,samples) each; see `Sample`."""

    at: Array  # on the map, in cells
    on_map: Array  # or less than a cell off it; the others count as 0
    moves: Array  # whether the value changes with the position
    by_first: Array  # of the position, by the first corner of the box
    by_last: Array


def positions_along(
    first: Array, last: Array, n: int, samples: int, size: int, scale: float, aligned: bool
) -> Positions:
    """Return where the samples of `n` bins of boxes from `first` (R,) to `last` (R,) are."""
    xp = namespace_of(first, last)
    count = n * samples
    parts = [(k + 0.5) / count for k in range(count)]
    t, rest = (
        xp.asarray(numbers, dtype=first.dtype, device=device_of(first))
        for numbers in (parts, [1 - part for part in parts])
    )
    length = ((last - first) * scale)[:, None]  # (R,) -> (R,1)
    short = (length < 1) & (not aligned)
    # (R,1) and (count,) -> (R,count)
    by_first, by_last = xp.where(short, scale, scale * rest), xp.where(short, 0.0, scale * t)
    length = xp.where(short, 1.0, length)
    position = (first * scale)[:, None] - (0.5 if aligned else 0.0) + length * t
    on_map = (position >= -1) & (position <= size)  # nor is a NaN anywhere
    moves = on_map & (position > 0) & (position < size - 1)
    at = xp.clip(xp.where(on_map, position, 0.0), 0.0, size - 1.0)
    shape = (first.shape[0], n, samples)
    return Positions(*(xp.reshape(part, shape) for part in (at, on_map, moves, by_first, by_last)))


def weights_along(positions: Positions, size: int) -> Array:
    """Return how much of each cell along one axis is in the mean of each bin: (R,n,size)."""
    xp = namespace_of(positions.at)
    distance = xp.abs(_from_cells(positions, size))
    weights = xp.where(positions.on_map[..., None], xp.clip(1 - distance, 0.0, None), 0.0)
    return xp.mean(weights, axis=2)  # (R,n,samples,size) -> (R,n,size)


def slopes_along(positions: Positions, size: int) -> tuple[Array, Array]:
    """Return the slopes of `weights_along`, by the first and by the last corner: (R,n,size)."""
    xp = namespace_of(positions.at)
    offset = _from_cells(positions, size)
    # The cell behind a sample gains what the one before it loses.
    gains, loses = (offset >= -1) & (offset < 0), (offset >= 0) & (offset < 1)
    slope = xp.astype(gains, offset.dtype) - xp.astype(loses, offset.dtype)
    slope = xp.where(positions.moves[..., None], slope, 0.0)
    by_first, by_last = (
        xp.mean(slope * by_corner[..., None], axis=2)
        for by_corner in (positions.by_first, positions.by_last)
    )
    return by_first, by_last


def _from_cells(positions: Positions, size: int) -> Array:
    """Return how far each sample is behind each cell: (R,n,samples,size)."""
    xp, at = namespace_of(positions.at), positions.at
    return at[..., None] - xp.arange(size, dtype=at.dtype, device=device_of(at))


def positions_of(
    boxes: Array, output_size: Pair, samples: int, size: Pair, scale: float, aligned: bool
) -> tuple[Positions, Positions]:
    """Return where the samples of boxes (R, 4) are along the rows and along the columns."""
    rows, columns = (
        positions_along(boxes[:, k], boxes[:, k + 2], n, samples, length, scale, aligned)
        for k, n, length in zip((1, 0), output_size, size, strict=True)
    )
    return rows, columns
