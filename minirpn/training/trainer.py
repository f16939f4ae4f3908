"""A training run in memory: what a checkpoint must hold, and nothing else that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minirpn import backend
from minirpn.backbones import Backbone
from minirpn.data.samples import Example
from minirpn.errors import InputError
from minirpn.nn import SGD
from minirpn.training.build import build_network, build_objective, fill_parameters
from minirpn.training.checkpoint import Checkpoint
from minirpn.training.config import TrainConfig
from minirpn.training.step import StepResult, training_step
from minirpn.training.tables import to_table
from minirpn.weights import LoadReport, load_weights


class Trainer:
    """Network, optimizer, step count and random state of a run.

    Parameters
    ----------
    config
        The run's settings. The seed gives two independent streams: one for the first weights, one
        for the mini-batches. (The order of the images needs none; see
        `minirpn.data.training_order`.)
    """

    def __init__(self, config: TrainConfig) -> None:
        weights_rng, self.rng = np.random.default_rng(config.run.seed).spawn(2)
        optimizer = config.optimizer
        self.config = config
        self.objective = build_objective(config)
        self.network = build_network(config, rng=weights_rng)
        self.optimizer = SGD(
            self.network.parameters(),
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
            rule=optimizer.rule,
        )
        self.step = 0

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.config.optimizer.schedule.lr(self.step)

    def take(self, example: Example) -> StepResult:
        """Take one step on one example.

        Raises
        ------
        InputError
            The loss is not finite; the line names image, step and quantity. Nothing is updated.
        """
        try:
            result = training_step(
                self.network,
                self.optimizer,
                example,
                lr=self.lr,
                rng=self.rng,
                objective=self.objective,
                use_difficult=self.config.data.use_difficult,
            )
        except FloatingPointError as error:
            raise InputError(
                f"{example.annotation.image_path}: step {self.step + 1}: {error}; "
                "a lower --lr may help, and the last checkpoint is from before"
            ) from error
        self.step += 1
        return result

    def load_weights(self, path: str | Path) -> LoadReport:
        """Start from pretrained weights, and prepare pixels as they want it from now on.

        The settings then say how that is.

        Raises
        ------
        InputError
            They cannot be used. Nothing is changed then.
        """
        model, backbone = self.config.model, self.network.backbone
        assert isinstance(backbone, Backbone)  # build_network makes no other
        report = load_weights(
            model.backbone, self.network.parameters(), path, preprocessing=model.preprocessing
        )
        self.network.backbone = replace(backbone, preprocessing=report.preprocessing)
        self.config = replace(self.config, model=replace(model, preprocessing=report.preprocessing))
        return report

    def checkpoint(self, metrics: Mapping[str, Any]) -> Checkpoint:
        """Return the state as it is now, on the host."""
        return Checkpoint(
            parameters={p.name: backend.to_host(p.value) for p in self.network.parameters()},
            velocity={
                name: backend.to_host(value) for name, value in self.optimizer.velocity.items()
            },
            step=self.step,
            rng_state=self.rng.bit_generator.state,
            config=to_table(self.config),
            metrics=metrics,
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        InputError
            It is of another network, or damaged.
        """
        fill_parameters(self.network.parameters(), checkpoint, path)
        try:
            self.optimizer.load_velocity(checkpoint.velocity)
        except ValueError as error:
            raise InputError(f"{path}: momentum of another network: {error}") from error
        try:
            self.rng.bit_generator.state = checkpoint.rng_state
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise InputError(f"{path}: no state of this random generator: {error}") from error
        self.step = checkpoint.step
