"""RoI max pooling: one small map of fixed size for each box, and its gradient."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_box_list, check_floating, check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels.roi_pool import ROI_POOL, ROI_POOL_DX
from minirpn.kernels.window import Pair, pair


class RoIPoolCache(NamedTuple):
    """What `roi_pool_backward` needs: which cell won each bin, and the size of the map."""

    argmax: Array  # (R,C,h,w) int32, row Wf + column; -1 where the bin had no cell
    size: Pair


def roi_pool_forward(
    features: Array, boxes: Array, *, output_size: int | Pair = (7, 7), stride: float = 16.0
) -> tuple[Array, RoIPoolCache]:
    """Return the largest feature in each of ``h`` by ``w`` bins of each box, and the cache.

    A box covers the cells from ``round(x1 / stride)`` to ``round(x2 / stride)``, the last included:
    at least one. Bin j of w goes from ``floor(j length / w)`` up to ``ceil((j + 1) length / w)`` of
    them, cut off at the borders of the map.

    Parameters
    ----------
    features
        (C,Hf,Wf), floating point: of one image.
    boxes
        (R, 4) floating point, half-open pixels of the (resized) image, of any precision.
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
    of torchvision: halves away from zero, `stride` as a factor ``1 / stride``. An empty or inverted
    box is one cell wide, a bin without a cell (off the map) gives 0, and so do boxes far outside.
    Ties: the first of equal cells in row-major order wins, and alone gets the gradient. A NaN is
    not hidden, be it in a bin or in a box. Bins are found in whole numbers, hence exactly; in
    floating point, the last one of 57 cells over 7 bins reaches a cell too far.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(8.0).reshape(1, 2, 4)  # columns 0 to 2 of rows 0 and 1, in one bin
    >>> roi_pool_forward(ramp, np.array([[0.0, 0, 32, 16]]), output_size=1)[0].item()
    6.0
    """
    namespace_of(features, boxes)
    scale, output_size = check_regions(features, boxes, output_size, stride)
    y, argmax = ROI_POOL(features, boxes, output_size, scale)
    return y, RoIPoolCache(argmax, features.shape[1:])


def roi_pool_backward(dy: Array, cache: RoIPoolCache) -> Array:
    """Return dfeatures (C,Hf,Wf): each output's gradient goes to the cell that won its bin.

    A cell that won several bins gets their sum. There is no gradient by the boxes: moving one
    changes nothing, until a corner rounds to the next cell.
    """
    namespace_of(dy)
    check_shape(dy, cache.argmax.shape, "dy")
    return ROI_POOL_DX(dy, cache.argmax, cache.size)


def check_regions(
    features: Array, boxes: Array, output_size: int | Pair, stride: float
) -> tuple[float, Pair]:
    """Return ``1 / stride`` and ``(h, w)`` if the arguments of a region operation are right.

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
