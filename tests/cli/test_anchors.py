"""``minirpn anchors`` from the outside: what it prints and writes, and what it says is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn.backbones import build_backbone
from minirpn.cli.main import main
from minirpn.data import VOCObject, write_annotation
from minirpn.data.synthetic import SyntheticConfig, generate


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations of shapes; there are no images."""
    root = tmp_path_factory.mktemp("anchors") / "VOC2007"
    generate(root, SyntheticConfig(images=20, image_size=(120, 160)))
    for path in (root / "JPEGImages").iterdir():
        path.unlink()
    (root / "JPEGImages").rmdir()
    return root


def test_objects_have_the_size_that_training_gives_them(
    voc: Path, capsys: pytest.CaptureFixture[str]
):
    tables = []
    for words in (
        ["--short-side", "120", "--max-side", "200"],
        ["--short-side", "240", "--max-side", "400", "--zoom", "0.5"],
    ):
        assert main(["anchors", "--voc", str(voc), "--split", "train", *words]) == 0
        tables.append(capsys.readouterr().out)
    assert rows(tables[0]) == rows(tables[1])
    assert "short side 240, long side at most 400, times 0.5 (zoom)" in tables[1]


def rows(out: str) -> dict[str, list[str]]:
    """Return the two numbers of each row of the table."""
    lines = [line.replace(" %", "%") for line in out.splitlines() if "   " in line.strip()]
    return {" ".join(line.split()[:-2]): line.split()[-2:] for line in lines[1:]}


