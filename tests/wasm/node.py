"""Run pytest in the browser's Python: Node, a Pyodide distribution, and packages without C."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tests.wasm.selection import DESELECTED, DOCTESTS, KEYWORDS, ROOT, chosen

# What the tests need that a Pyodide distribution lacks; all are written in Python.
PACKAGES = (
    "array-api-compat",
    "array-api-strict",
    "hypothesis",
    "iniconfig",
    "packaging",
    "pluggy",
    "pygments",
    "pytest",
    "shtab",
    "sortedcontainers",
    "tomli-w",
    "tqdm",
)
# Where the site with the tutorials keeps the wheels that it downloads: of a compiled package, one
# without C.
WHEELS = ROOT / "docs" / "_build" / "wheels"
ADVICE = f"pip download --no-deps -d {WHEELS.relative_to(ROOT).as_posix()} hypothesis==6.155.7"
HERE = Path(__file__).parent


class LackingError(Exception):
    """What is missing here to run the tests, in one line."""


def pyodide() -> Path:
    """Return the folder of a Pyodide distribution.

    Raises
    ------
    LackingError
        There is none.
    """
    named, shared = os.environ.get("MINIRPN_PYODIDE"), os.environ.get("MINIRPN_SHARED")
    if not named and not shared:
        raise LackingError("MINIRPN_PYODIDE names no folder of a Pyodide distribution")
    folder = Path(named) if named else Path(str(shared), "pyodide")
    if not (folder / "pyodide.mjs").is_file():
        raise LackingError(f"{folder}: not a Pyodide distribution")
    return folder.resolve()


def put_packages(target: Path) -> None:
    """Copy the packages of `PACKAGES` into a folder.

    Raises
    ------
    LackingError
        One is not here, or is compiled for this machine.
    """
    for name in PACKAGES:
        wheels = sorted(WHEELS.glob(f"{name.replace('-', '_')}-*-none-any.whl"))
        if wheels:
            with zipfile.ZipFile(wheels[-1]) as archive:
                archive.extractall(target)
            continue
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise LackingError(f"{name} is not installed") from None
        if "Root-Is-Purelib: true" not in (installed.read_text("WHEEL") or ""):
            raise LackingError(
                f"{name} {installed.version} is compiled; a wheel that is not: {ADVICE}"
            )
        for file in installed.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                copy = target / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(installed.locate_file(file), copy)


def run(arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run pytest there; without arguments, on all that `selection` chooses and on `in_browser.py`.

    Raises
    ------
    LackingError
        Something is missing here.
    """
    node = shutil.which("node")
    if node is None:
        raise LackingError("node is not installed")
    folder = pyodide()
    if not arguments:
        deselected = [f"--deselect={name}" for name in DESELECTED]
        files = [*chosen(), *DOCTESTS, (HERE / "in_browser.py").relative_to(ROOT).as_posix()]
        arguments = [
            "-q",
            "--doctest-modules",
            *deselected,
            "-k",
            KEYWORDS,
            "-m",
            "not slow",
            *files,
        ]
    with tempfile.TemporaryDirectory() as packages:
        put_packages(Path(packages))
        places = map(str, (HERE / "run.mjs", folder, packages, ROOT, HERE / "inside.py"))
        return subprocess.run([node, *places, *arguments], text=True, capture_output=True)
