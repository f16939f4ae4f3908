"""Pictures of a data set: mistakes that `check` finds, and how anchors fit the objects."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from docs.figures.png import WIDTH, save_png
from minirpn import data, samples, viz
from minirpn.evaluation import suggest_anchors
from minirpn.rpn import AnchorConfig
from minirpn.viz.style import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, legend_below

_PICTURE = "BloodImage_00066"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_STYLES: tuple[dict[str, Any], ...] = (
    {"colors": VERMILLION},
    {"colors": PURPLE},
    {"colors": ORANGE, "linestyle": "--"},  # over the box that it is equal to
    {"colors": GREEN},
)
_SCALE = 600 / 480  # of the blood cells with the recipe "paper"


def draw_check(folder: Path, quick: bool) -> None:
    """Plant mistakes in one annotation of the blood cells, and draw what `check` finds there."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(shutil.copytree(samples.BLOOD, Path(scratch) / "blood"))
        path = root / "Annotations" / f"{_PICTURE}.xml"
        corners = _plant_mistakes(path)
        image = data.read_image(root / "JPEGImages" / f"{_PICTURE}.jpg")
        report = data.check_dataset(root)
    kinds = {}
    for finding in report.findings:
        match = re.match(r"object (\d+)", finding.part)
        if finding.path.name == path.name and match is not None:
            kinds[int(match[1]) - 1] = finding.kind
    figure = Figure(figsize=(WIDTH, 4.9), layout="constrained")
    ax = figure.subplots()
    boxes = np.stack([corners[:, :2], corners[:, 2:]])
    boxes = np.concatenate([boxes.min(axis=0) - 1, boxes.max(axis=0)], axis=1)  # half-open
    sound = [index not in kinds for index in range(len(boxes))]
    viz.draw_boxes(boxes[sound], ax, image=image, colors=BLUE, linewidth=2, label="sound")
    for (index, kind), style in zip(kinds.items(), _STYLES, strict=True):
        label = f"{kind.severity}: {kind.label}"
        viz.draw_boxes(boxes[[index]], ax, linewidth=3, label=label, **style)
    ax.set(xlim=(0, boxes[:, 2].max() + 10), ylim=(480, 0))
    legend_below(ax)
    save_png(figure, folder / "images/check.png")


def _plant_mistakes(path: Path) -> np.ndarray:
    """Write four mistakes into an annotation; return the corners (M, 4) that it then has."""
    tree = ElementTree.parse(path)
    boxes = list(tree.iter("bndbox"))
    top, swapped, again, other, outside = (boxes[index] for index in (0, 2, 5, 6, 7))
    _corner(top, "ymin").text = "0"  # VOC counts from 1
    left, right = _corner(swapped, "xmin"), _corner(swapped, "xmax")
    left.text, right.text = right.text, left.text
    for name in _CORNERS:
        _corner(again, name).text = _corner(other, name).text
    for name in ("xmin", "xmax"):
        _corner(outside, name).text = str(int(_corner(outside, name).text or 0) + 90)
    tree.write(path)
    return np.array([[float(_corner(box, name).text or 0) for name in _CORNERS] for box in boxes])


def _corner(box: ElementTree.Element, name: str) -> ElementTree.Element:
    corner = box.find(name)
    assert corner is not None  # the sample pictures are complete
    return corner


def draw_anchors(folder: Path, quick: bool) -> None:
    """Draw the sizes of the blood cells, the paper's anchors and those that fit them better."""
    cells = data.VOCDataset(samples.BLOOD, split="trainval")
    boxes = np.concatenate([cells[index].annotation.gt_boxes for index in range(len(cells))])
    sides = (boxes[:, 2:] - boxes[:, :2]) * _SCALE
    now = AnchorConfig()
    anchors = {"now": now, "suggested": suggest_anchors(sides, now, rng=np.random.default_rng(0))}
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    ax = viz.plot_box_shapes(sides, anchors, figure.subplots())
    ax.collections[0].colorbar.remove()  # of 70 objects, hardly two are equal
    save_png(figure, folder / "images/anchors.png")
