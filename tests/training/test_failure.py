"""Numbers that are not finite: the run stops, says where, and leaves what repeats the step."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from minirpn.data.samples import Annotation, Example
from minirpn.errors import InputError
from minirpn.nn import SGD
from minirpn.nn.layers import Conv2d
from minirpn.training.build import build_pipeline, open_dataset
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig, load_config
from minirpn.training.diagnostics import (
    NotFiniteError,
    first_anomaly,
    layers_of,
    load_failure,
    replay,
    save_failure,
)
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import StepResult, check_finite, forward_loss, sgd_update
from minirpn.training.train import train
from minirpn.training.trainer import Trainer
from minirpn.training.under_way import StoppedError


def wild(config, **run):
    """Return settings whose first step goes so far that a later one cannot be computed."""
    optimizer = replace(config.optimizer, lr=10.0, backbone_lr_multiplier=1000.0)
    return replace(config, optimizer=optimizer, run=replace(config.run, **run))


@pytest.fixture
def example(small_config, tmp_path):
    """The first training image."""
    dataset = open_dataset(small_config, RunFolder(tmp_path), "train")
    with build_pipeline(small_config, Trainer(small_config).network).in_order(dataset, 1) as found:
        return next(found)


def state(trainer):
    return (
        {p.name: p.value.copy() for p in trainer.model.parameters()},
        {name: value.copy() for name, value in trainer.optimizer.velocity.items()},
        trainer.step,
    )


def parameter(trainer, name):
    (found,) = (p for p in trainer.model.parameters() if p.name == name)
    return found


# --- what is looked at ---------------------------------------------------------------------------


def result_of_step(losses=(), grads=()):
    terms = {"loss": 3.0, "objectness_loss": 1.0, "box_loss": 2.0}
    ones = {"conv1.weight": np.ones((2, 3), np.float32), "conv1.bias": np.ones(2, np.float32)}
    return StepResult(terms | dict(losses), ones | dict(grads), {})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_term_is_named_and_not_the_sum(value):
    both = {"loss": value, "box_loss": value}
    with pytest.raises(FloatingPointError, match=f"^box_loss is {value}$"):
        check_finite(result_of_step(losses=both))
    with pytest.raises(FloatingPointError, match=f"^loss is {value}$"):
        check_finite(result_of_step(losses={"loss": value}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gradient_is_named(value):
    grads = {"conv1.bias": np.array([1, value], np.float32)}
    with pytest.raises(FloatingPointError, match=r"^the gradient of conv1\.bias is not finite$"):
        check_finite(result_of_step(grads=grads))


def test_large_gradients_are_finite():
    """Their squares overflow in float32; the numbers themselves do not."""
    grads = {"conv1.bias": np.full(2, 1e30, np.float32)}
    assert check_finite(result_of_step(grads=grads))["loss"] == 3


def test_an_optimizer_does_not_move_along_a_gradient_that_is_not_finite(small_config):
    parameters = Trainer(small_config).network.parameters()
    optimizer = SGD(parameters)
    grads = {p.name: np.ones_like(p.value) for p in parameters}
    grads["rpn.conv.bias"][3] = np.nan
    before = {p.name: p.value for p in parameters}
    with pytest.raises(FloatingPointError, match=r"gradient of rpn\.conv\.bias is not finite"):
        sgd_update(optimizer, StepResult({"loss": np.float32(1)}, grads, {}), lr=0.1)
    assert all(p.value is before[p.name] for p in parameters)
    assert not any(velocity.any() for velocity in optimizer.velocity.values())


def test_a_trainer_is_as_before_a_step_that_failed(small_config, example):
    trainer = Trainer(small_config)
    trainer.train_step([example])
    parameter(trainer, "rpn.deltas.weight").value += np.float32(1e38)
    before = state(trainer)
    with pytest.raises(NotFiniteError, match=r"\.jpg: step 2: box_loss is (nan|inf)$") as caught:
        trainer.train_step([example])
    assert caught.value.example is example
    np.testing.assert_equal(state(trainer), before)


def test_a_state_that_is_not_finite_is_not_saved(small_config):
    trainer = Trainer(small_config)
    parameter(trainer, "conv2.bias").value[0] = np.inf
    with pytest.raises(InputError, match=r"step 0: conv2\.bias is not finite"):
        trainer.checkpoint()


# --- which layer it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["tiny", "squeezenet"])
def test_every_layer_with_parameters_is_watched(small_config, backbone):
    config = replace(
        small_config,
        sharing=SharingConfig(kind="joint"),
        data=replace(small_config.data, classes=("circle",)),
        model=replace(small_config.model, backbone=backbone),
    )
    trainer = Trainer(config)
    layers = list(layers_of(trainer.model))
    names = [p.name for layer in layers for p in layer.parameters()]
    assert sorted(names) == sorted(p.name for p in trainer.model.parameters())
    assert {"rpn.relu", "detector.flatten"} <= {layer.name for layer in layers}


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("conv3.bias", np.nan, "conv3.bias"),
        ("conv3.weight", 3e38, "the output of conv3"),
        ("rpn.deltas.weight", 3e38, "the output of rpn.deltas"),
        ("rpn.deltas.bias", 3.3e38, None),  # the sum in the loss overflows
    ],
)
def test_on_the_way_forward_the_first_is_named(small_config, example, name, value, where):
    trainer = Trainer(small_config)
    damaged = parameter(trainer, name)
    damaged.value = np.full_like(damaged.value, value)
    assert first_anomaly(trainer.model, partial(trainer.loss_and_gradients, example)) == where
    # Nothing stays behind.
    for layer in layers_of(trainer.model):
        assert not {"forward", "forward_relu", "backward"} & set(vars(layer))
    with pytest.raises(NotFiniteError):
        trainer.train_step([example])


def test_an_image_that_is_not_finite_is_named(small_config, example):
    example.image[0, 3, 3] = np.nan
    trainer = Trainer(small_config)
    found = first_anomaly(trainer.model, partial(trainer.loss_and_gradients, example))
    assert found == "the input of conv1"


@pytest.mark.parametrize(
    ("spoilt", "where"),
    [("dx", "the gradient that conv4 hands back"), ("dweight", "the gradient of conv4.weight")],
)
def test_on_the_way_back_the_first_is_named(small_config, example, monkeypatch, spoilt, where):
    trainer = Trainer(small_config)
    backward = Conv2d.backward

    def broken(layer, dy, cache, **options):
        dx, grads = backward(layer, dy, cache, **options)
        if layer.name == "conv4":
            target = dx if spoilt == "dx" else grads["conv4.weight"]
            target[(0,) * target.ndim] = np.inf
        return dx, grads

    monkeypatch.setattr(Conv2d, "backward", broken)
    assert first_anomaly(trainer.model, partial(trainer.loss_and_gradients, example)) == where
    with pytest.raises(NotFiniteError, match=r"step 1: the gradient of conv\d"):
        trainer.train_step([example])


# --- what a run leaves ---------------------------------------------------------------------------


def failed(config, folder, **options):
    """Return what a run that fails says, and its file."""
    with pytest.raises(InputError) as caught:
        train(config, folder, progress=False, **options)
    (path,) = folder.path.glob("failure-*.npz")
    return str(caught.value), path


def test_a_run_stops_and_leaves_what_repeats_it(new_run, small_config):
    config = wild(small_config, checkpoint_every=1)
    folder = new_run("wild", config)
    message, path = failed(config, folder)
    step = int(path.stem.removeprefix("failure-"))
    assert f"{path} holds what repeats it" in message
    assert "\n" not in message
    assert " first in " not in message

    again = replay(path)
    assert again.step == step
    assert f"{again.image_id}.jpg: step {step}: {again.quantity};" in message
    assert again.where is not None
    assert str(again) == f"{again.image_id}: step {step}: {again.quantity}, first in {again.where}"
    # The run is as it was before the step, and so is what the file holds.
    checkpoint, trainer = load_checkpoint(folder.last), load_failure(path).trainer
    assert checkpoint.step == trainer.step == step - 1
    for p in trainer.model.parameters():
        assert np.isfinite(p.value).all()
        np.testing.assert_array_equal(p.value, checkpoint.parameters[p.name])
    last = json.loads(folder.metrics.read_text().splitlines()[-1])
    assert (last["kind"], last["step"]) == ("warning", step)
    assert last["message"] == f"{again.image_id}: {again.quantity}"
    assert again.quantity in folder.text.read_text()


def test_resumed_with_detect_anomaly_it_names_the_layer(new_run, small_config):
    folder = new_run("wild", wild(small_config))
    first, path = failed(wild(small_config), folder)
    second, again = failed(wild(small_config, detect_anomaly=True), folder, resume=True)
    assert again == path
    quantity, advice = first.split(";", 1)
    assert second == f"{quantity}, first in {replay(path).where};{advice}"


def test_a_step_of_the_detector_is_repeated_too(new_run, small_config, monkeypatch):
    """It learns from proposals, which are in the file."""
    config = replace(
        small_config,
        sharing=SharingConfig(kind="4-step", pre_nms=60, post_nms=30),
        optimizer=replace(small_config.optimizer, steps=12),
    )
    folder = new_run("detector", config)
    take = Trainer.train_step

    def spoiled(trainer, *args):
        if trainer.step == 5:
            parameter(trainer, "detector.deltas.weight").value += np.float32(1e38)
        return take(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", spoiled)
    message, path = failed(config, folder)
    assert "step 6: region_loss is " in message
    failure = load_failure(path)
    assert failure.trainer.phase.name == "detector-1"
    assert failure.proposals.shape[1] == 4
    assert replay(path).where == "the output of detector.deltas"


def test_a_file_that_repeats_nothing_says_so(new_run, small_config, tmp_path):
    config = wild(small_config, checkpoint_every=1)
    _, path = failed(config, new_run("wild", config))
    with np.load(path) as archive:
        arrays = dict(archive)
    fresh = {f"parameters/{p.name}": p.value for p in Trainer(config).model.parameters()}
    np.savez(tmp_path / "healed.npz", **(arrays | fresh))
    again = replay(tmp_path / "healed.npz")
    assert (again.quantity, again.where) == (None, None)
    assert str(again).endswith("every loss and gradient is finite")


def test_what_is_no_such_file_is_one_line(tmp_path, small_config):
    with pytest.raises(InputError, match=r"gone\.npz: no such file of a failed step$"):
        replay(tmp_path / "gone.npz")
    path = tmp_path / "other.npz"
    for metadata in (b"[", b"{}", b'{"format": "minirpn checkpoint"}', b'"x"'):
        np.savez(path, metadata=np.frombuffer(metadata, np.uint8))
        with pytest.raises(InputError, match=r"other\.npz: not a file of a failed step: "):
            replay(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The members of a file of a failed step."""
    config = load_config(
        None,
        {"resize.short_side": 64, "resize.max_side": 96, "anchors.scales": [1, 2]},
        recipe="shapes",
    )
    boxes = np.array([[0, 0, 20, 20]], np.float32)
    one = Annotation("a", Path("a.jpg"), (64, 96), boxes, np.zeros(1, int), np.zeros(1, bool))
    trainer, image = Trainer(config), np.zeros((3, 64, 96), np.float32)
    path = tmp_path_factory.mktemp("sound") / "failure-1.npz"
    error = NotFiniteError(Example(one, image, boxes, 1.0, False), 1, "loss is nan")
    save_failure(path, trainer, error)
    assert replay(path).quantity is None
    with np.load(path) as archive:
        return dict(archive)


