"""Runs with AdamW: what it keeps from step to step goes through checkpoints and between ranks."""

from dataclasses import replace

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.training.build import build_optimizer
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig
from minirpn.training.run_folder import create_run
from minirpn.training.train import train
from minirpn.training.trainer import Trainer


@pytest.fixture(scope="module")
def config(small_config):
    optimizer = replace(small_config.optimizer, method="adamw", lr=0.001, weight_decay=0.01)
    return replace(small_config, optimizer=optimizer, run=replace(small_config.run, pictures=False))


def test_the_settings_reach_the_optimizer(config):
    optimizer = Trainer(
        replace(config, optimizer=replace(config.optimizer, momentum=0.8))
    ).optimizer
    assert (optimizer.betas, optimizer.weight_decay) == ((0.8, 0.999), 0.01)
    assert not build_optimizer(replace(config.optimizer, method="sgd"), []).squares


@pytest.mark.parametrize("kind", ["rpn-only", "4-step"])
def test_a_run_that_stopped_ends_as_one_that_did_not(config, tmp_path, monkeypatch, kind):
    config = replace(config, sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30))
    whole = create_run(tmp_path / "whole", config)
    train(config, whole, progress=False)
    stopped = create_run(tmp_path / "stopped", config)
    take = Trainer.train_step

    def fails(trainer, *args):
        if trainer.step == 3:
            raise InputError("the machine")
        return take(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", fails)
        with pytest.raises(InputError, match="the machine"):
            train(config, stopped, progress=False)
    assert load_checkpoint(stopped.last).squares
    train(config, stopped, resume=True, progress=False)
    one, other = load_checkpoint(whole.last), load_checkpoint(stopped.last)
    for kept in ("parameters", "velocity", "squares"):
        np.testing.assert_equal(getattr(other, kept), getattr(one, kept))
        assert getattr(one, kept)


def test_a_checkpoint_of_sgd_is_refused(config, tmp_path):
    sgd = Trainer(replace(config, optimizer=replace(config.optimizer, method="sgd")))
    with pytest.raises(InputError, match=r"last.npz: of a training with SGD, not with AdamW$"):
        Trainer(config).restore(sgd.checkpoint(), tmp_path / "last.npz")
    with pytest.raises(InputError, match=r"last.npz: of a training with AdamW, not with SGD$"):
        sgd.restore(Trainer(config).checkpoint(), tmp_path / "last.npz")
