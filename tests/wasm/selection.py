"""Which tests run in the browser's Python, by a rule that a new test file falls under by itself.

The files of `FOLDERS` that test the layers 0 to 2 alone, which are a library by themselves, and
with array code alone: they import nothing of minirpn above the layers, nothing that compiles, no
threads and no processes, and use no files.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.test_layers import STOREYS, unit_of

ROOT = Path(__file__).parents[2]
FOLDERS = ("unit", "property", "gradcheck", "ladders", "worlds")
# `testing` has the strategies that draw boxes and arrays.
LAYERS = {*STOREYS[0], *STOREYS[1], *STOREYS[2], "testing"}
FIXTURES = {"tmp_path", "shared"}  # folders
MODULES = {"subprocess", "threading", "minirpn.accel.numba"}
# The examples in the docstrings of the layers that a reader meets first.
DOCTESTS = ("minirpn/boxes.py", "minirpn/loops.py", "minirpn/nn", "minirpn/rpn")
# Tests of chosen files that cannot be as elsewhere, each with its reason.
DESELECTED = {
    "tests/unit/test_budget.py::test_json_nested_deep": "deep recursion ends a WebAssembly machine",
    "tests/ladders/test_libraries.py::test_the_array_code_runs_on_any_library": "array-api-strict",
}
# array-api-strict, which stands in for a GPU, hands positions of 64 bits to NumPy as they are.
KEYWORDS = "not fake-gpu"


def reason_against(path: Path) -> str | None:
    """Return why a test file is left out, or None if it runs."""
    imported, parameters = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            parameters |= {arg.arg for arg in node.args.args}
    for name in sorted(imported):
        if any(f"{name}.".startswith(f"{module}.") for module in MODULES):
            return f"imports {name}"
        if name.startswith("minirpn.") and unit_of(name.removeprefix("minirpn.")) not in LAYERS:
            return f"imports {name}"
    return f"uses {min(parameters & FIXTURES)}" if parameters & FIXTURES else None


def chosen() -> list[str]:
    """Return the test files that run, relative to the root of the repository."""
    paths = [path for name in FOLDERS for path in sorted((ROOT / "tests" / name).glob("test_*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in paths if reason_against(path) is None]
