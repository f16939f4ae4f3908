"""Which model and which pictures the words of ``propose`` and ``detect`` stand for, and the files.

The numbers themselves are looked at in the tests of each command.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.cli.output import write_each
from minirpn.evaluation import read_coco_detections, read_voc_results
from minirpn.results import Detections, Proposals, picture_names, read_json
from minirpn.training.stored import read_stored, write_shipped

pytestmark = pytest.mark.usefixtures("no_figures")

Fails = Callable[..., str]
DEFAULT = "no run named: using voc-small, trained on noise"
ABOUT = {
    "trained_on": "noise: 24 pictures (each of all colors)",
    "measured_on": "2 pictures (of noise)",
    "recall": {"100": 0.25},
    "mean_ap": 0.125,
}


@pytest.fixture
def here(
    tmp_path: Path, trained: Path, trained_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder: pictures, a run; and the shipped model is a small one with a detector."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    stored = read_stored(trained_detector)
    # The name of a folder on the machine where it was trained.
    elsewhere = replace(stored.config, data=replace(stored.config.data, voc="VOCdevkit"))
    write_shipped(shipped / "voc-small.npz", replace(stored, config=elsewhere), ABOUT)
    monkeypatch.setattr("minirpn.training.stored.SHIPPED", shipped)
    folder = tmp_path / "here"
    rng = np.random.default_rng(0)
    for name in ("photo.jpg", "photos/b.png", "photos/a.JPG", "photos/deep/c.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (80, 96, 3)).astype(np.uint8)).save(path)
    for name in ("notes.txt", "LICENSE"):
        (folder / "photos" / name).write_text("no picture")
    (folder / "photos" / "._a.jpg").write_text("what a Mac leaves")
    (folder / "empty").mkdir()
    shutil.copytree(trained, folder / "runs" / "blood")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def proposed(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Run ``propose`` on words, and return the pictures in the order of the lines."""

    def run(*words: str, status: int = 0) -> list[str]:
        assert main(["propose", *words, "--top", "1"]) == status
        lines = capsys.readouterr().out.splitlines()
        return [line.partition(":")[0] for line in lines if line.endswith(" proposals")]

    return run


# --- which model ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_without_a_run_the_shipped_model_is_used_and_named(capsys: pytest.CaptureFixture[str]):
    assert main(["propose", "photo.jpg", "--save"]) == 0
    said = capsys.readouterr()
    assert said.err == f"{DEFAULT} (recall 0.25 with 100 proposals on 2 pictures)\n"
    assert said.out.startswith("photo.jpg: 20 proposals\n")
    assert main(["detect", "photo.jpg", "--save", "--score-threshold", "0"]) == 0
    assert capsys.readouterr().err == f"{DEFAULT} (mAP 0.12 on 2 pictures)\n"
    for what in ("proposals", "detections"):
        assert sorted(path.name for path in Path(what).iterdir()) == ["photo.json", "photo.png"]
    assert main(["propose", "voc-small", "photo.jpg"]) == 0
    assert capsys.readouterr().err == ""


def boxes_by(*words: str) -> list[list[float]]:
    """Return the proposals for a picture."""
    assert main(["propose", *words, "photo.jpg", "--json", "found.json"]) == 0
    (found,) = read_json("found.json")
    return found.boxes.tolist()


