"""Backbones: what turns an image into the features the RPN slides over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn.backbones.base import Backbone, CellGeometry, cell_geometry, stage_of
from minirpn.backbones.preprocessing import CAFFE_BGR, CENTERED_RGB, Preprocessing
from minirpn.backbones.squeezenet import squeezenet
from minirpn.backbones.tiny import tiny
from minirpn.errors import InputError

BACKBONES: dict[str, Callable[..., Backbone]] = {"squeezenet": squeezenet, "tiny": tiny}

__all__ = [
    "BACKBONES",
    "CAFFE_BGR",
    "CENTERED_RGB",
    "Backbone",
    "CellGeometry",
    "Preprocessing",
    "build_backbone",
    "cell_geometry",
    "squeezenet",
    "stage_of",
    "tiny",
]


def build_backbone(name: str, *, rng: np.random.Generator) -> Backbone:
    """Return a new backbone by name.

    Raises
    ------
    InputError
        There is no backbone of this name.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone {name!r}: unknown; there are {', '.join(sorted(BACKBONES))}")
    return BACKBONES[name](rng=rng)
