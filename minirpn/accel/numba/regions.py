"""RoI pooling and RoI align from compiled loops that run along channels.

The cells of a box lie scattered over the map, but are the same for all channels. So the loops work
on `LANES` channels at once, whose values at a cell lie next to each other: each cell is then a few
vectors. Threads share the blocks of channels.

Along each axis, a bin of RoI align is the mean of interpolated samples, and so a weighted sum of a
few cells: often fewer than the samples, which share them. Rows times columns of weights give the
cells of a bin.
"""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share
from minirpn.loops import write_roi_pool_dx
from minirpn.nn.roi_align import Positions, positions_of, slopes_along, weights_along
from minirpn.nn.roi_pool import bins, of_nan
from minirpn.nn.window import Pair

# Channels in a block. With fewer, the work around each vector takes longer than the vectors; with
# twice as many, the cells (38x63 of a 600x1000 image, 4 bytes each) do not fit an L2 cache of 1
# MiB.
LANES = 64
# A block's cells should be no more than this: half of an L2 cache of 1 MiB.
CELL_BYTES = 2**19


def blocks(C: int, lanes: int) -> list[slice]:
    """Return the channels in blocks of up to `lanes`."""
    return [slice(start, min(start + lanes, C)) for start in range(0, C, lanes)]


def cells_of(features: Array) -> Array:
    """Return a block of channels (K,Hf,Wf) as cells (Hf Wf,K)."""
    K, Hf, Wf = features.shape
    return np.ascontiguousarray(features.reshape(K, Hf * Wf).T)


def planes_of(cells: Array, features: Array) -> None:
    """Write cells (Hf Wf,K) into a block of channels (K,Hf,Wf)."""
    features[:] = cells.T.reshape(features.shape)


# --- RoI pooling ---


def pool_block(
    cells: Array, Wf: int, rows: Array, columns: Array, y: Array, argmax: Array, first: int
) -> None:
    """Write the largest cell of each bin, and which it was, for the channels of one block.

    `cells` (Hf Wf,K) is of `cells_of`, `rows` (R,h,2) and `columns` (R,w,2) of `bins`. Of `y` and
    `argmax` (R,C,h,w), the block has K channels from `first` on.
    """
    (R, _, h, w), K = y.shape, cells.shape[1]
    best, winner = np.empty(K, cells.dtype), np.empty(K, np.int32)
    for r in range(R):
        for i in range(h):
            for j in range(w):
                best[:] = 0
                winner[:] = -1
                for row in range(rows[r, i, 0], rows[r, i, 1]):
                    for column in range(columns[r, j, 0], columns[r, j, 1]):
                        cell = np.int32(row * Wf + column)
                        values = cells[cell]
                        for k in range(K):
                            value = values[k]
                            wins = (value > best[k]) | (value != value) | (winner[k] < 0)
                            best[k] = value if wins else best[k]
                            winner[k] = cell if wins else winner[k]
                for k in range(K):
                    y[r, first + k, i, j] = best[k]
                    argmax[r, first + k, i, j] = winner[k]


_pool_block = compiled(pool_block)
_write_roi_pool_dx = compiled(write_roi_pool_dx)


def roi_pool_numba(
    features: Array, boxes: Array, output_size: Pair, scale: float
) -> tuple[Array, Array]:
    """Return y and the winners (R,C,h,w)."""
    C, Hf, Wf = features.shape
    rows, columns = bins(boxes, output_size, scale, (Hf, Wf))
    y = np.empty((len(boxes), C, *output_size), features.dtype)
    argmax = np.empty(y.shape, np.int32)

    def pool(block: slice) -> None:
        cells = cells_of(features[block])
        _pool_block(cells, Wf, rows, columns, y, argmax, block.start)

    # A small map leaves room for twice as many channels: half as often through all bins.
    is_small = Hf * Wf * 2 * LANES * features.itemsize <= CELL_BYTES
    share(pool, blocks(C, 2 * LANES if is_small else LANES))
    y[of_nan(boxes)] = np.nan
    return y, argmax


