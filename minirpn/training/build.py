"""From settings to the things they describe: network, data sets, pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from minirpn.backbones import build_backbone
from minirpn.data.synthetic import generate
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.nn import Parameter
from minirpn.rpn.head import RPNHead
from minirpn.rpn.network import RPN
from minirpn.training.checkpoint import Checkpoint, load_checkpoint
from minirpn.training.config import TrainConfig, load_config
from minirpn.training.evaluate import Pipeline
from minirpn.training.run_folder import RunFolder, open_run
from minirpn.training.step import Objective


def build_network(config: TrainConfig, *, rng: np.random.Generator) -> RPN:
    """Return a new network as the settings describe it, its weights drawn from `rng`.

    Raises
    ------
    InputError
        The backbone is unknown, or has no such stage to freeze.
    """
    backbone = build_backbone(config.model.backbone, rng=rng)
    if config.model.preprocessing is not None:
        backbone = replace(backbone, preprocessing=config.model.preprocessing)
    if config.model.freeze is not None:
        try:
            backbone.freeze(config.model.freeze)
        except ValueError as error:
            raise InputError(f"model.freeze: {error}") from error
    head = RPNHead(
        backbone.channels,
        backbone.head_channels,
        config.anchors.count,
        classifier=config.model.classifier,
        rng=rng,
    )
    network = RPN(backbone, head, config.anchors, anchor_centre=config.model.anchor_centre)
    for parameter in network.parameters():
        if parameter.name.endswith(".bias"):
            parameter.lr_multiplier = config.optimizer.bias_lr_multiplier
            parameter.decay_multiplier = config.optimizer.bias_decay_multiplier
    return network


def build_objective(config: TrainConfig) -> Objective:
    """Return what the settings ask the network to learn."""
    return Objective(config.labels, config.sampling, config.loss)


def build_pipeline(config: TrainConfig, network: RPN) -> Pipeline:
    """Return how images become the network's input."""
    return Pipeline(config.resize, network.backbone.preprocessing)


def open_dataset(config: TrainConfig, folder: RunFolder, split: str) -> VOCDataset:
    """Return one split of the data the settings name.

    Each split has the classes found in it: the RPN does not look at them, and a class that is
    missing from a small training split must not stop the validation.

    Without a VOC folder, shapes are generated into the run's own folder, once.
    """
    data = config.data
    if data.voc is None:
        root = folder.path / "shapes"
        if not root.exists():
            generate(root, config.synthetic)
        return VOCDataset(root, split=split)
    return VOCDataset(data.voc, year=data.year, split=split, skip_bad=data.skip_bad)


def fill_parameters(parameters: list[Parameter], checkpoint: Checkpoint, path: Path) -> None:
    """Give the parameters the values of a checkpoint.

    Raises
    ------
    InputError
        The checkpoint is of another network. Nothing is changed then.
    """
    stored = checkpoint.parameters
    names = {parameter.name for parameter in parameters}
    if names != set(stored):
        odd = min(names ^ set(stored))
        raise InputError(f"{path}: parameters of another network: {odd!r} is on one side only")
    for parameter in parameters:
        if stored[parameter.name].shape != parameter.value.shape:
            raise InputError(
                f"{path}: parameters of another network: {parameter.name!r} has shape "
                f"{stored[parameter.name].shape}, expected {tuple(parameter.value.shape)}"
            )
    for parameter in parameters:
        parameter.value = stored[parameter.name]


def load_network(run: Path) -> tuple[RPN, TrainConfig]:
    """Return the network a run has trained, as it was saved last, and the run's settings.

    Raises
    ------
    InputError
        There is no such run, or its checkpoint is damaged or of another network.
    """
    folder = open_run(run)
    config = load_config(folder.config)
    checkpoint = load_checkpoint(folder.last)
    network = build_network(config, rng=np.random.default_rng(config.run.seed))
    fill_parameters(network.parameters(), checkpoint, folder.last)
    return network, config