@pytest.mark.usefixtures("here")
def test_a_checkpoint_is_named_in_four_ways():
    last, best = (Path("runs/blood/checkpoints") / f"{name}.npz" for name in ("last", "best"))
    of_last = boxes_by("runs/blood")
    shutil.copy(read_stored("voc-small").path, "other.npz")
    assert boxes_by("runs/blood@last") == boxes_by(str(last)) == of_last
    shutil.copy("runs/blood/checkpoints/last.npz", best)
    last.unlink()
    assert boxes_by("runs/blood@best") == boxes_by("runs/blood", "--best") == of_last
    assert boxes_by(str(best)) == boxes_by("--best", "runs/blood") == of_last
    assert boxes_by() != of_last


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs/bloood", "photo.jpg"], "no such run, model or picture; did you mean runs/blood?"),
        (["voc-smal", "photo.jpg"], "no such run, model or picture; did you mean voc-small?"),
        (["photo.jp"], "no such run, model or picture; did you mean photo.jpg?"),
        (["nothing", "photo.jpg"], "no such run, model or picture"),
        (["runs", "photo.jpg"], "neither a run folder (no config.toml in it) nor one with "),
        (["gone.npz", "photo.jpg"], "no such checkpoint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("here")
def test_a_first_word_that_is_nothing_stops_all(fails: Fails, words: list[str], said: str):
    line = fails("propose", *words)
    assert line.startswith(f"{words[0]}: {said}")
    assert line == f"{words[0]}: {said}" or words[0] == "runs"


@pytest.mark.parametrize("word", ["voc-small", "runs/blood", "runs/blood@best"])
@pytest.mark.usefixtures("here")
def test_a_model_comes_first_and_once(fails: Fails, word: str):
    for words in (["photo.jpg", word], ["voc-small", word, "photo.jpg"]):
        assert fails("propose", *words) == f"{word}: a model is named once, before the pictures"


@pytest.mark.usefixtures("here")
def test_a_model_without_pictures(fails: Fails):
    nothing = "nothing to propose for: name pictures, or --split S"
    assert fails("propose", "runs/blood") == nothing
    assert fails("propose", "voc-small") == nothing
    assert fails("propose", "photo.jpg", "--best").startswith("--best: of which run?")
    assert fails("propose", "--split", "val") == "--split val: of which run? Name it"
    said = fails("propose", "voc-small", "--split", "val")
    assert said == "voc-small: it has no data beside it: name a data set, --voc DIR"


@pytest.mark.usefixtures("here")
def test_info_lists_the_shipped_models(capsys: pytest.CaptureFixture[str]):
    assert main(["info"]) == 0
    line = "voc-small, trained on noise (recall 0.25 with 100 proposals on 2 pictures)"
    assert f"\nmodel        {line}\n" in capsys.readouterr().out


# --- which pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "pictures"),
    [
        (["photos"], ["photos/a.JPG", "photos/b.png"]),
        (["photo.jpg", "photos/b.png"], ["photo.jpg", "photos/b.png"]),
        (["photos/*"], ["photos/a.JPG", "photos/b.png"]),
        (["photos/*.png", "photo.jpg"], ["photos/b.png", "photo.jpg"]),
        (["photos/**"], ["photos/a.JPG", "photos/b.png", "photos/deep/c.png"]),
        (["photos/**/c.*"], ["photos/deep/c.png"]),
        (["runs/blood", "photo.jpg"], ["photo.jpg"]),
        (["runs/blood", "--best", "photo.jpg", "--device", "cpu", "photos"], None),
    ],
    ids=lambda words: " ".join(words) if words else "",
)
def test_words_for_pictures(
    here: Path, proposed: Callable[..., list[str]], words: list[str], pictures: list[str] | None
):
    shutil.copy(here / "runs/blood/checkpoints/last.npz", here / "runs/blood/checkpoints/best.npz")
    assert proposed(*words) == (pictures or ["photo.jpg", "photos/a.JPG", "photos/b.png"])


@pytest.mark.usefixtures("here")
def test_a_pattern_may_be_the_name_of_a_picture(proposed: Callable[..., list[str]]):
    shutil.copy("photo.jpg", "photo[1].jpg")
    assert proposed("photo[1].jpg") == ["photo[1].jpg"]


@pytest.mark.usefixtures("here")
def test_a_list_on_stdin(proposed: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch):
    listed = b"photos/b.png\r\n\nphotos/deep\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
    assert proposed("photo.jpg", "-") == ["photo.jpg", "photos/b.png", "photos/deep/c.png"]


@pytest.mark.usefixtures("here")
def test_a_list_with_lines_that_are_no_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    lines = [b"x" * 5000, b"nul\0", b"\x1b[2J\xff.jpg", b"photo.jpg", b"y" * 10**6 + b"*"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(lines))))
    assert main(["propose", "-", "--top", "1"]) == 1
    said = capsys.readouterr()
    assert "photo.jpg: 1 proposals" in said.out
    told = [line for line in said.err.splitlines() if line.startswith("left out: ")]
    assert len(told) == 4
    assert r"left out: nul\x00: no file is called so" in told
    assert any(line.startswith(r"left out: \x1b[2J\xff.jpg: ") for line in told)
    assert all(len(line) <= 1000 and line.isprintable() for line in told)


def test_each_output_is_written_whatever_becomes_of_the_others(capsys: pytest.CaptureFixture[str]):
    def broken(reason: str) -> Callable[[], list[Path]]:
        def write() -> list[Path]:
            raise ValueError(reason)

        return write

    outputs = [broken("one"), broken("x\x1b" * 5000), lambda: [Path("a\x1b.json")]]
    with pytest.raises(ValueError, match="one"):
        write_each(outputs)
    said = capsys.readouterr()
    assert said.out.startswith("written: a")
    assert said.err.startswith(r"error: x\x1bx\x1b")
    assert len(said.err) < 1010


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("what", ["proposals", "explain"])
def test_nothing_is_written_through_a_link_in_a_run(
    here: Path, fails: Fails, tmp_path: Path, what: str
):
    (tmp_path / "mine").mkdir()
    (here / "runs/blood" / what).symlink_to(tmp_path / "mine")
    words = ["propose", "--save"] if what == "proposals" else ["explain"]
    said = fails(*words, "runs/blood", "photo.jpg")
    assert said == f"runs/blood/{what}: a link, and links in a run folder are not followed"
    assert not [*(tmp_path / "mine").iterdir()]


