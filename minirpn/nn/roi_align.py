"""RoI align: one small map of fixed size for each box, interpolated, and its gradients."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import device_of, namespace_of
from minirpn.nn.roi_pool import check_regions, of_nan
from minirpn.nn.window import Pair


class RoIAlignCache(NamedTuple):
    """What `roi_align_backward` needs: the inputs of the forward function."""

    features: Array
    boxes: Array
    output_size: Pair
    stride: float
    samples: int
    aligned: bool


class RoIAlignGrads(NamedTuple):
    """Gradients by `features` and `boxes`; the second is None if not asked for."""

    dfeatures: Array
    dboxes: Array | None


def roi_align_forward(
    features: Array,
    boxes: Array,
    *,
    output_size: int | Pair = (7, 7),
    stride: float = 16.0,
    samples: int = 2,
    aligned: bool = True,
) -> tuple[Array, RoIAlignCache]:
    r"""Return the mean of interpolated features in ``h`` by ``w`` bins of each box, and the cache.

    .. math:: u_k = (x_1 + t_k (x_2 - x_1)) / s - 1/2 \quad t_k = (k + 1/2) / (w n)

    u_k is the place in cells of sample k along x, s the stride, n is `samples`: there are w n
    samples along x; along y likewise. The value of a sample is interpolated between the centers of
    the 2 x 2 cells around it. y is the mean over the n by n values of each bin. Nothing is rounded.

    Parameters
    ----------
    features
        (C,Hf,Wf), floating point: of one image.
    boxes
        (R, 4) floating point, half-open pixels of the resized image; cast to the dtype of
        `features`.
    output_size
        (h, w), or an int for both.
    stride
        Image pixels per feature cell.
    samples
        How many rows, and columns, of samples a bin has, at least 1.
    aligned
        False omits the half cell, and makes boxes at least one cell wide and high.

    Returns
    -------
    y
        (R,C,h,w), of the dtype of `features`.
    cache
        For `roi_align_backward`. It refers to the inputs: do not change them before.

    Raises
    ------
    ValueError
        A shape does not fit, or a number is not positive.
    TypeError
        A dtype is not floating point.

    Notes
    -----
    He, Gkioxari, Dollar, Girshick, *Mask R-CNN*, 2017, section 3; the details are torchvision's,
    with ``sampling_ratio=samples``. A sample up to one cell off the map has the value at the
    border; farther off its value is 0. An inverted box is sampled backwards, an empty one at one
    position (along that axis). A box with a NaN has NaN outputs.

    Linear in `features`; `roi_align_backward` gives the adjoint map.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.tile(np.arange(4.0), (1, 2, 1))  # each cell holds its column's number
    >>> roi_align_forward(ramp, np.array([[8.0, 8, 40, 24]]), output_size=1)[0].item()
    1.0
    """
    xp = namespace_of(features, boxes)
    scale, output_size = check_regions(features, boxes, output_size, stride)
    if samples < 1:
        raise ValueError(f"samples: expected at least 1 a row, got {samples}")
    boxes = xp.astype(boxes, features.dtype, copy=False)
    y = roi_align(features, boxes, output_size, scale, samples, aligned)
    return y, RoIAlignCache(features, boxes, output_size, stride, samples, aligned)


@accelerated("roi_align")
def roi_align(
    features: Array, boxes: Array, output_size: Pair, scale: float, samples: int, aligned: bool
) -> Array:
    """Return the means (R,C,h,w) by two matrix products, ``rows features columns^T`` for each box.

    They multiply by weights of 0 too, so one cell that is not finite affects its whole channel.
    """
    xp = namespace_of(features, boxes)
    places = positions_of(boxes, output_size, samples, features.shape[1:], scale, aligned)
    rows, columns = map(weights_along, places, features.shape[1:])
    y = xp.matmul(rows[:, None, ...], _bins_of_columns(features, columns))
    return xp.where(of_nan(boxes)[:, None, None, None], xp.nan, y)


def _bins_of_columns(features: Array, columns: Array) -> Array:
    """Return the means over the columns of each bin, for each row of the map: (R,C,Hf,w)."""
    xp = namespace_of(features, columns)
    # (C,Hf,Wf) and (R,1,Wf,w) -> (R,C,Hf,w)
    return xp.matmul(features, xp.matrix_transpose(columns)[:, None, ...])


def roi_align_backward(
    dy: Array, cache: RoIAlignCache, *, need_dboxes: bool = True
) -> RoIAlignGrads:
    """Return the gradients of the loss by `features` and `boxes`, given that by `y`.

    Parameters
    ----------
    dy
        (R,C,h,w), as `y`.
    cache
        From `roi_align_forward`, whichever implementation ran.
    need_dboxes
        False leaves out ``dboxes``.

    Returns
    -------
    RoIAlignGrads
        ``dfeatures`` (C,Hf,Wf): each output's gradient, spread with the same weights over the cells
        it was interpolated from; ``dboxes`` (R, 4) by pixels, of the dtype of the features.

    Notes
    -----
    By the boxes: between cells q and q + 1, the value ``(q + 1 - u) f[q] + (u - q) f[q + 1]`` has
    the slope ``f[q + 1] - f[q]`` by u, and u has ``(1 - t) / stride`` by x1 and ``t / stride`` by
    x2. Their product is summed over channels, bins and samples. At and beyond the border of the map
    the slope is 0; at the center of a cell it is that to the next cell. (torchvision has no
    gradient by boxes.)
    """
    namespace_of(dy)
    features, boxes, output_size, stride, samples, aligned = cache
    check_shape(dy, (boxes.shape[0], features.shape[0], *output_size), "dy")
    return RoIAlignGrads(
        *roi_align_dx(dy, features, boxes, 1.0 / stride, samples, aligned, need_dboxes)
    )


@accelerated("roi_align_dx")
def roi_align_dx(
    dy: Array,
    features: Array,
    boxes: Array,
    scale: float,
    samples: int,
    aligned: bool,
    need_dboxes: bool = True,
) -> tuple[Array, Array | None]:
    """Return dfeatures (C,Hf,Wf), ``sum over the boxes of rows^T dy columns``, and dboxes or None.

    The weights depend on the boxes: ``drows = dy (features columns^T)^T``, and columns likewise.
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


