"""Random changes to a training image: mirrored, zoomed, recoloured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance


class Augmentation(NamedTuple):
    """The changes to one image; the defaults change nothing."""

    flip: bool = False  # mirrored left to right
    zoom: float = 1.0  # a factor of its size
    brightness: float = 1.0  # this and the next two are factors of Pillow's ImageEnhance
    contrast: float = 1.0
    saturation: float = 1.0


AS_IS = Augmentation()
"""Nothing is changed."""


@dataclass(frozen=True)
class AugmentConfig:
    """How much an image may change.

    Parameters
    ----------
    flip
        Mirror each image with probability 1/2.
    scale_jitter
        Zoom by a further log-uniform factor between 1 / (1 + `scale_jitter`) and
        1 + `scale_jitter`. 0 takes all images at one size.
    colour_jitter
        Multiply brightness, contrast and saturation by a factor each, uniform between
        1 - `colour_jitter` and 1 + `colour_jitter`. 0 keeps the colours.
    zoom
        The size that `scale_jitter` varies, as a factor of the size of all other images. Below 1 a
        step takes less time, and a network finds more in images that are somewhat larger than those
        it learned from: Touvron et al. 2019, "Fixing the train-test resolution discrepancy".
    """

    flip: bool = True
    scale_jitter: float = 0.0
    colour_jitter: float = 0.0
    zoom: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.scale_jitter <= 4:
            raise ValueError(f"scale_jitter: expected 0 to 4, got {self.scale_jitter}")
        if not 0 <= self.colour_jitter <= 1:
            raise ValueError(f"colour_jitter: expected 0 to 1, got {self.colour_jitter}")
        if not 0.1 <= self.zoom <= 10:
            raise ValueError(f"zoom: expected 0.1 to 10, got {self.zoom}")

    @property
    def unvaried(self) -> Augmentation:
        """The changes without those by chance: the size of training images."""
        return Augmentation(zoom=self.zoom)

    def draw(self, count: int, rng: np.random.Generator) -> list[Augmentation]:
        """Return the changes to each of `count` images.

        The mirroring is drawn first, so that it does not depend on the other settings.
        """
        flips = rng.random(count) < 0.5 if self.flip else np.zeros(count, dtype=bool)
        most = math.log1p(self.scale_jitter)
        zooms = self.zoom * np.exp(rng.uniform(-most, most, count))
        colours = rng.uniform(1 - self.colour_jitter, 1 + self.colour_jitter, (count, 3))
        rows = zip(flips.tolist(), zooms.tolist(), colours.tolist(), strict=True)
        return [Augmentation(flip, zoom, *factors) for flip, zoom, factors in rows]


def recolour(image: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Return the image with its brightness, contrast and saturation multiplied, in this order.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    augmentation
        Its last three factors count; if all are 1, the image itself is returned.

    Returns
    -------
    recoloured
        (H, W, 3) uint8, clipped at 255.
    """
    if augmentation[2:] == AS_IS[2:]:
        return image
    picture = Image.fromarray(image)
    picture = ImageEnhance.Brightness(picture).enhance(augmentation.brightness)
    picture = ImageEnhance.Contrast(picture).enhance(augmentation.contrast)
    picture = ImageEnhance.Color(picture).enhance(augmentation.saturation)
    return np.asarray(picture)