def test_the_report_is_printed_and_written(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "new" / "folder"
    words = [
        "anchors",
        "--voc",
        str(voc),
        "--recipe",
        "paper",
        "--split",
        "train",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{voc}, split train: images 12, objects ")
    assert "short side 600, long side at most 1000" in printed
    assert rows(printed)["scales"][0] == "8,16,32"
    written = json.loads((out / "anchors.json").read_text())
    assert written["stride"] == 16
    assert written["now"]["scales"] == [8, 16, 32]
    share = written["now"]["share_of_objects"]["0.5"]
    assert rows(printed)["objects with IoU >= 0.5, any anchor"][0] == f"{100 * share:.1f}%"
    mean = written["now"]["mean_share_of_objects_inside"]
    row = rows(printed)["objects, mean over IoU 0.5 to 0.95, anchors used in training"]
    assert row[0] == f"{100 * mean:.1f}%"
    assert written["suggested"]["objects"] == written["now"]["objects"]
    for name in ("best_iou.png", "box_shapes.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    main(words)
    assert capsys.readouterr().out == printed


@pytest.mark.usefixtures("no_figures")
def test_the_suggestion_can_be_measured_again(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # Small pictures of small shapes, not enlarged: anchors from 128 pixels on are far too large.
    words = ["anchors", "--voc", str(voc), "--recipe", "paper", "--split", "train"]
    words += ["--short-side", "120"]
    words += ["--max-side", "160", "--out", str(tmp_path)]
    assert main(words) == 0
    before = json.loads((tmp_path / "anchors.json").read_text())
    assert before["suggested"]["share_of_objects"]["0.7"] > before["now"]["share_of_objects"]["0.7"]
    command = capsys.readouterr().out.split("minirpn train ")[1].split(" ...")[0].split()
    assert main([*words, *command]) == 0
    assert json.loads((tmp_path / "anchors.json").read_text())["now"] == before["suggested"]


@pytest.mark.usefixtures("no_figures")
def test_the_grid_of_a_backbone(voc: Path, tmp_path: Path):
    words = ["anchors", "--voc", str(voc), "--split", "val", "--out", str(tmp_path)]
    stride = build_backbone("tiny", rng=np.random.default_rng(0)).geometry.stride
    assert main([*words, "--backbone", "tiny"]) == 0
    assert json.loads((tmp_path / "anchors.json").read_text())["stride"] == stride


def test_what_is_bad_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    objects = [VOCObject("cat", (1, 1, 30, 30)), VOCObject("cat", (-9, 1, 30, 30))]
    objects.append(VOCObject("cat", (1, 1, 20, 20), difficult=True))
    (tmp_path / "Annotations").mkdir()
    write_annotation(tmp_path / "Annotations" / "a.xml", "a.jpg", (60, 80), objects)
    words = ["anchors", "--voc", str(tmp_path), "--split", "all"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "images 1, objects 1, not counting difficult ones" in out
    assert "1 error (1 box outside the image); `minirpn check` lists them" in out
    assert main([*words, "--use-difficult"]) == 0
    assert "images 1, objects 2\n" in capsys.readouterr().out


def test_data_are_read_as_in_a_training(voc: Path, capsys: pytest.CaptureFixture[str]):
    shown = []
    for flags in ([], ["--box-format", "zero-based", "--annotations", str(voc / "Annotations")]):
        assert main(["anchors", "--voc", str(voc), "--split", "train", *flags]) == 0
        shown.append(rows(capsys.readouterr().out))
    assert shown[0].keys() == shown[1].keys()
    assert shown[0] != shown[1]  # boxes are one pixel wider and higher


@pytest.mark.usefixtures("no_figures")
def test_anchors_that_fit_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # Squares of 128 pixels at the training scale, as one of the paper's anchors.
    (tmp_path / "Annotations").mkdir()
    objects = [VOCObject("cat", (1, 1, 128, 128)), VOCObject("cat", (301, 201, 428, 328))]
    write_annotation(tmp_path / "Annotations" / "a.xml", "a.jpg", (600, 800), objects)
    words = ["anchors", "--voc", str(tmp_path), "--recipe", "paper", "--split", "all"]
    words += ["--out", str(tmp_path)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "No other scales and ratios were found that fit better." in out
    assert "suggested" not in out
    assert "suggested" not in json.loads((tmp_path / "anchors.json").read_text())


# --- the verdict ----------------------------------------------------------------------------------


@pytest.fixture
def verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Return what is said below the table about anchors of one scale against those of another.

    The objects are squares of these sides, one an image, in the middle of a cell and so of an
    anchor.
    """

    def run(sides: list[int], *, now: float, suggested: float, difficult: bool = False) -> str:
        (tmp_path / "Annotations").mkdir()
        for number, side in enumerate(sides):
            corners = (297 - side // 2, 297 - side // 2, 296 + side // 2, 296 + side // 2)
            objects = [VOCObject("cat", corners, difficult=difficult)]
            path = tmp_path / "Annotations" / f"{number}.xml"
            write_annotation(path, f"{number}.jpg", (600, 800), objects)
        # What k-means finds is tested elsewhere.
        monkeypatch.setattr(
            "minirpn.evaluation.suggest_anchors",
            lambda sides, config, rng: replace(config, scales=(suggested,)),
        )
        words = ["anchors", "--voc", str(tmp_path), "--recipe", "paper", "--split", "all"]
        assert main([*words, "--anchors", f"scales={now}", "ratios=1"]) == 0
        return capsys.readouterr().out.split("negatives an image")[1].partition("\n\n")[2]

    return run


WITH = "With the anchors used in training, the suggestion covers"
MEAN = "points on average over IoU 0.5 to 0.95"


def test_more_objects(verdict: Callable[..., str]):
    # Squares of 128: with anchors of 16 * 4 no IoU is above 1/4, with those of 16 * 8 all are 1.
    assert verdict([128] * 2, now=4, suggested=8) == (
        f"{WITH} more objects:\n"
        f"+100.0 {MEAN} (+100.0 at 0.5, +100.0 at 0.6, +100.0 at 0.7).\n"
        "Positives an image by IoU: 0.0 -> 5.0; images without a positive: 0 as now.\n"
        "To use it:\n  minirpn train --anchors scales=8 ratios=1 ...\n"
    )


def test_fewer_objects(verdict: Callable[..., str]):
    assert verdict([128] * 2, now=8, suggested=4) == (
        f"{WITH} fewer objects:\n"
        f"-100.0 {MEAN} (-100.0 at 0.5, -100.0 at 0.6, -100.0 at 0.7).\n"
        "Positives an image by IoU: 5.0 -> 0.0; images without a positive: 0 as now.\n"
        "Keep the anchors.\n"
    )


def test_equally_many_objects(verdict: Callable[..., str]):
    assert verdict([128], now=8, suggested=8.125) == (
        f"{WITH} about as many objects:\n"
        f"+0.0 {MEAN} (+0.0 at 0.5, +0.0 at 0.6, +0.0 at 0.7).\n"
        "Positives an image by IoU: 5.0 as now; images without a positive: 0 as now.\n"
        "That is less than 1 point: keep the anchors.\n"
    )


@pytest.mark.parametrize(("large", "verdict_is"), [(1, "fewer"), (3, "more")])
def test_more_at_one_threshold_and_fewer_at_another(
    verdict: Callable[..., str], large: int, verdict_is: str
):
    # Anchors of 128 fit 128 with IoU 1 and 200 with 0.41. Those of 160 fit both with 0.64: this
    # meets 3 of the 10 thresholds.
    said = verdict([128] + [200] * large, now=8, suggested=10)
    gain, loss = 100 * large / (large + 1), -100 / (large + 1)
    mean = 30 - 100 / (large + 1)
    assert said.startswith(f"{WITH} {verdict_is} objects:\n")
    assert (
        f"{mean:+.1f} {MEAN} ({gain:+.1f} at 0.5, {gain:+.1f} at 0.6, {loss:+.1f} at 0.7)" in said
    )
    assert ("minirpn train --anchors" in said) == (verdict_is == "more")
    assert ("Keep the anchors." in said) == (verdict_is == "fewer")


@pytest.mark.parametrize(
    ("others", "gain", "verdict_is"), [(99, "+1.0", "more"), (110, "+0.9", "about as many")]
)
def test_from_one_point_on_it_is_a_difference(
    verdict: Callable[..., str], others: int, gain: str, verdict_is: str
):
    # The suggestion covers one object more, of 100 or of 111; no anchor comes near the others.
    said = verdict([128] + [24] * others, now=32, suggested=8)
    assert said.startswith(f"{WITH} {verdict_is} objects:\n{gain} {MEAN}")


def test_images_that_get_a_positive_are_counted(verdict: Callable[..., str]):
    # No anchor of 16 * 40 = 640 pixels is inside an image that is 600 high.
    said = verdict([128] * 3, now=40, suggested=8)
    assert "images without a positive: 3 -> 0." in said


def test_without_objects_there_is_no_verdict(verdict: Callable[..., str]):
    said = verdict([128], now=8, suggested=4, difficult=True)
    assert said == "There are no objects for anchors to fit.\n"


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--voc: needed, here or as data.voc in --config"),
        (["--voc", "gone"], "gone: data set: no such folder"),
        (["--voc", "{voc}", "--split", "nosuch"], "{voc}: split 'nosuch': not there; there is "),
        (["--voc", "{voc}", "--anchors", "scales=0"], "--anchors scales: expected finite numbers"),
        (["--voc", "{voc}", "--backbone", "resnet"], "--backbone: unknown 'resnet'; there are "),
    ],
)
def test_mistakes_are_one_line(fails: Callable[..., str], voc: Path, words: list[str], said: str):
    words = [word.format(voc=voc) for word in words]
    assert fails("anchors", *words).startswith(said.format(voc=voc))
