"""The tutorials in JupyterLite: a browser without a network opens chapters and runs their cells.

The site is built with the Pyodide distribution in ``$MINIRPN_PYODIDE`` or ``$MINIRPN_SHARED``.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytest.importorskip("jupyterlite_core", reason="needs the extra 'docs'")

from docs.extensions import ROOT, tutorials

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHAPTERS = [p for p in tutorials.sources() if re.match(r"0[0-5]_|\d+_put_it_together", p.name)]
PATIENCE = 180  # seconds for one chapter; the slowest needs about 30


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the site by its command, and serve it."""
    kept = [os.environ.get("MINIRPN_PYODIDE", ""), f"{os.environ.get('MINIRPN_SHARED')}/pyodide"]
    kept = [folder for folder in kept if folder and Path(folder, "pyodide.js").exists()]
    if not kept:
        pytest.skip("no Pyodide distribution is here: see MINIRPN_PYODIDE")
    folder = tmp_path_factory.mktemp("browser") / "site"
    command = [sys.executable, "-m", "docs.browser", str(folder), "--pyodide", kept[0]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Lab:
    """JupyterLab in the browser, with one notebook open."""

    WIDGET = "window.jupyterapp?.shell?.currentWidget"

    def __init__(self, driver: Any, address: str, path: Path):
        self.driver = driver
        name = f"tutorials/{path.name}"
        driver.get("about:blank")
        driver.get(f"{address}/lab/index.html?path={name}")
        self.wait(lambda: self.js(f"return {self.WIDGET}?.context?.path") == name)
        status = f"return {self.WIDGET}?.sessionContext?.kernelDisplayStatus"
        self.wait(lambda: self.js(status) == "idle")

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "nothing happened for too long"
            time.sleep(0.25)

    def write(self, index: int, source: str) -> None:
        """Replace what stands in a cell."""
        cell = f"{self.WIDGET}.content.model.sharedModel.cells[arguments[0]]"
        self.js(f"{cell}.setSource(arguments[1])", index, source)

    def run_all(self) -> list[Any]:
        """Run all cells, and return the cells."""
        command = "jupyterapp.commands.execute('notebook:run-all-cells')"
        self.js(f"window.ran = false; {command}.finally(() => {{ window.ran = true; }})")
        self.wait(lambda: self.js("return window.ran"))
        model = f"{self.WIDGET}.content.model.sharedModel"
        return nbformat.from_dict(self.js(f"return {model}.toJSON()")).cells

    def close(self) -> None:
        self.js(
            "window.shut = false;"
            "jupyterapp.serviceManager.sessions.shutdownAll().then(() => { window.shut = true; })"
        )
        self.wait(lambda: self.js("return window.shut"))


def outputs(cells: list[Any]) -> list[Any]:
    return [output for cell in cells for output in cell.get("outputs", [])]


def text(cell: Any) -> str:
    """Return what a cell printed and showed as text, without its pictures."""
    others = [o for o in cell.outputs if "image/png" not in o.get("data", {})]
    shown = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in others]
    return "".join("".join(part) for part in shown)


def checks(cells: list[Any]) -> list[str]:
    """Return what each check said, and hold all cells to be free of errors and of noise."""
    assert [o for o in outputs(cells) if o.output_type == "error"] == []
    assert [o for o in outputs(cells) if o.get("name") == "stderr"] == []
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code" and cell.source)
    return [text(cell) for cell in cells if tutorials.has_tag(cell, "check")]


def answer(lab: Lab, path: Path) -> str:
    """Solve the first exercise and do the second one wrong; return the marks of the checks."""
    given = nbformat.read(path, as_version=4)
    stubs = [i for i, cell in enumerate(given.cells) if tutorials.has_tag(cell, "exercise")]
    solutions = [c for c in tutorials.solved(given).cells if tutorials.has_tag(c, "exercise")]
    # The site's copy has one cell more, at its top.
    lab.write(stubs[0] + 1, solutions[0].source)
    lab.write(stubs[1] + 1, given.cells[stubs[1]].source.replace("...", "1"))
    return "✓✗" + "○" * (len(stubs) - 2)


def test_chapters_run_say_what_is_right_and_know_the_progress(browser: Any, address: str):
    # One test: every part of it needs the site, which takes long to build.
    first, *others = CHAPTERS
    lab = Lab(browser, address, first)
    expected = answer(lab, first)
    said = checks(lab.run_all())
    assert "".join(words[0] for words in said) == expected, said
    assert "my_count" in said[1]
    lab.close()
    progress = f"1 of {len(expected)}"
    for path in others:
        lab = Lab(browser, address, path)
        cells = lab.run_all()
        said = checks(cells)
        assert said, path.name
        assert all(words.startswith("○") for words in said), (path.name, said)
        shown = [output.get("data", {}) for output in outputs(cells)]
        assert any("image/png" in data for data in shown), path.name
        assert any(progress in str(data) for data in shown), path.name
        lab.close()
