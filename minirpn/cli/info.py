"""``minirpn info``: what this machine offers, and why not more."""

from __future__ import annotations

import argparse

NAME = "info"
SUMMARY = "show versions, BLAS, devices and the rungs that can run here"
DESCRIPTION = "Show versions, BLAS, devices, and for each operation the rungs that can run here."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of this command: none."""


def run(args: argparse.Namespace) -> int:
    """Print what there is and return the exit status."""
    from minirpn import boxes, kernels, nn, rpn  # noqa: F401  (they register their ladders)
    from minirpn.training.environment import describe_environment

    environment = describe_environment()
    for name in ("minirpn", "python", "numpy", "platform", "machine"):
        print(f"{name:<12} {environment[name]}")
    print(f"{'cores':<12} {environment['cpus_usable']} of {environment['cpu_count']}")
    for blas in environment["blas"]:
        print(
            f"{'blas':<12} {blas['internal_api']} {blas['version']}, {blas['num_threads']} threads"
        )
    print(f"{'numba':<12} {environment['numba'] or 'not installed: slower, never different'}")
    for name, words in _gpus():
        print(f"{name:<12} {words}")
    print("rungs, slowest first:")
    for operation, rungs in kernels.available().items():
        print(f"  {operation:<20} {' '.join(rungs)}")
    return 0


def _gpus() -> list[tuple[str, str]]:
    """Return a line for each CUDA device and for cuDNN: what it is, or why it cannot be used."""
    from minirpn.devices import NO_CUPY, find_gpus

    found = find_gpus()
    if not found:
        return [("cuda", f"none: {NO_CUPY}")]
    cards = [(gpu.name, f"{_trouble(gpu.trouble, gpu.about)}{gpu.about}") for gpu in found]
    return [*cards, ("cudnn", _cudnn())]


def _cudnn() -> str:
    """Return which cuDNN there is, or why it cannot be used."""
    from minirpn.kernels.cudnn_plans import find_cudnn

    about, trouble = find_cudnn()
    return f"{_trouble(trouble, about)}{about}"


def _trouble(trouble: str | None, about: str) -> str:
    return "" if trouble is None else f"cannot be used: {trouble}{'; ' if about else ''}"
