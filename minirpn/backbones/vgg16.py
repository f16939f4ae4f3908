"""VGG-16 (Simonyan and Zisserman 2015, configuration D) up to conv5_3."""

from __future__ import annotations

import numpy as np

from minirpn.backbones.base import Backbone
from minirpn.backbones.preprocessing import GIRSHICK_BGR
from minirpn.nn import Conv2d, Layer, MaxPool2d, ReLU, Sequential

# Output channels of each block's convolutions; a pooling comes between two blocks.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# conv1_1, conv1_2, conv2_1, ...: the names everybody uses.
CONVOLUTIONS = tuple(
    f"conv{block}_{number}"
    for block, outputs in enumerate(BLOCKS, start=1)
    for number in range(1, len(outputs) + 1)
)
FROZEN = CONVOLUTIONS[:4]


def vgg16(*, rng: np.random.Generator | None, ceil_mode: bool = True) -> Backbone:
    """Return the 13 convolutions of VGG-16, four poolings between: stride 16, 512 channels.

    conv1_1 to conv2_2 are frozen: the paper tunes "conv3_1 and up to conserve memory"
    (section 3.1.3).

    Parameters
    ----------
    rng
        Draws the weights, N(0, sqrt(2 / fan-in)), until ImageNet weights are loaded over them;
        None leaves them zero.
    ceil_mode
        Whether the 2x2 poolings round their output size up, as in Caffe and so in the paper's
        network (600x1000 gives 38x63). False is what PyTorch does (37x62).

    Notes
    -----
    The RPN head on it has 512 channels (section 3.1).
    """
    layers: list[Layer] = []
    names = iter(CONVOLUTIONS)
    inputs = 3
    for block, channels in enumerate(BLOCKS, start=1):
        if block > 1:
            layers.append(MaxPool2d(f"pool{block - 1}", kernel=2, stride=2, ceil_mode=ceil_mode))
        for outputs in channels:
            name = next(names)
            layers.append(Conv2d(name, inputs, outputs, kernel=3, padding=1, rng=rng, std=None))
            layers.append(ReLU(name.replace("conv", "relu")))
            inputs = outputs
    backbone = Backbone(
        name="vgg16",
        body=Sequential("vgg16", layers),
        channels=inputs,
        head_channels=512,
        preprocessing=GIRSHICK_BGR,
        stages={name: name.replace("conv", "relu") for name in CONVOLUTIONS},
    )
    backbone.freeze(FROZEN)
    return backbone
