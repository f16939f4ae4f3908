"""``--box-format``, ``--clip-boxes`` and ``--no-annotation``, through each command that has them.

The data set has three images, two of them with one box, and one without an annotation.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import VOCObject, write_annotation
from minirpn.training.evaluate import load_proposals

Fails = Callable[..., str]
NO_XML = "annotations/c.xml: annotation: no such file"
HINT = "--no-annotation skip leaves out images without one"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images a, b and c of 96x80; the box of a and b is (9, 9, 40, 30) in the file."""
    root = tmp_path / "own"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number, name in enumerate("abc"):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    for name in "ab":
        xml = root / "annotations" / f"{name}.xml"
        write_annotation(xml, f"{name}.png", (80, 96), [VOCObject("cat", (9, 9, 40, 30))])
    return root


def set_box(root: Path, name: str, *corners: object) -> None:
    """Write other corners into the annotation of an image."""
    path = root / "annotations" / f"{name}.xml"
    text = path.read_text()
    for tag, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
        text = re.sub(rf"<{tag}>.*</{tag}>", f"<{tag}>{corner}</{tag}>", text)
    path.write_text(text)


def run(*words: object) -> int:
    return main([str(word) for word in words])


# Boxes (9, 9, 40, 30) of a file as half-open ones.
AS_READ = {
    "voc": (8, 8, 40, 30),
    "zero-based": (9, 9, 41, 31),
    "half-open": (9, 9, 40, 30),
    "one-based-half-open": (8, 8, 39, 29),
}


# check


@pytest.mark.parametrize(
    ("words", "status", "images", "objects", "counts"),
    [
        ([], 1, 3, 2, {"image without annotation": 1}),
        (["--no-annotation", "error"], 1, 3, 2, {"image without annotation": 1}),
        (["--no-annotation", "skip"], 0, 2, 2, {}),
        (["--no-annotation", "negative"], 0, 3, 2, {}),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) and value else "",
)
def test_check_of_an_image_without_annotation(
    own: Path,
    tmp_path: Path,
    words: list[str],
    status: int,
    images: int,
    objects: int,
    counts: dict[str, int],
):
    file = tmp_path / "check.json"
    assert run("check", "--voc", own, *words, "--json", file) == status
    found = json.loads(file.read_text())
    assert (found["images"], sum(found["classes"].values())) == (images, objects)
    assert found["counts"]["error"] == counts


def test_check_of_boxes_outside_the_image(own: Path, capsys: pytest.CaptureFixture[str]):
    set_box(own, "b", 9, 9, 150, 30)
    words = ["check", "--voc", own, "--no-annotation", "skip"]
    assert run(*words) == 1
    assert "1 error (1 box outside the image)" in capsys.readouterr().out
    assert run(*words, "--clip-boxes") == 0
    assert "1 repaired (1 box clipped)" in capsys.readouterr().out


def test_check_of_boxes_of_another_format(own: Path, capsys: pytest.CaptureFixture[str]):
    set_box(own, "a", 0.25, 0.25, 0.5, 0.5)
    set_box(own, "b", 0, 0, 1, 1)
    words = ["check", "--voc", own, "--no-annotation", "skip"]
    assert run(*words) == 1
    assert "perhaps --box-format normalized" in capsys.readouterr().out
    assert run(*words, "--box-format", "normalized") == 0
    assert capsys.readouterr().out.startswith(f"{own}: images 2, objects 2, classes 1\n")


# anchors: it counts what it can read