def roi_pool_dx_numba(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return dfeatures (C,Hf,Wf)."""
    dy, argmax = np.ascontiguousarray(dy), np.ascontiguousarray(argmax)
    dfeatures = np.empty((dy.shape[1], *size), dy.dtype)

    def channels_dx(block: slice) -> None:
        _write_roi_pool_dx(dy, argmax, dfeatures, block.start, block.stop)

    share(channels_dx, blocks(len(dfeatures), LANES))
    return dfeatures


# --- RoI align ---


def cells_in(weights: Array, found: Array) -> Array:
    """Write the cells with a weight other than 0 in each bin (n,size); return their number (n,)."""
    counts = np.zeros(len(weights), np.int64)
    for k in range(len(weights)):
        for cell in range(weights.shape[1]):
            if weights[k, cell] != 0:
                found[k, counts[k]] = cell
                counts[k] += 1
    return counts


def sample_block(cells: Array, rows: Array, columns: Array, y: Array, first: int) -> None:
    """Write the weighted sum of cells for each bin, for the channels of one block.

    `cells` (Hf Wf,K) is of `cells_of`, `rows` (R,h,Hf) and `columns` (R,w,Wf) are of
    `weights_along`. Of `y` (R,C,h,w), the block has K channels from `first` on.
    """
    (R, _, h, w), K, Wf = y.shape, cells.shape[1], columns.shape[2]
    total = np.empty(K, cells.dtype)
    rows_in, columns_in = np.empty(rows.shape[1:], np.int64), np.empty(columns.shape[1:], np.int64)
    for r in range(R):
        many_rows, many_columns = cells_in(rows[r], rows_in), cells_in(columns[r], columns_in)
        for i in range(h):
            for j in range(w):
                total[:] = 0
                for p in rows_in[i, : many_rows[i]]:
                    for q in columns_in[j, : many_columns[j]]:
                        weight, cell = rows[r, i, p] * columns[r, j, q], p * Wf + q
                        for k in range(K):
                            total[k] += weight * cells[cell, k]
                for k in range(K):
                    y[r, first + k, i, j] = total[k]


def spread_block(dy: Array, rows: Array, columns: Array, dcells: Array, first: int) -> None:
    """Add the gradients of K channels of `dy` (R,C,h,w) to the cells of their bins (Hf Wf,K)."""
    (R, _, h, w), K, Wf = dy.shape, dcells.shape[1], columns.shape[2]
    given = np.empty(K, dy.dtype)
    rows_in, columns_in = np.empty(rows.shape[1:], np.int64), np.empty(columns.shape[1:], np.int64)
    for r in range(R):
        many_rows, many_columns = cells_in(rows[r], rows_in), cells_in(columns[r], columns_in)
        for i in range(h):
            for j in range(w):
                for k in range(K):
                    given[k] = dy[r, first + k, i, j]
                for p in rows_in[i, : many_rows[i]]:
                    for q in columns_in[j, : many_columns[j]]:
                        weight, cell = rows[r, i, p] * columns[r, j, q], p * Wf + q
                        for k in range(K):
                            dcells[cell, k] += weight * given[k]


def slopes_block(
    dy: Array, cells: Array, rows: Array, columns: Array, dboxes: Array, first: int
) -> None:
    """Write the part of the gradients by the boxes (R, 4) that the channels of one block give.

    `rows` (R,4,h,Hf) and `columns` (R,4,w,Wf) hold the weights, their slopes by the first and by
    the last corner of the box, and a number other than 0 where one of these three is not 0.
    """
    (R, _, h, w), K, Wf = dy.shape, cells.shape[1], columns.shape[3]
    given, total = np.empty(K, dy.dtype), np.empty((4, K), dy.dtype)
    rows_in, columns_in = np.empty(rows.shape[2:], np.int64), np.empty(columns.shape[2:], np.int64)
    for r in range(R):
        many_rows = cells_in(rows[r, 3], rows_in)
        many_columns = cells_in(columns[r, 3], columns_in)
        total[:] = 0
        for i in range(h):
            for j in range(w):
                for k in range(K):
                    given[k] = dy[r, first + k, i, j]
                for p in rows_in[i, : many_rows[i]]:
                    for q in columns_in[j, : many_columns[j]]:
                        row, column, cell = rows[r, :, i, p], columns[r, :, j, q], p * Wf + q
                        by_x1, by_x2 = row[0] * column[1], row[0] * column[2]
                        by_y1, by_y2 = row[1] * column[0], row[2] * column[0]
                        for k in range(K):
                            by_weight = given[k] * cells[cell, k]
                            total[0, k] += by_x1 * by_weight
                            total[1, k] += by_y1 * by_weight
                            total[2, k] += by_x2 * by_weight
                            total[3, k] += by_y2 * by_weight
        for corner in range(4):
            dboxes[r, corner] = total[corner].sum()


def _with_slopes(weights: Array, places: Positions) -> Array:
    """Return the argument of `slopes_block` for one axis: (R,n,size) -> (R,4,n,size)."""
    slopes = slopes_along(places, weights.shape[2])
    used = (weights != 0) | (slopes[0] != 0) | (slopes[1] != 0)
    return np.stack([weights, *slopes, used], axis=1)


_sample_block = compiled(sample_block, cells_in)
_spread_block = compiled(spread_block, cells_in)
_slopes_block = compiled(slopes_block, cells_in)


def roi_align_numba(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return y (R,C,h,w), as `minirpn.loops.roi_align` does."""
    places = positions_of(boxes, output_size, samples, features.shape[1:], scale, aligned)
    rows, columns = map(weights_along, places, features.shape[1:])
    y = np.empty((len(boxes), len(features), *output_size), features.dtype)

    def sample(block: slice) -> None:
        _sample_block(cells_of(features[block]), rows, columns, y, block.start)

    share(sample, blocks(len(features), LANES))
    y[of_nan(boxes)] = np.nan
    return y


def roi_align_dx_numba(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return dfeatures and dboxes, as `minirpn.loops.roi_align_dx` does.

    The parts of dboxes are added in the order of the blocks, not in the order they are ready.
    """
    dy, size = np.ascontiguousarray(dy), features.shape[1:]
    places = positions_of(boxes, dy.shape[2:], samples, size, scale, aligned)
    rows, columns = map(weights_along, places, features.shape[1:])
    pieces = blocks(len(features), LANES)
    dfeatures = np.empty(features.shape, features.dtype)

    def spread(block: slice) -> None:
        dcells = np.zeros((size[0] * size[1], block.stop - block.start), dy.dtype)
        _spread_block(dy, rows, columns, dcells, block.start)
        planes_of(dcells, dfeatures[block])

    share(spread, pieces)
    if not need_dboxes:
        return dfeatures, None
    of_rows, of_columns = map(_with_slopes, (rows, columns), places)
    parts = np.empty((len(pieces), *boxes.shape), dy.dtype)

    def slopes(piece: int) -> None:
        block = pieces[piece]
        cells = cells_of(features[block])
        _slopes_block(dy, cells, of_rows, of_columns, parts[piece], block.start)

    share(slopes, range(len(pieces)))
    return dfeatures, parts.sum(axis=0)
