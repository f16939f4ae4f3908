"""``minirpn check`` from the outside: what it prints and writes, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import VOCDataset, VOCObject, write_annotation
from minirpn.data.shapes import SHAPES
from minirpn.data.synthetic import SyntheticConfig, generate


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A small data set that nothing is wrong with."""
    return generate(tmp_path / "VOC2007", SyntheticConfig(images=5, image_size=(60, 80)))


def spoil(root: Path, old: str, new: str) -> Path:
    """Replace the first such text in the first annotation."""
    path = root / "Annotations" / "000001.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_nothing_is_wrong_with_generated_shapes(voc: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--voc", str(voc.parent), "--year", "2007"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{voc}: images 5, ")
    assert "splits: test 1, train 3, trainval 4, val 1" in captured.out
    assert captured.out.endswith("Nothing is wrong.\n")
    assert captured.err.startswith("image 5/5")


def test_an_error_is_told_by_status_table_and_json(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = spoil(voc, "<xmin>", "<xmin>-9")
    numbers = tmp_path / "findings.json"
    assert main(["check", "--voc", str(voc), "--json", str(numbers)]) == 1
    assert "1 error (1 box outside the image)" in capsys.readouterr().out
    (finding,) = json.loads(numbers.read_text())["findings"]
    assert (finding["file"], finding["kind"]) == (str(path), "box outside the image")
    assert finding["object"].startswith("object 1 (")
    assert main(["check", "--voc", str(voc), "--split", "test", "--split", "val"]) == 0


def box_twice(root: Path) -> None:
    path = root / "Annotations" / "000001.xml"
    tree = ElementTree.parse(path)
    tree.getroot().append(tree.getroot().find("object"))
    tree.write(path)


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (lambda voc: spoil(voc, "<name>", "<name> "), "1 repaired (1 blanks in a class name)"),
        (box_twice, "1 warning (1 box twice)"),
    ],
)
def test_what_is_no_error_is_told_and_stops_nothing(
    voc: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], object], told: str
):
    plant(voc)
    assert main(["check", "--voc", str(voc), "--first", "0"]) == 0
    out = capsys.readouterr().out
    assert told in out
    assert "000001.xml" not in out


