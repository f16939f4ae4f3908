"""How pixels were prepared when known weights were trained.

The order of the channels, the mean and the scale belong to the weights: the same network gets other
numbers from Caffe than from PyTorch. So they are written in the file, or known by its name or its
checksum, or given by the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from minirpn.backbones.preprocessing import CAFFE_BGR, CENTERED_RGB, GIRSHICK_BGR, Preprocessing

PRESETS: Mapping[str, Preprocessing] = {
    # torchvision and timm: (x / 255 - mean) / std, here on the scale 0 to 255.
    "torchvision": Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    # py-faster-rcnn and all that is trained with it.
    "girshick": GIRSHICK_BGR,
    # The authors' own VGG-16, and Keras' copies of it.
    "vgg": Preprocessing("BGR", (103.939, 116.779, 123.68)),
    # The same two, with the channels of the first kernels turned round, as ChainerCV keeps them.
    "girshick-rgb": Preprocessing("RGB", GIRSHICK_BGR.mean[::-1]),
    "vgg-rgb": Preprocessing("RGB", (123.68, 116.779, 103.939)),
    # SqueezeNet's authors, rounded.
    "caffe": CAFFE_BGR,
    # Caffe's VGG-16 turned to RGB for SSD in PyTorch.
    "ssd": Preprocessing("RGB", (123.0, 117.0, 104.0)),
    # minirpn's own networks, trained from random weights.
    "centred": CENTERED_RGB,
}
"""How pixels are prepared for the weights of one origin, by the name of ``--preset``."""

# The first eight digits of the SHA-256, which torchvision puts into its names.
_BY_SHA256 = {"397923af": "torchvision", "b8a52dc0": "torchvision", "88682ab5": "ssd"}

# In this order: the first pattern that fits the lower-case name of the file.
_BY_NAME = (
    ("*amdegroot*", "ssd"),
    ("vgg16_reducedfc*", "ssd"),
    ("vgg16_caffe*", "girshick"),
    ("vgg16.v2*.caffemodel", "girshick"),
    ("zf.v2*.caffemodel", "girshick"),
    ("*faster_rcnn*.caffemodel", "girshick"),
    ("*_rpn*.caffemodel", "girshick"),
    # ChainerCV's. Chainer's own VGG_ILSVRC_16_layers.npz keeps the authors' order.
    ("faster_rcnn_vgg16_voc*.npz", "girshick-rgb"),
    ("vgg16_imagenet_convert*.npz", "vgg-rgb"),
    ("ssd_vgg16_imagenet_convert*.npz", "ssd"),
    ("vgg_ilsvrc_16_layers*", "vgg"),
    ("vgg16_weights_tf*", "vgg"),
    ("squeezenet_v1?1*", "caffe"),
    ("vgg16-*.pth", "torchvision"),
    ("squeezenet1_1-*.pth", "torchvision"),
    ("vgg16*tv_in1k*", "torchvision"),
)


class Known(NamedTuple):
    """How to prepare the pixels, and why that is known."""

    preprocessing: Preprocessing
    reason: str


def as_asked(given: Preprocessing) -> Known:
    """Return how pixels are prepared if a user says so, with the name of the preset."""
    names = [name for name, preset in PRESETS.items() if preset == given]
    return Known(given, f"preset {names[0]}, as asked" if names else "as asked")


def known_preprocessing(path: Path, sha256: str, metadata: Mapping[str, Any]) -> Known | None:
    """Return how pixels are prepared for a `WeightsFile`; None if that is unknown.

    Raises
    ------
    ValueError
        The metadata makes no sense.
    """
    if metadata:
        try:
            mean, std = _triple(metadata["mean"]), _triple(metadata["std"])
            preprocessing = Preprocessing(str(metadata["order"]), mean, std)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"metadata: {error}") from error
        return Known(preprocessing, "written in the file")
    if sha256[:8] in _BY_SHA256:
        name = _BY_SHA256[sha256[:8]]
        return Known(PRESETS[name], f"preset {name}, by the file's checksum")
    for pattern, name in _BY_NAME:
        if fnmatch(path.name.lower(), pattern):
            return Known(PRESETS[name], f"preset {name}, by the file's name")
    return None


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = values
    return float(first), float(second), float(third)