def test_a_file_of_an_older_version_says_why_it_repeats_nothing(tmp_path, sound):
    metadata = json.loads(sound["metadata"].tobytes())
    del metadata["place"]
    metadata["rng_state"] = {}
    encoded = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez(tmp_path / "old.npz", **(sound | {"metadata": encoded}))
    with pytest.raises(InputError, match=r"old\.npz: place: missing: an older minirpn wrote it"):
        replay(tmp_path / "old.npz")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("image", 5, "image: expected a text"),
        ("path", None, "path: expected a text"),
        ("image_size", [64], "image_size: expected 2 values, got 1"),
        ("image_size", {"height": 64}, "image_size: expected a list"),
        ("scale", 0, "scale: expected a number from 1e-06 to 1e+06, got 0"),
        ("scale", 10**400, "scale: expected a number"),
        ("flipped", 1, "flipped: expected True or False, got 1"),
        ("phase", 1, "phase: expected a whole number from 0 to 0, got 1"),
        ("phase", [0], "phase: expected a whole number"),
        ("step", 0, "step: expected a whole number from 1"),
        ("step", "1", "step: expected a whole number"),
        ("place", -1, "place: expected a whole number from 0"),
        ("place", 1.0, "place: expected a whole number from 0"),
        ("config", 5, "config: expected an object, got 5"),
        ("config", {"anchors": {"a": {"b": 1}}}, "anchors.a: unknown; there are "),
        ("config", {"optimizer": {"lr": 1e8}}, "optimizer.lr: expected at most 10"),
    ],
)
def test_what_is_wrong_in_its_metadata_is_named(tmp_path, sound, key, value, reason):
    path = tmp_path / "odd.npz"
    metadata = json.loads(sound["metadata"].tobytes()) | {key: value}
    encoded = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez(path, **(sound | {"metadata": encoded}))
    with pytest.raises(InputError) as caught:
        load_failure(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("example/image", np.zeros((64, 96), np.float32)),
        ("example/image", np.zeros((3, 64, 96), np.uint8)),
        ("example/gt_boxes", np.zeros((2, 4), np.float32)),
        ("example/gt_classes", np.zeros(1, np.float32)),
        ("example/difficult", np.zeros(1, np.int64)),
        ("example/original_boxes", np.zeros(4, np.float32)),
        ("example/ignored", np.zeros((1, 5), np.float32)),
        ("example/proposals", np.zeros((1, 4), np.int64)),
        ("parameters/rpn.conv.bias", np.zeros(256, np.int64)),
    ],
)
def test_an_array_that_cannot_be_one_of_a_step_is_named(tmp_path, sound, name, value):
    path = tmp_path / "odd.npz"
    np.savez(path, **(sound | {name: value}))
    with pytest.raises(InputError) as caught:
        load_failure(path)
    assert str(caught.value).startswith(f"{path}: {name.partition('/')[2]}: {value.dtype} of shape")


