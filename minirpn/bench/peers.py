"""The other implementations that this machine has."""

from __future__ import annotations

import importlib
from functools import cache
from importlib import metadata
from types import ModuleType

# What is imported of each distribution.
PEERS = {
    "torch": "torch",
    "torchvision": "torchvision",
    "powerboxes": "powerboxes",
    "cython_bbox": "cython_bbox",
    "pycocotools": "pycocotools.mask",
}


@cache
def peer(name: str) -> ModuleType | None:
    """Return the module of a peer, or None where it is not installed or does not load."""
    try:
        return importlib.import_module(PEERS[name])
    except (ImportError, OSError, RuntimeError, AttributeError):
        # Not only ImportError: a build for another version of its own base fails in many ways.
        return None


def peer_versions() -> dict[str, str | None]:
    """Return the version of each peer that loads, None for the others."""
    return {name: metadata.version(name) if peer(name) else None for name in PEERS}
