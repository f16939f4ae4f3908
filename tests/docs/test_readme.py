"""The numbers of the front page are those of the pages and programs that they come from."""

import re

import numpy as np
import pytest

from docs.extensions.pages import ROOT
from docs.figures import front

README = (ROOT / "README.md").read_text()


def rows(text):
    """Return the cells of all rows of tables."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row(text, start):
    """Return the cells of the first row that begins with some words."""
    return next(cells for cells in rows(text) if cells[0].startswith(start))


def section(name, heading):
    """Return a section of a page of the explanation, with the sections below it."""
    text = (ROOT / f"docs/explanation/{name}.md").read_text()
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    end = re.search(rf"^#{{1,{len(match[1])}}} ", text[match.end() :], re.MULTILINE)
    return text[match.end() :][: end.start() if end else None]


@pytest.mark.parametrize(
    ("ours", "heading"),
    [
        ("tiny network", "Generated shapes"),
        ("SqueezeNet, 942", "A subset of PASCAL VOC 2007, SqueezeNet"),
        ("the same with", "The paper's settings on the same images"),
    ],
)
def test_recall_is_that_of_the_results(ours, heading):
    results = section("results", heading)
    for cell, count in zip(row(README, ours)[2:], ("100", "300"), strict=True):
        # The first column of the table is recall at IoU 0.5; a range may follow it.
        assert cell == f"{float(row(results, count)[1].split()[0]):.2f}", count


def test_what_the_results_say_beside_their_tables():
    results = (ROOT / "docs/explanation/results.md").read_text()
    results = " ".join(results.split())
    for cell in row(README, "a PyTorch program")[2:]:
        assert f" {cell}," in results
    steps, time = row(README, "SqueezeNet, 942")[1].split(": ")
    assert f"took {time} from start to report on two cores" in results
    assert f"after {steps} steps" in results
    assert "after 1,800 steps; 55 s from start to report on two cores" in results
    assert row(README, "tiny network")[1] == "1,800: a minute"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("VGG-16, two", "VGG-16 + RPN, training"), ("SqueezeNet, two", "SqueezeNet + RPN, training")],
)
def test_times_on_a_cpu_are_those_of_the_performance_page(ours, theirs):
    _, minirpn, peer, _ = row(README, ours)
    measured = row(section("performance", "The table"), theirs)
    assert (minirpn, f"torch {peer}") == (measured[1], measured[2])


@pytest.mark.parametrize(("precision", "column"), [("float32", 3), ("TF32", 4)])
def test_times_on_a_gpu_are_those_of_the_performance_page(precision, column):
    _, minirpn, peer, _ = row(README, f"VGG-16, GPU (NVIDIA H200), {precision}")
    measured = row(section("performance", "On a GPU"), "`vgg16-step`")
    assert measured[column].startswith(f"{minirpn} and {peer}:")


def test_the_caption_of_the_front_picture():
    caption = " ".join(README.split())
    cat, astronaut = front.scene("chelsea"), front.scene("astronaut")
    positive = (cat.labels == front.POSITIVE).sum()
    assert f"three of {positive} are drawn" in caption
    best, first = cat.anchor_iou.max(), cat.proposal_iou[0]
    assert f"the best has an IoU of {best:.2f} with it." in caption
    assert f"The first one has an IoU of {first:.2f};" in caption
    H, W = cat.image.shape[:2]
    x1, y1, x2, y2 = cat.gt_box
    assert f"would have {(x2 - x1) * (y2 - y1) / (H * W):.2f}." in caption
    sides = cat.anchors[..., 2:] - cat.anchors[..., :2]
    assert (sides < (x2 - x1, y2 - y1)).all()
    place = int(np.argmax(astronaut.proposal_iou))
    assert place == 4  # "number 5"
    numbers = astronaut.anchor_iou.max(), len(astronaut.proposals), astronaut.proposal_iou[place]
    assert (
        "the best anchor has {:.2f}, and the best of {} proposals, number 5, {:.2f}.".format(
            *numbers
        )
        in caption
    )
