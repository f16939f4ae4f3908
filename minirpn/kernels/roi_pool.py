"""RoI max pooling: two ladders, for the output with its winners and for the gradient."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of, to_host
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.roi_pool import roi_pool_cuda, roi_pool_dx_cuda
from minirpn.kernels.lanes import blocks, cells_of
from minirpn.kernels.roi_grid import bin_cells, bins, of_nan, rounded
from minirpn.kernels.threads import share
from minirpn.kernels.window import Pair


def roi_pool_loops(
    features: Array, boxes: Array, output_size: Pair, scale: float
) -> tuple[Array, Array]:
    """Return the largest cell of each bin of each box (R,C,h,w), and which cell, int32.

    Cells of the map (C,Hf,Wf) are numbered in row-major order; of equal cells the first wins. A
    bin without a cell gives 0 and has the winner -1. A NaN makes the output NaN; which cell then
    gets the gradient is left open. A box with a NaN gives NaN, and has no winners.
    """
    C, Hf, Wf = features.shape
    y = np.zeros((len(boxes), C, *output_size), features.dtype)
    argmax = np.full(y.shape, -1, np.int32)
    for r in range(len(boxes)):
        if np.any(np.isnan(boxes[r])):
            y[r] = np.nan
            continue
        left, top, right, bottom = (rounded(side * scale) for side in boxes[r])
        for i, j in np.ndindex(output_size):
            rows = range(*bin_cells(top, bottom, i, output_size[0], Hf))
            columns = range(*bin_cells(left, right, j, output_size[1], Wf))
            for c in range(C):
                for row in rows:
                    for column in columns:
                        value, best = features[c, row, column], y[r, c, i, j]
                        if value > best or np.isnan(value) or argmax[r, c, i, j] < 0:
                            y[r, c, i, j] = value
                            argmax[r, c, i, j] = row * Wf + column
    return y, argmax


def roi_pool_dx_loops(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return dfeatures (C,Hf,Wf): each output hands its gradient to the cell that won its bin."""
    dfeatures = np.empty((dy.shape[1], *size), dy.dtype)
    hand_back(dy, argmax, dfeatures, 0, dy.shape[1])
    return dfeatures


def hand_back(dy: Array, argmax: Array, dfeatures: Array, first: int, behind: int) -> None:
    """Write into some channels of `dfeatures` (C,Hf,Wf) what their `dy` (R,C,h,w) hand back."""
    R, _, h, w = dy.shape
    Wf = dfeatures.shape[2]
    for c in range(first, behind):
        dfeatures[c] = 0
        for r in range(R):
            for i in range(h):
                for j in range(w):
                    cell = argmax[r, c, i, j]
                    if cell >= 0:
                        dfeatures[c, cell // Wf, cell % Wf] += dy[r, c, i, j]


def roi_pool_xp(
    features: Array, boxes: Array, output_size: Pair, scale: float
) -> tuple[Array, Array]:
    """Return the same, comparing for all bins at once their first cells, then their second ones."""
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
    """Return the length of the longest of bins (R,n,2); 0 if there are none."""
    xp = namespace_of(bins)
    lengths = bins[..., 1] - bins[..., 0]
    return to_host(xp.max(lengths, keepdims=True)).item() if lengths.shape[0] else 0


def roi_pool_dx_xp(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return the same by sorting the outputs by winner: each cell's then lie side by side."""
    xp = namespace_of(dy, argmax)
    C, (Hf, Wf) = dy.shape[1], size
    channel = xp.arange(C, dtype=xp.int64, device=device_of(dy))[:, None, None]
    winner = xp.astype(argmax, xp.int64)
    # A cell's number among those of all channels; behind the last one for bins without a cell.
    cell = xp.where(winner >= 0, channel * (Hf * Wf) + winner, C * Hf * Wf)
    cell, given = xp.reshape(cell, (-1,)), xp.reshape(dy, (-1,))
    order = xp.argsort(cell, stable=True)
    # Sums up to each place; in double precision, because differences of them are taken.
    sums = xp.cumulative_sum(xp.astype(xp.take(given, order), xp.float64), include_initial=True)
    bounds = xp.arange(C * Hf * Wf + 1, dtype=xp.int64, device=device_of(dy))
    places = xp.searchsorted(xp.take(cell, order), bounds)
    total = xp.take(sums, places[1:]) - xp.take(sums, places[:-1])
    return xp.reshape(xp.astype(total, dy.dtype), (C, Hf, Wf))


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
_hand_back = compiled(hand_back)


def roi_pool_numba(
    features: Array, boxes: Array, output_size: Pair, scale: float
) -> tuple[Array, Array]:
    """Return the same from compiled loops in vectors, with blocks of channels shared out."""
    C, Hf, Wf = features.shape
    rows, columns = bins(boxes, output_size, scale, (Hf, Wf))
    y = np.empty((len(boxes), C, *output_size), features.dtype)
    argmax = np.empty(y.shape, np.int32)

    def pool(block: slice) -> None:
        cells = cells_of(features[block])
        _pool_block(cells, Wf, rows, columns, y, argmax, block.start)

    share(pool, blocks(C))
    y[of_nan(boxes)] = np.nan
    return y, argmax


def roi_pool_dx_numba(dy: Array, argmax: Array, size: Pair) -> Array:
    """Return the same from the loops, compiled, with blocks of channels shared among threads."""
    dy, argmax = np.ascontiguousarray(dy), np.ascontiguousarray(argmax)
    dfeatures = np.empty((dy.shape[1], *size), dy.dtype)

    def hand_back(block: slice) -> None:
        _hand_back(dy, argmax, dfeatures, block.start, block.stop)

    share(hand_back, blocks(len(dfeatures)))
    return dfeatures


ROI_POOL = Ladder(
    "roi_pool",
    (
        Rung("loops", roi_pool_loops, takes=is_numpy),
        Rung("xp", roi_pool_xp),
        Rung("numba", roi_pool_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", roi_pool_cuda, takes=on_cuda, present=cuda_present),
    ),
)
ROI_POOL_DX = Ladder(
    "roi_pool_dx",
    (
        Rung("loops", roi_pool_dx_loops, takes=is_numpy),
        Rung("xp", roi_pool_dx_xp),
        Rung("numba", roi_pool_dx_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", roi_pool_dx_cuda, takes=on_cuda, present=cuda_present),
    ),
)
