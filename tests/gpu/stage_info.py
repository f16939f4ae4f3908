"""Stage ``info`` of tests/gpu/session.py: versions, the card, what minirpn makes of it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

PACKAGES = (
    *("numpy", "numba", "cupy-cuda12x", "cupy-cuda13x", "torch", "torchvision"),
    *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cudnn-frontend", "cuda-pathfinder"),
    *("array-api-compat", "array-api-strict", "tomli-w", "pytest", "pytest-xdist"),
    *("pytest-benchmark", "hypothesis"),
)
QUERY = "name,driver_version,memory.total,memory.used,compute_cap,clocks.max.sm,power.limit"


def main() -> int:
    print("python", sys.version)
    for name in PACKAGES:
        try:
            print(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            print(name, "not here")
    try:
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        print("nvidia-smi:", (asked.stdout + asked.stderr).strip())
    except (OSError, subprocess.TimeoutExpired) as error:
        print("nvidia-smi:", error)

    from minirpn.cli.main import main as minirpn
    from minirpn.devices import NO_CUPY, find_gpus

    status = minirpn(["info"])
    found = find_gpus()
    usable = [gpu for gpu in found if gpu.trouble is None]
    if not usable:
        print("skipped: no GPU:", "; ".join(str(gpu.trouble) for gpu in found) or NO_CUPY)
        return 77
    print(f"figure: {usable[0].about}")
    return status


if __name__ == "__main__":
    sys.exit(main())
