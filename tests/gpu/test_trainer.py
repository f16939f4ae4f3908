"""What a trainer on a device takes from files, and what it leaves there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minirpn import backend
from minirpn.errors import InputError
from minirpn.training.diagnostics import replay
from minirpn.training.trainer import Trainer
from minirpn.weights import PRESETS


def assert_there(device, arrays):
    for array in arrays:
        assert type(array) is type(device.like)
        assert backend.device_of(array) == backend.device_of(device.like)


def test_everything_that_changes_is_on_the_device(device, config_of):
    trainer = Trainer(config_of("rpn-only", 6), device)
    assert_there(device, [parameter.value for parameter in trainer.model.parameters()])
    assert_there(device, trainer.optimizer.velocity.values())


def test_pretrained_weights_go_there(device, config_of, tmp_path):
    config = config_of("rpn-only", 6)
    other = Trainer(replace(config, run=replace(config.run, seed=7)))
    values = {parameter.name: parameter.value for parameter in other.network.parameters()}
    np.savez(tmp_path / "weights.npz", **values)
    config = replace(config, model=replace(config.model, preprocessing=PRESETS["torchvision"]))
    trainer = Trainer(config, device)
    report = trainer.load_weights(tmp_path / "weights.npz")
    assert set(report.matched) == set(values)
    for parameter in trainer.network.parameters():
        assert_there(device, [parameter.value])
        np.testing.assert_array_equal(backend.to_host(parameter.value), values[parameter.name])


def test_a_step_that_fails_there_is_looked_into_here(device, config_of, run, tmp_path):
    config = config_of("rpn-only", 6, detect_anomaly=True)
    far = replace(config.optimizer, lr=10.0, backbone_lr_multiplier=1000.0)
    wild = replace(config, optimizer=far)
    with pytest.raises(InputError, match=r"\.jpg: step \d: .*, first in the (input|output) of "):
        run("wild", wild, device)
    (left,) = (tmp_path / "wild").glob("failure-*.npz")
    again = replay(left)
    assert again.quantity is not None
    assert again.where is not None
