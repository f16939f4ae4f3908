"""The state of a training run in memory (what a checkpoint holds), and one step of it.

The labels of the anchors depend on the size of an image, but not on the network. So the threads of
the loader prepare them before the step: `WorkAhead` labels, draws the mini-batch and sends it to
the device. A joint training draws anchors, regions and dropout in turn from one stream of random
numbers; there it only labels, and the step draws.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn._typing import Array
from minirpn.accel.cuda.graph import StepRunner
from minirpn.backbones import Backbone
from minirpn.data.samples import Example
from minirpn.detector import FasterRCNN
from minirpn.devices import CPU, Device
from minirpn.errors import InputError
from minirpn.nn import SGD, Parameter
from minirpn.rpn.network import RPN
from minirpn.rpn.targets import AnchorLabels, label_anchors
from minirpn.training.build import (
    build_detector_objective,
    build_model,
    build_objective,
    fill_parameters,
    rpn_of,
)
from minirpn.training.checkpoint import Checkpoint
from minirpn.training.config import DataConfig, TrainConfig
from minirpn.training.detector_step import detector_loss_and_gradients, joint_loss_and_gradients
from minirpn.training.phases import Part, Phase, phases_of
from minirpn.training.step import (
    Minibatch,
    Objective,
    StepResult,
    anchor_counts,
    is_finite,
    loss_and_gradients,
    make_minibatch,
    sgd_update,
)
from minirpn.training.tables import to_table
from minirpn.weights import LoadReport, load_weights


class NotFiniteError(InputError):
    """A step whose loss or gradient is not finite; the parameters were not updated.

    Parameters
    ----------
    example
        Its image.
    step
        Its number, counted from 1.
    quantity
        What is not finite, such as ``"box_loss is nan"``.
    """

    def __init__(self, example: Example, step: int, quantity: str) -> None:
        super().__init__(f"{example.annotation.image_path}: step {step}: {quantity}")
        self.example, self.step, self.quantity = example, step, quantity


class Trainer:
    """Network, optimizer, step count and random state of a run.

    Parameters
    ----------
    config
        The run's settings. The seed gives two independent streams: one for the first weights, one
        for the mini-batches. (The order of the images needs none; see
        `minirpn.data.training_order`.)
    device
        Where parameters and momentum are, and the steps are computed. Random numbers are drawn on
        the host, and a checkpoint is on the host, so that a run can continue on another device.

    Attributes
    ----------
    model : RPN or FasterRCNN
        Everything that is trained.
    network : RPN
        The RPN in it.
    step : int
        Steps done.
    best : float
        The best validation result so far: mean average precision at IoU 0.5 with a detector,
        otherwise recall of the proposals; -1 before the first.
    """

    def __init__(self, config: TrainConfig, device: Device = CPU) -> None:
        weights_rng, self.rng = np.random.default_rng(config.run.seed).spawn(2)
        self.config = config
        self.device = device
        self.objective = build_objective(config)
        self.detector_objective = build_detector_objective(config)
        self.model = build_model(config, rng=weights_rng)
        self.network: RPN = rpn_of(self.model)
        for parameter in self.model.parameters():
            parameter.value = device.put(parameter.value)
        self._frozen = {p.name for p in self.model.parameters() if not p.trainable}
        self.phases = phases_of(config)
        self.step = 0
        self.best = -1.0
        self.begin_phase(0)

    @property
    def phase(self) -> Phase:
        """The phase of the next step."""
        return self.phases[self.phase_index]

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.phase.lr(self.step, self.config.optimizer)

    def begin_phase(self, phase_index: int) -> None:
        """Make the parts of a phase trainable, and start with no momentum."""
        self.phase_index = phase_index
        backbone = {parameter.name for parameter in self.network.backbone.parameters()}
        for parameter in self.model.parameters():
            part = _part_of(parameter, backbone)
            learns = part in self.phase.trainable_parts
            parameter.trainable = learns and parameter.name not in self._frozen
        self._runner = StepRunner(
            self.network.parameters(), record=self.config.run.graphs and self.phase.loss == "rpn"
        )
        optimizer = self.config.optimizer
        self.optimizer = SGD(
            self.model.parameters(),
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
            rule=optimizer.rule,
            in_place=self._runner.records,
        )

    def train_step(self, example: Example, proposals: np.ndarray | None = None) -> StepResult:
        """Take one SGD step on one example.

        On a GPU the next step may overwrite the gradients that are returned, and it changes the
        values of the parameters in place.

        Parameters
        ----------
        example
            One image, resized and preprocessed, on the trainer's device, with its ground truths.
            Objects marked difficult are left out, by VOC's rule, unless the settings say otherwise.
        proposals
            (R, 4) in its pixels, on the host, if the phase needs proposals.

        Raises
        ------
        NotFiniteError
            A loss or a gradient is not finite; the message names image, step and quantity. The
            trainer is what it was before, its random state too.
        """
        rng_state = self.rng.bit_generator.state
        try:
            result = self.loss_and_gradients(example, proposals, recorded=True)
            clip_norm = self.config.optimizer.clip_norm
            result = sgd_update(self.optimizer, result, lr=self.lr, clip_norm=clip_norm)
        except FloatingPointError as error:
            self.rng.bit_generator.state = rng_state
            raise NotFiniteError(example, self.step + 1, str(error)) from error
        self.step += 1
        return result

    # An overflow shows in the loss or in a gradient, where `check_finite` reports it by name.
    @np.errstate(over="ignore", invalid="ignore")
    def loss_and_gradients(
        self, example: Example, proposals: np.ndarray | None = None, *, recorded: bool = False
    ) -> StepResult:
        """Return the loss of the phase on an example and its gradients; nothing is updated.

        `recorded` is that of `rpn_step`.
        """
        if self.phase.loss == "rpn":
            return self.rpn_step(example.image, self.minibatch(example), recorded=recorded)
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

    def rpn_step(self, image: Array, batch: Minibatch, *, recorded: bool = False) -> StepResult:
        """Return the loss of the RPN on an image (3, H, W) and its mini-batch, and its gradients.

        If `recorded`, a device that can record a step may run the recording of an earlier one:
        the numbers are the same, and the next step may overwrite the result.
        """

        def compute(image: Array, labels: Array, targets: Array) -> StepResult:
            inputs = batch._replace(labels=labels, targets=targets)
            return loss_and_gradients(self.network, image, inputs, config=self.objective.loss)

        if not recorded:
            return compute(image, batch.labels, batch.targets)
        result = self._runner(compute, image, batch.labels, batch.targets)
        return result._replace(counts=anchor_counts(batch))

    def minibatch(self, example: Example) -> Minibatch:
        """Return the mini-batch of anchors that the random state gives, on the device.

        A mini-batch drawn ahead of time is used if it was drawn from this very state. The state
        then moves on as if the draw had happened here.
        """
        assigned = None
        if isinstance(example, LabelledExample):
            drawn, assigned = example.drawn, example.assigned
            if drawn is not None and drawn.state_before == self.rng.bit_generator.state:
                self.rng.bit_generator.state = drawn.state_after
                return drawn.minibatch
        batch = make_minibatch(
            self.network.anchors_for(example.image_size, like=example.gt_boxes),
            example.gt_boxes[self.config.data.learnt(example.difficult)],
            example.image_size,
            rng=self.rng,
            objective=self.objective,
            assigned=assigned,
        )
        return batch.on(example.image)

    def work_ahead(self) -> WorkAhead | None:
        """Return what a loader can do with the examples of the next steps of this phase.

        It draws from the random state as it is now. None if the phase trains the detector alone:
        there are no anchors to label.
        """
        if self.phase.loss == "detector":
            return None
        rng = self.rng if self.phase.loss == "rpn" else None
        return WorkAhead(self.network, self.objective, self.config.data, rng)

    def reset_backbone(self, checkpoint: Checkpoint, path: Path) -> None:
        """Give the backbone its values in a checkpoint, read from `path`; everything else stays.

        Raises
        ------
        InputError
            The checkpoint is of another network.
        """
        backbone = self.network.backbone.parameters()
        names = {parameter.name for parameter in backbone}
        values = {name: value for name, value in checkpoint.parameters.items() if name in names}
        fill_parameters(backbone, values, path)

    def load_weights(self, path: str | Path) -> LoadReport:
        """Start from pretrained weights, and from now on preprocess pixels as they need it.

        The settings then say how.

        Raises
        ------
        InputError
            The weights cannot be used. Nothing is changed then.
        """
        model, backbone = self.config.model, self.network.backbone
        assert isinstance(backbone, Backbone)  # build_network makes no other
        report = load_weights(
            model.backbone, self.model.parameters(), path, preprocessing=model.preprocessing
        )
        self.network.backbone = replace(backbone, preprocessing=report.preprocessing)
        self.config = replace(self.config, model=replace(model, preprocessing=report.preprocessing))
        return report

    def checkpoint(self) -> Checkpoint:
        """Return the state as it is now, on the host.

        Raises
        ------
        InputError
            A parameter is not finite: no run could continue from such a state.
        """
        parameters = {p.name: backend.to_host(p.value) for p in self.model.parameters()}
        for name, value in parameters.items():
            if not is_finite(value):
                raise InputError(
                    f"step {self.step}: {name} is not finite; a lower --lr may help, and the last "
                    "checkpoint is from before"
                )
        velocity = {name: backend.to_host(value) for name, value in self.optimizer.velocity.items()}
        return Checkpoint(
            parameters,
            velocity,
            step=self.step,
            phase=self.phase_index,
            rng_state=self.rng.bit_generator.state,
            config=to_table(self.config),
            metrics={"best": self.best},
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Continue from a checkpoint, read from `path`.

        Raises
        ------
        InputError
            It is of another network, or damaged.
        """
        best = checkpoint.metrics.get("best")
        if not isinstance(best, float | int):
            raise InputError(f"{path}: not a whole checkpoint: the best so far is {best!r}")
        fill_parameters(self.model.parameters(), checkpoint.parameters, path)
        if not 0 <= checkpoint.phase < len(self.phases):
            raise InputError(f"{path}: phase {checkpoint.phase} of {len(self.phases)}")
        self.begin_phase(checkpoint.phase)
        try:
            velocity = {name: self.device.put(v) for name, v in checkpoint.velocity.items()}
            self.optimizer.load_velocity(velocity)
        except ValueError as error:
            raise InputError(f"{path}: momentum of another network: {error}") from error
        try:
            self.rng.bit_generator.state = checkpoint.rng_state
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise InputError(f"{path}: no state of this random generator: {error}") from error
        self.step, self.best = checkpoint.step, float(best)


