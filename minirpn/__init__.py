"""minirpn: the Region Proposal Network in NumPy.

Every formula of the paper (Ren, He, Girshick, Sun: *Faster R-CNN*, sections 3.1-3.2) is one short
function here, every gradient is hand-written and checked, and the same source runs on the CPU and
on a GPU. Submodules are imported when they are first touched, so that ``import minirpn`` is quick.

>>> import minirpn
>>> minirpn.rpn.base_anchors(minirpn.rpn.AnchorConfig()).shape
(9, 4)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

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
    "nn",
    "report",
    "rpn",
    "samples",
    "testing",
    "training",
    "viz",
)

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"minirpn.{name}")
    raise AttributeError(f"module 'minirpn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
