"""SqueezeNet v1.1 (Iandola et al. 2016, and the authors' v1.1 release) up to fire9."""

from __future__ import annotations

import numpy as np

from minirpn.backbones.base import Backbone
from minirpn.backbones.preprocessing import CAFFE_BGR
from minirpn.nn import Conv2d, Fire, Layer, MaxPool2d, ReLU, Sequential

# (module, squeeze channels, channels of each expand half); a pooling comes before fire2, 4 and 6.
FIRES = (
    ("fire2", 16, 64),
    ("fire3", 16, 64),
    ("fire4", 32, 128),
    ("fire5", 32, 128),
    ("fire6", 48, 192),
    ("fire7", 48, 192),
    ("fire8", 64, 256),
    ("fire9", 64, 256),
)
POOL_BEFORE = {"fire2": "pool1", "fire4": "pool3", "fire6": "pool5"}
FROZEN = ("conv1", "fire2", "fire3")


def squeezenet(*, rng: np.random.Generator | None) -> Backbone:
    """Return SqueezeNet v1.1 without its classifier: stride 16, 512 channels.

    The first stages (conv1, fire2, fire3) are frozen, as the paper freezes the first layers of
    VGG-16 (section 3.1.3).

    Parameters
    ----------
    rng
        Draws the weights, N(0, sqrt(2 / fan-in)), until ImageNet weights are loaded over them;
        None leaves them zero.

    Notes
    -----
    As in Caffe, the 3x3 poolings of stride 2 round their output size up and conv1 has no padding,
    so that cell (0, 0) looks at image coordinate 15.5.
    """
    layers: list[Layer] = [
        Conv2d("conv1", 3, 64, kernel=3, stride=2, rng=rng, std=None),
        ReLU("relu1"),
    ]
    inputs = 64
    for name, squeeze, expand in FIRES:
        if name in POOL_BEFORE:
            layers.append(MaxPool2d(POOL_BEFORE[name], kernel=3, stride=2, ceil_mode=True))
        layers.append(Fire(name, inputs, squeeze, expand, expand, rng=rng, std=None))
        inputs = 2 * expand
    backbone = Backbone(
        name="squeezenet",
        body=Sequential("squeezenet", layers),
        channels=inputs,
        head_channels=256,
        preprocessing=CAFFE_BGR,
        stages={"conv1": "relu1"} | {name: name for name, _, _ in FIRES},
    )
    backbone.freeze(FROZEN)
    return backbone
