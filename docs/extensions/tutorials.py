"""The tutorials as pages: each solved and executed, once for each state of notebook and library.

An executed notebook is kept with a checksum of all it rests on, so that the documentation and the
test of the solutions share one execution (`executed`).
"""

from __future__ import annotations

import copy
import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from docs.extensions import DOCS, ROOT

FOLDER = DOCS / "tutorials"
SECONDS = 90
AT_ONCE = 2
_WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDGETS = "application/vnd.jupyter.widget-state+json"
# What a result may depend on besides notebook and library.
_PACKAGES = ("numpy", "matplotlib", "numba", "ipykernel", "hypothesis", "ipywidgets")


def sources() -> list[Path]:
    """Return the notebooks in their order."""
    return sorted((ROOT / "tutorials").glob("*.ipynb"))


def has_tag(cell: Any, name: str) -> bool:
    """Tell whether a cell carries a tag."""
    return name in cell.metadata.get("tags", [])


def solved(notebook: Any) -> Any:
    """Return a copy with each solution, folded, in the place of its stub, which is shown above."""
    result = copy.deepcopy(notebook)
    cells: list[Any] = []
    for cell in result.cells:
        if has_tag(cell, "exercise"):
            stub = f"*Exercise, as it is given:*\n```python\n{cell.source}\n```"
            cells += [nbformat.v4.new_markdown_cell(stub, id=f"{cell.id}-stub"), cell]
            exercise = cell
        elif has_tag(cell, "solution"):
            exercise.source = cell.source
            exercise.metadata.tags.append("hide-input")
        else:
            cells.append(cell)
    result.cells = cells
    return result


def executed(path: Path, kept: Path = FOLDER) -> Any:
    """Return a solved notebook with its outputs; run it only if nothing kept will do.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed. Nothing is kept then.
    """
    source = nbformat.read(path, as_version=4)
    key = _checksum(path)
    target = kept / path.name
    if target.exists():
        result = nbformat.read(target, as_version=4)
        if result.metadata.get("checksum") == key:
            return result
    result = solved(source)
    folder = str(path.parent)
    NotebookClient(
        result, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
    ).execute()
    _freeze_widgets(result)
    result.metadata["checksum"] = key
    kept.mkdir(parents=True, exist_ok=True)
    nbformat.write(result, target)
    return result


def _checksum(path: Path) -> str:
    """Return a checksum of a notebook, the library, this file and the versions of what they use."""
    total = hashlib.sha256(path.read_bytes())
    for source in [*sorted((ROOT / "minirpn").rglob("*.py")), Path(__file__)]:
        total.update(str(source.relative_to(ROOT)).encode() + source.read_bytes())
    versions = [sys.version, *(f"{name} {metadata.version(name)}" for name in _PACKAGES)]
    total.update("\n".join(versions).encode())
    return total.hexdigest()


def _freeze_widgets(notebook: Any) -> None:
    """Put what a widget shows at first in its place: a page has no kernel behind its sliders."""
    state = notebook.metadata.pop("widgets", {}).get(_WIDGETS, {}).get("state", {})
    shown = [
        output for model in state.values() for output in model["state"].get("outputs", [])
    ]  # fmt: skip
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        if any(_WIDGET in output.get("data", {}) for output in outputs):
            still = [output for output in outputs if _WIDGET not in output.get("data", {})]
            cell.outputs = still + [nbformat.from_dict(output) for output in shown]


def write_pages(*, execute: bool) -> None:
    """Write every tutorial, executed or not, and take away those that have gone."""
    notebooks = sources()
    for stale in set(FOLDER.glob("*.ipynb")) - {FOLDER / path.name for path in notebooks}:
        stale.unlink()
    if execute:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(executed, notebooks))
        return
    for path in notebooks:
        if not (FOLDER / path.name).exists():
            nbformat.write(solved(nbformat.read(path, as_version=4)), FOLDER / path.name)


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx write the tutorials first; ``-D tutorials_execute=0`` runs none of them."""
    app.add_config_value("tutorials_execute", True, "env", types=[bool])
    app.connect(
        "builder-inited", lambda app: write_pages(execute=bool(int(app.config.tutorials_execute)))
    )
    return {"parallel_read_safe": True}
