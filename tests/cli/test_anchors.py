"""``minirpn anchors`` from the outside: what it prints and writes, and what it says is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
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
