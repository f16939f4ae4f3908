"""``minirpn eval`` and ``minirpn propose`` on a run that is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data.synthetic import SyntheticConfig, generate
from minirpn.evaluation import RecallResult

Fails = Callable[..., str]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture twice as large as what the network sees."""
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 255, (160, 192, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_eval_on_the_runs_own_shapes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    numbers = tmp_path / "recall.json"
    assert main(["eval", str(trained), "--json", str(numbers)]) == 0
    out = capsys.readouterr().out
    assert "generated shapes, split test, 1 images" in out
    written = json.loads(numbers.read_text())
    assert (written["split"], written["images"]) == ("test", 1)
    assert RecallResult.from_dict(written).table() in out


def test_eval_on_another_data_set(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = generate(tmp_path / "VOC2012", SyntheticConfig(images=10, image_size=(60, 90)))
    words = ["eval", str(trained), "--voc", str(root), "--split", "trainval"]
    assert main([*words, "--top", "40", "--limit", "2", "--matching", "any"]) == 0
    out = capsys.readouterr().out
    assert f"{root}, split trainval, 2 images" in out
    assert "matched any" in out
    rows = [line.split()[0] for line in out.splitlines() if line.split()[0].isdigit()]
    assert rows == ["40"]


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        ([], ["50", "100", "300", "1000", "2000"]),
        (["--top", "300"], ["50", "100", "300"]),
        (["--top", "400"], ["50", "100", "300", "400"]),
    ],
)
def test_eval_asks_for_as_many_proposals_as_it_counts(
    trained: Path, capsys: pytest.CaptureFixture[str], words: list[str], counts: list[str]
):
    assert main(["eval", str(trained), *words]) == 0
    _, asked, *table = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in table]
    assert [row for row in rows if row.isdigit()] == counts
    assert asked.startswith(f"at most {counts[-1]} proposals an image, ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--top", "0"], "--top: "),
        (["--limit", "0"], "--limit: expected at least 1, got 0"),
        (["--split", "nosuch"], "{run}/shapes: split 'nosuch': not there; there is "),
        (["--voc", "gone"], "gone: data set: no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_eval_says_what_is_wrong(fails: Fails, trained: Path, words: list[str], said: str):
    assert fails("eval", trained, *words).startswith(said.format(run=trained))


def test_eval_wants_a_run(fails: Fails, tmp_path: Path):
    assert fails("eval", tmp_path / "gone") == f"{tmp_path / 'gone'}: no such run folder"


def test_propose_prints_boxes_in_the_pictures_pixels(
    trained: Path, image: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["propose", str(trained), str(image), "--top", "3"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == f"{image}: 3 proposals"
    scores, boxes = np.split(np.array([row.split() for row in rows], float), [1], axis=1)
    assert np.all(np.diff(scores[:, 0]) <= 0)
    assert np.all((boxes >= 0) & (boxes <= [192, 160, 192, 160]))
    assert np.max(boxes[:, 2]) > 96  # the network's picture ends there
    assert not (trained / "proposals").exists()


def test_propose_saves_a_picture_and_the_numbers(trained: Path, image: Path, tmp_path: Path):
    other = tmp_path / "other" / image.name
    other.parent.mkdir()
    other.write_bytes(image.read_bytes())
    out = tmp_path / "out"
    words = ["propose", str(trained), str(image), str(other), "--top", "5", "--out", str(out)]
    assert main(words) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["picture-2.json", "picture-2.png", "picture.json", "picture.png"]
    first, second = (json.loads((out / f"{n}.json").read_text()) for n in ("picture", "picture-2"))
    assert first["image"] == str(image)
    assert first["image_size"] == {"height": 160, "width": 192}
    assert len(first["boxes"]) == len(first["scores"]) == 5
    assert first["boxes"] == second["boxes"]


def test_propose_save_goes_into_the_run(trained: Path, image: Path, tmp_path: Path):
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["propose", str(run), str(image), "--save"]) == 0
    assert {path.suffix for path in (run / "proposals").iterdir()} == {".png", ".json"}


def test_propose_says_what_is_wrong(fails: Fails, trained: Path, tmp_path: Path, image: Path):
    gone, text = tmp_path / "gone.jpg", tmp_path / "text.jpg"
    text.write_text("no picture")
    assert fails("propose", trained, gone) == f"{gone}: image: no such file"
    assert fails("propose", trained, text) == f"{text}: image: not of a format Pillow reads"
    assert fails("propose", trained, image, "--top", "0") == "--top: expected at least 1, got 0"
    assert fails("propose", tmp_path, image).startswith(f"{tmp_path}: not a run folder")
