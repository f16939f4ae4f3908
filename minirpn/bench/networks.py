"""What is timed of whole networks: a forward pass and a training step at 600x1000."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minirpn.bench.peers import peer
from minirpn.bench.twin import Twin
from minirpn.training.config import TrainConfig
from minirpn.training.step import loss_and_gradients
from minirpn.training.trainer import Trainer

Contenders = dict[str, Callable[[], object]]
GT_BOXES = np.array([[100, 100, 400, 300], [500, 200, 900, 550], [20, 30, 200, 180]], np.float32)


def forward_contenders(backbone: str, *, peers: bool) -> Contenders:
    """Return the forward pass of the RPN on a backbone, ours and PyTorch's."""
    network, images = new_trainer(backbone).network, picture()
    contenders: Contenders = {"minirpn": lambda: network.forward(images)}
    if peers and peer("torch"):
        twin = Twin(network)
        contenders["torch"] = lambda: twin.forward(images)
    return contenders


def step_contenders(backbone: str, *, peers: bool) -> Contenders:
    """Return a training step of the RPN on a backbone, ours and PyTorch's."""
    trainer, images = new_trainer(backbone), picture()
    contenders: Contenders = {"minirpn": lambda: take_step(trainer, images)}
    if peers and peer("torch"):
        twin = Twin(trainer.network)
        contenders["torch"] = lambda: twin.step(images)
    return contenders


def new_trainer(backbone: str) -> Trainer:
    """Return the trainer of a new run, as ``minirpn train --backbone`` would make it."""
    config = TrainConfig()
    return Trainer(replace(config, model=replace(config.model, backbone=backbone)))


def picture() -> np.ndarray:
    """Return one preprocessed image (1, 3, 600, 1000) of noise."""
    noise = np.random.default_rng(0).normal(scale=50, size=(1, 3, 600, 1000))
    return noise.astype(np.float32)


def take_step(trainer: Trainer, images: np.ndarray) -> None:
    """Take one whole step: labels, loss, gradients, update."""
    result = loss_and_gradients(
        trainer.network, images[0], GT_BOXES, rng=trainer.rng, objective=trainer.objective
    )
    # So small a rate that the weights stay as drawn, however often it is called.
    trainer.optimizer.step(result.grads, lr=1e-9)
