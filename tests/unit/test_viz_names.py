"""Names in pictures: whatever they are, they are written letter by letter, and nothing fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minirpn import viz
from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.evaluation import APResult, PrecisionRecall, anchor_fit
from minirpn.rpn.anchors import AnchorConfig
from minirpn.text import for_figure

EVIL = [
    r"$\frac{$",
    "$x$",
    r"\$5",
    "_hidden",
    "</text><script>",
    "<!-- --> ]]>",
    "&amp;",
    "%s {0} ${name}",
    "\u4eba" * 40,
    "\U0001f600\u200d\U0001f600",
    "\u05e9\u05dc \u0645\u0631",
    "\u202eback",
    "\u2028line",
    "\x1b[2J\x9b",
    "nul\x00",
    "two\nlines",
    "\udcff",
    "\ud800",
    "\ufffe\uffff",
    "x" * 10_000,
    "",
]
IMAGE = np.full((300, 400, 3), 90, np.uint8)
X = np.linspace(1, 2, 5)
BOXES = np.tile([20.0, 20, 200, 200], (len(EVIL), 1))
SCORES = np.linspace(0.9, 0.1, len(EVIL))


def named(value: Any) -> dict[str, Any]:
    """Return the same value by every name."""
    return dict.fromkeys(EVIL, value)


def result_of(count: int) -> APResult:
    """Return the result of so many classes, of which each was found once."""
    curve = PrecisionRecall(np.array([0.5]), np.array([1]), np.array([0]), 1)
    return APResult(tuple(EVIL[:count]), (curve,) * count, (0,) * count, 0.5, "area")


def stages() -> list[dict[str, Any]]:
    """Return the records of a diagnosis and a validation."""
    keys = ("zero_share", "gradient_norm", "weight_norm", "update_ratio")
    diagnosis = {key: named(0.5) for key in keys}  # the first 16 are drawn
    return [
        {"kind": "diagnose", "step": 1, **diagnosis},
        {"kind": "validate", "step": 1, "loss": 1.0, "recall": named(0.5)},
    ]


DRAWN: dict[str, Callable[[], Any]] = {
    "lines": lambda: viz.plot_lines(X, named(X), x_label="x", y_label="y"),
    "bars": lambda: viz.plot_bars(named(2.0), x_label="x"),
    "roofline": lambda: viz.plot_roofline(named((2.0, 3.0)), peak=9, bandwidth=2),
    "variants": lambda: viz.plot_variants(named([0.5, 0.6]), x_label="x", baseline=EVIL[0]),
    "proposal sizes": lambda: viz.plot_proposal_sizes(np.ones((2, 2)), named(np.full((2, 2), 2.0))),
    "box shapes": lambda: viz.plot_box_shapes(np.ones((2, 2)), named(AnchorConfig())),
    "best IoU": lambda: viz.plot_best_iou(named(anchor_fit([], AnchorConfig()))),
    "few classes": lambda: viz.plot_precision_recall(result_of(8)),
    "many classes": lambda: viz.plot_precision_recall(result_of(len(EVIL))),
    "boxes": lambda: viz.draw_boxes(BOXES, image=IMAGE, names=EVIL, label=EVIL[0]),
    "detections": lambda: viz.draw_detections(
        IMAGE, Detections(BOXES, SCORES, np.arange(len(EVIL))), EVIL
    ),
    "stages": lambda: viz.plot_stages(stages()),
    "norms": lambda: viz.plot_norms(stages()),
    "validation": lambda: viz.plot_validation_recall(stages()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_names_are_written_letter_by_letter(name: str, tmp_path: Path):
    drawn = DRAWN[name]()
    ax = drawn[0] if isinstance(drawn, tuple) else drawn
    viz.save(ax, tmp_path / "picture.png")
    # As text, so that it can be read again.
    with rc_context({"svg.fonttype": "none"}):
        viz.save(ax, tmp_path / "picture.svg")
    root = ElementTree.fromstring((tmp_path / "picture.svg").read_bytes())
    assert not [element.tag for element in root.iter() if element.tag.endswith("script")]
    texts = "\n".join(root.itertext())
    assert texts.replace("\n", "").isprintable() or "\u200d" in texts
    # The longest one is no wider than a diagram.
    assert "x" * 100 not in texts
    assert r"$\frac{$" in texts


def test_every_curve_is_in_the_legend():
    ax = viz.plot_lines(X, named(X), x_label="x", y_label="y")
    # Only the last has no name.
    assert len(ax.get_legend().get_texts()) == len(EVIL) - 1


def test_names_that_are_cut_alike_have_a_bar_each():
    ax = viz.plot_bars({f"{'x' * 100}{middle}{'x' * 100}": 1.0 for middle in "ab"}, x_label="x")
    assert [bar.get_y() for bar in ax.patches] == [-0.3, 0.7]


def test_a_letter_that_the_font_lacks_gives_no_warning_when_saved(tmp_path: Path):
    ax = viz.plot_lines(X, {"\u4eba": X}, x_label="x", y_label="y")
    viz.save(ax, tmp_path / "a.png")  # a warning is an error in the tests
    with pytest.warns(UserWarning, match="missing from"):
        ax.figure.draw_without_rendering()


# --- the file ------------------------------------------------------------------------------------


@pytest.fixture
def ax() -> Axes:
    """Axes of a figure."""
    return Figure(figsize=(1, 1)).add_subplot()


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_is_replaced_and_not_followed(ax: Axes, tmp_path: Path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "a.png").symlink_to(tmp_path / "target")
    viz.save(ax, tmp_path / "a.png")
    assert not (tmp_path / "a.png").is_symlink()
    assert (tmp_path / "target").read_text() == "mine"


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(ax: Axes, tmp_path: Path):
    viz.save(ax, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    ax.set_title(r"$\frac{$")
    with pytest.raises(ValueError, match="frac"):
        viz.save(ax, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["picture", "picture.", "picture.txt", ".png"])
def test_a_name_that_tells_no_format(ax: Axes, name: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"expected a name that ends in \.png, \.svg or \.pdf$"):
        viz.save(ax, tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_where_it_cannot_write_is_said(ax: Axes, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot make the folder: "):
        viz.save(ax, tmp_path / "file" / "a.png")


def test_the_width_of_a_name():
    assert len(for_figure("x" * 10_000)) == 48
