"""``model.dtype``: all of a training in float64, from the same start and on the same anchors."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minirpn.data import VOCDataset
from minirpn.training.build import build_pipeline, load_network
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig
from minirpn.training.train import train
from minirpn.training.trainer import Trainer


def wide(config, **sharing):
    return replace(
        config,
        model=replace(config.model, dtype="float64"),
        sharing=SharingConfig(pre_nms=60, post_nms=30, **sharing),
        run=replace(config.run, pictures=False),
    )


@pytest.fixture
def examples(shapes, small_config):
    """Return the first image of the training split in the dtype of a config."""

    def first(config):
        pipeline = build_pipeline(config, Trainer(config).network)
        return pipeline.example(VOCDataset(shapes, split="train")[0])

    return first


def test_float64_starts_from_the_numbers_of_float32(small_config):
    narrow, broad = Trainer(small_config), Trainer(wide(small_config))
    for a, b in zip(narrow.model.parameters(), broad.model.parameters(), strict=True):
        assert (a.value.dtype, b.value.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(a.value, b.value)


def test_a_step_is_taken_in_float64_throughout(small_config, examples):
    config = wide(small_config)
    trainer, example = Trainer(config), examples(config)
    result = trainer.loss_and_gradients(example)
    trainer.train_step([example])
    output, _ = trainer.network.forward(example.image[None])
    arrays = [*output, *result.losses.values(), *result.grads.values()]
    arrays += [parameter.value for parameter in trainer.model.parameters()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}


def test_rounding_is_all_that_differs_in_the_first_step(small_config, examples):
    configs = small_config, wide(small_config)
    narrow, broad = (Trainer(config).train_step([examples(config)]) for config in configs)
    assert narrow.counts == broad.counts
    for name, loss in broad.losses.items():
        assert float(loss) == pytest.approx(float(narrow.losses[name]), rel=1e-5)
    assert float(broad.losses["loss"]) != float(narrow.losses["loss"])


@pytest.mark.parametrize("kind", ["rpn-only", "4-step", "approximate-joint"])
def test_a_run_in_float64_is_saved_and_read_as_such(small_config, new_run, kind):
    config = wide(small_config, kind=kind)
    folder = new_run("run", config)
    train(config, folder, progress=False)
    state = load_checkpoint(folder.last)
    arrays = [*state.parameters.values(), *state.velocity.values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}
    network, stored = load_network(folder.path)
    assert stored.model.dtype == "float64"
    assert {p.value.dtype for p in network.parameters()} == {np.dtype(np.float64)}
    kinds = [json.loads(line)["kind"] for line in folder.metrics.read_text().splitlines()]
    assert kinds.count("train") == 6
