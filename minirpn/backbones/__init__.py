"""Backbones: what turns an image into the features the RPN slides over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn.backbones.base import Backbone, CellGeometry, cell_geometry, stage_of
from minirpn.backbones.preprocessing import CAFFE_BGR, CENTERED_RGB, GIRSHICK_BGR, Preprocessing
from minirpn.backbones.squeezenet import squeezenet
from minirpn.backbones.tiny import tiny
from minirpn.backbones.vgg16 import vgg16
from minirpn.backbones.zf import zf
from minirpn.errors import InputError

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "squeezenet": squeezenet,
    "tiny": tiny,
    "vgg16": vgg16,
    "zf": zf,
}
"""What ``--backbone`` knows: by name, the function that builds it from `rng`."""

__all__ = [
    "BACKBONES",
    "CAFFE_BGR",
    "CENTERED_RGB",
    "GIRSHICK_BGR",
    "Backbone",
    "CellGeometry",
    "Preprocessing",
    "build_backbone",
    "cell_geometry",
    "squeezenet",
    "stage_of",
    "tiny",
    "vgg16",
    "zf",
]


def build_backbone(name: str, *, rng: np.random.Generator | None) -> Backbone:
    """Return a new backbone by name, its weights drawn from `rng`, or zero without one.

    Raises
    ------
    InputError
        There is no backbone of this name.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone {name!r}: unknown; there are {', '.join(sorted(BACKBONES))}")
    return BACKBONES[name](rng=rng)