@pytest.mark.usefixtures("here")
def test_what_cannot_be_read_is_left_out(capsys: pytest.CaptureFixture[str]):
    Path("clip.mp4").write_text("moving")
    Path("a.xml").write_text("<annotation/>")
    Path("d.pdf").write_text("%PDF")
    words = ["clip.mp4", "a.xml", "d.pdf", "gone.jpg", "empty", "*.gif", "photo.jpg"]
    assert main(["propose", "runs/blood", *words]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("photo.jpg: 20 proposals\n")
    no_format = "image: not of a format Pillow reads"
    assert said.err.splitlines() == [
        "left out: empty: neither a run folder (no config.toml in it) nor one with pictures",
        "left out: *.gif: no picture is called so",
        f"left out: clip.mp4: {no_format}; it is a video: save its frames as pictures first, "
        "such as: ffmpeg -i FILE frames/%05d.jpg",
        f"left out: a.xml: {no_format}; it is an annotation: name its picture",
        f"left out: d.pdf: {no_format}; it is a document: save its pages as pictures first",
        "left out: gone.jpg: image: no such file",
        "6 of 7 pictures were left out",
    ]


@pytest.mark.usefixtures("here")
def test_if_nothing_can_be_done_it_is_an_error(
    fails: Fails, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert main(["propose", "runs/blood", "gone.jpg", "photos/notes.txt"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "left out: gone.jpg: image: no such file",
        "left out: photos/notes.txt: image: not of a format Pillow reads",
        "minirpn: error: none of the 2 pictures could be read",
    ]
    assert fails("propose", "runs/blood", "x*.png") == "x*.png: no picture is called so"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert fails("propose", "-") == "-: no path of a picture on stdin"


# --- what is printed and written -----------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_many_pictures_have_one_line_each(capsys: pytest.CaptureFixture[str]):
    assert main(["propose", "runs/blood", *["photo.jpg"] * 10, "--top", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10 * 3
    assert main(["propose", "runs/blood", *["photo.jpg"] * 11, "--out", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["photo.jpg: 20 proposals"] * 11 + ["saved: out"]
    assert len(list(Path("out").iterdir())) == 22


@pytest.mark.usefixtures("here")
def test_how_a_deep_picture_was_read_is_said_once(capsys: pytest.CaptureFixture[str]):
    for name, largest in (("a", 3871), ("b", 999)):
        numbers = np.linspace(0, largest, 80 * 96).astype(np.uint16).reshape(80, 96)
        Image.fromarray(numbers).save(f"{name}.tif")
    words = ["propose", "runs/blood", "--top", "1"]
    note = "note: a.tif: values up to 3,871: read as 12 bits"
    assert main([*words, "a.tif"]) == 0
    assert capsys.readouterr().err == f"{note}\n"
    assert main([*words, "photo.jpg", "a.tif", "b.tif"]) == 0
    assert capsys.readouterr().err == f"{note}; others by their own numbers\n"
    assert main([*words, "photo.jpg"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("here")
def test_all_proposals_are_drawn(monkeypatch: pytest.MonkeyPatch):
    drawn = []

    def draw(image: np.ndarray, boxes: np.ndarray, *args: object, top: int) -> None:
        drawn.append((len(boxes), top))

    monkeypatch.setattr("minirpn.viz.draw_proposals", draw)
    assert main(["propose", "runs/blood", "photo.jpg", "--top", "90", "--out", "out"]) == 0
    count = len(json.loads(Path("out/photo.json").read_text())["boxes"])
    assert drawn == [(count, count)]
    assert count > 50


@pytest.mark.usefixtures("here")
def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    words = ["propose", "runs/blood", "photos", "gone.jpg", "--top", "1"]
    assert main(words) == 1
    plain = capsys.readouterr()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(words) == 1
    terminal = capsys.readouterr()
    assert terminal.out == plain.out
    assert "3/3" in terminal.err
    assert "left out: gone.jpg" in terminal.err
    assert "3/3" not in plain.err
    assert main(["propose", "runs/blood", "photo.jpg"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["propose", "detect"])
@pytest.mark.usefixtures("here")
def test_files_for_all_pictures_together(command: str, capsys: pytest.CaptureFixture[str]):
    classes = read_stored("voc-small").config.data.classes
    words = ["--json", "new/all.json", "--coco", "coco.json", "--voc-results", "voc/results"]
    words += ["--score-threshold", "0"] if command == "detect" else ["--top", "7"]
    assert main([command, "photos", "photo.jpg", *words]) == 0
    printed = capsys.readouterr().out
    for path in ("new/all.json", "coco.json", "coco_images.json", "voc/results"):
        assert f"written: {path}\n" in printed
    results = read_json("new/all.json")
    assert [str(found.image_path) for found in results] == [
        "photos/a.JPG",
        "photos/b.png",
        "photo.jpg",
    ]
    kind, names = (Detections, classes) if command == "detect" else (Proposals, ("object",))
    assert all(type(found) is kind and found.names == names for found in results)
    assert all(len(found) == 7 for found in results) or command == "detect"
    images = json.loads(Path("coco_images.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [str(found.image_path) for found in results]
    for again in (
        read_coco_detections(Path("coco.json"), 3, len(names)),
        read_voc_results(Path("voc/results"), ["a", "b", "photo"], names),
    ):
        for found, read in zip(results, again, strict=True):
            assert len(found) > 0
            np.testing.assert_array_equal(read.scores.astype(np.float32), found.scores)
            np.testing.assert_allclose(read.boxes, found.boxes, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--json", "photos"], "photos: cannot write: it is a folder"),
        (["--coco", "photo.jpg/x.json"], "photo.jpg: cannot write: File exists"),
        (["--out", "photo.jpg"], "photo.jpg: cannot write: File exists"),
        (["--json", "/proc/x.json"], "/proc: cannot write: "),
        (["my photo.jpg", "--voc-results", "v"], "--voc-results: image 'my photo': VOC's result"),
        (["--split", "val", "--json", "x"], "--json x: not with --split; minirpn eval writes such"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("here")
def test_where_it_cannot_write_is_said_before_the_work(
    fails: Fails, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
):
    monkeypatch.setattr("minirpn.models.Model.propose", lambda *_, **__: pytest.fail("worked"))
    assert fails("propose", "runs/blood", "photo.jpg", *words).startswith(said)


@pytest.fixture
def stopped_at_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while the network looks at the second picture."""
    from minirpn.models import Model

    propose, calls = Model.propose, []

    def stops(model: Model, *args: object, **settings: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return propose(model, *args, **settings)

    monkeypatch.setattr(Model, "propose", stops)


@pytest.mark.usefixtures("here", "stopped_at_the_second")
def test_ctrl_c_leaves_what_was_found(capsys: pytest.CaptureFixture[str]):
    words = ["propose", "runs/blood", "photos", "photo.jpg", "--json", "all.json", "--out", "out"]
    assert main(words) == 130
    said = capsys.readouterr()
    assert said.err == "stopped after 1 of 3 pictures\n"
    assert said.out.endswith("written: all.json\n")
    assert [str(found.image_path) for found in read_json("all.json")] == ["photos/a.JPG"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.json", "a.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "."], "photo.png: it is one of the pictures, and would be overwritten"),
        (["--json", "photo.png"], "photo.png: it is one of the pictures, and would be overwritten"),
        (["--json", "k.json", "--coco", "k.json"], "k.json: two outputs would be written there"),
        (["--json", "k_images.json", "--coco", "k.json"], "k_images.json: two outputs"),
    ],
)
def test_no_file_is_written_over_a_picture_or_twice(
    here: Path, fails: Fails, words: list[str], said: str
):
    Image.open("photo.jpg").save("photo.png")
    before = Path("photo.png").read_bytes()
    assert said in fails("propose", "runs/blood", "photo.png", *words)
    assert Path("photo.png").read_bytes() == before


def test_a_folder_that_may_not_be_read_is_left_out(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    whole = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert main(["propose", "secret", "photo.jpg", "--top", "1"]) == 1
    said = capsys.readouterr()
    assert "left out: secret: Permission denied\n" in said.err
    assert "photo.jpg: 1 proposals\n" in said.out


def test_a_closed_stdin_lists_nothing(here: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", None)
    assert fails("propose", "-") == "-: no path of a picture on stdin"


def test_stdin_that_does_not_end(here: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch):
    endless = io.TextIOWrapper(io.BufferedReader(Zeros()))
    monkeypatch.setattr("sys.stdin", endless)
    assert fails("propose", "-") == "-: more than 67,108,864 bytes, as no list of pictures has"


class Zeros(io.RawIOBase):
    """What /dev/zero gives."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return len(buffer)


def test_pictures_of_one_name_are_numbered():
    names = picture_names([Path("a/x.png"), Path("b/x.png"), Path("x-2.png"), Path("c/x.png")])
    assert names == ["x", "x-2", "x-2-2", "x-3"]
    many = picture_names([Path("x.png")] * 30_000)  # one after the other took minutes
    assert len(set(many)) == 30_000
    assert many[-1] == "x-30000"
