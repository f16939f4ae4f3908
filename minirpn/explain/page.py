"""The page: template, style, scripts and data in one file that opens offline."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import minirpn
from minirpn.explain.contents import contents_of
from minirpn.explain.step import OpenStep
from minirpn.files import one_line_errors, replace_file

# In this order: each uses what those before it define.
SCRIPTS = ("numbers.js", "drawing.js", "panel.js", "page.js")


def write_page(step: OpenStep, path: Path) -> Path:
    """Write the page of a step and return its path.

    The page is one file: picture, numbers, style and scripts are in it, nothing is loaded.

    Raises
    ------
    InputError
        The file or its folder cannot be written.
    """
    with one_line_errors(path.parent, "make the folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
    # A file name that is not UTF-8 cannot be written as it is.
    content = render(contents_of(step)).encode(errors="replace")
    replace_file(path, lambda file: file.write(content))
    return path


def render(contents: dict[str, Any]) -> str:
    """Return the page that shows what `minirpn.explain.contents.contents_of` gives."""
    return Template(_read("page.html")).substitute(
        name=escape(contents["image"]["name"]),
        version=escape(minirpn.__version__),
        style=_read("page.css"),
        data=script_safe(json.dumps(contents, allow_nan=False)),
        script="\n".join(map(_read, SCRIPTS)),
    )


def script_safe(text: str) -> str:
    r"""Return JSON without a ``<``, so that nothing in it can end the script element it is in.

    >>> script_safe('{"name": "</script>"}')
    '{"name": "\\u003c/script>"}'
    """
    return text.replace("<", "\\u003c")


def _read(name: str) -> str:
    return files("minirpn.explain").joinpath(name).read_text(encoding="utf-8")
