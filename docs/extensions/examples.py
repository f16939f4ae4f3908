"""Pages that the program writes, beside those of the documentation: ``examples/``.

A short training, one of its steps explained, and the report that links to it. They are kept until
the library changes; ``-D examples=0`` leaves them out, and the links to them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from docs.extensions import DOCS
from docs.extensions.checksum import library_checksum

FOLDER = "examples"
KEPT = DOCS / "_build" / FOLDER
RUN = "runs/shapes"  # as in the text of the report
STEPS = 400
IMAGE = "000016"
# Name -> the page, and what the link to it says.
PAGES = {
    "report": ("report.html", f"the report of a training of {STEPS} steps on generated shapes"),
    "explain": (f"explain/{IMAGE}.html", "one step of a training on generated shapes"),
}
# On a page, where the link comes; a reader of the file sees nothing there. The dots make it a
# comment in reStructuredText, too.
_MARK = re.compile(r"(?P<dots>\.\. )?<!-- example: (?P<name>\w+) -->")
_STATE = "library.sha256"
_AFTER_TUTORIALS = 700  # and gallery, which use all cores; 500 is the default


def link(app: Any, docname: str, source: list[str]) -> None:
    """Write the link into a page that has the mark."""
    if not app.config.examples or app.builder.format != "html":
        return

    def element(mark: re.Match[str]) -> str:
        page, words = PAGES[mark["name"]]
        address = f"{'../' * docname.count('/')}{FOLDER}/{page}"
        text = f'An example: <a href="{address}">{words}</a>.'
        return f".. raw:: html\n\n   <p>{text}</p>" if mark["dots"] else text

    source[0] = _MARK.sub(element, source[0])


def run(folder: Path, *words: str) -> None:
    """Run ``minirpn`` in a folder.

    Raises
    ------
    RuntimeError
        It failed; the message has what it wrote.
    """
    command = [sys.executable, "-m", "minirpn", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"minirpn {' '.join(words)}: {done.stderr.strip()}")


def make(folder: Path, *settings: str) -> None:
    """Train with more settings, explain and report, and copy the pages into a folder."""
    with TemporaryDirectory(prefix="minirpn-examples-") as scratch:
        work = Path(scratch)
        steps = ("--steps", str(STEPS), "--validate-every", str(STEPS // 4))
        run(work, "train", "--out", RUN, *steps, *settings)
        run(work, "explain", RUN, IMAGE)
        run(work, "report", RUN)
        for page, _ in PAGES.values():
            (folder / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(work / RUN / page, folder / page)


def kept() -> Path:
    """Return the folder with the pages of this library; make them first if they are of another."""
    KEPT.mkdir(parents=True, exist_ok=True)
    state = KEPT / _STATE
    with FileLock(KEPT / ".lock"):  # builds at the same time share one training
        checksum = library_checksum(Path(__file__))
        if not state.exists() or state.read_text() != checksum:
            state.unlink(missing_ok=True)
            make(KEPT)
            state.write_text(checksum)
    return KEPT


def begin(app: Any) -> None:
    """Make the pages while Sphinx, which uses one core, reads and writes its own."""
    if app.config.examples and app.builder.format == "html":
        with_one_thread = ThreadPoolExecutor(1)
        app.examples = with_one_thread.submit(kept)
        with_one_thread.shutdown(wait=False)


def build(app: Any, error: Exception | None) -> None:
    """Put the pages beside those of the documentation."""
    if error is None and app.config.examples and app.builder.format == "html":
        folder = app.examples.result()
        for page, _ in PAGES.values():
            target = Path(app.outdir) / FOLDER / page
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / page, target)


def prepare(app: Any, config: Any) -> None:
    """Read the switch, which is a text on the command line."""
    config.examples = bool(int(config.examples))


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx link to the examples and, after the pages, add them."""
    app.add_config_value("examples", True, "env", types=[bool])
    app.connect("config-inited", prepare)
    app.connect("source-read", link)
    app.connect("builder-inited", begin, priority=_AFTER_TUTORIALS)
    app.connect("build-finished", build)
    return {"parallel_read_safe": True}
