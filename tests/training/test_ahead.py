"""What the loader's threads work out for a step is what the step would have worked out itself."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from minirpn.backbones import BACKBONES
from minirpn.data import Draw, VOCDataset
from minirpn.errors import InputError
from minirpn.training import crew
from minirpn.training import train as train_module
from minirpn.training import trainer as training
from minirpn.training.build import build_pipeline
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig
from minirpn.training.train import train
from minirpn.training.trainer import LabelledExample, NotFiniteError, Trainer

STEPS = 10
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}
# The stop lies within a phase, whose loader has drawn further than the steps have come.
STOP = {"rpn-only": 4, "4-step": 2, "approximate-joint": 4, "joint": 4}


@pytest.fixture
def config_of(small_config):
    """Make the settings of a small run; few anchors are sampled, so that the draws matter."""

    def make(kind="rpn-only"):
        run = {"pictures": False, "validate_every": 4, "checkpoint_every": 3}
        return replace(
            small_config,
            sampling=replace(small_config.sampling, batch_size=16),
            sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=20),
            optimizer=replace(small_config.optimizer, steps=STEPS),
            run=replace(small_config.run, **run),
        )

    return make


@pytest.fixture
def dataset(shapes):
    """The training images."""
    return VOCDataset(shapes, split="train")


@pytest.fixture
def draws(monkeypatch):
    """Note in which thread each mini-batch is drawn."""
    names, draw = [], training.make_minibatch

    def spied(*arguments, **options):
        names.append(threading.current_thread().name)
        return draw(*arguments, **options)

    monkeypatch.setattr(training, "make_minibatch", spied)
    return names


def end_of(folder):
    """Return all that a run has come to, and recorded on the way; not the times."""
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    records = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    state = load_checkpoint(folder.last)
    arrays = {
        (kind, name): array.tobytes()
        for kind in ("parameters", "velocity")
        for name, array in getattr(state, kind).items()
    }
    return records, arrays, state.step, state.phase


def with_threads(monkeypatch, count):
    def build(*arguments):
        return replace(build_pipeline(*arguments), threads=count)

    monkeypatch.setattr(crew, "build_pipeline", build)


@pytest.mark.parametrize(
    "kind",
    [
        "rpn-only",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("4-step", "approximate-joint", "joint")
        ),
    ],
)
def test_a_run_is_that_of_steps_that_label_and_draw(
    kind, config_of, new_run, monkeypatch, stop_after, draws
):
    config = config_of(kind)
    monkeypatch.setattr(train_module, "finish_run", lambda *arguments: (None, None))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "work_ahead", lambda trainer: None)
        wanted = new_run("in-the-step", config)
        train(config, wanted, progress=False)
    assert set(draws) == {"MainThread"}
    in_steps = len(draws)
    draws.clear()
    with_threads(monkeypatch, 3)
    whole = new_run("whole", config)
    train(config, whole, progress=False)
    assert end_of(whole) == end_of(wanted)
    if kind in ("rpn-only", "4-step"):  # no step has drawn
        assert {name.rsplit("_", 1)[0] for name in draws} == {"minirpn-loader-finish"}
        assert len(draws) >= in_steps
    else:
        assert draws == ["MainThread"] * in_steps

    with_threads(monkeypatch, 1)
    stopped = new_run("stopped", config)
    with monkeypatch.context() as patch:
        stop_after(patch, STOP[kind])
        assert train(config, stopped, progress=False).steps == STOP[kind]
    with_threads(monkeypatch, 3)
    train(config, stopped, resume=True, progress=False)
    assert end_of(stopped) == end_of(wanted)


def test_what_is_drawn_ahead_is_what_its_step_would_draw(config_of, dataset):
    config = config_of()
    here, there = Trainer(config), Trainer(config)
    pipeline = build_pipeline(config, here.network)
    order = [Draw(0) for _ in range(6)]
    drawn = set()
    with pipeline.examples(dataset, iter(order), finish=here.work_ahead()) as examples:
        for draw, example in zip(order, examples, strict=True):
            other = pipeline.example(dataset[draw.index], augmentation=draw.augmentation)
            batches = here.minibatch(example), there.minibatch(other)
            assert batches[0] is example.drawn.minibatch
            np.testing.assert_equal(batches[0], batches[1])
            drawn.add(batches[0].host_labels.tobytes())
            here.train_step([example])
            there.train_step([other])
    assert len(drawn) == len(order)  # the same image, but each step draws anew


def test_a_detector_that_learns_alone_has_nothing_labelled(config_of):
    config = config_of("4-step")
    trainer = Trainer(replace(config, data=replace(config.data, classes=("circle",))))
    kinds = []
    for index in range(4):
        trainer.begin_phase(index)
        kinds.append(trainer.work_ahead() is not None)
    assert kinds == [True, False, True, False]


def prepared(trainer, dataset, index=0):
    """Return an example as the loader gives it for the next step."""
    return trainer.work_ahead()(
        build_pipeline(trainer.config, trainer.network).example(dataset[index])
    )


def test_a_step_that_fails_draws_the_same_sample_again(config_of, dataset):
    trainer = Trainer(config_of())
    example = prepared(trainer, dataset)
    (weight,) = (p for p in trainer.network.parameters() if p.name == "rpn.deltas.weight")
    sound = weight.value
    weight.value = np.full_like(sound, 3e38)
    with pytest.raises(NotFiniteError):
        trainer.train_step([example])
    weight.value = sound
    assert trainer.minibatch(example) is example.drawn.minibatch


def test_a_sample_drawn_for_another_step_is_not_used(config_of, dataset):
    trainer, other = Trainer(config_of()), Trainer(config_of())
    first, second = (prepared(trainer, dataset, index) for index in (0, 1))  # for the same step
    trainer.train_step([first])
    other.train_step([replace(first, drawn=None)])
    drawn = trainer.minibatch(second)
    wanted = other.minibatch(replace(second, drawn=None))
    np.testing.assert_array_equal(drawn.labels, wanted.labels)
    assert np.any(drawn.labels != second.drawn.minibatch.labels)


@pytest.mark.parametrize("use_difficult", [False, True])
def test_objects_marked_difficult_are_learned_from_when_asked(config_of, dataset, use_difficult):
    config = config_of()
    trainer = Trainer(replace(config, data=replace(config.data, use_difficult=use_difficult)))
    example = build_pipeline(config, trainer.network).example(dataset[0])
    hard = replace(example.annotation, difficult=np.ones_like(example.difficult))
    labelled = trainer.work_ahead()(replace(example, annotation=hard))
    assert isinstance(labelled, LabelledExample)
    assert (labelled.assigned.matched_gt.max() >= 0) == use_difficult
    assert np.any(labelled.drawn.minibatch.targets) == use_difficult


@pytest.mark.parametrize("kind", ["rpn-only", "joint"])
def test_an_error_while_labelling_stops_the_run(config_of, new_run, monkeypatch, kind):
    label, calls = training.label_anchors, []

    def broken(*arguments, **options):
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            raise InputError("000003: cannot be labelled")
        return label(*arguments, **options)

    monkeypatch.setattr(training, "label_anchors", broken)
    config = config_of(kind)
    folder = new_run("broken", config)
    with pytest.raises(InputError, match="000003: cannot be labelled"):
        train(config, folder, progress=False)
    assert all(name.startswith("minirpn-loader-finish") for name in calls)
    steps = [line for line in folder.metrics.read_text().splitlines() if '"train"' in line]
    assert len(steps) == 2
    assert not [t for t in threading.enumerate() if t.name.startswith("minirpn-loader")]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_the_anchors_are_those_of_the_forward_pass(config_of, name, dtype, rng):
    config = config_of()
    config = replace(config, model=replace(config.model, backbone=name, dtype=dtype))
    network = Trainer(config).network
    for size in [(1, 1), (17, 45), (64, 63), (67, 131), (70, 2)]:
        image = rng.normal(size=(1, 3, *size)).astype(dtype)
        output, _ = network.forward(image)
        anchors = network.anchors_for(size, like=np.empty((0, 4), dtype))
        assert anchors.dtype == output.anchors.dtype == dtype
        np.testing.assert_array_equal(anchors, output.anchors)
        assert len(anchors) == output.deltas.shape[1]


def test_anchors_are_made_once_and_few_are_kept(config_of):
    network = Trainer(config_of()).network
    first = network.anchors_for((60, 80), like=np.empty(0, np.float32))
    assert network.anchors_for((60, 80), like=np.zeros(3, np.float32)) is first
    assert network.anchors_for((60, 80), like=np.empty(0)).dtype == np.float64
    network.anchor_offset = (1.0, 2.0)
    moved = network.anchors_for((60, 80), like=np.empty(0, np.float32))
    np.testing.assert_array_equal(moved, first + np.array([2.0, 1.0, 2.0, 1.0], np.float32))
    for height in range(1, 200):
        network.anchors((height, 1), like=first)
    assert len(network._anchors) <= 32


def test_anchors_that_are_only_recorded_are_not_kept(config_of, monkeypatch):
    # They lie in memory that recorded steps write over.
    network = Trainer(config_of()).network
    with monkeypatch.context() as recording:
        recording.setattr("minirpn.rpn.network.is_recording", lambda: True)
        recorded = network.anchors((3, 4), like=np.empty(0, np.float32))
    recorded[...] = -777
    assert (network.anchors((3, 4), like=np.empty(0, np.float32)) != -777).all()
