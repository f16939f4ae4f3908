"""RoI align: two ladders, for the output and for the gradients by features and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.lanes import LANES, blocks, cells_of, planes_of
from minirpn.kernels.roi_grid import Samples, gradient_by_boxes, of_nan, sample_at, samples_of
from minirpn.kernels.threads import share
from minirpn.kernels.window import Pair


def roi_align_loops(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the mean of the samples in each bin of each box: (R,C,h,w).

    A bin has `samples` rows and columns of samples, each interpolated between four cells of the
    map (C,Hf,Wf); one over a cell off the map counts as 0. A box with a NaN gives NaN.
    """
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y = np.zeros((len(boxes), C, h, w), features.dtype)
    for r, i, j, a, b in np.ndindex(len(boxes), h, w, samples, samples):
        x1, y1, x2, y2 = boxes[r]
        row = sample_at(y1, y2, i * samples + a, h * samples, Hf, scale, aligned)
        column = sample_at(x1, x2, j * samples + b, w * samples, Wf, scale, aligned)
        if row is None or column is None:
            continue
        for c in range(C):
            for p, of_row in zip(row.cells, row.weights, strict=True):
                for q, of_column in zip(column.cells, column.weights, strict=True):
                    y[r, c, i, j] += of_row * of_column * features[c, p, q] / samples**2
    y[np.any(np.isnan(boxes), axis=1)] = np.nan
    return y


