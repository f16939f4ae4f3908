"""RoI align: two ladders, for the output and for the gradients by features and boxes."""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.backend import is_numpy, namespace_of
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.roi_align import roi_align_cuda, roi_align_dx_cuda
from minirpn.kernels.roi_align_blocks import roi_align_dx_numba, roi_align_numba
from minirpn.kernels.roi_grid import (
    of_nan,
    positions_of,
    sample_at,
    slopes_along,
    weights_along,
)
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
    dfeatures, dboxes = np.zeros_like(features), np.zeros_like(boxes)
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
    return dfeatures, dboxes if need_dboxes else None


def roi_align_xp(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the same by two matrix products, ``y = rows features columns^T`` for each box.

    They multiply by weights of 0 as well, so a cell that is not finite spreads over its channel.
    """
    xp = namespace_of(features, boxes)
    places = positions_of(boxes, output_size, samples, features.shape[1:], scale, aligned)
    rows, columns = map(weights_along, places, features.shape[1:])
    y = xp.matmul(rows[:, None, ...], _bins_of_columns(features, columns))
    return xp.where(of_nan(boxes)[:, None, None, None], xp.nan, y)


def _bins_of_columns(features: Array, columns: Array) -> Array:
    """Return each row of the map cut into bins of columns: (R,C,Hf,w)."""
    xp = namespace_of(features, columns)
    # (C,Hf,Wf) and (R,1,Wf,w) -> (R,C,Hf,w)
    return xp.matmul(features, xp.matrix_transpose(columns)[:, None, ...])


def roi_align_dx_xp(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return the same by matrix products: ``dfeatures = sum over the boxes of rows^T dy columns``.

    The boxes move the weights, hence ``drows = dy (features columns^T)^T``, and columns alike.
    """
    xp = namespace_of(dy, features, boxes)
    (C, Hf, Wf), (R, _, h, w) = features.shape, dy.shape
    places = positions_of(boxes, (h, w), samples, (Hf, Wf), scale, aligned)
    rows, columns = map(weights_along, places, features.shape[1:])
    # (R,1,Hf,h) and (R,C,h,w) -> (R,C,Hf,w)
    drow_bins = xp.matmul(xp.matrix_transpose(rows)[:, None, ...], dy)
    # (R,C,Hf,w) -> (C Hf,R w); with (R w,Wf) -> (C Hf,Wf)
    of_cells = xp.reshape(xp.permute_dims(drow_bins, (1, 2, 0, 3)), (C * Hf, R * w))
    dfeatures = xp.matmul(of_cells, xp.reshape(columns, (R * w, Wf)))
    dfeatures = xp.reshape(dfeatures, (C, Hf, Wf))
    if not need_dboxes:
        return dfeatures, None
    # (R,h,C w) and (R,C w,Hf) -> (R,h,Hf)
    bins_of_columns = xp.permute_dims(_bins_of_columns(features, columns), (0, 1, 3, 2))
    dy_rows = xp.reshape(xp.permute_dims(dy, (0, 2, 1, 3)), (R, h, C * w))
    drows = xp.matmul(dy_rows, xp.reshape(bins_of_columns, (R, C * w, Hf)))
    # (R,w,C Hf) and (C Hf,Wf) -> (R,w,Wf)
    drow_bins = xp.matrix_transpose(xp.reshape(drow_bins, (R, C * Hf, w)))
    dcolumns = xp.matmul(drow_bins, xp.reshape(features, (C * Hf, Wf)))
    by_y, by_x = (
        [xp.sum(dweights * slope, axis=(1, 2)) for slope in slopes_along(along, size)]
        for dweights, along, size in zip((drows, dcolumns), places, (Hf, Wf), strict=True)
    )
    return dfeatures, xp.stack([by_x[0], by_y[0], by_x[1], by_y[1]], axis=-1)


ROI_ALIGN = Ladder(
    "roi_align",
    (
        Rung("loops", roi_align_loops, takes=is_numpy),
        Rung("xp", roi_align_xp),
        Rung("numba", roi_align_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", roi_align_cuda, takes=on_cuda, present=cuda_present),
    ),
)
ROI_ALIGN_DX = Ladder(
    "roi_align_dx",
    (
        Rung("loops", roi_align_dx_loops, takes=is_numpy),
        Rung("xp", roi_align_dx_xp),
        Rung("numba", roi_align_dx_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", roi_align_dx_cuda, takes=on_cuda, present=cuda_present),
    ),
)
