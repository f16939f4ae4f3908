"""Runs: bit-identical when repeated, resumed or killed, and nothing about them is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from minirpn.data.samples import Example
from minirpn.errors import InputError
from minirpn.training import pictures
from minirpn.training.build import load_network
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import load_config
from minirpn.training.run_folder import create_run
from minirpn.training.train import train
from minirpn.training.trainer import Trainer
from minirpn.weights import PRESETS

# What differs between two equal runs: the clock.
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}


def records(folder):
    lines = folder.metrics.read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def assert_same_state(one, other):
    a, b = load_checkpoint(one.last), load_checkpoint(other.last)
    assert (a.step, a.metrics) == (b.step, b.metrics)
    for before, after in ((a.parameters, b.parameters), (a.velocity, b.velocity)):
        assert set(before) == set(after)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_config):
    """A run that nothing stopped; to be read only."""
    folder = create_run(tmp_path_factory.mktemp("runs") / "whole", small_config)
    train(small_config, folder, progress=False)
    return folder


def test_the_run_folder_is_complete(whole):
    for path in (
        "config.toml",
        "metrics.jsonl",
        "log.txt",
        "recall.json",
        "report.html",
        "checkpoints/last.npz",
        "checkpoints/best.npz",
        "plots/captions.json",
    ):
        assert (whole.path / path).is_file(), path
    kinds = [record["kind"] for record in records(whole)]
    assert kinds.count("train") == 6
    assert kinds.count("validate") == kinds.count("diagnose") == 2
    captions = json.loads((whole.plots / "captions.json").read_text())
    assert {"anchors.png", "labels.png", "objectness.png", "proposals_1.png"} <= set(captions)
    assert all((whole.plots / name).is_file() for name in captions)


@pytest.mark.usefixtures("no_finish")
def test_the_same_seed_gives_the_same_bits(whole, new_run, small_config):
    again = new_run("again")
    train(small_config, again, progress=False)
    assert records(again) == records(whole)
    assert_same_state(again, whole)


def test_without_pictures_the_numbers_are_the_same(whole, new_run, small_config):
    plain = new_run("plain")
    result = train(
        replace(small_config, run=replace(small_config.run, pictures=False)), plain, progress=False
    )
    assert json.loads((plain.path / "recall.json").read_text()) == json.loads(
        (whole.path / "recall.json").read_text()
    )
    assert result.recall is not None
    assert records(plain) == [r for r in records(whole) if r["kind"] != "samples"]
    assert not list(plain.plots.iterdir())
    assert not plain.report.exists()


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("use_difficult", [False, True])
def test_the_picture_of_a_mini_batch_has_the_objects_that_are_learned(
    new_run, small_config, monkeypatch, use_difficult
):
    """Those marked difficult among them, where they were asked for."""
    monkeypatch.setattr(
        Example, "difficult", property(lambda example: np.full(len(example.gt_boxes), True))
    )
    seen, make = [], pictures.make_minibatch

    def spied(anchors, gt_boxes, *args, **options):
        seen.append(len(gt_boxes))
        return make(anchors, gt_boxes, *args, **options)

    monkeypatch.setattr(pictures, "make_minibatch", spied)
    config = replace(small_config, data=replace(small_config.data, use_difficult=use_difficult))
    train(config, new_run("difficult"), progress=False)
    assert {count > 0 for count in seen} == {use_difficult}  # at the end, and on the way there


@pytest.mark.usefixtures("no_finish")
def test_another_seed_gives_another_run(whole, new_run, small_config):
    other = new_run("other")
    train(replace(small_config, run=replace(small_config.run, seed=1)), other, progress=False)
    assert records(other) != records(whole)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_resumed_at_any_step_it_ends_as_if_never_stopped(
    whole, new_run, small_config, monkeypatch, stop_after, steps, request
):
    folder = new_run("stopped")
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        result = train(small_config, folder, progress=False)
    assert (result.interrupted, result.steps) == (True, steps)
    assert not (folder.path / "report.html").exists()
    request.getfixturevalue("no_finish")
    result = train(small_config, folder, resume=True, progress=False)
    assert (result.interrupted, result.steps) == (False, 6)
    assert records(folder) == records(whole)
    assert_same_state(folder, whole)


@pytest.mark.usefixtures("no_finish")
def test_a_checkpoint_older_than_the_log_is_caught_up(whole, new_run, small_config):
    """As after a kill: steps were recorded after the last save, and are taken again."""
    folder = new_run("killed")
    train(small_config, folder, progress=False)
    trainer = Trainer(small_config)
    save_checkpoint(folder.last, trainer.checkpoint())
    with folder.metrics.open("a") as file:
        file.write('{"kind": "train", "st')
    train(small_config, folder, resume=True, progress=False)
    assert records(folder) == records(whole)
    assert_same_state(folder, whole)


def test_a_trained_network_loads_and_proposes(whole, small_config):
    network, config = load_network(whole.path)
    assert config == small_config
    checkpoint = load_checkpoint(whole.last)
    for parameter in network.parameters():
        np.testing.assert_array_equal(parameter.value, checkpoint.parameters[parameter.name])


def test_a_checkpoint_of_another_network_is_refused(whole, small_config):
    trainer = Trainer(
        replace(small_config, model=replace(small_config.model, backbone="squeezenet"))
    )
    before = [parameter.value.copy() for parameter in trainer.network.parameters()]
    with pytest.raises(InputError, match=r"last.npz: parameters of another network"):
        trainer.restore(load_checkpoint(whole.last), whole.last)
    for parameter, value in zip(trainer.network.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_a_loss_that_is_not_finite_stops_with_a_name_and_keeps_the_checkpoint(
    new_run, small_config
):
    far = replace(small_config.optimizer, lr=10.0, backbone_lr_multiplier=1000.0)
    wild = replace(small_config, optimizer=far)
    folder = new_run("wild", wild)
    with pytest.raises(InputError, match=r"\.jpg: step \d: \w+ is"):
        train(wild, folder, progress=False)
    checkpoint = load_checkpoint(folder.last)
    assert all(np.isfinite(value).all() for value in checkpoint.parameters.values())


@pytest.fixture
def squeezenet_config(small_config):
    """Two steps of SqueezeNet, with other settings of the network as given."""

    def make(**options):
        model = replace(small_config.model, backbone="squeezenet", **options)
        optimizer = replace(small_config.optimizer, steps=2, lr=1e-5)
        return replace(small_config, model=model, optimizer=optimizer)

    return make


FROZEN = ("conv1", "fire2", "fire3")
ADVICE = (
    "; for pretrained ones: minirpn download squeezenet, then "
    "--weights data/squeezenet1_1-b8a52dc0.pth"
)


def learned(folder):
    """Return the frozen-by-default stages that have momentum in the last checkpoint."""
    stages = {name.split(".")[0] for name in load_checkpoint(folder.last).velocity}
    return tuple(stage for stage in FROZEN if stage in stages)


@pytest.mark.usefixtures("no_finish")
def test_without_weights_all_stages_learn(new_run, squeezenet_config, capsys):
    config = squeezenet_config()
    folder = new_run("noise", config)
    train(config, folder)
    told = (
        "warning: no --weights: all stages of squeezenet learn from random numbers, "
        f"conv1, fire2, fire3 too{ADVICE}"
    )
    assert told in capsys.readouterr().err.splitlines()
    assert told in folder.text.read_text()
    assert learned(folder) == FROZEN
    assert load_config(folder.config) == squeezenet_config(freeze=())


@pytest.mark.usefixtures("no_finish")
def test_stages_frozen_on_purpose_stay_frozen_at_random_numbers(new_run, squeezenet_config, capsys):
    config = squeezenet_config(freeze=("conv1", "fire2"))
    folder = new_run("noise", config)
    train(config, folder)
    told = f"conv1, fire2 of squeezenet stay frozen at random numbers{ADVICE}"
    assert f"warning: no --weights: {told}" in capsys.readouterr().err.splitlines()
    assert learned(folder) == ("fire3",)
    assert load_config(folder.config) == config


@pytest.mark.usefixtures("no_finish")
def test_a_run_from_before_keeps_its_frozen_stages(
    new_run, squeezenet_config, monkeypatch, stop_after
):
    """Its settings do not name them, and it had no weights."""
    config = squeezenet_config()
    folder = new_run("old", config)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        patch.setattr(Trainer, "unfreeze", lambda trainer: None)
        train(config, folder, progress=False)
    assert learned(folder) == ()
    before = load_checkpoint(folder.last).parameters["conv1.weight"]
    config = load_config(folder.config)
    assert config.model.freeze is None
    train(config, folder, resume=True, progress=False)
    assert learned(folder) == ()
    np.testing.assert_array_equal(load_checkpoint(folder.last).parameters["conv1.weight"], before)


@pytest.mark.usefixtures("no_finish")
def test_all_stages_learn_in_a_resumed_run_too(new_run, squeezenet_config, monkeypatch, stop_after):
    whole, stopped = new_run("whole", squeezenet_config()), new_run("stop", squeezenet_config())
    train(squeezenet_config(), whole, progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        train(squeezenet_config(), stopped, progress=False)
    train(load_config(stopped.config), stopped, resume=True, progress=False)
    assert_same_state(stopped, whole)


@pytest.mark.usefixtures("no_finish")
def test_with_weights_the_default_stages_are_frozen(new_run, squeezenet_config, tmp_path):
    parameters = Trainer(squeezenet_config()).network.backbone.parameters()
    np.savez(tmp_path / "w.npz", **{p.name: p.value for p in parameters})
    config = squeezenet_config(weights=str(tmp_path / "w.npz"), preprocessing=PRESETS["caffe"])
    folder = new_run("weights", config)
    train(config, folder, progress=False)
    assert learned(folder) == ()
    assert load_config(folder.config).model.freeze is None


@pytest.mark.usefixtures("no_finish")
def test_tiny_starts_from_random_numbers_without_a_warning(new_run, small_config):
    folder = new_run("quiet")
    train(small_config, folder, progress=False)
    assert "--weights" not in folder.text.read_text()


PROGRAM = """
import sys
from pathlib import Path
from minirpn.training.config import load_config
from minirpn.training.train import train
from minirpn.training.run_folder import open_run
folder = open_run(Path(sys.argv[1]))
config = load_config(folder.config)
train(config, folder, resume=folder.last.exists(), progress=False)
"""


def test_sigterm_finishes_the_step_and_saves(new_run, small_config):
    long = replace(small_config, optimizer=replace(small_config.optimizer, steps=100_000))
    folder = new_run("asked", long)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder.path)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (folder.metrics.exists() and '"train"' in folder.metrics.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    steps = [r["step"] for r in records(folder) if r["kind"] == "train"]
    assert load_checkpoint(folder.last).step == steps[-1]
