"""minirpn: the Region Proposal Network in NumPy.

>>> import minirpn
>>> model = minirpn.load("shapes")  # a model that comes with minirpn, a run, a checkpoint
>>> found = model.propose("photo.jpg").top(10)  # doctest: +SKIP
>>> run = minirpn.train(voc="VOCdevkit")  # doctest: +SKIP

Every formula of the paper (Ren, He, Girshick, Sun: *Faster R-CNN*, sections 3.1-3.2) is one short
function here, every gradient is hand-written and checked, and the same source runs on the CPU and
on a GPU. Submodules are imported when they are first touched, so that ``import minirpn`` is quick.

>>> minirpn.rpn.base_anchors(minirpn.rpn.AnchorConfig()).shape
(9, 4)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which do not run __getattr__
    from minirpn import accel as accel
    from minirpn import backbones as backbones
    from minirpn import backend as backend
    from minirpn import box_gradients as box_gradients
    from minirpn import boxes as boxes
    from minirpn import data as data
    from minirpn import detector as detector
    from minirpn import errors as errors
    from minirpn import evaluation as evaluation
    from minirpn import explain as explain
    from minirpn import models as models
    from minirpn import nn as nn
    from minirpn import report as report
    from minirpn import results as results
    from minirpn import rpn as rpn
    from minirpn import samples as samples
    from minirpn import studies as studies
    from minirpn import testing as testing
    from minirpn import training as training
    from minirpn import viz as viz
    from minirpn import weights as weights
    from minirpn.models import Model, Run, load, train
    from minirpn.results import Detections, Proposals

__version__ = "0.1.0"

# The door: the module of each name.
_DOOR = {
    "load": "models",
    "train": "models",
    "Model": "models",
    "Run": "models",
    "Proposals": "results",
    "Detections": "results",
}

_SUBMODULES = (
    "accel",
    "backbones",
    "backend",
    "box_gradients",
    "boxes",
    "data",
    "detector",
    "errors",
    "evaluation",
    "explain",
    "models",
    "nn",
    "report",
    "results",
    "rpn",
    "samples",
    "studies",
    "testing",
    "training",
    "viz",
    "weights",
)

__all__ = [
    "load",
    "train",
    "Model",
    "Run",
    "Proposals",
    "Detections",
    "__version__",
    *_SUBMODULES,
]


def __getattr__(name: str) -> Any:
    if name in _DOOR:
        return getattr(importlib.import_module(f"minirpn.{_DOOR[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"minirpn.{name}")
    raise AttributeError(f"module 'minirpn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
