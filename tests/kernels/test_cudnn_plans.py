"""cuDNN itself takes the graphs, and has plans for them on an H100, without one.

It needs a cuDNN of which the description of a device is known (CONTRIBUTING.md says which), and
skips with the reason elsewhere.
"""

import importlib.util
import json
import runpy
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from minirpn.accel.cuda.cudnn_plans import WORKSPACE_BYTES

PROGRAM = Path(__file__).with_name("plan_without_device.py")
# The frontends after it ask for a device even if one is described.
FRONTEND = "1.14."


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """What the program prints, as lists."""
    if importlib.util.find_spec("cudnn") is None:
        pytest.skip("nvidia-cudnn-frontend is not installed")
    version = metadata.version("nvidia-cudnn-frontend")
    if not version.startswith(FRONTEND):
        pytest.skip(f"nvidia-cudnn-frontend {version} plans beside a device only")
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: nothing can stand in for the driver")
    folder = tmp_path_factory.mktemp("driver")
    source, driver = folder / "driver.cpp", folder / "libcuda.so.1"
    source.write_text(runpy.run_path(str(PROGRAM))["DRIVER"])
    build = ["g++", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", source, "-o", driver]
    subprocess.run(build, check=True)
    ended = subprocess.run([sys.executable, PROGRAM, driver], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]


def test_there_is_a_plan_for_every_convolution(plans):
    assert len(plans) == 6 * len(runpy.run_path(str(PROGRAM))["CONVOLUTIONS"])
    assert max(workspace for _, _, workspace, *_ in plans) <= WORKSPACE_BYTES


def test_the_output_and_dx_are_computed_without_a_copy_of_the_image(plans):
    # What cuDNN needs to turn the largest image, and no less, around: the sign of a wrong layout.
    largest = max(x for *_, x, _ in plans)
    for result, _, workspace, x, _ in plans:
        if x == largest and result in ("y", "dx"):
            assert workspace < x


def test_arrays_are_told_apart(plans):
    assert {len(set(uids)) for *_, uids in plans} == {3}
