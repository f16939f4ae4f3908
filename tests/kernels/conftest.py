"""The kernels compiled for the CPU, once a session."""

import runpy
import shutil
from pathlib import Path

import pytest

_SHIM = runpy.run_path(str(Path(__file__).with_name("shim.py")))
_EQUAL = runpy.run_path(str(Path(__file__).with_name("equal.py")))


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The path of the kernels in a library for the CPU."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the kernels cannot be compiled for the CPU")
    return _SHIM["build"](tmp_path_factory.mktemp("kernels"))


@pytest.fixture(
    scope="session", params=["forwards", pytest.param("backwards", marks=pytest.mark.slow)]
)
def machine(library, request):
    """The CPU as a device, whose threads come in one order or the other: no result may tell."""
    launch = _SHIM["OnCpu"](library, backwards=request.param == "backwards")
    return _EQUAL["Machine"](lambda array: array, launch, memory=_SHIM["poisoned"])
