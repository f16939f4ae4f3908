"""The tutorials as pages: each solved and executed, once for each state of notebook and library.

An executed notebook is kept with a checksum of everything it depends on, so that the documentation
and the test of the solutions share one execution (`executed`).
"""

from __future__ import annotations

import copy
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

from docs.extensions import DOCS, ROOT, write
from docs.extensions.checksum import library_checksum

FOLDER = DOCS / "tutorials"
SECONDS = 90
AT_ONCE = 2
_WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDGETS = "application/vnd.jupyter.widget-state+json"
_PAGE = re.compile(r'href="(\.\./)?(?:docs/)?([\w/]+)\.(?:ipynb|md)"')
_CHAPTER = re.compile(r"\]\((\w+)\.ipynb\)")
_PROGRAM = re.compile(r"\[([^\]]+)\]\(\w+\.py\)")


def sources() -> list[Path]:
    """Return the notebooks in their order."""
    return sorted((ROOT / "tutorials").glob("*.ipynb"))


def companions() -> list[Path]:
    """Return the files beside the notebooks that they read: drawings and recordings."""
    return [
        path
        for path in sorted((ROOT / "tutorials").iterdir())
        if path.suffix in {".py", ".npz"} and path.is_file()
    ]


def copy_companions(folder: Path) -> None:
    """Copy what the notebooks read into the folder in which one will run."""
    for path in companions():
        shutil.copy(path, folder)


def has_tag(cell: Any, name: str) -> bool:
    """Tell whether a cell carries a tag."""
    return name in cell.metadata.get("tags", [])


def solved(notebook: Any) -> Any:
    """Return a copy in which each solution, folded, replaces its stub; the stub is shown above."""
    result = copy.deepcopy(notebook)
    cells: list[Any] = []
    for cell in result.cells:
        if has_tag(cell, "exercise"):
            stub = f"*Exercise, as it is given:*\n```python\n{cell.source}\n```"
            cells += [nbformat.v4.new_markdown_cell(stub, id=f"{cell.id}-stub"), cell]
            exercise = cell
        elif has_tag(cell, "solution"):
            exercise.source = re.sub(r"\bour_(?=\w)", "my_", cell.source)
            exercise.metadata.tags.append("hide-input")
        else:
            cells.append(cell)
    result.cells = cells
    return result


def executed(path: Path, kept: Path = FOLDER) -> Any:
    """Return a solved notebook with its outputs; run it only if no kept execution is valid.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed. Nothing is kept then.
    """
    result = _kept(path, kept)
    if result is not None:
        return result
    result = solved(nbformat.read(path, as_version=4))
    with TemporaryDirectory() as folder:  # a learner's progress beside the notebooks stays as it is
        copy_companions(Path(folder))
        client = NotebookClient(
            result, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    _freeze_widgets(result)
    _link_pages(result)
    result.metadata["checksum"] = _checksum(path)
    kept.mkdir(parents=True, exist_ok=True)
    nbformat.write(result, kept / path.name)
    return result


def _kept(path: Path, kept: Path) -> Any | None:
    """Return the kept execution, unless something it depends on has changed."""
    target = kept / path.name
    if not target.exists():
        return None
    result = nbformat.read(target, as_version=4)
    return result if result.metadata.get("checksum") == _checksum(path) else None


def _checksum(path: Path) -> str:
    """Return a checksum of a notebook, of what it reads and imports, and of this file."""
    return library_checksum(path, *companions(), Path(__file__))


def _freeze_widgets(notebook: Any) -> None:
    """Replace each widget by what it shows first: a page has no kernel for its sliders."""
    models = notebook.metadata.pop("widgets", {}).get(_WIDGETS, {}).get("state", {})
    for cell in notebook.cells:
        outputs = []
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(_WIDGET)
            outputs += [output] if view is None else _shown_by(view["model_id"], models)
        if "outputs" in cell:
            cell.outputs = outputs


def _shown_by(model_id: str, models: Any) -> list[Any]:
    """Return the outputs inside a widget and its children."""
    state = models.get(model_id.removeprefix("IPY_MODEL_"), {}).get("state", {})
    shown = [nbformat.from_dict(output) for output in state.get("outputs", [])]
    for child in state.get("children", []):
        shown += _shown_by(child, models)
    return shown


def _link_pages(notebook: Any) -> None:
    """Make links between files of the project links between pages of the documentation.

    In text Sphinx finds the page of a file; in the output of a cell nothing does.
    """
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = cell.source.replace("](../docs/", "](../")
            cell.source = _PROGRAM.sub(r"\1", text)  # programs are no pages
        for output in cell.get("outputs", []):
            if "text/markdown" in (data := output.get("data", {})):
                data["text/markdown"] = _CHAPTER.sub(r"](\1.html)", data["text/markdown"])
            if "text/html" in (data := output.get("data", {})):
                data["text/html"] = _PAGE.sub(r'href="\1\2.html"', data["text/html"])


def write_pages(*, execute: bool) -> None:
    """Write every tutorial, executed or not, and delete pages without a notebook."""
    notebooks = sources()
    for stale in set(FOLDER.glob("*.ipynb")) - {FOLDER / path.name for path in notebooks}:
        stale.unlink()
    if execute:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(executed, notebooks))
        return
    for path in notebooks:
        if _kept(path, FOLDER) is None:
            page = solved(nbformat.read(path, as_version=4))
            _link_pages(page)
            write(FOLDER / path.name, nbformat.writes(page))


def link_chapters(app: Any, docname: str, source: list[str]) -> None:
    """Let links from pages to the notebooks of the repository lead to the pages of these."""
    source[0] = source[0].replace("](../../tutorials/", "](../tutorials/")


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx write the tutorials first; ``-D tutorials_execute=0`` runs none of them."""
    app.add_config_value("tutorials_execute", True, "env", types=[bool])
    app.connect(
        "builder-inited", lambda app: write_pages(execute=bool(int(app.config.tutorials_execute)))
    )
    app.connect("source-read", link_chapters)
    return {"parallel_read_safe": True}
