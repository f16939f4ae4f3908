"""What is timed of whole networks: a forward pass, a training step, proposals; at 600x1000.

What a step begins with lies on the device before it is timed, for minirpn and for PyTorch: the
image, and for minirpn the labels and targets of its mini-batch. In a training a thread of the
loader makes and sends them, during the step before. The row ``label`` has what labelling takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minirpn import backend
from minirpn._typing import Array, ImageSize
from minirpn.bench.peers import peer_on
from minirpn.bench.twin import Twin, tensor
from minirpn.devices import CPU, Device
from minirpn.rpn.network import RPN
from minirpn.training.config import TrainConfig
from minirpn.training.step import Minibatch, StepResult, make_minibatch
from minirpn.training.trainer import Trainer

Contenders = dict[str, Callable[[], object]]
IMAGE_SIZE = (600, 1000)
LR = 1e-9  # so small that the weights stay as drawn, however many steps are taken
GT_BOXES = np.array([[100, 100, 400, 300], [500, 200, 900, 550], [20, 30, 200, 180]], np.float32)


def forward_contenders(backbone: str, *, peers: bool) -> Contenders:
    """Return the forward pass of the RPN on a backbone, ours and PyTorch's."""
    network, images = new_trainer(backbone).network, picture()
    contenders: Contenders = {"minirpn": lambda: network.forward(images)}
    if peers and peer_on("torch", CPU):
        twin, inputs = Twin(network), tensor(images)
        contenders["torch"] = lambda: twin.forward(inputs)
    return contenders


def step_contenders(
    backbone: str, *, peers: bool, device: Device = CPU, image_size: ImageSize = IMAGE_SIZE
) -> Contenders:
    """Return a training step of the RPN on a backbone, ours and PyTorch's eager one.

    PyTorch chooses cuDNN's algorithms by rule, as it does of itself: trying all of them out
    (``torch.backends.cudnn.benchmark``) pays for images of one size alone.
    """
    trainer, images = new_trainer(backbone, device), picture(image_size)
    ours = device.put(images)
    batch = minibatch_for(trainer, ours[0, ...])
    contenders: Contenders = {"minirpn": lambda: take_step(trainer, ours, batch)}
    if peers and peer_on("torch", device):
        twin, inputs = Twin(trainer.network, device), tensor(images, device)
        contenders["torch"] = lambda: twin.step(inputs)
    return contenders


def propose_contenders(
    backbone: str, *, peers: bool, device: Device = CPU, image_size: ImageSize = IMAGE_SIZE
) -> Contenders:
    """Return the way from an image to 300 proposals; the peer's is the forward pass alone."""
    network, images = new_trainer(backbone, device).network, picture(image_size)
    ours = device.put(images)[0, ...]
    calm(network, ours)
    contenders: Contenders = {"minirpn": lambda: network.propose(ours)}
    if peers and peer_on("torch", device):
        twin, inputs = Twin(network, device), tensor(images, device)
        contenders["torch"] = lambda: twin.forward(inputs)
    return contenders


def new_trainer(backbone: str, device: Device = CPU) -> Trainer:
    """Return the trainer of a new run, as ``minirpn train --backbone`` would make it."""
    config = TrainConfig()
    return Trainer(replace(config, model=replace(config.model, backbone=backbone)), device)


def calm(network: RPN, image: Array) -> None:
    """Scale the last layers, so that the outputs spread as a trained network's (1, and 0.3).

    As drawn, VGG-16 moves its boxes by ten times their sides: what is left of them, clipped, is no
    work for NMS as a trained network gives it.
    """
    output, _ = network.forward(image[None, ...])
    head = network.head
    for layer, values, spread in (
        (head.objectness, output.objectness, 1.0),
        (head.deltas, output.deltas, 0.3),
    ):
        factor = spread / float(np.std(backend.to_host(values)))
        for parameter in layer.parameters():
            parameter.value = parameter.value * factor


def picture(image_size: ImageSize = IMAGE_SIZE) -> np.ndarray:
    """Return one preprocessed image (1, 3, H, W) of noise, 600x1000 unless told otherwise."""
    noise = np.random.default_rng(0).normal(scale=50, size=(1, 3, *image_size))
    return noise.astype(np.float32)


def minibatch_for(trainer: Trainer, image: Array) -> Minibatch:
    """Return a mini-batch for an image (3, H, W), on its device, as a loader's thread makes it."""
    image_size = (image.shape[1], image.shape[2])
    anchors = trainer.network.anchors_for(image_size, like=GT_BOXES)
    batch = make_minibatch(
        anchors, GT_BOXES, image_size, rng=trainer.rng, objective=trainer.objective
    )
    return batch.on(image)


def take_step(trainer: Trainer, images: Array, batch: Minibatch) -> None:
    """Take one whole step: loss, gradients, update."""
    trainer.optimizer.step(compute_step(trainer, images[0, ...], batch).grads, lr=LR)


def compute_step(trainer: Trainer, image: Array, batch: Minibatch) -> StepResult:
    """Return loss and gradients of an image (3, H, W) and its mini-batch, where the trainer is."""
    return trainer.recorded_rpn_step(image, batch)
