"""``minirpn convert``, and what ``minirpn train`` does with weights."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minirpn.backbones import CENTERED_RGB
from minirpn.cli.main import main
from minirpn.training.build import load_network
from minirpn.weights import PRESETS, read_weights
from minirpn.weights.names import backbone_shapes

Fails = Callable[..., str]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Weights of tiny that do not tell how their pixels were prepared."""
    rng = np.random.default_rng(0)
    arrays = {
        name: 0.03 * rng.normal(size=shape).astype(np.float32)
        for name, shape in backbone_shapes("tiny").items()
    }
    np.savez(tmp_path / "weights.npz", **arrays)
    return tmp_path / "weights.npz"


def test_convert_reports_and_writes(tiny: Path, tmp_path: Path, capsys):
    target = tmp_path / "mine.npz"
    assert main(["convert", str(tiny), str(target), "--preset", "torchvision"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny: 10 arrays matched (npz, minirpn names)"
    assert lines[1].startswith("pixels: RGB, minus (123.675, 116.28, 103.53)")
    assert lines[1].endswith("preset torchvision, as asked")
    assert lines[2] == f"written: {target}"
    assert read_weights(target).metadata["network"] == "tiny"
    assert main(["convert", str(target), str(tmp_path / "again.npz")]) == 0
    assert "written in the file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.pth", "a.npz"], "gone.pth: no such weights file"),
        (["{tiny}", "a.pth"], "a.pth: expected a name that ends in .npz"),
        (["{tiny}", "a.npz"], "{tiny}: it is unknown how pixels are prepared"),
        (["{tiny}", "a.npz", "--preset", "mine"], "convert: --preset: unknown 'mine'; there are"),
        (["{tiny}", "a.npz", "--network", "resnet"], "--network: unknown 'resnet'; there are "),
        (
            ["{tiny}", "a.npz", "--network", "vgg16"],
            "{tiny}: these look like tiny's, and --network is vgg16: 10 of tiny's 10 arrays",
        ),
        (["{tiny}", "gone/a.npz", "--preset", "caffe"], "gone/a.npz: cannot write: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(fails: Fails, tiny: Path, tmp_path: Path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    message = fails("convert", *(word.format(tiny=tiny) for word in words))
    assert message.startswith(said.format(tiny=tiny))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]


@pytest.mark.usefixtures("no_finish")
def test_a_run_keeps_how_its_weights_want_their_pixels(
    tiny: Path, tmp_path: Path, small_config: Path, capsys
):
    mine, run = tmp_path / "mine.npz", tmp_path / "run"
    assert main(["convert", str(tiny), str(mine), "--preset", "girshick"]) == 0
    words = ["train", "--config", small_config, "--out", run, "--weights", mine, "--steps", "1"]
    assert main([str(word) for word in words]) == 0
    assert "preset girshick" not in (run / "log.txt").read_text()
    assert "written in the file" in (run / "log.txt").read_text()
    assert "pixels: BGR, minus (102.98" in capsys.readouterr().err
    written = tomllib.loads((run / "config.toml").read_text())["model"]["preprocessing"]
    assert written["order"] == "BGR"
    mine.unlink()  # a run needs its weights file no more
    network, _ = load_network(run)
    assert network.backbone.preprocessing == PRESETS["girshick"]
    assert main(["train", "--resume", str(run), "--preset", "girshick"]) == 0


@pytest.mark.usefixtures("no_finish")
def test_a_run_without_weights_has_the_backbones_own_pixels(
    fails: Fails, tmp_path: Path, small_config: Path, capsys
):
    run = tmp_path / "run"
    words = ["train", "--config", small_config, "--out", run, "--steps", "1"]
    assert main([*map(str, words), "--freeze", "conv1,conv2"]) == 0
    assert "conv1, conv2 of tiny stay frozen at random" in capsys.readouterr().err
    network, config = load_network(run)
    assert network.backbone.preprocessing == CENTERED_RGB
    assert config.model.preprocessing is None
    message = fails("train", "--resume", run, "--preset", "girshick")
    assert message == (
        f"{run / 'config.toml'}: model.preprocessing.order: is 'none', but --preset asks for 'BGR'"
    )
    frozen = {p.name.split(".")[0] for p in network.parameters() if not p.trainable}
    assert frozen == {"conv1", "conv2"}


def test_weights_that_tell_nothing_need_a_preset(
    fails: Fails, tiny: Path, tmp_path: Path, small_config: Path
):
    words = ["train", "--config", small_config, "--out", tmp_path / "run", "--weights", tiny]
    assert "give --preset torchvision|girshick" in fails(*words)
    assert not (tmp_path / "run").exists()


def test_stages_to_freeze_must_exist(fails: Fails, tmp_path: Path, small_config: Path):
    words = ["train", "--config", small_config, "--out", tmp_path / "run", "--freeze", "conv9"]
    assert fails(*words) == (
        "--freeze: tiny has no stage 'conv9'; there are conv1, conv2, conv3, conv4, conv5"
    )