class Positions(NamedTuple):
    """Positions of the samples along one axis, (R,n,samples); see `minirpn.loops.AxisSample`."""

    at: Array  # in cells, moved onto the map
    on_map: Array  # whether at most one cell off the map; the value of the others is 0
    moves: Array  # whether the value changes with the position
    by_first: Array  # derivative of the position by the first corner of the box
    by_last: Array  # and by the last


def positions_of(
    boxes: Array, output_size: Pair, samples: int, size: Pair, scale: float, aligned: bool
) -> tuple[Positions, Positions]:
    """Return the positions of the samples of boxes (R, 4) along the rows and the columns."""
    rows, columns = (
        positions_along(boxes[:, k], boxes[:, k + 2], n, samples, length, scale, aligned)
        for k, n, length in zip((1, 0), output_size, size, strict=True)
    )
    return rows, columns


def positions_along(
    first: Array, last: Array, n: int, samples: int, size: int, scale: float, aligned: bool
) -> Positions:
    """Return the positions along one axis in `n` bins of boxes from `first` to `last`, (R,)."""
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
    on_map = (position >= -1) & (position <= size)  # False for NaN
    moves = on_map & (position > 0) & (position < size - 1)
    at = xp.clip(xp.where(on_map, position, 0.0), 0.0, size - 1.0)
    shape = (first.shape[0], n, samples)
    return Positions(*(xp.reshape(part, shape) for part in (at, on_map, moves, by_first, by_last)))


def weights_along(positions: Positions, size: int) -> Array:
    """Return the weight of each cell along one axis in the mean of each bin: (R,n,size)."""
    xp = namespace_of(positions.at)
    distance = xp.abs(_from_cells(positions, size))
    weights = xp.where(positions.on_map[..., None], xp.clip(1 - distance, 0.0, None), 0.0)
    return xp.mean(weights, axis=2)  # (R,n,samples,size) -> (R,n,size)


def slopes_along(positions: Positions, size: int) -> tuple[Array, Array]:
    """Return the slopes of `weights_along` by the first and the last corner: (R,n,size)."""
    xp = namespace_of(positions.at)
    offset = _from_cells(positions, size)
    # As a sample moves on, the weight of the next cell grows and that of the last cell shrinks.
    gains, loses = (offset >= -1) & (offset < 0), (offset >= 0) & (offset < 1)
    slope = xp.astype(gains, offset.dtype) - xp.astype(loses, offset.dtype)
    slope = xp.where(positions.moves[..., None], slope, 0.0)
    by_first, by_last = (
        xp.mean(slope * by_corner[..., None], axis=2)
        for by_corner in (positions.by_first, positions.by_last)
    )
    return by_first, by_last


def _from_cells(positions: Positions, size: int) -> Array:
    """Return the signed distance from each cell to each sample: (R,n,samples,size)."""
    xp, at = namespace_of(positions.at), positions.at
    return at[..., None] - xp.arange(size, dtype=at.dtype, device=device_of(at))
