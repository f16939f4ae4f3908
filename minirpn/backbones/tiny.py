"""A backbone small enough to train from nothing in a minute."""

from __future__ import annotations

import numpy as np

from minirpn.backbones.base import Backbone
from minirpn.backbones.preprocessing import CENTERED_RGB
from minirpn.nn import Conv2d, Layer, MaxPool2d, ReLU, Sequential

# (output channels, stride of the 3x3 convolution, whether a 2x2 pooling follows): stride 16 in all.
# The first convolution strides, for at full resolution it alone would cost half of the time; the
# last two work where a cell is 16 pixels wide, so that the head sees 137 pixels around its cell.
CONVOLUTIONS = ((16, 2, True), (32, 1, True), (64, 1, True), (128, 1, False), (128, 1, False))


def tiny(*, rng: np.random.Generator) -> Backbone:
    """Return five 3x3 convolutions with three 2x2 poolings between: stride 16, 128 channels.

    Parameters
    ----------
    rng
        Draws the weights as He et al. 2015 do, N(0, sqrt(2 / fan-in)): trained from nothing,
        N(0, 0.01) would let the signal vanish.
    """
    layers: list[Layer] = []
    inputs = 3
    for number, (outputs, stride, pooled) in enumerate(CONVOLUTIONS, start=1):
        layers.append(
            Conv2d(
                f"conv{number}",
                inputs,
                outputs,
                kernel=3,
                stride=stride,
                padding=1,
                rng=rng,
                std=None,
            )
        )
        layers.append(ReLU(f"relu{number}"))
        if pooled:
            layers.append(MaxPool2d(f"pool{number}", kernel=2, stride=2, ceil_mode=True))
        inputs = outputs
    return Backbone(
        name="tiny",
        body=Sequential("tiny", layers),
        channels=inputs,
        head_channels=128,
        preprocessing=CENTERED_RGB,
        stages={f"conv{n}": f"relu{n}" for n in range(1, len(CONVOLUTIONS) + 1)},
    )