# --- a validation --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_validation_that_is_not_finite_stops_the_run(
    new_run, small_config, monkeypatch, capsys, value
):
    """It has exit status 0 otherwise, and a best checkpoint that is no good."""

    def spoilt(*args, **options):
        loss, output, cache = forward_loss(*args, **options)
        return loss._replace(total=loss.total + value, box=loss.box + value), output, cache

    folder = new_run("run")
    for resume in (False, True):
        monkeypatch.setattr("minirpn.training.evaluate.forward_loss", spoilt)
        with pytest.raises(StoppedError) as caught:
            train(small_config, folder, progress=False, resume=resume)
        assert re.fullmatch(
            rf".*\.jpg: the validation's box_loss is {value} after step 3: it has diverged; "
            "a new run with a lower --lr may help",
            str(caught.value),
        )
        assert load_checkpoint(folder.last).step == 3
        assert not folder.best.exists()
        last = json.loads(folder.metrics.read_text().splitlines()[-1])
        assert last["message"].endswith(f"the validation's box_loss is {value}")
    assert f"box_loss is {value}" in folder.text.read_text()


def test_a_network_that_overflows_in_its_validation(new_run, small_config):
    """Each number of the training was finite: the last step went too far."""
    optimizer = replace(small_config.optimizer, lr=10.0, backbone_lr_multiplier=1000.0, steps=2)
    config = replace(small_config, optimizer=optimizer)
    with pytest.raises(StoppedError, match=r"the validation's (box|objectness)_loss is (nan|inf)"):
        train(config, new_run("wild", config), progress=False)


def test_a_full_disk_does_not_hide_the_number(new_run, small_config, monkeypatch):
    folder = new_run("full", wild(small_config))

    def full(path, *args):
        raise InputError(f"{path}: cannot write: No space left on device")

    monkeypatch.setattr("minirpn.training.diagnostics.write_npz", full)
    with pytest.raises(InputError, match=r"step \d+: .+; .*npz: cannot write: No space"):
        train(wild(small_config), folder, progress=False)
