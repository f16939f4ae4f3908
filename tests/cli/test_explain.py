"""``minirpn explain``: a page from a run and an image, or one line that says why not."""

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

Fails = Callable[..., str]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be written into."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def lone(tmp_path: Path) -> Path:
    """A picture without an annotation."""
    path = tmp_path / "lone.png"
    Image.fromarray(np.full((80, 96, 3), 90, np.uint8)).save(path)
    return path


def data_of(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])


def test_an_image_of_the_runs_own_shapes(run: Path, capsys: pytest.CaptureFixture[str]):
    image = run / "shapes" / "JPEGImages" / "000001.jpg"
    assert main(["explain", str(run), str(image)]) == 0
    loss, batch, page = capsys.readouterr().out.splitlines()
    path = run / "explain" / "000001.html"
    assert page == f"page: {path}"
    learning = data_of(path)["learning"]
    terms = [f"{learning['loss'][name]:.4f}" for name in ("total", "objectness", "box")]
    assert loss == "loss {}: objectness {}, boxes {}".format(*terms)
    counts = learning["counts"]
    assert batch == (
        f"mini-batch: {counts['sampled_positives']} positive, "
        f"{counts['sampled_negatives']} negative anchors, drawn with seed 0"
    )
    assert counts["sampled_positives"] > 0


def test_a_model_that_looks_twice_is_shown_at_one_size(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    config = run / "config.toml"
    text = config.read_text()
    assert "also_at = []" in text
    config.write_text(text.replace("also_at = []", "also_at = [0.5, 2.0]"))
    assert main(["explain", str(run), "000001"]) == 0
    *_, looks, page = capsys.readouterr().out.splitlines()
    assert looks == "one size is shown; to propose, the model looks at 1, 0.5, 2 times this"
    assert page.startswith("page: ")


def test_a_step_is_shown_at_the_size_of_training_images(
    run: Path, lone: Path, capsys: pytest.CaptureFixture[str]
):
    path = run / "explain" / "000001.html"
    sizes = []
    for zoom in ("1.0", "0.5"):
        config = run / "config.toml"
        config.write_text(re.sub(r"(?m)^zoom = .*$", f"zoom = {zoom}", config.read_text()))
        assert main(["explain", str(run), "000001"]) == 0
        assert ("looks at 2 times this" in capsys.readouterr().out) == (zoom == "0.5")
        sizes.append(data_of(path)["image"]["width"])
    assert sizes[0] == 2 * sizes[1]
    # Where nothing is learned, the size is that of the look.
    assert main(["explain", str(run), str(lone)]) == 0
    assert "times this" not in capsys.readouterr().out


def test_a_name_in_another_data_set_and_another_file(run: Path, tmp_path: Path):
    data = shutil.copytree(run / "shapes", tmp_path / "VOC2012")
    out = tmp_path / "new" / "page.html"
    words = ["explain", str(run), "000002", "--voc", str(data), "--out", str(out)]
    assert main(words) == 0
    assert data_of(out)["image"]["name"] == "000002"
    assert not (run / "explain").exists()


def test_without_ground_truth_one_line_says_so(
    run: Path, lone: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["explain", str(run), str(lone)]) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        f"{lone}: there is no annotation beside it: nothing to learn from; "
        "only anchors, objectness and proposals are shown\n"
    )
    assert captured.out == f"page: {run / 'explain' / 'lone.html'}\n"
    assert data_of(run / "explain" / "lone.html")["learning"] is None


def test_a_checkpoint_and_a_shipped_model(
    run: Path, lone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
):
    image = str(run / "shapes" / "JPEGImages" / "000001.jpg")
    assert main(["explain", f"{run}@last", image]) == 0
    page = run / "explain" / "000001.html"
    losses = data_of(page)["learning"]["loss"]
    page.unlink()
    lone_checkpoint = shutil.copy(run / "checkpoints" / "last.npz", tmp_path / "mine.npz")
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(lone_checkpoint), image]) == 0
    assert data_of(tmp_path / "explain" / "000001.html")["learning"]["loss"] == losses
    assert main(["explain", "shapes", image]) == 0
    assert data_of(tmp_path / "explain" / "000001.html")["learning"]["loss"] != losses
    assert fails("explain", "shapes", "000001") == "000001: image: no such file"


def test_explain_says_what_is_wrong(fails: Fails, trained: Path, lone: Path, tmp_path: Path):
    gone = tmp_path / "gone.jpg"
    own = trained / "shapes" / "JPEGImages"
    said = fails("explain", trained, gone)
    assert said == f"{gone}: image: no such file, and none of that name in {own}"
    said = fails("explain", trained, lone, "--voc", trained / "shapes")
    assert said == f"{lone}: annotation: none of that name in {trained}/shapes/Annotations"
    assert fails("explain", tmp_path, lone).startswith(f"{tmp_path}: not a run folder")
    said = fails("explain", trained, "000001", "--out", lone / "page.html")
    assert said == f"{lone}: cannot make the folder: File exists"


def test_images_of_the_same_name_have_their_own_pages(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = tmp_path / "rf"
    for split, number in (("train", "000001"), ("valid", "000002")):
        (root / split).mkdir(parents=True)
        for folder, ending in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            source = run / "shapes" / folder / f"{number}.{ending}"
            shutil.copy(source, root / split / f"a.{ending}")
    words = ["explain", str(run), "--voc", str(root)]
    assert main([*words, "train/a"]) == 0
    assert main([*words, str(root / "valid" / "a.jpg")]) == 0
    pages = [run / "explain" / f"{split}_a.html" for split in ("train", "valid")]
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("page")]
    assert printed == [f"page: {page}" for page in pages]
    assert sorted((run / "explain").iterdir()) == pages
    names = [data_of(page)["image"]["name"] for page in pages]
    assert names == ["train/a", "valid/a"]
    first, second = (data_of(page)["image"]["uri"] for page in pages)
    assert first != second
