"""RoI pooling and its gradient from compiled loops, blocks of channels shared among threads."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.numba.lanes import blocks, cells_of
from minirpn.accel.threads import share
from minirpn.loops import hand_back
from minirpn.nn.roi_pool import bins, of_nan
from minirpn.nn.window import Pair


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
    """Return y and the winners (R,C,h,w), with blocks of channels shared among threads."""
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
    """Return dfeatures (C,Hf,Wf), with blocks of channels shared among threads."""
    dy, argmax = np.ascontiguousarray(dy), np.ascontiguousarray(argmax)
    dfeatures = np.empty((dy.shape[1], *size), dy.dtype)

    def hand_back(block: slice) -> None:
        _hand_back(dy, argmax, dfeatures, block.start, block.stop)

    share(hand_back, blocks(len(dfeatures)))
    return dfeatures
