"""Every figure of the documentation, by one command: ``python -m docs.figures``.

Drawn figures are the same to the byte with the same versions; measured figures (``performance``)
depend on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from docs.extensions import DOCS

# matplotlib writes this as the date of an SVG, and makes names inside it from the salt.
os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
_STYLE = {"svg.hashsalt": "minirpn"}


class Figure(NamedTuple):
    """A figure, or several that are drawn together."""

    draw: Callable[[Path, bool], None]  # into a folder; true: quickly, for a test
    files: tuple[str, ...]  # relative to that folder, which is docs/
    summary: str


def figures() -> dict[str, Figure]:
    """Return all figures by name."""
    from docs.figures import (
        badges,
        boxes,
        data,
        diagrams,
        explain,
        front,
        many_machines,
        performance,
        photos,
        runs,
    )

    return {
        "front": Figure(front.draw, ("images/front.png",), "anchors, labels, proposals"),
        "explain": Figure(
            explain.draw, ("images/explain.png",), "the page of explain, in Chromium"
        ),
        "badges": Figure(
            badges.draw,
            ("images/badge-python.svg", "images/badge-licence.svg"),
            "Python and licence, as pyproject.toml says",
        ),
        "photos": Figure(photos.draw, ("images/photos.png",), "what voc-small finds in photos"),
        "layers": Figure(diagrams.draw_layers, ("images/layers.svg",), "the storeys of minirpn"),
        "step": Figure(diagrams.draw_step, ("images/step.svg",), "one training step, with shapes"),
        "coordinates": Figure(
            boxes.draw_coordinates, ("images/coordinates.svg",), "one box in three conventions"
        ),
        "check": Figure(data.draw_check, ("images/check.png",), "mistakes that check finds"),
        "anchors": Figure(data.draw_anchors, ("images/anchors.png",), "anchors over blood cells"),
        "training": Figure(
            runs.draw_training, ("images/training.png",), "the curves of a training (30 s)"
        ),
        "results": Figure(
            runs.draw_results, ("images/results.png",), "what the model shapes finds, and how much"
        ),
        "performance": Figure(
            performance.draw,
            tuple(f"explanation/performance/{name}" for name in performance.FILES),
            "implementations, growth and roofline, measured here (1 min)",
        ),
        "many-machines": Figure(
            many_machines.draw,
            tuple(f"explanation/many-machines/{name}" for name in many_machines.FILES),
            "efficiency over ranks, reckoned from measured.json",
        ),
    }


def draw(names: Sequence[str], folder: Path = DOCS, *, quick: bool = False) -> list[Path]:
    """Draw figures by name into a folder, and return the files."""
    import matplotlib as mpl

    written = []
    for name in names:
        figure = figures()[name]
        for file in figure.files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(_STYLE):
            figure.draw(folder, quick)
        written += [folder / file for file in figure.files]
    return written
