"""``minirpn detect``, and ``minirpn eval`` on a run with a detector."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import VOCDataset
from minirpn.evaluation import (
    APResult,
    RecallResult,
    average_precision,
    read_coco_detections,
    read_voc_results,
)
from minirpn.training.config import load_config

Fails = Callable[..., str]
# After three steps the detector is sure of nothing.
ANY_SCORE = ["--score-threshold", "0"]


@pytest.fixture
def classes(trained_detector: Path) -> tuple[str, ...]:
    """What the detector tells apart."""
    return load_config(trained_detector / "config.toml").data.classes


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture twice as large as what the network sees."""
    path = tmp_path / "picture.one.png"
    pixels = np.random.default_rng(0).integers(0, 255, (160, 192, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_eval_prints_both_tables(
    trained_detector: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    classes: tuple[str, ...],
):
    numbers = tmp_path / "new" / "numbers.json"
    assert main(["eval", str(trained_detector), "--json", str(numbers)]) == 0
    out = capsys.readouterr().out
    written = json.loads(numbers.read_text())
    assert (written["split"], written["images"]) == ("test", 6)
    recall, precision = RecallResult.from_dict(written), APResult.from_dict(written["precision"])
    assert recall.counts == (50, 100, 300, 1000, 2000)
    assert precision.classes == classes
    assert recall.table() in out
    assert precision.table() in out
    assert f"written: {numbers}" in out


def test_eval_writes_what_other_tools_judge(
    trained_detector: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    classes: tuple[str, ...],
):
    numbers, voc, coco = tmp_path / "numbers.json", tmp_path / "voc", tmp_path / "new.coco.json"
    words = ["eval", str(trained_detector), "--split", "all", "--json", str(numbers)]
    assert main([*words, "--voc-results", str(voc), "--coco", str(coco)]) == 0
    dataset = VOCDataset(trained_detector / "shapes", split="all", classes=classes)
    truth = tmp_path / "new.coco_ground_truth.json"
    content = json.loads(truth.read_text())
    assert [image["file_name"] for image in content["images"]] == [
        f"{image_id}.jpg" for image_id in dataset.image_ids
    ]
    printed = capsys.readouterr().out
    assert all(f"written: {path}" in printed for path in (voc, coco, truth))

    annotations = [dataset.annotation(index) for index in range(len(dataset))]
    expected = APResult.from_dict(json.loads(numbers.read_text())["precision"])
    assert sum(curve.wrong + curve.found for curve in expected.curves) > 0
    for found in (
        read_voc_results(voc, dataset.image_ids, classes, split="all"),
        read_coco_detections(coco, len(dataset), len(classes)),
    ):
        again = average_precision(
            [item._replace(scores=item.scores.astype(np.float32)) for item in found],
            [item.gt_boxes for item in annotations],
            [item.gt_classes for item in annotations],
            difficult=[item.difficult for item in annotations],
            classes=classes,
        )
        assert again.to_dict() == expected.to_dict()


@pytest.mark.parametrize("kind", ["trained", "trained_detector"])
def test_eval_draws_the_curves(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    run: Path = request.getfixturevalue(kind)
    assert main(["eval", str(run), "--out", str(tmp_path / "new")]) == 0
    pictures = {"recall.png"} | ({"precision_recall.png"} if kind != "trained" else set())
    assert {path.name for path in (tmp_path / "new").iterdir()} == pictures
    for name in pictures:
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")


def test_the_proposals_counted_do_not_change_what_the_detector_looks_at(
    trained_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    precisions, means = [], []
    for top in ("1", "2000"):
        numbers = tmp_path / f"{top}.json"
        words = ["eval", str(trained_detector), "--top", top, "--json", str(numbers)]
        assert main(words) == 0
        precisions.append(json.loads(numbers.read_text())["precision"])
        means.append(int(capsys.readouterr().out.splitlines()[1].split()[-3]))
    assert precisions[0] == precisions[1]
    # The detector looks at 20.
    assert means[0] == 1
    assert means[1] > 20


def test_eval_says_where_it_cannot_write(fails: Fails, trained: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    said = fails("eval", trained, "--out", tmp_path / "file")
    assert said.startswith(f"{tmp_path / 'file'}: cannot write: ")


def test_detect_prints_boxes_in_the_pictures_pixels(
    trained_detector: Path,
    image: Path,
    capsys: pytest.CaptureFixture[str],
    classes: tuple[str, ...],
):
    assert main(["detect", str(trained_detector), str(image), *ANY_SCORE]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == f"{image}: {len(rows)} detections above 0"
    assert len(rows) > 0
    words = [row.split() for row in rows]
    assert {word[0] for word in words} <= set(classes)
    numbers = np.array([word[1:] for word in words], float)
    assert np.all(np.diff(numbers[:, 0]) <= 0)
    assert np.all((numbers[:, 1:] >= 0) & (numbers[:, 1:] <= [192, 160, 192, 160]))
    assert np.max(numbers[:, 3]) > 96  # the network's picture ends there
    assert not (trained_detector / "detections").exists()


def test_detect_saves_pictures_and_numbers(
    trained_detector: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    classes: tuple[str, ...],
):
    other = tmp_path / "other" / image.name
    other.parent.mkdir()
    other.write_bytes(image.read_bytes())
    out = tmp_path / "out"
    words = ["detect", str(trained_detector), str(image), str(other), "--out", str(out)]
    assert main([*words, *ANY_SCORE]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "picture.one-2.json",
        "picture.one-2.png",
        "picture.one.json",
        "picture.one.png",
    ]
    first, second = (json.loads((out / name).read_text()) for name in (names[2], names[0]))
    assert first["image"] == str(image)
    assert first["image_size"] == {"height": 160, "width": 192}
    assert first["boxes"] == second["boxes"]
    assert 2 * (len(first["boxes"]) + 1) == len(rows)
    assert len(first["boxes"]) == len(first["scores"]) == len(first["classes"])
    assert set(first["classes"]) <= set(classes)


def test_detect_save_goes_into_the_run(trained_detector: Path, image: Path, tmp_path: Path):
    run = shutil.copytree(trained_detector, tmp_path / "run")
    # Nothing is found: a picture without boxes, and empty lists.
    assert main(["detect", str(run), str(image), "--save", "--score-threshold", "1"]) == 0
    assert {path.suffix for path in (run / "detections").iterdir()} == {".png", ".json"}
    assert json.loads((run / "detections" / "picture.one.json").read_text())["boxes"] == []


def test_detect_says_what_is_wrong(
    fails: Fails, trained: Path, trained_detector: Path, tmp_path: Path, image: Path
):
    said = fails("detect", trained, image)
    assert said == f"{trained}: it has no detector; minirpn train --sharing 4-step trains one"
    gone = tmp_path / "gone.jpg"
    assert fails("detect", trained_detector, gone) == f"{gone}: image: no such file"
    said = fails("detect", trained_detector, image, "--score-threshold", "2")
    assert said == "--score-threshold: expected 0 to 1, got 2.0"
    said = fails("detect", tmp_path / "gone", image)
    assert said == f"{tmp_path / 'gone'}: no such run, model or picture"
    assert fails("detect", trained_detector) == "nothing to look at: name pictures"
    (tmp_path / "file").write_text("")
    said = fails("detect", trained_detector, image, *ANY_SCORE, "--out", tmp_path / "file")
    assert said.startswith(f"{tmp_path / 'file'}: cannot write: ")
