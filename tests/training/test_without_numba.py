"""Training steps with numba, without it, and with one that fails: what is the same, how nearly."""

from contextlib import nullcontext
from itertools import cycle, islice

import numpy as np
import pytest

from minirpn import accel
from minirpn.accel import implementation
from minirpn.accel.implementation import numba_available
from minirpn.accel.numba import boxes, maps, optim, regions, strips, winograd
from minirpn.accel.numba.compiled import Compiled
from minirpn.data import VOCDataset
from minirpn.training import trainer as trainer_module
from minirpn.training.build import build_pipeline
from minirpn.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not numba_available(), reason="numba cannot be used")
STEPS = 20


@pytest.fixture
def learn(small_config, shapes, monkeypatch):
    """Returns a function that takes 20 steps: mini-batches, losses, values of parameters."""
    make, batches = trainer_module.make_minibatch, []

    def recording(*args, **options):
        batches.append(make(*args, **options))
        return batches[-1]

    monkeypatch.setattr(trainer_module, "make_minibatch", recording)

    def run(implementation=None):
        batches.clear()
        with accel.use(implementation) if implementation else nullcontext():
            trainer = Trainer(small_config)
            pipeline = build_pipeline(small_config, trainer.network)
            samples = islice(cycle(VOCDataset(shapes, split="train")), STEPS)
            examples = [pipeline.example(sample) for sample in samples]
            losses = [float(trainer.train_step([one]).losses["loss"]) for one in examples]
        values = {one.name: one.value.copy() for one in trainer.model.parameters()}
        return list(batches), losses, values

    return run


def assert_only_last_digits_differ(found, wanted):
    """Labels, samples and targets are equal; what each step adds to is equal but for rounding."""
    (batches, losses, values), (wanted_batches, wanted_losses, wanted_values) = found, wanted
    assert len(batches) == len(wanted_batches) == STEPS
    for batch, wanted_batch in zip(batches, wanted_batches, strict=True):
        for array, wanted_array in zip(batch, wanted_batch, strict=True):
            np.testing.assert_array_equal(array, wanted_array)
    np.testing.assert_allclose(losses, wanted_losses, rtol=1e-3)
    for name, value in values.items():
        limit = 1e-3 * max(0.1, np.abs(value).max())  # biases begin with zero
        np.testing.assert_allclose(wanted_values[name], value, atol=limit, rtol=0, err_msg=name)


def test_without_numba_only_last_digits_differ(learn):
    with_numba, without = learn(), learn("array")
    assert_only_last_digits_differ(with_numba, without)


def test_where_numba_compiles_nothing_array_code_takes_every_step(learn, monkeypatch, caplog):
    def made(self):
        raise OSError("no LLVM")

    with monkeypatch.context() as patch:
        for module in (boxes, maps, optim, regions, strips, winograd):
            for function in vars(module).values():
                if isinstance(function, Compiled):
                    patch.setattr(function, "_machine", None)
                    patch.setattr(function, "_failures", {})
        patch.setattr(Compiled, "_made", made)
        patch.setattr(implementation, "SAID", set())
        failing = learn()
    assert_only_last_digits_differ(failing, learn("array"))
    (line,) = caplog.messages
    assert line.endswith(": OSError: no LLVM)")
