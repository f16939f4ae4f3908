"""The badges of the README, which need no server. What they say is read from ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from docs.extensions import ROOT
from minirpn.viz.style import BLUE

_HEIGHT = 20
_LETTER = 6.4  # pixels: the mean width of a letter of 11 pixels in usual fonts
_MARGIN = 7
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" \
aria-label="{name}: {value}">
<title>{name}: {value}</title>
<clipPath id="c"><rect width="{width}" height="{height}" rx="3"/></clipPath>
<g clip-path="url(#c)"><rect width="{split}" height="{height}" fill="#444"/>\
<rect x="{split}" width="{rest}" height="{height}" fill="{colour}"/></g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left}" y="14" textLength="{name_length}">{name}</text>
<text x="{right}" y="14" textLength="{value_length}">{value}</text>
</g>
</svg>
"""


def draw(folder: Path, quick: bool) -> None:
    """Write a badge for the versions of Python, and one for the licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    for file, name, value in (
        ("python", "Python", f"{oldest} or newer"),
        ("licence", "licence", project["license"]),
    ):
        (folder / f"images/badge-{file}.svg").write_text(_badge(name, value))


def _badge(name: str, value: str) -> str:
    """Return a badge as SVG: a name on grey, its value on blue."""
    lengths = [round(len(text) * _LETTER) for text in (name, value)]
    split, rest = (length + 2 * _MARGIN for length in lengths)
    return _SVG.format(
        name=name,
        value=value,
        height=_HEIGHT,
        width=split + rest,
        split=split,
        rest=rest,
        colour=BLUE,
        left=split / 2,
        right=split + rest / 2,
        name_length=lengths[0],
        value_length=lengths[1],
    )
