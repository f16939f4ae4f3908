"""A backbone: from images to the features that the RPN slides over, and where its cells look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

from minirpn._typing import ImageSize
from minirpn.backbones.preprocessing import Preprocessing
from minirpn.nn import Parameter, Sequential, Window
from minirpn.nn.window import placed


@dataclass(frozen=True)
class Backbone:
    """A feature extractor, and what the RPN needs to know of it.

    Parameters
    ----------
    name
        What the command line calls it.
    body
        The layers; images (N, 3, H, W) go in, features (N, channels, Hf, Wf) come out.
    channels
        C of the features.
    head_channels
        Channels of the 3x3 convolution of the RPN head.
    preprocessing
        How pixels become its input.
    stages
        Stage -> name of the layer whose output is that stage's activation. A stage's parameters
        have names that begin with the stage's name and a dot.
    """

    name: str
    body: Sequential
    channels: int
    head_channels: int
    preprocessing: Preprocessing
    stages: Mapping[str, str]

    def forward(self, images: Any, *, observe: Any = None) -> tuple[Any, Any]:
        """Return the features (N, channels, Hf, Wf) of images (N, 3, H, W), and the cache.

        An image with a side below `least_side` is padded with zeros, the mean colour, on the right
        and below: any image has at least one cell, and no coordinate moves.
        """
        size = self._padded_size((images.shape[2], images.shape[3]))
        return self.body.forward(placed(images, (0, 0), size), need_dx=False, observe=observe)

    def backward(self, dfeatures: Any, cache: Any) -> dict[str, Any]:
        """Return the gradients by the trainable parameters, by name."""
        _, grads = self.body.backward(dfeatures, cache, need_dx=False)
        return grads

    def parameters(self) -> list[Parameter]:
        """Return all parameters, frozen ones too."""
        return self.body.parameters()

    def freeze(self, stages: Iterable[str]) -> None:
        """Make the parameters of these stages, and of no others, not trainable.

        Raises
        ------
        ValueError
            There is no such stage.
        """
        frozen = set(stages)
        for stage in sorted(frozen - set(self.stages)):
            raise ValueError(
                f"{self.name} has no stage {stage!r}; there are {', '.join(self.stages)}"
            )
        for parameter in self.parameters():
            parameter.trainable = stage_of(parameter.name) not in frozen

    @property
    def geometry(self) -> CellGeometry:
        """Stride, center of cell (0, 0) and receptive field, by arithmetic from the layers."""
        return cell_geometry(self.body.windows())

    def feature_size(self, image_size: ImageSize) -> ImageSize:
        """Return (Hf, Wf) for an image of (height, width)."""
        return self.body.output_size(self._padded_size(image_size))

    @cached_property
    def least_side(self) -> int:
        """The shortest side of an image that fills every window at least once."""
        return next(side for side in count(1) if self._fits(side))

    def _fits(self, side: int) -> bool:
        try:
            return min(self.body.output_size((side, side))) > 0
        except ValueError:  # a kernel is larger than what is left of the image
            return False

    def _padded_size(self, image_size: ImageSize) -> ImageSize:
        return max(image_size[0], self.least_side), max(image_size[1], self.least_side)


def stage_of(parameter_name: str) -> str:
    """Return the stage a parameter belongs to: its name up to the first dot."""
    return parameter_name.split(".", 1)[0]


class CellGeometry(NamedTuple):
    """Which image pixels the cells of a feature map look at, along one axis."""

    stride: int  # image pixels from one cell to the next
    center: float  # image coordinate of the center of cell 0
    receptive_field: int  # image pixels one cell sees


def cell_geometry(windows: Iterable[Window]) -> CellGeometry:
    """Return stride, center of cell 0 and receptive field after a chain of windows.

    A window of kernel k, stride s, padding p over cells of stride S with the first center c gives
    cells of stride ``S s`` with the first center ``c + S ((k - 1) / 2 - p)``, and each sees
    ``S (k - 1)`` pixels more.

    Parameters
    ----------
    windows
        Those of the convolutions and poolings, in order from the image on.

    Raises
    ------
    ValueError
        A window is not square.

    Notes
    -----
    Coordinates are half-open: the first pixel reaches from 0 to 1, so its center is 0.5. VGG-16
    gives center 8, where the published anchors sit; SqueezeNet v1.1, whose first convolution has
    no padding, gives 15.5.
    """
    stride, center, receptive_field = 1, 0.5, 1
    for window in windows:
        # Vertical and horizontal agree in every network here.
        kernel, step, padding = (pair[0] for pair in window)
        if any(pair[0] != pair[1] for pair in window):
            raise ValueError(f"expected square windows, got {window}")
        center += stride * ((kernel - 1) / 2 - padding)
        receptive_field += stride * (kernel - 1)
        stride *= step
    return CellGeometry(stride, center, receptive_field)
