"""What is changed about an image each time it is learned from: mirrored, zoomed, recoloured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance


class Augmentation(NamedTuple):
    """What is changed about one image; the defaults change nothing."""

    flip: bool = False  # mirrored left to right
    zoom: float = 1.0  # times the size it would have
    brightness: float = 1.0  # the last three are factors of Pillow's ImageEnhance
    contrast: float = 1.0
    saturation: float = 1.0


AS_IS = Augmentation()
"""Nothing is changed."""


@dataclass(frozen=True)
class AugmentConfig:
    """How much may be changed.

    Parameters
    ----------
    flip
        Mirror each image with probability 1/2.
    scale_jitter
        Zoom by a factor between 1 / (1 + `scale_jitter`) and 1 + `scale_jitter`, its logarithm
        uniform. 0 leaves the size.
    colour_jitter
        Multiply brightness, contrast and saturation, each with a factor of its own, uniform between
        1 - `colour_jitter` and 1 + `colour_jitter`. 0 leaves the colours.
    """

    flip: bool = True
    scale_jitter: float = 0.0
    colour_jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.scale_jitter <= 4:
            raise ValueError(f"scale_jitter: expected 0 to 4, got {self.scale_jitter}")
        if not 0 <= self.colour_jitter <= 1:
            raise ValueError(f"colour_jitter: expected 0 to 1, got {self.colour_jitter}")

    def draw(self, count: int, rng: np.random.Generator) -> list[Augmentation]:
        """Return what is changed about each of `count` images.

        The mirroring is drawn first, so that it does not depend on the rest.
        """
        flips = rng.random(count) < 0.5 if self.flip else np.zeros(count, dtype=bool)
        most = math.log1p(self.scale_jitter)
        zooms = np.exp(rng.uniform(-most, most, count))
        colours = rng.uniform(1 - self.colour_jitter, 1 + self.colour_jitter, (count, 3))
        return [
            Augmentation(flip, zoom, *colour)
            for flip, zoom, colour in zip(
                flips.tolist(), zooms.tolist(), colours.tolist(), strict=True
            )
        ]


def recolour(image: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Return the image with its brightness, contrast and saturation multiplied, in this order.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    augmentation
        Its last three factors; where all are 1 the image itself comes back.

    Returns
    -------
    recoloured
        (H, W, 3) uint8; what would be brighter than 255 is 255.
    """
    if augmentation[2:] == AS_IS[2:]:
        return image
    picture = Image.fromarray(image)
    picture = ImageEnhance.Brightness(picture).enhance(augmentation.brightness)
    picture = ImageEnhance.Contrast(picture).enhance(augmentation.contrast)
    picture = ImageEnhance.Color(picture).enhance(augmentation.saturation)
    return np.asarray(picture)
