"""``python -m docs.browser SITE``: the tutorials as a site that runs them in a visitor's browser.

The site is JupyterLite with Pyodide, which is Python compiled for browsers. Any file server serves
it, and nothing runs there. In the site's copy of a chapter the first cell installs minirpn, whose
wheel is part of the site.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat

from docs.extensions import DOCS, ROOT

# What builds the site, from the extra "docs".
TOOLS = ("jupyterlite-core", "jupyterlite-pyodide-kernel", "jupyter-server")
# The newest Pyodide that the kernel of pyproject.toml runs.
PYODIDE = "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/pyodide.js"
# What Pyodide lacks of what a chapter imports, and the kernel's own comm.
WHEELS = (
    "array-api-compat==1.16.0",
    "comm==0.2.3",
    # Later ones are compiled, and for no browser.
    "hypothesis==6.155.7",
    # With the JavaScript of sliders for the JupyterLab 4.4 in JupyterLite 0.6.
    "ipywidgets==8.1.7",
    "jupyterlab-widgets==3.0.15",
    "shtab==1.13.0",
    "sortedcontainers==2.4.0",
    "tomli-w==1.2.0",
    "tqdm==4.70.1",
)
KEPT = DOCS / "_build" / "wheels"
KERNEL = "@jupyterlite/pyodide-kernel-extension"
_PAGE = re.compile(r"\]\(\.\./(docs/[\w/-]+\.md)")
_LEFT_OUT = {".ipynb_checkpoints", "__pycache__"}
# Matplotlib lists the fonts when it is imported first, and says so on stderr.
FIRST_CELL = """\
# In a browser only: install minirpn. This takes some seconds.
%pip install -q minirpn hypothesis ipywidgets
import logging
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)"""


class LeftOut(Exception):  # noqa: N818 - no error: the documentation is built without the site
    """Why the site cannot be built here, in one line."""


def contents() -> list[Path]:
    """Return the files that a visitor sees, each at its place in the repository."""
    found = [path for path in (ROOT / "tutorials").rglob("*") if path.is_file()]
    # Not a learner's own progress, nor what Jupyter and Python keep.
    left = {p for p in found if p.name == "progress.json" or set(p.parts) & _LEFT_OUT}
    # The map of a chapter links to two pages, their text to these and to others.
    pages = {DOCS / "reference" / name for name in ("glossary.md", "notation.md")}
    for path in found:
        if path.suffix in {".ipynb", ".md"}:
            links = _PAGE.findall(path.read_text(encoding="utf-8"))
            pages |= {ROOT / link for link in links}
    return sorted({*found, *pages} - left)


def prepare(folder: Path) -> list[Path]:
    """Return the wheels of the site: minirpn's, built into a folder, and `WHEELS`.

    Those are downloaded if no earlier build has kept them. Nothing later needs a network.

    Raises
    ------
    LeftOut
        A tool is not installed, or a wheel cannot be had.
    """
    for tool in TOOLS:
        try:
            metadata.version(tool)
        except metadata.PackageNotFoundError:
            raise LeftOut(f"{tool} is not installed: pip install '.[docs]'") from None
    others = [_downloaded(wheel) for wheel in WHEELS]
    _pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    return [next(folder.glob("minirpn-*.whl")), *others]


def _downloaded(wheel: str) -> Path:
    name, _, version = wheel.replace("-", "_").partition("==")
    if not any(KEPT.glob(f"{name}-{version}-*.whl")):
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as folder:
            pure = ("--only-binary", ":all:", "--platform", "any", "--python-version", "3.12")
            _pip("download", "--no-deps", *pure, "--dest", folder, wheel)
            for path in Path(folder).iterdir():
                path.replace(KEPT / path.name)
    return next(KEPT.glob(f"{name}-{version}-*.whl"))


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reasons = re.findall("^ERROR: (.*)", done.stderr, re.MULTILINE) or [done.stderr.strip()]
        raise LeftOut(f"pip {words[0]} {words[-1]}: {reasons[-1]}")


def copy_contents(target: Path) -> None:
    """Copy what a visitor sees; each notebook gets a first cell that installs minirpn."""
    for source in contents():
        copy = target / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".ipynb":
            shutil.copyfile(source, copy)
            continue
        notebook = nbformat.read(source, as_version=4)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST_CELL, id="in-a-browser"))
        nbformat.write(notebook, copy)


def build(site: Path, wheels: list[Path], pyodide: Path | None) -> None:
    """Write the site into a new folder.

    With a Pyodide distribution the site holds a copy of it and needs nothing else. Without one the
    visitor's browser loads `PYODIDE`.
    """
    with tempfile.TemporaryDirectory() as work:
        # JupyterLite reads no settings from a folder whose name begins with the site's name.
        settings, made = Path(work, "settings"), Path(work, "made")
        copy_contents(settings / "contents")
        kernel: dict[str, Any] = {"disablePyPIFallback": True}
        if pyodide is None:
            kernel["pyodideUrl"] = PYODIDE
        else:
            shutil.copytree(pyodide, settings / "static/pyodide", copy_function=shutil.copyfile)
        page = {"exposeAppInBrowser": True, "litePluginSettings": {f"{KERNEL}:kernel": kernel}}
        _write_json(
            settings / "jupyter-lite.json",
            {"jupyter-lite-schema-version": 0, "jupyter-config-data": page},
        )
        _write_json(settings / "jupyter_lite_config.json", _config(made, wheels))
        # The figures of the documentation set a date that is too early for its archives.
        environment = {key: v for key, v in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
        done = subprocess.run(
            [sys.executable, "-m", "jupyterlite_core", "build"],
            capture_output=True,
            text=True,
            cwd=settings,
            env=environment,
        )
        if done.returncode:
            raise RuntimeError(f"jupyter lite build: {done.stdout}\n{done.stderr}")
        shutil.move(made, site)


def _config(site: Path, wheels: list[Path]) -> dict[str, Any]:
    """Return what ``jupyter lite build`` reads, besides ``contents`` and ``static`` beside it."""
    widgets = [path for path in wheels if path.name.startswith("jupyterlab_widgets-")]
    kernel = Path(sys.prefix, "share/jupyter/labextensions", KERNEL)
    lite = {
        "apps": ["lab"],
        "contents": ["contents"],
        "federated_extensions": [str(path) for path in (kernel, *widgets)],
        # Not what else happens to be installed for JupyterLab.
        "ignore_sys_prefix": True,
        "no_sourcemaps": True,
        "output_dir": str(site),
    }
    piplite = {"piplite_urls": [str(path) for path in wheels]}
    return {"LiteBuildConfig": lite, "PipliteAddon": piplite}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def pyodide_folder(path: str | None) -> Path | None:
    """Return the distribution that a flag or ``MINIRPN_PYODIDE`` names, or None for a public one.

    Raises
    ------
    FileNotFoundError
        The folder holds none.
    """
    path = path or os.environ.get("MINIRPN_PYODIDE")
    if not path:
        return None
    if not Path(path, "pyodide.js").exists():
        raise FileNotFoundError(f"{path}: expected the folder of a Pyodide distribution")
    return Path(path)


def main() -> None:
    """Build the site, and say how to open it."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.browser", description="Build the site that runs the tutorials."
    )
    parser.add_argument("site", type=Path, metavar="SITE", help="a folder that does not exist yet")
    parser.add_argument(
        "--pyodide",
        metavar="DIR",
        help="a Pyodide distribution to put into the site (default: $MINIRPN_PYODIDE, or none: "
        "visitors load Pyodide from its public servers)",
    )
    args = parser.parse_args()
    if args.site.exists():
        parser.error(f"{args.site} is there already")
    try:
        pyodide = pyodide_folder(args.pyodide)
        with tempfile.TemporaryDirectory() as folder:
            build(args.site, prepare(Path(folder)), pyodide)
    except (FileNotFoundError, LeftOut) as reason:
        raise SystemExit(str(reason)) from None
    print(f"Serve it: python -m http.server -d {args.site}")
    print("Open it:  http://localhost:8000/lab/index.html?path=tutorials/README.md")


if __name__ == "__main__":
    main()
