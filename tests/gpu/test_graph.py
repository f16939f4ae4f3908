"""Steps that are recorded on a card are the steps that are asked for kernel by kernel."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from minirpn import backend
from minirpn.accel.cuda import winograd
from minirpn.accel.cuda.cudnn_plans import cudnn_present
from minirpn.bench import work
from minirpn.devices import open_device
from minirpn.training.config import TrainConfig
from minirpn.training.step import sgd_update
from minirpn.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif("fakegpu" in sys.modules, reason="a stand-in for a card records nothing"),
]
SIZES = (96, 128), (120, 90), (97, 129)


@pytest.fixture(params=[False, True], ids=["float32", "tf32"])
def device(request):
    yield open_device("cuda", tf32=request.param)
    open_device("cuda")


def trained(device, *, graphs, form="paper", backbone="tiny", steps=12):
    """Return losses, counts and parameters of some steps on images of several sizes."""
    config = TrainConfig()
    config = replace(
        config,
        model=replace(config.model, backbone=backbone),
        loss=replace(config.loss, form=form),
        run=replace(config.run, graphs=graphs),
    )
    trainer, rng = Trainer(config, device), np.random.default_rng(1)
    images = [
        device.put(rng.normal(scale=50, size=(3, *size)).astype(np.float32)) for size in SIZES
    ]
    batches = [work.minibatch_for(trainer, image) for image in images]
    found = []
    for step in range(steps):
        at = step % len(SIZES)
        result = trainer.rpn_step(images[at], batches[at], recorded=True)
        lr = 1e-3 if step < steps // 2 else 1e-4
        result = sgd_update(trainer.optimizer, result, lr=lr)
        found.append((result.losses, result.counts))
    values = {p.name: backend.to_host(p.value) for p in trainer.model.parameters()}
    return found, values, trainer


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("backbone", ["tiny", "squeezenet"])
def test_recorded_steps_have_the_same_bits(backbone, form, device):
    if not cudnn_present():
        pytest.skip("without cuDNN, convolutions are products by cuBLAS, which CuPy cannot record")
    plain, values, _ = trained(device, graphs=False, form=form, backbone=backbone)
    found, recorded_values, trainer = trained(device, graphs=True, form=form, backbone=backbone)
    assert len(trainer._runner._recorder._recordings) == len(SIZES)
    assert found == plain
    for name, value in values.items():
        np.testing.assert_array_equal(recorded_values[name], value)


def test_products_of_matrices_are_recorded_too(monkeypatch):
    device = open_device("cuda")
    monkeypatch.setattr(winograd, "LEAST_WORK", 1)
    plain, values, _ = trained(device, graphs=False)
    found, recorded_values, trainer = trained(device, graphs=True)
    if cudnn_present():
        assert len(trainer._runner._recorder._recordings) == len(SIZES)
    assert found == plain
    for name, value in values.items():
        np.testing.assert_array_equal(recorded_values[name], value)


def test_a_new_phase_or_new_values_are_not_what_was_recorded(device):
    _, _, trainer = trained(device, graphs=True, steps=9)
    image = device.put(work.noise_image(SIZES[0]))[0, ...]
    batch = work.minibatch_for(trainer, image)
    for parameter in trainer.model.parameters():  # as when weights are loaded
        parameter.value = parameter.value * 0.5
    recorded, plain = (trainer.rpn_step(image, batch, recorded=flag).losses for flag in (1, 0))
    assert backend.numbers(list(recorded.values())) == backend.numbers(list(plain.values()))