def _part_of(parameter: Parameter, backbone: set[str]) -> Part:
    """Return the part of the network that a parameter is in, given the names in the backbone."""
    if parameter.name in backbone:
        return "backbone"
    return "rpn" if parameter.name.startswith("rpn.") else "detector"


class DrawnAhead(NamedTuple):
    """A mini-batch, and the states of the random generator before and after its draw."""

    minibatch: Minibatch  # on the device of the image
    state_before: Mapping[str, Any]
    state_after: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class LabelledExample(Example):
    """An example whose anchors were labelled before its step.

    Parameters
    ----------
    assigned
        The labels of its anchors, on the host.
    drawn
        The mini-batch; None if the step draws it.
    """

    assigned: AnchorLabels
    drawn: DrawnAhead | None


class WorkAhead:
    """Labels the anchors of examples for later steps, and draws their mini-batches if it can.

    A loader calls it with one example after the other, in the order of the steps.

    Parameters
    ----------
    network
        Says where the anchors are.
    objective
        How they are labelled and sampled.
    data
        Which objects are learned from.
    rng
        Its state is that before the first of these steps; a copy of it draws. None: the steps draw.

    Notes
    -----
    Labelling must not change how many threads `minirpn.accel.threads` allows: that number holds for
    the whole process, and the last bits of a matrix product depend on it.
    """

    def __init__(
        self,
        network: RPN,
        objective: Objective,
        data: DataConfig,
        rng: np.random.Generator | None,
    ) -> None:
        self._network, self._objective, self._data = network, objective, data
        self._rng = copy.deepcopy(rng)

    def __call__(self, example: Example) -> LabelledExample:
        """Return the example with labels, and with a mini-batch if there is a generator."""
        anchors = self._network.anchors_for(example.image_size, like=example.gt_boxes)
        gt_boxes = example.gt_boxes[self._data.learnt(example.difficult)]
        size, objective, rng = example.image_size, self._objective, self._rng
        assigned = label_anchors(anchors, gt_boxes, size, config=objective.labels)
        if rng is None:
            return LabelledExample(**vars(example), assigned=assigned, drawn=None)
        before = rng.bit_generator.state
        batch = make_minibatch(
            anchors, gt_boxes, size, rng=rng, objective=objective, assigned=assigned
        )
        labels, targets = backend.send_together([batch.labels, batch.targets], example.image)
        on_device = batch._replace(labels=labels, targets=targets)
        drawn = DrawnAhead(on_device, before, rng.bit_generator.state)
        return LabelledExample(**vars(example), assigned=assigned, drawn=drawn)
