"""Steps of several images: the mean of their losses and gradients, whatever computes them."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from minirpn.accel import threads
from minirpn.data import AugmentConfig, VOCDataset, training_order
from minirpn.errors import InputError
from minirpn.training.build import build_pipeline
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig
from minirpn.training.diagnostics import load_failure, replay
from minirpn.training.run_folder import create_run
from minirpn.training.step import StepResult
from minirpn.training.train import train
from minirpn.training.trainer import NotFiniteError, Trainer, mean_of

# What differs between two equal runs: the clock.
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}
EACH = 3


@pytest.fixture(autouse=True)
def _as_before():
    count = threads.thread_count()
    yield
    threads.set_threads(count)


@pytest.fixture(scope="module")
def config(small_config):
    """Six steps of three images, of eight in all, so that steps cross the ends of epochs."""
    return replace(small_config, optimizer=replace(small_config.optimizer, images_per_step=EACH))


def examples_of(trainer, shapes, count=EACH):
    dataset = VOCDataset(shapes, split="train")
    pipeline = build_pipeline(trainer.config, trainer.network)
    return [pipeline.example(dataset[index]) for index in range(count)]


def state(trainer):
    values = {p.name: p.value for p in trainer.model.parameters()}
    velocity = {f"velocity {name}": value for name, value in trainer.optimizer.velocity.items()}
    return {**values, **velocity, "step": trainer.step}


def records(folder):
    lines = folder.metrics.read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


# --- the mean ------------------------------------------------------------------------------------


def result(k):
    return StepResult({"loss": k}, {"w": np.array([k, 2.0 * k])}, {"positives": int(k)})


def test_losses_and_gradients_are_averaged_and_counts_added():
    given = [result(1.0), result(4.0), result(7.0)]
    mean = mean_of(iter(given), 3)
    assert mean.losses == {"loss": pytest.approx(4.0)}
    np.testing.assert_allclose(mean.grads["w"], [4.0, 8.0])
    assert mean.counts == {"positives": 12}
    for before, k in zip(given, (1.0, 4.0, 7.0), strict=True):  # nothing was written into
        np.testing.assert_array_equal(before.grads["w"], [k, 2 * k])


def test_one_result_is_its_own_mean():
    given = result(3.0)
    assert mean_of([given], 1) is given


def test_a_result_may_be_overwritten_by_the_next_one():
    memory = np.zeros(2)

    def results():
        for k in (1.0, 3.0):
            memory[:] = k
            yield StepResult({"loss": k}, {"w": memory}, {})

    np.testing.assert_array_equal(mean_of(results(), 2).grads["w"], [2.0, 2.0])


@pytest.mark.parametrize("kind", ["rpn-only", "approximate-joint", "joint"])
def test_a_step_is_one_on_the_mean_of_its_images(config, shapes, kind):
    config = replace(config, sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30))
    if kind != "rpn-only":
        classes = VOCDataset(shapes, split="train").classes
        config = replace(config, data=replace(config.data, classes=classes))
    trainer, other = Trainer(config), Trainer(config)
    examples = examples_of(trainer, shapes)
    found = trainer.train_step(examples)
    alone = [other.loss_and_gradients(one, place=k) for k, one in enumerate(examples)]
    for name, loss in found.losses.items():
        assert loss == pytest.approx(np.mean([one.losses[name] for one in alone]), rel=1e-6)
    for name, grad in found.grads.items():
        mean = np.mean([one.grads[name] for one in alone], axis=0)
        np.testing.assert_allclose(grad, mean, rtol=1e-4, atol=1e-6 * abs(mean).max())
    for name, count in found.counts.items():
        assert count == sum(one.counts[name] for one in alone)
    assert trainer.step == 1


@pytest.mark.parametrize("backbone", ["tiny", "squeezenet"])
def test_the_bits_do_not_depend_on_the_number_of_threads(config, shapes, backbone):
    config = replace(config, model=replace(config.model, backbone=backbone))
    ends = []
    for count in (1, 2, 4, 7):
        threads.set_threads(count)
        trainer = Trainer(config)
        examples = examples_of(trainer, shapes)
        for _ in range(2):
            trainer.train_step(examples)
        ends.append(state(trainer))
    for end in ends[1:]:
        np.testing.assert_equal(end, ends[0])


# --- a run ---------------------------------------------------------------------------------------


def test_each_step_takes_the_next_images_of_the_order(config, tmp_path, shapes):
    folder = create_run(tmp_path / "run", config)
    train(config, folder, progress=False)
    ids = [sample.annotation.image_id for sample in VOCDataset(shapes, split="train")]
    draws = training_order(len(ids), seed=config.run.seed, augment=AugmentConfig())
    taken = [record["image"] for record in records(folder) if record["kind"] == "train"]
    assert len(taken) == config.optimizer.steps
    for images in taken:
        assert images == ", ".join(ids[draw.index] for draw in islice(draws, EACH))


@pytest.mark.parametrize(
    ("kind", "ahead"), [("rpn-only", True), ("rpn-only", False), ("joint", True), ("4-step", True)]
)
def test_a_run_that_stopped_ends_as_one_that_did_not(config, tmp_path, monkeypatch, kind, ahead):
    config = replace(config, sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30))
    whole = create_run(tmp_path / "whole", config)
    train(config, whole, progress=False)
    stopped = create_run(tmp_path / "stopped", config)
    take = Trainer.train_step

    def fails(trainer, *args):
        if trainer.step == 3:
            raise InputError("the machine")
        return take(trainer, *args)

    if not ahead:
        monkeypatch.setattr(Trainer, "work_ahead", lambda trainer: None)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", fails)
        with pytest.raises(InputError, match="the machine"):
            train(config, stopped, progress=False)
    train(config, stopped, resume=True, progress=False)
    one, other = load_checkpoint(whole.last), load_checkpoint(stopped.last)
    np.testing.assert_equal(other.parameters, one.parameters)
    np.testing.assert_equal(other.velocity, one.velocity)
    kinds = [[r for r in records(folder) if r["kind"] == "train"] for folder in (whole, stopped)]
    assert kinds[0] == kinds[1]


# --- numbers that are not finite -----------------------------------------------------------------


def test_the_image_that_is_not_finite_is_named(config, shapes):
    trainer = Trainer(config)
    examples = examples_of(trainer, shapes)
    trainer.train_step(examples)
    before = state(trainer)
    examples[1].image[:, 3, 3] = np.inf
    with pytest.raises(NotFiniteError, match=r"step 2: objectness_loss is nan$") as caught:
        trainer.train_step(examples)
    assert caught.value.example is examples[1]
    np.testing.assert_equal(state(trainer), before)
    assert caught.value.place == 1


def test_where_each_image_is_finite_alone_the_first_is_named(config, shapes, monkeypatch):
    trainer = Trainer(config)
    examples, before = examples_of(trainer, shapes), state(trainer)

    def overflows(results, count):
        return next(iter(results))._replace(losses={"loss": np.float32(np.inf)})

    monkeypatch.setattr("minirpn.training.trainer.mean_of", overflows)
    with pytest.raises(NotFiniteError, match=r"step 1: loss is inf$") as caught:
        trainer.train_step(examples)
    assert caught.value.example is examples[0]
    assert caught.value.place == 0
    np.testing.assert_equal(state(trainer), before)


def test_the_file_of_a_step_that_failed_repeats_its_image(config, tmp_path, monkeypatch):
    folder, take, bad = create_run(tmp_path / "run", config), Trainer.train_step, []

    def spoiled(trainer, examples, proposals):
        if trainer.step == 2:
            examples[2].image[:, 3, 3] = np.nan
            bad.append(examples[2].image_id)
        return take(trainer, examples, proposals)

    monkeypatch.setattr(Trainer, "train_step", spoiled)
    with pytest.raises(InputError, match="step 3: objectness_loss is nan"):
        train(config, folder, progress=False)
    path = folder.path / "failure-3.npz"
    assert load_failure(path).example.image_id == bad[0]
    assert str(replay(path)) == (
        f"{bad[0]}: step 3: objectness_loss is nan, first in the input of conv1"
    )
