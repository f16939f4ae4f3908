"""``minirpn info``: what this machine has, and why the rest cannot be used."""

from __future__ import annotations

import argparse

NAME = "info"
SUMMARY = "show versions, devices, models and implementations"
DESCRIPTION = """\
Show versions, BLAS, devices, the models that come with minirpn, and the implementations of each
operation that can run here.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command: none."""


def run(args: argparse.Namespace) -> int:
    """Print versions, devices, models and implementations, and return the exit status."""
    from minirpn import accel
    from minirpn.cli.model import described
    from minirpn.training.environment import describe_environment
    from minirpn.training.stored import read_stored, shipped_models

    environment = describe_environment()
    for name in ("minirpn", "python", "numpy", "platform", "machine"):
        print(f"{name:<12} {environment[name]}")
    print(f"{'cores':<12} {environment['cpus_usable']} of {environment['cpu_count']}")
    for blas in environment["blas"]:
        print(
            f"{'blas':<12} {blas['internal_api']} {blas['version']}, {blas['num_threads']} threads"
        )
    print(f"{'numba':<12} {_numba(environment['numba'])}")
    for name, words in _gpus():
        print(f"{name:<12} {words}")
    for name in shipped_models():
        print(f"{'model':<12} {described(read_stored(name))}")
    print("implementations, slowest first:")
    for operation, names in accel.available().items():
        print(f"  {operation:<20} {' '.join(names)}")
    return 0


def _numba(version: str | None) -> str:
    """Return the version of numba, or why it cannot be used."""
    from minirpn.accel.numba.compiled import compiler_trouble

    if trouble := compiler_trouble():
        known = f"{version}, " if version else ""
        return f"{known}cannot be used: {trouble}; slower code runs, and last digits may differ"
    return f"{version}"


def _gpus() -> list[tuple[str, str]]:
    """Return name and description of each CUDA device and of cuDNN, or why it cannot be used."""
    from minirpn.accel.cuda.cudnn_plans import find_cudnn
    from minirpn.devices import NO_CUPY, find_gpus

    gpus = find_gpus()
    if not gpus:
        return [("cuda", f"none: {NO_CUPY}")]
    parts = [*((gpu.name, gpu.about, gpu.trouble) for gpu in gpus), ("cudnn", *find_cudnn())]
    lines = []
    for name, about, trouble in parts:
        if trouble is not None:
            about = f"cannot be used: {trouble}{'; ' if about else ''}{about}"
        lines.append((name, about))
    return lines
