"""``minirpn eval`` and ``minirpn propose`` on a run that is done."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import VOCDataset
from minirpn.data.synthetic import SyntheticConfig, generate
from minirpn.errors import InputError
from minirpn.evaluation import (
    RecallResult,
    proposal_recall,
    read_coco_detections,
    read_voc_results,
)
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint

Fails = Callable[..., str]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture twice as large as what the network sees."""
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 255, (160, 192, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def run_with_two(trained: Path, tmp_path: Path) -> Path:
    """A run whose best checkpoint knows less than its last: its head gives 0 for everything."""
    run = shutil.copytree(trained, tmp_path / "two")
    best = load_checkpoint(run / "checkpoints" / "last.npz")
    zeros = {
        name: np.zeros_like(value) if name.startswith("rpn.") else value
        for name, value in best.parameters.items()
    }
    save_checkpoint(run / "checkpoints" / "best.npz", replace(best, parameters=zeros))
    return run


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


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A data set in VOC layout that may be changed."""
    return generate(tmp_path / "own", SyntheticConfig(images=10, image_size=(60, 90)))


@pytest.fixture
def trained_on_own(trained: Path, own: Path, tmp_path: Path) -> Path:
    """A run that says it was trained on that data set."""
    run = shutil.copytree(trained, tmp_path / "run")
    settings = run / "config.toml"
    settings.write_text(settings.read_text().replace('voc = "none"', f'voc = "{own}"'))
    assert str(own) in settings.read_text()
    return run


def test_eval_measures_on_test_or_else_on_the_validation_split(
    trained_on_own: Path, own: Path, capsys: pytest.CaptureFixture[str], fails: Fails
):
    assert main(["eval", str(trained_on_own)]) == 0
    assert capsys.readouterr().out.startswith(f"{own}, split test, 2 images\n")
    lists = own / "ImageSets" / "Main" / "test.txt"
    lists.unlink()
    assert main(["eval", str(trained_on_own)]) == 0
    assert capsys.readouterr().out.startswith(
        "no split 'test' there: measured on 'val', the run's validation split\n"
        f"{own}, split val, 2 images\n"
    )
    assert "split 'test': not there" in fails("eval", trained_on_own, "--split", "test")
    lists.write_text("")  # it is there, and says what is wrong with it
    assert "split 'test': lists no image" in fails("eval", trained_on_own)


def test_eval_wants_objects(trained: Path, own: Path, fails: Fails):
    for path in (own / "Annotations").iterdir():
        path.write_text(re.sub(r"(</?)object>", r"\1Thing>", path.read_text()))
    said = fails("eval", trained, "--voc", own, "--split", "test")
    assert said == f"{own}: split 'test': no object to measure in its 2 images"
    said = fails("eval", trained, "--voc", own, "--split", "test", "--limit", "1")
    assert said == f"{own}: split 'test': no object to measure in the first 1 images"


def test_eval_looks_at_the_ids_before_it_begins(
    trained: Path, own: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
):
    """VOC's result files hold no blanks."""
    (image_id,) = (own / "ImageSets/Main/test.txt").read_text().split()[:1]
    for folder, ending in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (own / folder / f"{image_id}.{ending}").rename(own / folder / f"my photo.{ending}")
    (own / "ImageSets/Main/test.txt").write_text("my photo\n")
    monkeypatch.setattr("minirpn.training.evaluate.evaluate_split", pytest.fail)
    words = ["eval", trained, "--voc", own, "--coco", tmp_path / "coco.json"]
    said = fails(*words, "--split", "test", "--voc-results", tmp_path / "voc")
    assert said.startswith("--voc-results: image 'my photo': VOC's result files hold no id with a")


@pytest.mark.parametrize(
    ("words", "twice"),
    [
        (["--json", "one.json", "--coco", "one.json"], "one.json"),
        (["--json", "one.json", "--coco", "./one.json"], "one.json"),
        (["--coco", "x.json", "--json", "x_ground_truth.json"], "x_ground_truth.json"),
        (["--out", "curves", "--json", "curves/recall.png"], "curves/recall.png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_eval_does_not_write_two_outputs_to_one_file(
    trained: Path,
    tmp_path: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    twice: str,
):
    monkeypatch.chdir(tmp_path)
    said = fails("eval", trained.absolute(), *words)
    assert said == f"{twice}: two outputs would be written there"
    assert list(tmp_path.iterdir()) == []


def test_eval_says_how_to_leave_out_a_bad_image(
    trained: Path, own: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
):
    """A truncated image is met in the middle; a missing one at the start."""
    words = ["eval", trained, "--voc", own, "--split", "all", "--top", 50]
    path = own / "JPEGImages" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    said = fails(*words)
    assert said.startswith(f"{path}: image: ")
    assert said.endswith("; --skip-bad leaves it out")
    assert main([*map(str, words), "--skip-bad"]) == 0
    out = capsys.readouterr().out
    assert f"left out: {path}: image: " in out
    assert f"{own}, split all, 9 images\n" in out
    path.unlink()
    said = fails(*words)
    assert said.startswith(f"{path.with_suffix('')}: image: no such file, of any format")
    assert said.endswith("; --skip-bad leaves it out")


@pytest.mark.parametrize("command", ["eval", "propose"])
def test_an_output_that_cannot_be_written_does_not_keep_back_the_others(
    trained: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
):
    numbers, voc, coco = tmp_path / "numbers.json", tmp_path / "voc", tmp_path / "coco.json"

    def full(path: Path, *args: object, **options: object) -> None:
        raise InputError(f"{path}: cannot write: No space left on device")

    if command == "eval":
        monkeypatch.setattr("minirpn.files.write_json", full)
        monkeypatch.setattr("minirpn.evaluation.write_voc_results", full)
    else:
        monkeypatch.setattr("minirpn.results.write_json", full)
        monkeypatch.setattr("minirpn.results.write_voc", full)
    words = [command, trained, *([image] if command == "propose" else [])]
    words += ["--json", numbers, "--voc-results", voc, "--coco", coco]
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert coco.is_file()
    assert f"written: {coco}" in out
    assert str(numbers) not in out
    assert err.splitlines()[-2:] == [
        f"error: {voc}: cannot write: No space left on device",
        f"minirpn: error: {numbers}: cannot write: No space left on device",
    ]


def test_a_run_that_never_learned_says_so(
    trained: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = shutil.copytree(trained, tmp_path / "run")
    last = run / "checkpoints" / "last.npz"
    save_checkpoint(last, replace(load_checkpoint(last), step=0))
    told = f"warning: {run}: saved at step 0: the network has not learned anything yet"
    for words in (["propose", str(run), str(image)], ["eval", str(run)]):
        assert main(words) == 0
        assert capsys.readouterr().err.splitlines().count(told) == 1
    assert main(["propose", str(trained), str(image)]) == 0
    assert "step 0" not in capsys.readouterr().err


def test_eval_wants_a_run(fails: Fails, tmp_path: Path):
    gone = tmp_path / "gone"
    assert fails("eval", gone) == f"{gone}: no such run folder, and no such model"


@pytest.mark.parametrize("words", [["{run}@best"], ["{run}", "--best"], ["{run}/{best}"]])
def test_eval_of_the_best_checkpoint(
    run_with_two: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
):
    """Whichever way it is named, the numbers are its own, not those of the last one."""
    numbers = tmp_path / "recall.json"
    named = [word.format(run=run_with_two, best="checkpoints/best.npz") for word in words]
    assert main(["eval", *named, "--json", str(numbers)]) == 0
    best = RecallResult.from_dict(json.loads(numbers.read_text()))
    assert main(["eval", str(run_with_two)]) == 0
    assert best.table() not in capsys.readouterr().out.split("written")[1]
    (run_with_two / "checkpoints" / "best.npz").replace(run_with_two / "checkpoints" / "last.npz")
    assert main(["eval", str(run_with_two)]) == 0
    assert best.table() in capsys.readouterr().out


def test_eval_of_a_shipped_model(
    trained: Path, fails: Fails, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    said = fails("eval", "shapes")
    assert said == "shapes: it has no data beside it: name a data set, --voc DIR"
    assert main(["eval", "shapes", "--voc", str(trained / "shapes"), "--split", "all"]) == 0
    assert f"{trained / 'shapes'}, split all, 5 images" in capsys.readouterr().out
    lone = shutil.copy(trained / "checkpoints" / "last.npz", tmp_path)
    assert fails("eval", lone) == f"{lone}: it has no data beside it: name a data set, --voc DIR"


def test_best_is_of_a_run(trained: Path, fails: Fails):
    checkpoint = trained / "checkpoints" / "last.npz"
    for source in ("shapes", checkpoint):
        reason = f"only a run has a best checkpoint, and {source} is no run folder"
        assert fails("eval", source, "--best") == f"{source}: {reason}"


def test_eval_writes_proposals_for_other_tools(trained: Path, tmp_path: Path):
    """Without a detector, all proposals and all objects are of one class."""
    voc, coco = tmp_path / "voc", tmp_path / "coco.json"
    words = ["eval", str(trained), "--split", "all", "--top", "60", "--coco", str(coco)]
    numbers = tmp_path / "recall.json"
    assert main([*words, "--voc-results", str(voc), "--json", str(numbers)]) == 0
    dataset = VOCDataset(trained / "shapes", split="all")
    truth = json.loads((tmp_path / "coco_ground_truth.json").read_text())
    assert truth["categories"] == [{"id": 1, "name": "object"}]
    assert {item["category_id"] for item in truth["annotations"]} == {1}
    assert len(truth["annotations"]) == sum(
        len(dataset.annotation(index).gt_boxes) for index in range(len(dataset))
    )
    expected = RecallResult.from_dict(json.loads(numbers.read_text()))
    for found in (
        read_voc_results(voc, dataset.image_ids, ["object"], split="all"),
        read_coco_detections(coco, len(dataset), 1),
    ):
        assert all(0 < len(item.boxes) <= 60 for item in found)
        again = proposal_recall(
            [item.boxes for item in found],
            [dataset.annotation(index).gt_boxes for index in range(len(dataset))],
            difficult=[dataset.annotation(index).difficult for index in range(len(dataset))],
            counts=expected.counts,
        )
        assert again.table() == expected.table()


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
    said = fails("propose", tmp_path / "gone", image)
    assert said == f"{tmp_path / 'gone'}: no such run, model or picture"


def test_a_run_reads_its_own_data_as_in_its_training(trained, tmp_path, small_config, no_figures):
    shutil.copytree(trained / "shapes", tmp_path / "data")
    name = (tmp_path / "data/ImageSets/Main/val.txt").read_text().split()[0]
    (tmp_path / f"data/Annotations/{name}.xml").write_text("<annotation>")
    words = ["--config", small_config, "--voc", tmp_path / "data", "--split", "train"]
    words += ["--val-split", "none", "--out", tmp_path / "run", "--skip-bad"]
    assert main(["train", *map(str, words)]) == 0
    measured = ["eval", str(tmp_path / "run"), "--split", "trainval"]
    assert main(measured) == 0
    # Another data set than the run's is read as the flags say.
    assert main([*measured, "--voc", str(tmp_path / "data")]) == 2


def test_the_data_set_of_a_run_that_is_gone(trained, tmp_path, small_config, no_figures, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(trained / "shapes", data)
    words = ["train", "--config", small_config, "--voc", data, "--out", run]
    assert main([str(word) for word in words]) == 0
    data.rename(tmp_path / "moved")
    for command in (["eval", run], ["propose", run, "--split", "val"]):
        assert main([str(word) for word in command]) == 2
        told = f"{run}: its data set {data} is gone: --voc DIR says where it is"
        assert told in capsys.readouterr().err
    moved = tmp_path / "moved"
    folders = ["--images", moved / "JPEGImages", "--annotations", moved / "Annotations"]
    for flags in (["--voc", moved], folders):
        assert main([str(word) for word in ["eval", run, "--split", "all", *flags]]) == 0