def roi_align_dx_loops(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return dfeatures (C,Hf,Wf), and dboxes (R, 4) or None; a box with a NaN adds to neither."""
    (C, Hf, Wf), (R, _, h, w) = features.shape, dy.shape
    dfeatures, dboxes = np.zeros_like(features), np.zeros(boxes.shape, dy.dtype)
    for r, i, j, a, b in np.ndindex(R, h, w, samples, samples):
        x1, y1, x2, y2 = boxes[r]
        row = sample_at(y1, y2, i * samples + a, h * samples, Hf, scale, aligned)
        column = sample_at(x1, x2, j * samples + b, w * samples, Wf, scale, aligned)
        if row is None or column is None:
            continue
        for c in range(C):
            given = dy[r, c, i, j] / samples**2
            by_row = by_column = 0.0  # of this sample, by its position
            # The second cell of each pair gains what the first one loses.
            for p, of_row, row_sign in zip(row.cells, row.weights, (-1, 1), strict=True):
                for q, of_column, column_sign in zip(
                    column.cells, column.weights, (-1, 1), strict=True
                ):
                    dfeatures[c, p, q] += given * of_row * of_column
                    by_row += row_sign * row.slope * of_column * features[c, p, q]
                    by_column += of_row * column_sign * column.slope * features[c, p, q]
            for corner in (0, 1):
                dboxes[r, 2 * corner] += given * by_column * column.by_corners[corner]
                dboxes[r, 2 * corner + 1] += given * by_row * row.by_corners[corner]
    return dfeatures, dboxes.astype(boxes.dtype) if need_dboxes else None


def roi_align_xp(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the same, adding up for all bins at once their first samples, their second, ..."""
    xp = namespace_of(features, boxes)
    (C, Hf, Wf), (h, w) = features.shape, output_size
    rows, columns = samples_of(boxes, (h * samples, w * samples), (Hf, Wf), scale, aligned)
    y = xp.zeros((C, boxes.shape[0], h, w), dtype=features.dtype, device=device_of(features))
    for a in range(samples):
        for b in range(samples):
            row, column = _every(rows, a, samples), _every(columns, b, samples)
            values = _corners(features, row, column)
            upper, lower = (_between(of_row, column) for of_row in values)
            first, second = _weights(row, features.dtype)
            sampled = first[:, :, None] * upper + second[:, :, None] * lower
            y += xp.where(_on_map(row, column), sampled, 0.0)
    y = xp.where(of_nan(boxes)[:, None, None], xp.nan, y / samples**2)
    return xp.permute_dims(y, (1, 0, 2, 3))  # (C,R,h,w) -> (R,C,h,w)


def roi_align_dx_xp(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return the same; dfeatures by matrix products, for ``y = of_rows features of_columns^T``."""
    xp = namespace_of(dy, features, boxes)
    (C, Hf, Wf), (R, _, h, w) = features.shape, dy.shape
    rows, columns = samples_of(boxes, (h * samples, w * samples), (Hf, Wf), scale, aligned)
    of_rows = _matrices(rows, samples, Hf, dy.dtype)  # (R,h,Hf)
    of_columns = _matrices(columns, samples, Wf, dy.dtype)  # (R,w,Wf)
    # (R,1,Hf,h) and (R,C,h,w) -> (R,C,Hf,w) -> (C,Hf,R,w)
    spread = xp.matmul(xp.matrix_transpose(of_rows)[:, None, :, :], dy)
    spread = xp.permute_dims(spread, (1, 2, 0, 3))
    # (C Hf,R w) and (R w,Wf) -> (C Hf,Wf): summed over the boxes as well
    dfeatures = xp.matmul(xp.reshape(spread, (C * Hf, R * w)), xp.reshape(of_columns, (R * w, Wf)))
    dfeatures = xp.reshape(dfeatures, (C, Hf, Wf))
    if not need_dboxes:
        return dfeatures, None
    drows, dcolumns = _by_weights(dy, features, rows, columns, samples)
    return dfeatures, gradient_by_boxes(drows, dcolumns, rows, columns)


def _by_weights(
    dy: Array, features: Array, rows: Samples, columns: Samples, samples: int
) -> tuple[Array, Array]:
    """Return the gradients by the weights of rows (R,h samples) and columns (R,w samples)."""
    xp = namespace_of(dy, features)
    drows, dcolumns = (xp.zeros_like(xp.astype(s.slope, dy.dtype)) for s in (rows, columns))
    given = xp.permute_dims(dy, (1, 0, 2, 3)) / samples**2  # (R,C,h,w) -> (C,R,h,w)
    for a in range(samples):
        for b in range(samples):
            row, column = _every(rows, a, samples), _every(columns, b, samples)
            (v00, v01), (v10, v11) = _corners(features, row, column)
            first, second = _weights(row, dy.dtype)
            by_row = _between((v10 - v00, v11 - v01), column)
            by_column = first[:, :, None] * (v01 - v00) + second[:, :, None] * (v11 - v10)
            on_map = _on_map(row, column)
            by_row, by_column = (xp.where(on_map, given * by, 0.0) for by in (by_row, by_column))
            drows[:, a::samples] += xp.sum(by_row, axis=(0, 3))
            dcolumns[:, b::samples] += xp.sum(by_column, axis=(0, 2))
    return drows, dcolumns


def _every(samples: Samples, first: int, step: int) -> Samples:
    """Return one sample of each bin: the `first`, and every `step` samples another."""
    return Samples(*(part[:, first::step, ...] for part in samples))


def _on_map(row: Samples, column: Samples) -> Array:
    """Tell which samples are not too far off the map: (R,h,w)."""
    return (row.cells[..., 0] >= 0)[:, :, None] & (column.cells[..., 0] >= 0)[:, None, :]


def _corners(features: Array, row: Samples, column: Samples) -> list[list[Array]]:
    """Return the features (C,R,h,w) of the 2 x 2 cells about each sample; off the map, of any."""
    xp = namespace_of(features)
    C, Hf, Wf = features.shape
    plane = xp.reshape(features, (C, Hf * Wf))
    on_map = _on_map(row, column)
    values = []
    for p in (0, 1):
        cells = [
            row.cells[..., p][:, :, None] * Wf + column.cells[..., q][:, None, :] for q in (0, 1)
        ]
        taken = [
            xp.take(plane, xp.reshape(xp.where(on_map, cell, 0), (-1,)), axis=1) for cell in cells
        ]
        values.append([xp.reshape(part, (C, *on_map.shape)) for part in taken])
    return values


def _weights(sample: Samples, dtype: Any) -> tuple[Array, Array]:
    """Return the weights of the first and of the second cells, in the dtype of the features."""
    weights = namespace_of(sample.weights).astype(sample.weights, dtype)
    return weights[..., 0], weights[..., 1]


def _between(values: Sequence[Array], column: Samples) -> Array:
    """Return what lies between the first and the second cells of the columns: (C,R,h,w)."""
    first, second = _weights(column, values[0].dtype)
    return first[:, None, :] * values[0] + second[:, None, :] * values[1]


def _matrices(along: Samples, samples: int, size: int, dtype: Any) -> Array:
    """Return the matrix that gives each bin's mean along one axis from its cells: (R,n,size)."""
    xp = namespace_of(along.cells)
    cell = xp.arange(size, dtype=xp.int64, device=device_of(along.cells))
    # (R,count,2,1) and (size,) -> (R,count,2,size)
    weights = xp.where(along.cells[..., None] == cell, along.weights[..., None], 0.0)
    R, count = along.slope.shape
    # count -> n bins of samples, each with two cells
    weights = xp.reshape(weights, (R, count // samples, 2 * samples, size))
    return xp.astype(xp.sum(weights, axis=2) / samples, dtype)


def sample_block(
    cells: Array,
    Wf: int,
    row_cells: Array,
    row_weights: Array,
    column_cells: Array,
    column_weights: Array,
    samples: int,
    y: Array,
) -> None:
    """Write the mean of the samples in each bin, for the channels of one block.

    `cells` (Hf Wf, LANES) is of `cells_of`, the four arrays (R,count,2) are of `Samples`; `y` is
    (R,K,h,w), K <= LANES.
    """
    R, K, h, w = y.shape
    total = np.empty(LANES, cells.dtype)
    for r in range(R):
        for i in range(h):
            for j in range(w):
                total[:] = 0
                for a in range(i * samples, (i + 1) * samples):
                    for b in range(j * samples, (j + 1) * samples):
                        p, q = row_cells[r, a], column_cells[r, b]
                        if p[0] < 0 or q[0] < 0:
                            continue
                        v00, v01 = cells[p[0] * Wf + q[0]], cells[p[0] * Wf + q[1]]
                        v10, v11 = cells[p[1] * Wf + q[0]], cells[p[1] * Wf + q[1]]
                        upper, lower = row_weights[r, a]
                        left, right = column_weights[r, b]
                        for k in range(LANES):
                            total[k] += upper * (left * v00[k] + right * v01[k])
                            total[k] += lower * (left * v10[k] + right * v11[k])
                for k in range(K):
                    y[r, k, i, j] = total[k] / samples**2


def spread_block(
    dy: Array,
    Wf: int,
    row_cells: Array,
    row_weights: Array,
    column_cells: Array,
    column_weights: Array,
    samples: int,
    dcells: Array,
) -> None:
    """Add to `dcells` (Hf Wf, LANES) what each of `dy` (R,K,h,w) hands to the cells it sampled."""
    R, K, h, w = dy.shape
    given = np.zeros(LANES, dy.dtype)
    for r in range(R):
        for i in range(h):
            for j in range(w):
                for k in range(K):
                    given[k] = dy[r, k, i, j] / samples**2
                for a in range(i * samples, (i + 1) * samples):
                    for b in range(j * samples, (j + 1) * samples):
                        p, q = row_cells[r, a], column_cells[r, b]
                        if p[0] < 0 or q[0] < 0:
                            continue
                        for s in range(2):
                            for t in range(2):
                                weight = row_weights[r, a, s] * column_weights[r, b, t]
                                cell = dcells[p[s] * Wf + q[t]]
                                for k in range(LANES):
                                    cell[k] += weight * given[k]


def weights_block(
    dy: Array,
    cells: Array,
    Wf: int,
    row_cells: Array,
    row_weights: Array,
    column_cells: Array,
    column_weights: Array,
    samples: int,
    drows: Array,
    dcolumns: Array,
) -> None:
    """Write the gradients by the weights of rows (R,h samples) and columns (R,w samples).

    They are those of `gradient_by_boxes`, as far as the channels of one block go.
    """
    R, K, h, w = dy.shape
    given = np.zeros(LANES, dy.dtype)
    by_row = np.empty((samples, LANES), dy.dtype)
    by_column = np.empty((w * samples, LANES), dy.dtype)
    for r in range(R):
        by_column[:] = 0
        for i in range(h):
            by_row[:] = 0
            for j in range(w):
                for k in range(K):
                    given[k] = dy[r, k, i, j] / samples**2
                for a in range(samples):
                    for b in range(j * samples, (j + 1) * samples):
                        p, q = row_cells[r, i * samples + a], column_cells[r, b]
                        if p[0] < 0 or q[0] < 0:
                            continue
                        v00, v01 = cells[p[0] * Wf + q[0]], cells[p[0] * Wf + q[1]]
                        v10, v11 = cells[p[1] * Wf + q[0]], cells[p[1] * Wf + q[1]]
                        upper, lower = row_weights[r, i * samples + a]
                        left, right = column_weights[r, b]
                        of_row, of_column = by_row[a], by_column[b]
                        for k in range(LANES):
                            down = left * (v10[k] - v00[k]) + right * (v11[k] - v01[k])
                            across = upper * (v01[k] - v00[k]) + lower * (v11[k] - v10[k])
                            of_row[k] += given[k] * down
                            of_column[k] += given[k] * across
            for a in range(samples):
                drows[r, i * samples + a] = by_row[a].sum()
        for b in range(w * samples):
            dcolumns[r, b] = by_column[b].sum()


_sample_block = compiled(sample_block)
_spread_block = compiled(spread_block)
_weights_block = compiled(weights_block)


def roi_align_numba(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the same from compiled loops in vectors, with blocks of channels shared out."""
    (C, Hf, Wf), (h, w) = features.shape, output_size
    along = samples_of(boxes, (h * samples, w * samples), (Hf, Wf), scale, aligned)
    where = _arguments(along, samples, features.dtype)
    y = np.empty((len(boxes), C, h, w), features.dtype)
    share(
        lambda block: _sample_block(cells_of(features[block]), Wf, *where, y[:, block]), blocks(C)
    )
    y[of_nan(boxes)] = np.nan
    return y


def _arguments(along: tuple[Samples, Samples], samples: int, dtype: Any) -> tuple[Any, ...]:
    """Return cells and weights of rows and columns, and how many samples a bin has."""
    rows, columns = along
    weights = [part.weights.astype(dtype) for part in along]
    return rows.cells, weights[0], columns.cells, weights[1], samples


def roi_align_dx_numba(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return the same; what blocks of channels say of the boxes is added up in a fixed order."""
    (C, Hf, Wf), (R, _, h, w) = features.shape, dy.shape
    rows, columns = samples_of(boxes, (h * samples, w * samples), (Hf, Wf), scale, aligned)
    where = _arguments((rows, columns), samples, features.dtype)
    pieces = blocks(C)
    dfeatures = np.empty(features.shape, features.dtype)
    drows = np.zeros((len(pieces), R, h * samples), dy.dtype)
    dcolumns = np.zeros((len(pieces), R, w * samples), dy.dtype)

    def spread(piece: int) -> None:
        block = pieces[piece]
        dcells = np.zeros((Hf * Wf, LANES), dy.dtype)
        _spread_block(dy[:, block], Wf, *where, dcells)
        planes_of(dcells, dfeatures[block])
        if need_dboxes:
            cells = cells_of(features[block])
            of_piece = drows[piece], dcolumns[piece]
            _weights_block(dy[:, block], cells, Wf, *where, *of_piece)

    share(spread, range(len(pieces)))
    if not need_dboxes:
        return dfeatures, None
    return dfeatures, gradient_by_boxes(drows.sum(axis=0), dcolumns.sum(axis=0), rows, columns)


ROI_ALIGN = Ladder(
    "roi_align",
    (
        Rung("loops", roi_align_loops, host_only=True),
        Rung("xp", roi_align_xp),
        Rung("numba", roi_align_numba, host_only=True, present=numba_present),
    ),
)
ROI_ALIGN_DX = Ladder(
    "roi_align_dx",
    (
        Rung("loops", roi_align_dx_loops, host_only=True),
        Rung("xp", roi_align_dx_xp),
        Rung("numba", roi_align_dx_numba, host_only=True, present=numba_present),
    ),
)
