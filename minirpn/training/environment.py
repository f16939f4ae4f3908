"""Versions and machine, as ``env.json`` and ``minirpn info`` tell them."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

import minirpn
from minirpn.devices import CPU, Device
from minirpn.training.distributed import ALONE, Ranks

PACKAGES = ("numpy", "numba", "pillow", "matplotlib", "array-api-compat", "threadpoolctl")
GPU_PACKAGES = (
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-frontend",
)


def describe_environment(device: Device = CPU, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Return versions, platform, cores, BLAS, device and command line, as plain data for JSON.

    With several ranks also what they are: hosts, MPI, what adds gradients up.
    """
    return {
        "minirpn": minirpn.__version__,
        "python": platform.python_version(),
        **package_versions(PACKAGES),
        **{name: version for name, version in package_versions(GPU_PACKAGES).items() if version},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "cpus_usable": usable_cpus(),
        "blas": describe_blas(),
        "device": {"name": device.name, "about": device.about, "tf32": device.tf32},
        **({} if ranks.is_alone else {"ranks": ranks.describe()}),
        "command": sys.argv,
    }


def package_versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Return the installed version of each distribution, None where there is none."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def usable_cpus() -> int:
    """Return how many cores this process may use; containers allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_blas() -> list[dict[str, Any]]:
    """Return name, version and threads of each BLAS library that NumPy has loaded."""
    from threadpoolctl import threadpool_info

    wanted = ("internal_api", "version", "num_threads", "architecture")
    return [
        {key: library.get(key) for key in wanted}
        for library in threadpool_info()
        if library.get("user_api") == "blas"
    ]
