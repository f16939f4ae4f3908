"""What the comparisons with PyTorch share."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

collect_ignore = ["twins.py"]  # it imports PyTorch at once, and holds no test


@pytest.fixture(scope="session")
def twin() -> Callable:
    """Make PyTorch's twin of a backbone by name and dtype; see twins.py."""
    pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
    return runpy.run_path(str(Path(__file__).with_name("twins.py")))["make"]
