"""RoI align: one small map of fixed size for each box, interpolated, and its gradients."""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.kernels.roi_align import ROI_ALIGN, ROI_ALIGN_DX
from minirpn.kernels.window import Pair
from minirpn.nn.roi_pool import check_regions


class RoIAlignCache(NamedTuple):
    """What `roi_align_backward` needs: the inputs, as they were, and how they were sampled."""

    features: Array
    boxes: Array
    output_size: Pair
    stride: float
    samples: int
    aligned: bool


class RoIAlignGrads(NamedTuple):
    """Gradients by `features` and `boxes`; None for the latter if not asked for."""

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
    """Return the mean of interpolated features in ``h`` by ``w`` bins of each box, and the cache.

    Sample k of ``w samples`` along x is at ``u = x1 / stride + t (x2 - x1) / stride - 1/2`` cells,
    ``t = (k + 1/2) / (w samples)``, and rows alike. A sample's value is interpolated between the
    2 x 2 cells around it, whose values are those of their middles; y is the mean of each bin's
    ``samples`` by ``samples`` values. Nothing is rounded.

    Parameters
    ----------
    features
        (C,Hf,Wf), floating point: of one image.
    boxes
        (R, 4) floating point, half-open pixels of the (resized) image; brought to the dtype of
        `features`.
    output_size
        (h, w), or an int for both.
    stride
        Image pixels per feature cell.
    samples
        How many rows, and columns, of samples a bin has, at least 1.
    aligned
        False leaves out the half cell, and makes boxes at least one cell wide and high.

    Returns
    -------
    y
        (R,C,h,w), of the dtype of `features`.
    cache
        For `roi_align_backward`. It refers to the inputs, so they must not change until then.

    Raises
    ------
    ValueError
        A shape does not fit, or a number is not positive.
    TypeError
        A dtype is not floating point.

    Notes
    -----
    He, Gkioxari, Dollar, Girshick, *Mask R-CNN*, 2017, section 3; the details are torchvision's,
    with ``sampling_ratio=samples``. A sample up to one cell off the map is as at its border, one
    farther off counts as 0. An inverted box is sampled backwards, an empty one at one place (along
    that axis). A coordinate that is NaN makes all of its box's outputs NaN.

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
    y = ROI_ALIGN(features, boxes, output_size, scale, samples, aligned)
    return y, RoIAlignCache(features, boxes, output_size, stride, samples, aligned)


def roi_align_backward(
    dy: Array, cache: RoIAlignCache, *, need_dboxes: bool = True
) -> RoIAlignGrads:
    """Return the gradients of the loss by `features` and `boxes`, given that by `y`.

    Parameters
    ----------
    dy
        (R,C,h,w), as `y`.
    cache
        From `roi_align_forward`, whichever rung it ran on.
    need_dboxes
        False leaves out ``dboxes``.

    Returns
    -------
    RoIAlignGrads
        ``dfeatures`` (C,Hf,Wf): each output's gradient, spread over the cells it was interpolated
        from with the same weights; ``dboxes`` (R, 4), by pixels, of the dtype of the features.

    Notes
    -----
    By the boxes: between cells q and q + 1, the value ``(q + 1 - u) f[q] + (u - q) f[q + 1]`` has
    the slope ``f[q + 1] - f[q]`` by u, and u has ``(1 - t) / stride`` by x1 and ``t / stride`` by
    x2; chained, and summed over channels, bins and samples. At the border of the map or off it the
    slope is 0; on a cell's middle, the one ahead counts. (torchvision has no gradient by boxes.)
    """
    namespace_of(dy)
    features, boxes, output_size, stride, samples, aligned = cache
    check_shape(dy, (boxes.shape[0], features.shape[0], *output_size), "dy")
    return RoIAlignGrads(
        *ROI_ALIGN_DX(dy, features, boxes, 1.0 / stride, samples, aligned, need_dboxes)
    )
