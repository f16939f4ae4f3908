"""A backbone so small that it trains from random weights in a minute."""

from __future__ import annotations

import numpy as np

from minirpn.backbones.base import Backbone
from minirpn.backbones.preprocessing import CENTERED_RGB
from minirpn.nn import Conv2d, MaxPool2d, ReLU, Sequential


def tiny(*, rng: np.random.Generator) -> Backbone:
    """Return five 3x3 convolutions with three 2x2 poolings between: stride 16, 128 channels.

    Parameters
    ----------
    rng
        Draws the weights as in He et al. 2015, N(0, sqrt(2 / fan-in)). With N(0, 0.01) the signal
        would vanish.
    """
    # conv1 has stride 2: at full resolution it would take half of the time. conv4 and conv5 work on
    # cells 16 pixels wide, so that the head sees 137 pixels around its cell.
    layers = [
        Conv2d("conv1", 3, 16, kernel=3, stride=2, padding=1, rng=rng, std=None),
        ReLU("relu1"),
        MaxPool2d("pool1", kernel=2, stride=2, ceil_mode=True),
        Conv2d("conv2", 16, 32, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu2"),
        MaxPool2d("pool2", kernel=2, stride=2, ceil_mode=True),
        Conv2d("conv3", 32, 64, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu3"),
        MaxPool2d("pool3", kernel=2, stride=2, ceil_mode=True),
        Conv2d("conv4", 64, 128, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu4"),
        Conv2d("conv5", 128, 128, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu5"),
    ]
    return Backbone(
        name="tiny",
        body=Sequential("tiny", layers),
        channels=128,
        head_channels=128,
        preprocessing=CENTERED_RGB,
        stages={f"conv{number}": f"relu{number}" for number in range(1, 6)},
    )
