"""What pictures, pages and outputs that are kept between builds depend on."""

from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from pathlib import Path

from docs.extensions import ROOT

_PACKAGES = ("hypothesis", "ipykernel", "ipywidgets", "matplotlib", "numba", "numpy", "pillow")


def library_checksum(*more: Path) -> str:
    """Return a checksum of minirpn with its models and samples, of what it runs on, and of `more`.

    What it runs on is Python, and the packages that a result may depend on. `more` are files, which
    may lie anywhere: where does not matter.
    """
    total = hashlib.sha256()
    files = (path for path in (ROOT / "minirpn").rglob("*") if path.is_file())
    for path in sorted(path for path in files if "__pycache__" not in path.parts):
        total.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for path in more:
        total.update(path.name.encode() + path.read_bytes())
    versions = [sys.version, *(f"{name} {metadata.version(name)}" for name in _PACKAGES)]
    total.update("\n".join(versions).encode())
    return total.hexdigest()
