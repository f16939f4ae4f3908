"""Fine-tuning: what is taken from a trained network, what is new, and what is said about it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig, load_config
from minirpn.training.finetune import names_trained, start_from
from minirpn.training.run_folder import create_run
from minirpn.training.stored import read_stored
from minirpn.training.train import train
from minirpn.training.trainer import Trainer
from minirpn.weights import PRESETS


def with_detector(config, *classes):
    return replace(
        config,
        sharing=SharingConfig(kind="approximate-joint", pre_nms=60, post_nms=30),
        data=replace(config.data, classes=classes),
    )


def stored_of(config, name="before"):
    """Return a network as it was never trained, but with values of its own everywhere."""
    trainer = Trainer(replace(config, run=replace(config.run, seed=7)))
    rng = np.random.default_rng(0)
    parameters = {
        p.name: rng.normal(size=p.value.shape).astype(np.float32)
        for p in trainer.model.parameters()
    }
    source = read_stored("shapes")
    return replace(source, name=name, parameters=parameters, config=trainer.config)


def start(stored, config):
    """Return the values of a new network by name before and after the start, and the report."""
    trainer = Trainer(config)
    before = {p.name: p.value.copy() for p in trainer.model.parameters()}
    report = start_from(stored, trainer.model, config)
    return before, {p.name: p.value for p in trainer.model.parameters()}, report


def test_the_same_network_is_taken_whole(small_config):
    config = with_detector(small_config, "circle", "square")
    stored = stored_of(config)
    _, after, report = start(stored, config)
    for name, value in stored.parameters.items():
        np.testing.assert_array_equal(after[name], value)
        assert after[name] is not value
    assert report.lines() == [
        "taken: tiny (all of the backbone), rpn.conv, rpn.objectness, rpn.deltas, "
        "detector.reduce, detector.hidden, detector.scores, detector.deltas",
        "pixels: RGB, minus (127.5, 127.5, 127.5), divided by (64, 64, 64): as it was trained",
    ]


def test_with_other_anchors_the_outputs_of_the_head_are_new(small_config):
    stored = stored_of(small_config)
    anchors = replace(small_config.anchors, scales=(2.0, 4.0, 8.0))
    before, after, report = start(stored, replace(small_config, anchors=anchors))
    for name, value in after.items():
        new = name.startswith(("rpn.objectness", "rpn.deltas"))
        np.testing.assert_array_equal(value, (before if new else stored.parameters)[name])
    assert "new: rpn.objectness, rpn.deltas: 6 anchors a cell there, 9 here" in report.lines()


def test_as_many_other_anchors_take_the_outputs_and_say_so(small_config):
    stored = stored_of(small_config)
    anchors = replace(small_config.anchors, scales=(3.0, 9.0))
    _, after, report = start(stored, replace(small_config, anchors=anchors))
    np.testing.assert_array_equal(
        after["rpn.deltas.weight"], stored.parameters["rpn.deltas.weight"]
    )
    assert "rpn.objectness, rpn.deltas learned other anchors, as many a cell" in report.lines()


def test_another_classifier_has_new_logits(small_config):
    model = replace(small_config.model, classifier="logistic")
    stored = stored_of(small_config)
    before, after, report = start(stored, replace(small_config, model=model))
    for kind in ("weight", "bias"):
        name = f"rpn.objectness.{kind}"
        np.testing.assert_array_equal(after[name], before[name])
        name = f"rpn.deltas.{kind}"
        np.testing.assert_array_equal(after[name], stored.parameters[name])
    assert report.new == {"softmax there, logistic here": ("rpn.objectness",)}


def test_the_rows_of_classes_go_by_their_names(small_config):
    stored = stored_of(with_detector(small_config, "circle", "square", "star"))
    before, after, report = start(stored, with_detector(small_config, "star", "cell", "circle"))
    for layer, each in (("detector.scores", 1), ("detector.deltas", 4)):
        for kind in ("weight", "bias"):
            name = f"{layer}.{kind}"
            old, ours, new = stored.parameters[name], before[name], after[name]
            old, ours, new = (value.reshape(4, each, -1) for value in (old, ours, new))
            np.testing.assert_array_equal(new, np.stack([old[0], old[3], ours[2], old[1]]))
    lines = report.lines()
    assert lines[0].endswith("detector.reduce, detector.hidden")
    assert (
        "detector.scores, detector.deltas: taken for background, star, circle; new for cell"
        in lines
    )
    assert "unused classes: square" in lines


def test_a_detector_may_be_new_or_unused(small_config):
    both = with_detector(small_config, "circle")
    _, _, report = start(stored_of(small_config), both)
    detector = "detector.reduce, detector.hidden, detector.scores, detector.deltas"
    assert f"new: {detector}: no detector there" in report.lines()
    _, _, report = start(stored_of(both), small_config)
    assert f"unused: {detector}" in report.lines()


def test_another_backbone_is_named(small_config):
    config = replace(small_config, model=replace(small_config.model, backbone="squeezenet"))
    stored = stored_of(small_config, name="runs/mine")
    with pytest.raises(InputError) as caught:
        start(stored, config)
    assert str(caught.value) == (
        "runs/mine: its backbone is tiny, here it is squeezenet: give --backbone tiny"
    )


@pytest.mark.parametrize("wrong", ["missing", "shape", "nan"])
def test_what_does_not_fit_changes_nothing(small_config, wrong):
    stored = stored_of(small_config)
    name = "rpn.conv.bias"
    parameters = dict(stored.parameters)
    if wrong == "missing":
        del parameters[name]
    elif wrong == "shape":
        parameters[name] = parameters[name][1:]
    else:
        parameters[name] = parameters[name] * np.float32("nan")
    trainer = Trainer(small_config)
    before = [p.value.copy() for p in trainer.model.parameters()]
    said = f"not a whole tiny: '{name}' does not fit"
    if wrong == "nan":
        said = f"{name}: holds values that are not finite numbers"
    with pytest.raises(InputError, match=said):
        start_from(replace(stored, parameters=parameters), trainer.model, small_config)
    for parameter, value in zip(trainer.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_the_parameters_keep_their_dtype(small_config):
    wide = replace(small_config, model=replace(small_config.model, dtype="float64"))
    _, after, _ = start(stored_of(small_config), wide)
    assert {value.dtype for value in after.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("given", [None, PRESETS["girshick"]])
def test_pixels_are_prepared_as_before_or_as_asked(small_config, given):
    known = PRESETS["caffe"]
    before = replace(small_config, model=replace(small_config.model, preprocessing=known))
    after = replace(small_config, model=replace(small_config.model, preprocessing=given))
    _, _, report = start(stored_of(before), after)
    assert report.preprocessing == (given or known)
    assert report.reason == ("preset girshick, as asked" if given else "as it was trained")


def test_what_names_a_trained_network(tmp_path, small_config):
    weights = tmp_path / "weights.npz"
    np.savez(weights, **{"conv1.weight": np.zeros((4, 3, 3, 3), np.float32)})
    for word in (weights, "gone.npz", "gone.pth", "data/gone.CAFFEMODEL"):
        assert not names_trained(word), word
    for word in (tmp_path, "shapes", "runs/gone", "runs/gone@best"):
        assert names_trained(word), word


@pytest.fixture(scope="module")
def source(tmp_path_factory, small_config, without_figures):
    """A finished run; not to be changed."""
    folder = create_run(tmp_path_factory.mktemp("source") / "source", small_config)
    with without_figures():
        train(small_config, folder, progress=False)
    return folder


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("form", ["{run}", "{run}@best", "{run}/checkpoints/best.npz", "shapes"])
def test_a_run_starts_from_what_was_named(source, new_run, small_config, form):
    name = form.format(run=source.path)
    anchors = read_stored(name).config.anchors
    model = replace(small_config.model, weights=name)
    config = replace(small_config, model=model, anchors=anchors)
    slow = replace(config.optimizer, steps=1, lr=1e-30, weight_decay=0.0)
    folder = new_run("tuned", config)
    train(replace(config, optimizer=slow), folder, progress=False)
    for key, value in read_stored(name).parameters.items():
        np.testing.assert_array_equal(load_checkpoint(folder.last).parameters[key], value)
    assert load_config(folder.config).model.weights == name
    assert f"{name}: taken: tiny (all of the backbone), rpn.conv, " in folder.text.read_text()


@pytest.mark.usefixtures("no_finish")
def test_resumed_without_its_source_it_ends_the_same(
    source, new_run, small_config, tmp_path, monkeypatch, stop_after
):
    copy = shutil.copytree(source.path, tmp_path / "copy")
    config = replace(small_config, model=replace(small_config.model, weights=str(copy)))
    whole, stopped = new_run("whole", config), new_run("stopped", config)
    train(config, whole, progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        train(config, stopped, progress=False)
    shutil.rmtree(copy)
    train(load_config(stopped.config), stopped, resume=True, progress=False)
    a, b = load_checkpoint(whole.last), load_checkpoint(stopped.last)
    for name, value in a.parameters.items():
        np.testing.assert_array_equal(b.parameters[name], value)
