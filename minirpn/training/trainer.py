"""A training run in memory: what a checkpoint must hold, and nothing else that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minirpn import backend
from minirpn._typing import Array
from minirpn.backbones import Backbone
from minirpn.data.samples import Example
from minirpn.detector import FasterRCNN
from minirpn.devices import CPU, Device, tf32_allowed
from minirpn.errors import InputError
from minirpn.kernels.cuda._load import on_cuda
from minirpn.kernels.cuda.graph import Recorder
from minirpn.nn import SGD, Parameter
from minirpn.rpn.network import RPN
from minirpn.training.ahead import AnchorTask, LabelledExample, WorkAhead
from minirpn.training.anomaly import NotFiniteError
from minirpn.training.build import (
    bring_to,
    build_detector_objective,
    build_model,
    build_objective,
    fill_parameters,
    rpn_of,
)
from minirpn.training.checkpoint import Checkpoint
from minirpn.training.config import TrainConfig
from minirpn.training.detector_step import detector_loss_and_gradients, joint_loss_and_gradients
from minirpn.training.phases import Part, Phase, phases_of
from minirpn.training.step import (
    Minibatch,
    StepResult,
    anchor_counts,
    is_finite,
    loss_and_gradients,
    update,
)
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
    device
        Where parameters and momentum lie, and the steps are computed. What is random is drawn on
        the host, and a checkpoint is on the host, so that any other device can go on from it.

    Attributes
    ----------
    model : RPN or FasterRCNN
        All that is trained.
    network : RPN
        The RPN in it.
    step : int
        Steps done.
    """

    def __init__(self, config: TrainConfig, device: Device = CPU) -> None:
        weights_rng, self.rng = np.random.default_rng(config.run.seed).spawn(2)
        self.config = config
        self.device = device
        self.objective = build_objective(config)
        self.detector_objective = build_detector_objective(config)
        self.model = build_model(config, rng=weights_rng)
        bring_to(device, self.model.parameters())
        self.phases = phases_of(config)
        self._frozen = {p.name for p in self.model.parameters() if not p.trainable}
        self.step = 0
        self.begin(0)

    @property
    def network(self) -> RPN:
        """The RPN in the model."""
        return rpn_of(self.model)

    @property
    def phase(self) -> Phase:
        """The phase of the next step."""
        return self.phases[self.phase_index]

    @property
    def phase_is_over(self) -> bool:
        """Whether another phase is to begin before the next step."""
        return self.step >= self.phase.end and self.phase is not self.phases[-1]

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.phase.lr(self.step, self.config.optimizer)

    @property
    def anchor_task(self) -> AnchorTask:
        """What is asked of the anchors of an example."""
        return AnchorTask(self.network, self.objective, self.config.data)

    def ahead(self) -> WorkAhead | None:
        """Return what a loader can do with the examples of the next steps of this phase.

        It draws from the random state as it is now. None: a detector learns alone, and nothing is
        asked of the anchors.
        """
        if self.phase.loss == "detector":
            return None
        return WorkAhead(self.anchor_task, self.rng if self.phase.loss == "rpn" else None)

    def begin(self, phase_index: int) -> None:
        """Let the parts of a phase learn, from no momentum."""
        self.phase_index = phase_index
        for parameter in self.model.parameters():
            learns = self.part_of(parameter) in self.phase.learns
            parameter.trainable = learns and parameter.name not in self._frozen
        optimizer, self._recorder = self.config.optimizer, self._new_recorder()
        self.optimizer = SGD(
            self.model.parameters(),
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
            rule=optimizer.rule,
            in_place=self._recorder is not None,
        )

    def _new_recorder(self) -> Recorder | None:
        """Return what records the steps of a phase; None where there are no CUDA graphs."""
        wanted = self.config.run.graphs and self.phase.loss == "rpn"
        return Recorder() if wanted and on_cuda(self.model.parameters()[0].value) else None

    def restore_backbone(self, checkpoint: Checkpoint, path: Path) -> None:
        """Give the backbone the values it has in a checkpoint; everything else stays.

        Raises
        ------
        InputError
            The checkpoint is of another network.
        """
        backbone = self.network.backbone.parameters()
        names = {parameter.name for parameter in backbone}
        values = {name: value for name, value in checkpoint.parameters.items() if name in names}
        fill_parameters(backbone, values, path)

    def part_of(self, parameter: Parameter) -> Part:
        """Return the part of the network a parameter belongs to."""
        if parameter.name in {p.name for p in self.network.backbone.parameters()}:
            return "backbone"
        return "rpn" if parameter.name.startswith("rpn.") else "detector"

    def take(self, example: Example, proposals: np.ndarray | None = None) -> StepResult:
        """Take one step on one example.

        On a GPU the gradients that come back may be overwritten by the next step, and so are the
        values of the parameters, in their arrays.

        Parameters
        ----------
        example
            One image, resized and preprocessed, on the trainer's device, with its ground truths.
            Those marked difficult are left out, by VOC's rule, unless the settings say otherwise.
            What a loader has worked out with `ahead` is not done again.
        proposals
            (R, 4) in its pixels, on the host, for a phase that learns from proposals made before
            it.

        Raises
        ------
        NotFiniteError
            A loss or a gradient is not finite; the line names image, step and quantity. The
            trainer is what it was before, its random state too.
        """
        state = self.rng.bit_generator.state
        try:
            compute = partial(self.compute, example, proposals, recorded=True)
            clip_norm = self.config.optimizer.clip_norm
            result = update(self.optimizer, compute, lr=self.lr, clip_norm=clip_norm)
        except FloatingPointError as error:
            self.rng.bit_generator.state = state
            raise NotFiniteError(example, self.step + 1, str(error)) from error
        self.step += 1
        return result

    def compute(
        self, example: Example, proposals: np.ndarray | None = None, *, recorded: bool = False
    ) -> StepResult:
        """Return the loss that the phase is about, and its gradients; the first half of `take`.

        If `recorded`, a GPU may be asked for all of it at once, layer by layer otherwise.
        """
        if self.phase.loss == "rpn":
            compute = self.recorded_rpn_step if recorded else self.rpn_step
            return compute(example.image, self.minibatch(example))
        assert isinstance(self.model, FasterRCNN)
        keep = self.config.data.learnt(example.difficult)
        gt_boxes = self.device.put(example.gt_boxes[keep])
        gt_classes = self.device.put(example.gt_classes[keep])
        if self.phase.loss == "detector":
            assert proposals is not None
            return detector_loss_and_gradients(
                self.model,
                example.image,
                self.device.put(proposals),
                gt_boxes,
                gt_classes,
                rng=self.rng,
                config=self.detector_objective.regions,
            )
        return joint_loss_and_gradients(
            self.model,
            example.image,
            self.minibatch(example),
            gt_boxes,
            gt_classes,
            scale=example.scale,
            rng=self.rng,
            config=self.objective.loss,
            detector=self.detector_objective,
        )

    def rpn_step(self, image: Array, batch: Minibatch) -> StepResult:
        """Return the loss of the RPN on an image (3, H, W) and its mini-batch, and gradients."""
        return loss_and_gradients(self.network, image, batch, config=self.objective.loss)

    def recorded_rpn_step(self, image: Array, batch: Minibatch) -> StepResult:
        """Return the same from a CUDA graph, where there is one; until the next call, then."""
        if self._recorder is None:
            return self.rpn_step(image, batch)

        def compute(image: Array, labels: Array, targets: Array) -> StepResult:
            return self.rpn_step(image, batch._replace(labels=labels, targets=targets))

        inputs = image, batch.labels, batch.targets
        parameters = [parameter.value for parameter in self.network.parameters()]
        result = self._recorder(compute, inputs, parameters, tf32_allowed())
        return result._replace(counts=anchor_counts(batch))  # not those that were recorded

    def minibatch(self, example: Example) -> Minibatch:
        """Return the mini-batch of anchors that the random state gives, on the device.

        One that was drawn ahead is taken if it was drawn from this very state, which then moves
        on as if it had been drawn here.
        """
        drawn = example.drawn if isinstance(example, LabelledExample) else None
        if drawn is not None and drawn.state_before == self.rng.bit_generator.state:
            self.rng.bit_generator.state = drawn.state_after
            return drawn.minibatch
        return self.anchor_task.draw(example, self.rng).on(example.image)

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
            model.backbone, self.model.parameters(), path, preprocessing=model.preprocessing
        )
        self.network.backbone = replace(backbone, preprocessing=report.preprocessing)
        self.config = replace(self.config, model=replace(model, preprocessing=report.preprocessing))
        return report

    def checkpoint(self, metrics: Mapping[str, Any]) -> Checkpoint:
        """Return the state as it is now, on the host.

        Raises
        ------
        InputError
            A parameter is not finite: such a state would be no good to go on from.
        """
        parameters = {p.name: backend.to_host(p.value) for p in self.model.parameters()}
        for name, value in parameters.items():
            if not is_finite(value):
                raise InputError(
                    f"step {self.step}: {name} is not finite; a lower --lr may help, and the last "
                    "checkpoint is from before"
                )
        return Checkpoint(
            parameters=parameters,
            velocity={
                name: backend.to_host(value) for name, value in self.optimizer.velocity.items()
            },
            step=self.step,
            phase=self.phase_index,
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
        fill_parameters(self.model.parameters(), checkpoint.parameters, path)
        if not 0 <= checkpoint.phase < len(self.phases):
            raise InputError(f"{path}: phase {checkpoint.phase} of {len(self.phases)}")
        self.begin(checkpoint.phase)
        try:
            velocity = {name: self.device.put(v) for name, v in checkpoint.velocity.items()}
            self.optimizer.load_velocity(velocity)
        except ValueError as error:
            raise InputError(f"{path}: momentum of another network: {error}") from error
        try:
            self.rng.bit_generator.state = checkpoint.rng_state
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise InputError(f"{path}: no state of this random generator: {error}") from error
        self.step = checkpoint.step