def test_other_classes_than_those_given(voc: Path, capsys: pytest.CaptureFixture[str]):
    words = ["check", "--voc", str(voc), "--classes"]
    assert main([*words, ",".join(SHAPES)]) == 0
    assert main([*words, "zebra"]) == 1
    assert "unknown class; the classes are zebra" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "nosuch"], "{voc}: split 'nosuch': not there; there is test, train"),
        (["--year", "1999"], "{voc}: year 1999: no folder VOC1999 in it"),
        (["--threads", "0"], "--threads: expected at least 1, got 0"),
        (["--first", "-1"], "--first: expected at least 0, got -1"),
        (["--json", "{voc}/no/such.json"], "{voc}/no/such.json: cannot write: "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line(
    fails: Callable[..., str], voc: Path, words: list[str], said: str
):
    words = [word.format(voc=voc) for word in words]
    assert fails("check", "--voc", voc, "--threads", "1", *words).startswith(said.format(voc=voc))


def test_the_data_set_must_be_named(fails: Callable[..., str]):
    assert "--voc" in fails("check")


def test_training_stops_with_the_list(
    voc: Path, tmp_path: Path, small_config: Path, capsys: pytest.CaptureFixture[str]
):
    spoil(voc, "<xmin>", "<xmin>-9")
    (voc / "JPEGImages" / "000002.jpg").unlink()
    words = ["train", "--config", small_config, "--voc", voc, "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True, False]
    assert "is beyond the image" in lines[0]
    assert "no such file, of any format" in lines[1]
    assert lines[2].startswith("minirpn: error: ")
    assert "(and 1 more bad files or boxes" in lines[2]
    assert not (tmp_path / "run").exists()


def test_training_repairs_what_is_safe_and_logs_it(
    voc: Path, tmp_path: Path, small_config: Path, no_finish: None
):
    spoil(voc, "<name>", "<name> ")
    run = tmp_path / "run"
    words = ["train", "--config", small_config, "--voc", voc, "--out", run, "--steps", 1]
    assert main([str(word) for word in words]) == 0
    assert "1 repaired (1 blanks in a class name)" in (run / "log.txt").read_text()


# --fix


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Images "a", "my b", c and d of 40x30: boxes from 0, one beyond the image, d has no XML."""
    root = tmp_path / "faulty"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    boxes = {"a": [(0, 0, 9, 19)], "my b": [(5, 5, 9, 9), (20, 10, 60, 20)], "c": [(3, 3, 39, 29)]}
    for number, name in enumerate([*boxes, "d"]):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    for name, corners in boxes.items():
        objects = [VOCObject("cat", one) for one in corners]
        write_annotation(root / "annotations" / f"{name}.xml", f"{name}.png", (30, 40), objects)
    return root


def test_fix_writes_a_copy_with_nothing_wrong(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "copy"
    words = ["check", "--voc", str(faulty), "--box-format", "zero-based", "--fix", str(copy)]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "2 errors (1 image without annotation, 1 box outside the image)" in out
    last = f"corrected copy: {copy}: 3 images, 1 left out; see CHANGES.md in it"
    assert out.splitlines()[-1] == last
    page = (copy / "CHANGES.md").read_text()
    assert "| error | image without annotation | 1 |" in page
    assert "| error | box outside the image | 1 |" in page
    assert "- my b -> my_b" in page

    found = VOCDataset(copy, split="all")  # without a flag, and without skip_bad
    assert (found.image_ids, found.findings) == (("a", "c", "my_b"), ())
    boxes = {one: found.annotation(n).gt_boxes.tolist() for n, one in enumerate(found.image_ids)}
    assert boxes == {"a": [[0, 0, 10, 20]], "c": [[3, 3, 40, 30]], "my_b": [[5, 5, 10, 10]]}
    assert found.annotation(2).ignored.tolist() == [[20, 10, 40, 21]]
    for image_id, original in (("a", "a"), ("my_b", "my b")):
        image = (copy / "JPEGImages" / f"{image_id}.png").read_bytes()
        assert image == (faulty / "images" / f"{original}.png").read_bytes()
    assert main(["check", "--voc", str(copy)]) == 0
    assert capsys.readouterr().out.startswith(f"{copy}: images 3, objects 3, classes 1\n")


def test_fix_does_what_the_flags_say(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "copy"
    words = ["check", "--voc", faulty, "--box-format", "zero-based", "--clip-boxes", "--fix", copy]
    assert main([*map(str, words), "--no-annotation", "negative"]) == 0
    last = f"corrected copy: {copy}: 4 images; see CHANGES.md in it"
    assert capsys.readouterr().out.splitlines()[-1] == last
    found = VOCDataset(copy, split="all")
    assert found.image_ids == ("a", "c", "d", "my_b")
    assert found.annotation(2).gt_boxes.shape == (0, 4)
    assert found.annotation(3).gt_boxes.tolist() == [[5, 5, 10, 10], [20, 10, 40, 21]]
    other = tmp_path / "other"
    words[-1] = other
    assert main([*map(str, words), "--no-annotation", "skip"]) == 0
    assert VOCDataset(other, split="all").image_ids == ("a", "c", "my_b")


def test_fix_never_writes_over_anything(faulty: Path, fails: Callable[..., str]):
    before = sorted(path.name for path in faulty.iterdir())
    said = fails("check", "--voc", faulty, "--fix", faulty)
    assert said == f"{faulty}: inside the data set {faulty}; name a folder outside"
    assert sorted(path.name for path in faulty.iterdir()) == before


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locale")
def test_names_of_any_language_under_an_ascii_locale(tmp_path: Path):
    root = tmp_path / "Häuser"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "JPEGImages/tür.png")
    objects = [VOCObject("Tür", (3, 5, 20, 15))]
    write_annotation(root / "Annotations/tür.xml", "tür.png", (30, 40), objects)
    (root / "ImageSets/Main/train.txt").write_text("tür\n", encoding="utf-8")
    words = ["check", "--voc", root, "--classes", "Tür", "--fix", tmp_path / "copy"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "minirpn", *map(str, words)],
        env={**os.environ, **locale},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Nothing is wrong" in done.stdout) == (0, True), done
    assert VOCDataset(tmp_path / "copy", split="train").image_ids == ("tür",)
