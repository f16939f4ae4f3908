"""The tutorials in a visitor's browser: ``lite/`` beside the pages, and links that lead there.

``-D browser_site=0`` leaves both out. So does a build that lacks something, and says what.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from docs import browser
from docs.extensions import tutorials

FOLDER = "lite"
# On a page, where the link comes; a reader of the file sees nothing there.
MARK = "<!-- open in the browser -->"


def address(docname: str, path: str) -> str:
    """Return the link from a page to a file that is open in JupyterLab."""
    return f"{'../' * docname.count('/')}{FOLDER}/lab/index.html?path={path}"


def prepare(app: Any, config: Any) -> None:
    """Get together what the site is made of, or leave it out, before any page is read."""
    config.browser_site = bool(int(config.browser_site))
    if config.browser_site:
        folder = Path(app.doctreedir) / "wheel"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            app.browser_wheels = browser.prepare(folder)
        except browser.LeftOut as reason:
            print(f"The tutorials in the browser are left out: {reason}", file=sys.stderr)
            config.browser_site = False


def link(app: Any, docname: str, source: list[str]) -> None:
    """Write the link into a page that has the mark, and to the top of each chapter."""
    if not app.config.browser_site or app.builder.format != "html":
        return
    chapters = [path.name for path in tutorials.sources()]
    if f"{docname}.ipynb" in [f"tutorials/{name}" for name in chapters]:
        notebook = json.loads(source[0])
        target = address(docname, f"{docname}.ipynb")
        text = f'<a href="{target}">Open this chapter in the browser</a>: nothing to install.'
        cell = {"cell_type": "markdown", "id": "in-the-browser", "metadata": {}, "source": text}
        notebook["cells"].insert(1, cell)
        source[0] = json.dumps(notebook)
    else:
        target = address(docname, f"tutorials/{chapters[0]}")
        text = f'<a href="{target}">Open the tutorials in the browser</a>: nothing to install.'
        source[0] = source[0].replace(MARK, text)


def build(app: Any, error: Exception | None) -> None:
    """Write the site beside the pages."""
    if error is None and app.config.browser_site and app.builder.format == "html":
        folder = Path(app.outdir) / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        browser.build(folder, app.browser_wheels, browser.pyodide_folder(None))


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx link to the site and, after the pages, write it."""
    app.add_config_value("browser_site", True, "env", types=[bool])
    app.connect("config-inited", prepare)
    app.connect("source-read", link)
    app.connect("build-finished", build)
    return {"parallel_read_safe": True}
