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
    from minirpn import boxes, kernels, nn  # noqa: F401  (boxes and nn register their ladders)
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
    print(f"{'gpu':<12} {gpu_status()}")
    print("rungs, slowest first:")
    for operation, rungs in kernels.available().items():
        print(f"  {operation:<20} {' '.join(rungs)}")
    return 0


def gpu_status() -> str:
    """Return the CUDA devices that give memory, or the reason why there are none."""
    try:
        import cupy
    except ImportError:
        return "none: CuPy is not installed (pip install 'minirpn[cuda12]' or 'minirpn[cuda13]')"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        cupy.zeros(1)
        names = [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    except Exception as error:  # whatever driver, runtime or wheel find wrong, said in one line
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"none: CuPy {cupy.__version__} finds no device that works: {reason}"
    return f"{', '.join(names)} (CuPy {cupy.__version__})"