@pytest.mark.parametrize(
    ("words", "images", "objects"),
    [
        ([], 2, 1),
        (["--no-annotation", "error"], 2, 1),
        (["--no-annotation", "skip"], 2, 1),
        (["--no-annotation", "negative"], 3, 1),
        (["--clip-boxes"], 2, 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_anchors(
    own: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    images: int,
    objects: int,
):
    set_box(own, "b", 9, 9, 150, 30)
    small = ["--short-side", 80, "--max-side", 96]
    assert run("anchors", "--voc", own, "--split", "all", *small, *words) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{own}, split all: images {images}, objects {objects}, not counting")
    told = "1 image without annotation" in out
    assert told == ("skip" not in words and "negative" not in words)


def test_anchors_for_boxes_of_another_format(own: Path, capsys: pytest.CaptureFixture[str]):
    for name in "ab":
        set_box(own, name, 0.25, 0.25, 0.5, 0.5)
    words = ["anchors", "--voc", own, "--split", "all", "--short-side", 80, "--max-side", 96]
    for more, objects in (([], 0), (["--box-format", "normalized"], 2)):
        assert run(*words, *more) == 0
        assert f"images 2, objects {objects}, not counting" in capsys.readouterr().out


# eval


def truth_of(trained: Path, own: Path, *words: object) -> list[list[float]]:
    """Return the half-open boxes that `eval` measures by."""
    coco = own.parent / "coco.json"
    given = ["--voc", own, "--split", "all", "--top", 50, "--coco", coco]
    assert run("eval", trained, *given, *words) == 0
    truth = json.loads(coco.with_name("coco_ground_truth.json").read_text())
    boxes = [one["bbox"] for one in truth["annotations"] if not one["iscrowd"]]
    return [[x, y, x + width, y + height] for x, y, width, height in boxes]


@pytest.mark.parametrize("box_format", AS_READ)
def test_eval_reads_the_format_of_the_boxes(trained: Path, own: Path, box_format: str):
    words = ["--no-annotation", "skip", "--box-format", box_format]
    assert truth_of(trained, own, *words) == [list(AS_READ[box_format])] * 2


def test_eval_clips_boxes(trained: Path, own: Path, fails: Fails):
    set_box(own, "b", 9, 9, 150, 30)
    words = ["--no-annotation", "skip"]
    said = fails("eval", trained, "--voc", own, "--split", "all", *words)
    assert said.startswith(f"{own}/annotations/b.xml: object 1 (cat): ")
    assert said.endswith("; --skip-bad leaves it out")
    assert truth_of(trained, own, *words, "--skip-bad") == [[8, 8, 40, 30]]
    clipped = truth_of(trained, own, *words, "--clip-boxes")
    assert clipped == [[8, 8, 40, 30], [8, 8, 96, 30]]


def test_eval_of_an_image_without_annotation(
    trained: Path, own: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
):
    words = ["eval", trained, "--voc", own, "--split", "all", "--top", 50]
    said = fails(*words)
    assert said.startswith(f"{own}/{NO_XML}; {HINT}")
    assert fails(*words, "--no-annotation", "error") == said
    for choice, images in (("skip", 2), ("negative", 3)):
        assert run(*words, "--no-annotation", choice) == 0
        assert capsys.readouterr().out.startswith(f"{own}, split all, {images} images\n")


# propose --split


def ids_of(trained: Path, own: Path, *words: object) -> list[str]:
    """Return the ids of the images that `propose --split` proposes for."""
    given = ["--voc", own, "--split", "all", "--top", 5, "--out", own.parent]
    assert run("propose", trained, *given, *words) == 0
    return list(load_proposals(own.parent / "all.npz"))


def test_propose_for_an_image_without_annotation(trained: Path, own: Path, fails: Fails):
    words = ["propose", trained, "--voc", own, "--split", "all"]
    said = fails(*words)
    assert said.startswith(f"{own}/{NO_XML}; {HINT}")
    assert said.endswith("; --skip-bad leaves it out")
    assert fails(*words, "--no-annotation", "error") == said
    assert ids_of(trained, own, "--no-annotation", "skip") == ["a", "b"]
    assert ids_of(trained, own, "--no-annotation", "negative") == ["a", "b", "c"]
    assert ids_of(trained, own, "--skip-bad") == ["a", "b"]


def test_propose_stops_at_boxes_that_stop_a_training(trained: Path, own: Path, fails: Fails):
    words = ["--no-annotation", "skip"]
    given = ["propose", trained, "--voc", own, "--split", "all", *words]
    set_box(own, "b", 9, 9, 150, 30)
    assert fails(*given).startswith(f"{own}/annotations/b.xml: object 1 (cat): ")
    assert ids_of(trained, own, *words, "--clip-boxes") == ["a", "b"]
    for name in "ab":
        set_box(own, name, 0.25, 0.25, 0.5, 0.5)
    assert "--box-format normalized" in fails(*given)
    assert ids_of(trained, own, *words, "--box-format", "normalized") == ["a", "b"]


# explain


def objects_of(trained: Path, image: object, page: Path, *words: object) -> list[list[float]]:
    """Return the boxes of the objects on the page."""
    assert run("explain", trained, image, "--out", page, *words) == 0
    text = page.read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    return [one["box"] for one in data["objects"]["learnt"]]


@pytest.mark.parametrize("box_format", AS_READ)
def test_explain_reads_the_format_of_the_boxes(
    trained: Path, own: Path, tmp_path: Path, box_format: str
):
    page, words = tmp_path / "page.html", ["--box-format", box_format]
    found = objects_of(trained, "a", page, "--voc", own, *words)
    assert found == [list(AS_READ[box_format])]
    # A picture of no data set, with its annotation beside it.
    shutil.copy(own / "images" / "a.png", tmp_path / "mine.png")
    shutil.copy(own / "annotations" / "a.xml", tmp_path / "mine.xml")
    assert objects_of(trained, tmp_path / "mine.png", page, *words) == found


def test_explain_clips_boxes(trained: Path, own: Path, tmp_path: Path, fails: Fails):
    set_box(own, "b", 9, 9, 150, 30)
    said = fails("explain", trained, "b", "--voc", own)
    assert said.startswith(f"{own}/annotations/b.xml: object 1 (cat): ")
    page = tmp_path / "page.html"
    assert objects_of(trained, "b", page, "--voc", own, "--clip-boxes") == [[8, 8, 96, 30]]


def test_explain_of_an_image_without_annotation(
    trained: Path, own: Path, tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
):
    words = ["explain", trained, "c", "--voc", own]
    assert fails(*words) == f"{own}/{NO_XML}"
    assert fails(*words, "--no-annotation", "error") == f"{own}/{NO_XML}"
    said = f"c: image: no such file, and none of that name in {own}/images"
    assert fails(*words, "--no-annotation", "skip") == said
    page = tmp_path / "page.html"
    negative = ["--voc", own, "--no-annotation", "negative"]
    assert objects_of(trained, "c", page, *negative) == []
    assert "mini-batch: 0 positive, " in capsys.readouterr().out
