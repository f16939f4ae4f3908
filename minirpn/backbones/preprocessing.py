"""How pixels become the numbers a backbone was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Preprocessing:
    """Channel order, mean and standard deviation of a backbone's input.

    Parameters
    ----------
    order
        ``"RGB"``, or ``"BGR"`` for networks that come from Caffe.
    mean
        Subtracted from each channel, in the order of `order`, on the scale 0 to 255.
    std
        Then divides each channel.
    """

    order: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.order not in ("RGB", "BGR"):
            raise ValueError(f"order: expected RGB or BGR, got {self.order!r}")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)):
            raise ValueError(f"mean: expected finite numbers here and in std, got {self.mean}")
        if min(self.std) <= 0:
            raise ValueError(f"std: expected positive numbers, got {self.std}")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the network input (3, H, W) float32 of an RGB image (H, W, 3) uint8."""
        channels = image if self.order == "RGB" else image[:, :, ::-1]
        planes = np.empty((3, *image.shape[:2]), np.float32)
        for plane, values, mean, std in zip(
            planes, np.moveaxis(channels, 2, 0), self.mean, self.std, strict=True
        ):
            np.subtract(values, np.float32(mean), out=plane)
            if std != 1.0:
                plane /= np.float32(std)
        return planes


#: Networks from Caffe's model zoo, SqueezeNet v1.1 among them.
CAFFE_BGR = Preprocessing("BGR", (104.0, 117.0, 123.0))
#: py-faster-rcnn, and the networks trained with it, subtract this mean colour of ImageNet.
GIRSHICK_BGR = Preprocessing("BGR", (102.9801, 115.9465, 122.7717))
#: Networks trained from random weights: pixels around 0 with a deviation of about 1.
CENTERED_RGB = Preprocessing("RGB", (127.5, 127.5, 127.5), (64.0, 64.0, 64.0))
