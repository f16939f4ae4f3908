"""Anchors: reference boxes of several scales and aspect ratios at each cell (section 3.1.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from minirpn._checks import check_box_list
from minirpn._typing import Array
from minirpn.backend import constant, device_of, namespace_of

# No image has a longer side, and larger numbers would overflow.
_MOST = 1e6
_MOST_AT_A_CELL = 1000


@dataclass(frozen=True)
class AnchorConfig:
    """The anchors of a cell.

    Parameters
    ----------
    base_size
        Side in pixels of the square at scale 1: the stride of VGG-16 and ZF, 16.
    ratios
        Heights over widths: 1:2, 1:1 and 2:1 (section 3.3).
    scales
        Multiples of `base_size`: 8, 16, 32 give the 128, 256, 512 pixels of section 3.3.
    rounding
        ``"caffe"`` rounds the sides at scale 1 to whole pixels, as py-faster-rcnn does: then ties
        between anchors are exact. None keeps each area exact instead.
    """

    base_size: float = 16
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scales: tuple[float, ...] = (8.0, 16.0, 32.0)
    rounding: Literal["caffe"] | None = "caffe"

    def __post_init__(self) -> None:
        for name in ("ratios", "scales"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one")
        if self.count > _MOST_AT_A_CELL:
            raise ValueError(
                f"ratios, scales: expected at most {_MOST_AT_A_CELL} anchors at a cell, "
                f"got {self.count}"
            )
        for name, values in (
            ("base_size", (self.base_size,)),
            ("ratios", self.ratios),
            ("scales", self.scales),
        ):
            for value in values:
                if not (math.isfinite(value) and value > 0):
                    raise ValueError(f"{name}: expected finite numbers above 0, got {value}")
                if not 1 / _MOST <= value <= _MOST:
                    raise ValueError(f"{name}: expected 1e-06 to 1e+06, got {value}")
        if self.rounding not in ("caffe", None):
            raise ValueError(f"rounding: expected 'caffe' or None, got {self.rounding!r}")
        for ratio in self.ratios:
            if min(_unscaled_sides(self, ratio)) <= 0:
                raise ValueError(
                    f"ratios, base_size: at base_size {self.base_size}, {ratio} rounds to no area"
                )

    @property
    def count(self) -> int:
        """A, the number of anchors at a cell."""
        return len(self.ratios) * len(self.scales)


def _unscaled_sides(config: AnchorConfig, ratio: float) -> tuple[float, float]:
    """Return (width, height) of the anchor of scale 1: area base_size^2, height / width = ratio."""
    width = math.sqrt(config.base_size**2 / ratio)
    if config.rounding is None:
        return width, width * ratio
    whole_width = round(width)  # half to even, as NumPy's round
    return whole_width, round(whole_width * ratio)


def base_anchors(config: AnchorConfig) -> np.ndarray:
    r"""Return the anchors of cell (0, 0), one ratio after the other, each at every scale.

    .. math:: w = \sqrt{b^2 / r} \quad h = w r

    b is the base size, r the ratio. With ``"caffe"`` w is rounded, then h, which is made of the
    rounded w. Both are multiplied by the scale; the center is (b / 2, b / 2).

    Parameters
    ----------
    config
        Sizes, ratios, scales and rounding.

    Returns
    -------
    ndarray
        (A, 4) float64 on the host, pixels, half-open.

    Notes
    -----
    These are py-faster-rcnn's anchors, whose inclusive ``-84 -40 99 55`` is ``-84 -40 100 56``
    here; the default anchors are whole numbers. ``rounding=None`` gives ChainerCV's. torchvision
    and detectron2 put the center at 0; detectron2 puts all ratios of a scale together.

    Examples
    --------
    >>> base_anchors(AnchorConfig(scales=(8,), ratios=(0.5, 1))).tolist()
    [[-84.0, -40.0, 100.0, 56.0], [-56.0, -56.0, 72.0, 72.0]]
    """
    center = config.base_size / 2
    rows = []
    for ratio in config.ratios:
        width, height = _unscaled_sides(config, ratio)
        for scale in config.scales:
            half_width, half_height = width * scale / 2, height * scale / 2
            rows.append(
                (
                    center - half_width,
                    center - half_height,
                    center + half_width,
                    center + half_height,
                )
            )
    return np.array(rows, dtype=np.float64)


def grid_anchors(
    base: Array,
    feature_size: tuple[int, int],
    stride: float,
    *,
    offset: tuple[float, float] = (0, 0),
    like: Array | None = None,
) -> Array:
    r"""Return the anchors of every cell of the feature map: the base anchors, moved.

    .. math:: (x_1 + j s + dx, \; y_1 + i s + dy, \; x_2 + j s + dx, \; y_2 + i s + dy)

    i is the row, j the column, s the stride, (dy, dx) the offset.

    Parameters
    ----------
    base
        (A, 4) floating point, the anchors of cell (0, 0), pixels, half-open.
    feature_size
        (Hf, Wf), cells.
    stride
        Image pixels per cell.
    offset
        (dy, dx) pixels: for cells whose receptive field has another center than py-faster-rcnn
        assumes; see `minirpn.backbones.Backbone.geometry`.
    like
        The anchors get the library, device and dtype of this array, and `base` is on the host.
        With None, those of `base`.

    Returns
    -------
    Array
        (K, 4) with K = Hf Wf A in the order (row, column, base anchor).

    Notes
    -----
    With whole strides and base anchors all coordinates are whole numbers, exact in float32. The
    base anchors are copied to the device of `like` once.
    """
    xp = namespace_of(base if like is None else like)
    check_box_list(base, "base")
    if min(feature_size) < 1 or stride <= 0:
        raise ValueError(
            f"feature_size, stride: expected positive sizes, got {feature_size}, {stride}"
        )
    if like is not None:
        base = constant(base, like)
    rows, columns = (
        xp.arange(size, dtype=base.dtype, device=device_of(base)) * stride + start
        for size, start in zip(feature_size, offset, strict=True)
    )
    dy, dx = xp.meshgrid(rows, columns, indexing="ij")
    shifts = xp.stack([dx, dy, dx, dy], axis=-1)
    # (Hf, Wf, 1, 4) + (A, 4) -> (Hf, Wf, A, 4) -> (K, 4)
    return xp.reshape(shifts[:, :, None, :] + base, (-1, 4))
