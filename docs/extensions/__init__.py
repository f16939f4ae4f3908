"""What Sphinx runs before it reads: pages made from the code, so that they cannot drift from it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def storeys() -> list[list[str]]:
    """Return the units of minirpn storey by storey, as the architecture test holds them."""
    source = (ROOT / "tests/architecture/test_layers.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STOREYS":
            return [sorted(units) for units in ast.literal_eval(node.value)]
    raise LookupError("tests/architecture/test_layers.py: no STOREYS")


def write(path: Path, text: str) -> None:
    """Write a page, unless it stands there already: Sphinx reads again what is newer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def heading(title: str, underline: str) -> str:
    """Return a heading in reStructuredText."""
    return f"{title}\n{underline * len(title)}\n"
