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
    {
        "errors",
        "launcher",
        "text",
        "budget",
        "fields",
        "console",
        "_typing",
        "_checks",
        "backend",
        "devices",
        "files",
        "_positions",
        "workers",
        "dispatch",
    },
    {"boxes", "box_gradients", "nn", "loops", "accel"},
    {"rpn"},
    {"backbones", "weights", "detector"},
    {"data", "evaluation", "training", "viz", "report", "explain", "export", "testing", "samples"},
    {"studies", "results", "lessons"},
    {"models", "bench", "cli", "__main__"},
]
STOREY_OF = {name: level for level, names in enumerate(STOREYS) for name in names}
# A file or package belongs to the unit of its top-level name, but for these parts of accel. What
# stands above functions of nn lies below them: it imports what is above itself only when that
# first runs. The layers of nn use what `fused` makes of two of its pairs.
UNITS_IN_ACCEL = {
    "": "dispatch",  # accel/__init__.py
    "dispatch": "dispatch",
    "implementation": "dispatch",
    "table": "dispatch",
    "layout": "dispatch",
    "fused": "nn",
}
SOURCES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def unit_of(name: str) -> str:
    """Return the unit of a module or an object, given its name such as ``nn.conv.conv2d``."""
    top, _, rest = name.partition(".")
    return UNITS_IN_ACCEL.get(rest.partition(".")[0], "accel") if top == "accel" else top


def name_of(path: Path) -> str:
    """Return the name of a module, without ``minirpn.``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_units(path: Path) -> set[str]:
    """Return the units of minirpn that a file imports, at any depth of its code.

    In the lowest part of accel, what its functions import when they run does not count.
    """
    names: list[str] = []
    tree, name = ast.parse(path.read_text()), name_of(path)
    is_lazy = name.startswith("accel") and unit_of(name) == "dispatch"
    for node in tree.body if is_lazy else ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = (name.removeprefix("minirpn.") for name in names if name.startswith("minirpn."))
    return {unit_of(name) for name in ours} & set(STOREY_OF)


@pytest.fixture(scope="module")
def edges() -> dict[str, dict[str, Path]]:
    """Each unit with the units it imports, and a file that does."""
    found: dict[str, dict[str, Path]] = {name: {} for name in STOREY_OF}
    for path in SOURCES:
        unit = unit_of(name_of(path))
        assert unit in STOREY_OF, f"{path}: {unit} has no storey"
        found[unit] |= dict.fromkeys(imported_units(path) - {unit}, path)
    return found


def test_imports_go_downward(edges):
    upward = [
        f"{path.relative_to(PACKAGE)} reaches up to {target}"
        for unit, targets in edges.items()
        for target, path in targets.items()
        if STOREY_OF[target] > STOREY_OF[unit]
    ]
    assert upward == []


def test_units_of_one_storey_do_not_import_each_other_in_a_circle(edges):
    remaining = {unit: set(targets) for unit, targets in edges.items()}
    while remaining:
        leaves = [name for name, targets in remaining.items() if not targets & set(remaining)]
        assert leaves, f"import circle among {sorted(remaining)}"
        for name in leaves:
            del remaining[name]


def test_importing_loads_nothing_heavy():
    code = "import minirpn.cli.main; import sys; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"matplotlib", "numba", "cupy", "PIL", "tqdm", "torch", "numpy"}
    assert not heavy & set(loaded)
