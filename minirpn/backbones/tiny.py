"""A backbone small enough to train from nothing in a minute."""

from __future__ import annotations

import numpy as np

from minirpn.backbones.base import Backbone
from minirpn.backbones.preprocessing import CENTERED_RGB
from minirpn.nn import Conv2d, Layer, MaxPool2d, ReLU, Sequential

# Output channels of conv1 ... conv5; a 2x2 pooling follows the first three, so the stride is 8.
CHANNELS = (16, 32, 48, 64, 64)
POOLED = 3


def tiny(*, rng: np.random.Generator) -> Backbone:
    """Return five 3x3 convolutions with three 2x2 poolings between: stride 8, 64 channels.

    Parameters
    ----------
    rng
        Draws the weights as He et al. 2015 do, N(0, sqrt(2 / fan-in)): trained from nothing,
        N(0, 0.01) would let the signal vanish.
    """
    layers: list[Layer] = []
    inputs = 3
    for number, outputs in enumerate(CHANNELS, start=1):
        layers.append(
            Conv2d(f"conv{number}", inputs, outputs, kernel=3, padding=1, rng=rng, std=None)
        )
        layers.append(ReLU(f"relu{number}"))
        if number <= POOLED:
            layers.append(MaxPool2d(f"pool{number}", kernel=2, stride=2, ceil_mode=True))
        inputs = outputs
    stages = {f"conv{number}": f"relu{number}" for number in range(1, len(CHANNELS) + 1)}
    return Backbone(
        name="tiny",
        body=Sequential("tiny", layers),
        channels=CHANNELS[-1],
        head_channels=64,
        preprocessing=CENTERED_RGB,
        stages=stages,
    )
