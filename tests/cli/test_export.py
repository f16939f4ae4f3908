"""``minirpn export``: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minirpn
from minirpn.cli.main import main
from minirpn.training.stored import read_stored, write_shipped

Fails = Callable[..., str]

WRITTEN = "written: {target}"
OUTSIDE = "outside the graph: anchors, decoding, NMS; their numbers are in the metadata"


def check_computes(target: Path, model: minirpn.Model) -> None:
    """Assert that the file computes what the model's RPN does."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).normal(0, 1, (1, 3, 70, 90)).astype(np.float32)
    expected, _ = model.rpn.forward(image)
    objectness, deltas = session.run(["objectness", "deltas"], {"image": image})
    for actual, wanted in ((objectness, expected.objectness), (deltas, expected.deltas)):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["run", "best", "--best", "checkpoint", "shipped"])
def test_whatever_names_a_model_is_exported(
    kind: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = {
        "run": [str(trained)],
        "best": [f"{trained}@best"],
        "--best": [str(trained), "--best"],
        "checkpoint": [str(trained / "checkpoints/last.npz")],
        "shipped": ["shapes"],
    }[kind]
    target = tmp_path / "rpn.onnx"
    assert main(["export", *words, str(target)]) == 0
    assert capsys.readouterr().out.splitlines() == [WRITTEN.format(target=target), OUTSIDE]
    check_computes(target, minirpn.load(words[0], device="cpu", best="--best" in words))


def test_of_a_detector_the_rpn_is_written_and_that_is_said(
    trained_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "rpn.onnx"
    assert main(["export", str(trained_detector), str(target)]) == 0
    left_out = f"left out: the detector of {trained_detector}"
    lines = [left_out, WRITTEN.format(target=target), OUTSIDE]
    assert capsys.readouterr().out.splitlines() == lines
    check_computes(target, minirpn.load(trained_detector, device="cpu"))


def test_of_float64_the_rounding_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stored, target = read_stored(trained), tmp_path / "rpn.onnx"
    for dtype in ("float32", "float64"):
        model = replace(stored.config.model, dtype=dtype)
        config = replace(stored.config, model=model)
        write_shipped(tmp_path / f"{dtype}.npz", replace(stored, config=config), {})
    assert main(["export", str(tmp_path / "float64.npz"), str(target)]) == 0
    rounded = "rounded to float32: the parameters, which are float64"
    assert capsys.readouterr().out.splitlines() == [
        rounded,
        WRITTEN.format(target=target),
        OUTSIDE,
    ]
    # The same numbers: compiling the network's operations for float64 would take minutes.
    check_computes(target, minirpn.load(tmp_path / "float32.npz", device="cpu"))


def test_an_old_file_is_replaced(trained: Path, tmp_path: Path):
    target = tmp_path / "rpn.onnx"
    target.write_text("old")
    assert main(["export", str(trained), str(target)]) == 0
    check_computes(target, minirpn.load(trained, device="cpu"))
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone", "a.onnx"], "gone: no such run folder, and no such model"),
        (["{run}", ".onnx"], ".onnx: expected a name that ends in .onnx"),
        (["{run}", "a.pb"], "a.pb: expected a name that ends in .onnx"),
        (["a.onnx", "{run}"], "{run}: expected a name that ends in .onnx"),
        (["{run}", "gone/a.onnx"], "gone/a.onnx: cannot write: No such file"),
        (["{run}", "folder.onnx"], "folder.onnx: cannot write: it is a folder"),
        (["{run}"], "export: the following arguments are required: DST.onnx"),
        (["shapes", "a.onnx", "--best"], "shapes: only a run has a best checkpoint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line(
    words: list[str],
    said: str,
    trained: Path,
    tmp_path: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    line = fails("export", *(word.format(run=trained) for word in words))
    assert line.startswith(said.format(run=trained))
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.onnx"]


def test_without_onnx_the_line_says_how_to_get_it(
    trained: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = fails("export", trained, tmp_path / "rpn.onnx")
    assert line == "export: needs onnx; try: pip install 'minirpn[onnx]'"
    assert not list(tmp_path.iterdir())
