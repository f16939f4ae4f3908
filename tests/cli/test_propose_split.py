"""Proposals of a whole split, saved by one command and trained on by another."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import VOCDataset, VOCObject, write_annotation
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
        (["a.png", "--skip-bad"], "--skip-bad: only with --split"),
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


# A data set with faults.


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three images of 96x80, each with one box that begins at pixel 9."""
    root = tmp_path / "own"
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate("abc"):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        xml = root / "Annotations" / f"{name}.xml"
        write_annotation(xml, f"{name}.jpg", (80, 96), [VOCObject("cat", (10, 10, 40, 30))])
    return root


@pytest.fixture
def truncated(own: Path) -> Path:
    """The second of the images, the end of whose file is gone: its header is whole."""
    path = own / "JPEGImages" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-900])
    return path


@pytest.fixture
def propose(trained: Path, own: Path, tmp_path: Path) -> Callable[..., list[object]]:
    """Return the words that save the proposals of all images of the data set."""

    def words(*more: object) -> list[object]:
        all_images = ["propose", trained, "--voc", own, "--split", "all", "--top", 5]
        return [*all_images, "--out", tmp_path / "out", *more]

    return words


def test_a_bad_image_is_named_and_can_be_left_out(
    propose: Callable[..., list[object]],
    truncated: Path,
    tmp_path: Path,
    fails: Fails,
    capsys: pytest.CaptureFixture[str],
):
    said = fails(*propose())
    assert said.startswith(f"{truncated}: image: ")
    assert said.endswith("; --skip-bad leaves it out")
    assert list((tmp_path / "out").iterdir()) == []
    assert main([str(word) for word in propose("--skip-bad")]) == 0
    left_out, summary, saved = capsys.readouterr().out.splitlines()
    assert left_out.startswith(f"left out: {truncated}: image: ")
    assert summary == "split all: 2 images, 5 proposals each on average"
    assert saved == f"saved: {tmp_path / 'out' / 'all.npz'}"
    assert list(load_proposals(tmp_path / "out" / "all.npz")) == ["a", "c"]


@pytest.mark.usefixtures("truncated")
def test_a_run_that_leaves_out_what_is_bad_does_so_here(
    propose: Callable[..., list[object]], trained: Path, tmp_path: Path
):
    run = shutil.copytree(trained, tmp_path / "run")
    settings = run / "config.toml"
    text = settings.read_text()
    assert "skip_bad = false" in text
    settings.write_text(text.replace("skip_bad = false", "skip_bad = true"))
    words = propose()
    words[1] = run
    assert main([str(word) for word in words]) == 0
    assert list(load_proposals(tmp_path / "out" / "all.npz")) == ["a", "c"]


def test_an_image_without_annotation(
    propose: Callable[..., list[object]], own: Path, tmp_path: Path, fails: Fails
):
    (own / "Annotations" / "b.xml").unlink()
    said = fails(*propose())
    assert said.startswith(f"{own / 'Annotations' / 'b.xml'}: annotation: no such file; ")
    assert "--no-annotation skip leaves out images without one" in said
    assert fails(*propose("--no-annotation", "error")) == said
    for choice, ids in (("skip", ["a", "c"]), ("negative", ["a", "b", "c"])):
        assert main([str(word) for word in propose("--no-annotation", choice)]) == 0
        assert list(load_proposals(tmp_path / "out" / "all.npz")) == ids


def test_how_the_boxes_are_read(
    propose: Callable[..., list[object]], own: Path, tmp_path: Path, fails: Fails
):
    """They do not change the proposals, but a bad one stops the command, as it stops a training."""
    xml = own / "Annotations" / "b.xml"
    xml.write_text(xml.read_text().replace("<xmin>10<", "<xmin>0<").replace(">40<", ">120<"))
    assert "is beyond the image" in fails(*propose())
    assert main([str(word) for word in propose("--clip-boxes")]) == 0
    assert len(load_proposals(tmp_path / "out" / "all.npz")) == 3
    said = fails(*propose("--box-format", "normalized"))
    assert said.startswith(f"{own / 'Annotations' / 'a.xml'}: object 1 (cat)")
