"""The other implementations that this machine has."""

from __future__ import annotations

import importlib
from functools import cache
from importlib import metadata
from types import ModuleType

from minirpn.devices import CPU, Device

# What is imported of each distribution.
PEERS = {
    "torch": "torch",
    "torchvision": "torchvision",
    "powerboxes": "powerboxes",
    "cython_bbox": "cython_bbox",
    "pycocotools": "pycocotools.mask",
}
# Those that compute on a GPU too, where they are built for it.
ON_DEVICES = ("torch", "torchvision")


@cache
def peer(name: str) -> ModuleType | None:
    """Return the module of a peer, or None where it is not installed or does not load."""
    try:
        return importlib.import_module(PEERS[name])
    except (ImportError, OSError, RuntimeError, AttributeError):
        # Not only ImportError: a build for another version of its own base fails in many ways.
        return None


def peer_on(name: str, device: Device) -> ModuleType | None:
    """Return the module of a peer that can compute on a device, or None where it cannot."""
    return None if why_not(name, device) else peer(name)


def why_not(name: str, device: Device) -> str | None:
    """Return why a peer has no part in what is measured on a device; None where it has."""
    module = peer(name)
    if module is None:
        return f"{name} is not here, or not working"
    if device.is_host:
        return None
    if name not in ON_DEVICES:
        return f"{name} is for the CPU"
    torch = peer("torch")
    if torch is None or not torch.cuda.is_available():
        return f"{name} has no CUDA here"
    # -1 for builds whose own operations, such as NMS, are the CPU's alone.
    if name == "torchvision" and torch.ops.torchvision._cuda_version() < 0:
        return f"{name} has no CUDA here"
    return None


def missing_peers(device: Device = CPU) -> str | None:
    """Return a line on the peers that could have a part on a device and have none."""
    names = PEERS if device.is_host else ON_DEVICES
    absent = [name for name in names if peer(name) is None]
    said = [f"not here, or not working: {', '.join(absent)}"] if absent else []
    said += [reason for name in names if name not in absent if (reason := why_not(name, device))]
    return "; ".join(said) or None


def peer_versions() -> dict[str, str | None]:
    """Return the version of each peer that loads, None for the others."""
    return {name: metadata.version(name) if peer(name) else None for name in PEERS}


def use_tf32(allowed: bool) -> None:
    """Let PyTorch on a GPU round the factors of its float32 products to 10 bits, or forbid it.

    Of itself it does so in convolutions and not in matrix products.
    """
    if torch := peer("torch"):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed
