"""The house keeps its storeys: imports go downward, and importing is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minirpn

PACKAGE = Path(minirpn.__file__).parent
STOREYS = [
    {"errors", "_typing", "_checks", "backend", "devices", "files"},
    {"kernels", "boxes", "box_gradients"},
    {"nn"},
    {"rpn"},
    {"backbones", "weights", "detector"},
    {"data", "evaluation", "training", "viz", "report", "explain", "testing", "bench"},
    {"studies"},
    {"cli", "__main__"},
]
STOREY_OF = {name: level for level, names in enumerate(STOREYS) for name in names}


def unit_of(path: Path) -> str:
    """Return the top-level module or package a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_units(path: Path) -> set[str]:
    """Return the top-level units of minirpn that a file imports, at any depth of its code."""
    units = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        units |= {name.split(".")[1] for name in names if name.startswith("minirpn.")}
    return units & set(STOREY_OF)


SOURCES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path):
    unit = unit_of(path)
    assert unit in STOREY_OF, f"{unit} has no storey"
    for imported in imported_units(path):
        assert STOREY_OF[imported] <= STOREY_OF[unit], f"{unit} reaches up to {imported}"


def test_units_of_one_storey_do_not_import_each_other_in_a_circle():
    edges: dict[str, set[str]] = {name: set() for name in STOREY_OF}
    for path in SOURCES:
        edges[unit_of(path)] |= imported_units(path) - {unit_of(path)}
    remaining = dict(edges)
    while remaining:
        leaves = [name for name, targets in remaining.items() if not targets & set(remaining)]
        assert leaves, f"import circle among {sorted(remaining)}"
        for name in leaves:
            del remaining[name]


@pytest.mark.parametrize("statement", ["import minirpn", "import minirpn.cli.main"])
def test_importing_loads_nothing_heavy(statement: str):
    code = f"{statement}; import sys; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"matplotlib", "numba", "cupy", "PIL", "tqdm", "torch", "numpy"}
    assert not heavy & set(loaded)
