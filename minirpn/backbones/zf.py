"""The network of Zeiler and Fergus (2014), as Faster R-CNN uses it, up to conv5."""

from __future__ import annotations

import numpy as np

from minirpn.backbones.base import Backbone
from minirpn.backbones.preprocessing import GIRSHICK_BGR
from minirpn.nn import LRN, Conv2d, MaxPool2d, ReLU, Sequential


def zf(*, rng: np.random.Generator | None) -> Backbone:
    """Return the five convolutions of ZF, with normalisation and pooling after two: stride 16.

    No layer is frozen: the paper tunes all of ZF (section 3.1.3).

    Parameters
    ----------
    rng
        Draws the weights, N(0, sqrt(2 / fan-in)), until ImageNet weights are loaded over them;
        None leaves them zero.

    Notes
    -----
    As in Caffe, the poolings round their output size up (600x1000 gives 39x64), and the local
    response normalisation works within channels. Every window is padded by half of itself, so that
    cell (0, 0) looks at image coordinate 0.5, while the published anchors sit at 8.

    The RPN head on it has 256 channels (section 3.1).
    """
    layers = [
        Conv2d("conv1", 3, 96, kernel=7, stride=2, padding=3, rng=rng, std=None),
        ReLU("relu1"),
        LRN("norm1"),
        MaxPool2d("pool1", kernel=3, stride=2, padding=1, ceil_mode=True),
        Conv2d("conv2", 96, 256, kernel=5, stride=2, padding=2, rng=rng, std=None),
        ReLU("relu2"),
        LRN("norm2"),
        MaxPool2d("pool2", kernel=3, stride=2, padding=1, ceil_mode=True),
        Conv2d("conv3", 256, 384, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu3"),
        Conv2d("conv4", 384, 384, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu4"),
        Conv2d("conv5", 384, 256, kernel=3, padding=1, rng=rng, std=None),
        ReLU("relu5"),
    ]
    return Backbone(
        name="zf",
        body=Sequential("zf", layers),
        channels=256,
        head_channels=256,
        preprocessing=GIRSHICK_BGR,
        stages={f"conv{number}": f"relu{number}" for number in range(1, 6)},
    )
