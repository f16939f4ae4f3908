"""Ranks whose arrays are on a GPU: sums there, and steps that are those of one process.

Two threads stand for two processes, both on one GPU: NCCL, which wants one for each, is not used.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minirpn import backend
from minirpn.data import VOCDataset
from minirpn.training.build import build_pipeline
from minirpn.training.diagnostics import Failure, first_anomaly
from minirpn.training.distributed import ALONE, Ranks
from minirpn.training.trainer import NotFiniteError, Trainer
from tests.training.threads_as_ranks import on_ranks


def test_arrays_on_a_device_are_summed_there(device, rng):
    shapes = [(), (3,), (2, 3, 1, 1)]
    given = [[rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(3)]

    def work(ranks: Ranks):
        arrays = [device.put(array) for array in given[ranks.rank]]
        sums, _ = ranks.sums(arrays)
        for array, host in zip(arrays, given[ranks.rank], strict=True):
            np.testing.assert_array_equal(backend.to_host(array), host)
        assert all(backend.device_of(one) == backend.device_of(arrays[0]) for one in sums)
        return [backend.to_host(one) for one in sums]

    wanted = [np.sum(parts, axis=0) for parts in zip(*given, strict=True)]
    for sums in on_ranks(3, work):
        for found, total in zip(sums, wanted, strict=True):
            assert found.shape == total.shape
            np.testing.assert_allclose(found, total, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rpn-only", "joint"])
def test_two_ranks_take_the_steps_of_one_process(device, config_of, shapes, kind):
    if device.name != "fake":
        pytest.skip("threads cannot share cuDNN's plans, and two processes need two cards")
    config = config_of(kind, 3)
    config = replace(config, optimizer=replace(config.optimizer, images_per_step=4))
    if kind == "joint":
        classes = VOCDataset(shapes, split="train").classes
        config = replace(config, data=replace(config.data, classes=classes))
    dataset = VOCDataset(shapes, split="train")

    def work(ranks: Ranks):
        trainer = Trainer(config, device, ranks)
        pipeline = build_pipeline(config, trainer.network)
        for step in range(3):
            examples = [pipeline.example(dataset[(step + place) % 4]) for place in trainer.images]
            losses = trainer.train_step(examples).losses
        return losses, trainer.checkpoint()

    losses, wanted = work(ALONE)
    for found, checkpoint in on_ranks(2, work):
        assert found == pytest.approx(losses, rel=1e-4)
        for name, value in wanted.parameters.items():
            np.testing.assert_allclose(checkpoint.parameters[name], value, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_on_a_rank_is_on_the_device_again(device, config_of, shapes):
    if device.name != "fake":
        pytest.skip("threads cannot share cuDNN's plans, and two processes need two cards")
    config = config_of("rpn-only", 3)
    config = replace(config, optimizer=replace(config.optimizer, images_per_step=2))
    dataset = VOCDataset(shapes, split="train")

    def work(ranks: Ranks):
        trainer = Trainer(config, device, ranks)
        example = build_pipeline(config, trainer.network).example(dataset[ranks.rank])
        if ranks.rank == 1:
            image = backend.to_host(example.image).copy()
            image[:, 3, 3] = np.nan
            example = replace(example, image=device.put(image))
        with pytest.raises(NotFiniteError) as caught:
            trainer.train_step([example])
        error = caught.value
        failure = Failure(trainer, error.example, error.place, error.proposals)
        return error.example.image_id, first_anomaly(trainer.model, failure.compute)

    bad = dataset[1].annotation.image_id
    assert on_ranks(2, work) == [(bad, "the input of conv1")] * 2
