"""No kernel reads or writes beyond an array: a wrong result need not show it, a device may stop."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ADDRESS = "-fsanitize=address"


def watching():
    """Return the library that watches memory, to be loaded before all others; None without it."""
    if shutil.which("g++") is None:
        return None
    name = "libasan.so"
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return None if found == name else found


@pytest.mark.slow
@pytest.mark.skipif(watching() is None, reason="g++ with AddressSanitizer is not installed")
def test_every_access_is_inside_an_array(tmp_path):
    library = runpy.run_path(str(HERE / "shim.py"))["build"](tmp_path, ADDRESS)
    # Python itself leaves memory behind when it ends.
    settings = {"LD_PRELOAD": watching(), "ASAN_OPTIONS": "detect_leaks=0"}
    ended = subprocess.run(
        [sys.executable, HERE / "bounds.py", library],
        env={**os.environ, **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-5_000:]
    assert "roi_align_dx" in ended.stdout.split()
