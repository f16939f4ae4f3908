"""Proposals of a whole split, saved by one command and trained on by another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minirpn.cli.main import main
from minirpn.data import VOCDataset
from minirpn.training.evaluate import load_proposals

Fails = Callable[..., str]


@pytest.fixture(scope="module")
def saved(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proposals for the training split of the small run."""
    folder = tmp_path_factory.mktemp("saved")
    words = ["propose", trained, "--split", "train", "--top", "25", "--out", folder]
    assert main([str(word) for word in words]) == 0
    return folder / "train.npz"


def test_every_image_is_there_with_boxes_inside(trained: Path, saved: Path):
    found = load_proposals(saved)
    dataset = VOCDataset(trained / "shapes", split="train")
    assert set(found) == set(dataset.image_ids)
    for index, image_id in enumerate(dataset.image_ids):
        boxes, scores = found[image_id]
        height, width = dataset.annotation(index).image_size
        assert 0 < len(boxes) <= 25
        assert np.all(boxes >= 0)
        assert np.all(boxes <= [width, height, width, height])
        assert np.all(np.diff(scores) <= 0)


@pytest.mark.usefixtures("no_finish")
def test_four_step_training_begins_with_them(
    saved: Path, trained: Path, small_config: Path, tmp_path: Path
):
    run = tmp_path / "run"
    words = ["train", "--config", small_config, "--sharing", "4-step", "--steps", 6, "--out", run]
    words += ["--voc", trained / "shapes", "--proposals", saved]
    assert main([str(word) for word in words]) == 0
    assert (run / "proposals" / "detector-1.npz").read_bytes() == saved.read_bytes()
    assert (run / "proposals" / "detector-2.npz").is_file()


@pytest.mark.usefixtures("no_finish")
def test_a_file_for_other_images_is_refused(
    saved: Path, trained: Path, small_config: Path, tmp_path: Path, fails: Fails
):
    words = ["train", "--config", small_config, "--sharing", "4-step", "--steps", 6]
    words += ["--voc", trained / "shapes", "--proposals", saved, "--split", "val"]
    said = fails(*words, "--out", tmp_path / "run")
    assert said.startswith(f"{saved}: no proposals for image ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.png", "--split", "train"], "a.png: either pictures or --split, not both"),
        (["a.png", "--voc", "x"], "--voc x: only with --split"),
        (["--split", "nosuch"], "nosuch"),
        (["--split", "train", "--out", "/proc"], "/proc: cannot write: "),
    ],
)
def test_contradictions_are_one_line(trained: Path, fails: Fails, words: list[str], said: str):
    assert said in fails("propose", trained, *words)


def test_a_damaged_file_is_one_line(saved: Path, small_config: Path, tmp_path: Path, fails: Fails):
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(saved.read_bytes()[:-100])
    words = ["train", "--config", small_config, "--sharing", "4-step", "--steps", 6]
    said = fails(*words, "--proposals", damaged, "--out", tmp_path / "run")
    assert said.startswith(f"{damaged}: not a whole file of proposals")
