"""Extensions of Sphinx that make pages from the code, so that the pages always agree with it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def storeys() -> list[list[str]]:
    """Return the units of minirpn storey by storey, from the architecture test."""
    source = (ROOT / "tests/architecture/test_layers.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STOREYS":
            return [sorted(units) for units in ast.literal_eval(node.value)]
    raise LookupError("tests/architecture/test_layers.py: no STOREYS")


def write(path: Path, text: str) -> None:
    """Write a page if its text has changed: Sphinx reads a newer file again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def heading(title: str, underline: str) -> str:
    """Return a heading in reStructuredText."""
    return f"{title}\n{underline * len(title)}\n"
