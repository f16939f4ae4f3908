"""The state of a training run in memory (what a checkpoint holds), and one step of it.

A step may be of several images: their losses are averaged, and so are the gradients. On the CPU
each image is computed on its own part of the threads, which is faster than all threads in each
layer of one image after the other, because on small images a layer is little work. Gradients are
added in the order of the images. So the bits are the same for any number of threads.

Each image of each step has a random generator of its own, which follows from the seed and the
number of the image (`Trainer.rng`). So there is no random state to save, and whoever computes an
image draws the same.

Several processes may share a step (`minirpn.training.distributed`): each computes some of its
images, then all have the mean gradient of all of them, and take the same step.

The labels of the anchors depend on the size of an image, but not on the network. So a thread of the
loader prepares them before the step (`Trainer.work_ahead`): it labels, draws the mini-batch and
sends it to the device.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn._typing import Array
from minirpn.accel.cuda.graph import StepRunner
from minirpn.accel.threads import on_this_thread, results_in_order, thread_count
from minirpn.backbones import Backbone, stage_of
from minirpn.data.samples import Example
from minirpn.detector import FasterRCNN
from minirpn.devices import CPU, Device
from minirpn.errors import InputError
from minirpn.nn import Parameter
from minirpn.rpn.network import RPN
from minirpn.rpn.targets import AnchorLabels, label_anchors
from minirpn.training.build import (
    build_detector_objective,
    build_model,
    build_objective,
    build_optimizer,
    fill_parameters,
    rpn_of,
)
from minirpn.training.checkpoint import Checkpoint
from minirpn.training.config import TrainConfig
from minirpn.training.detector_step import detector_loss_and_gradients, joint_loss_and_gradients
from minirpn.training.distributed import ALONE, Ranks
from minirpn.training.finetune import FineTuneReport, names_trained, start_from
from minirpn.training.phases import Part, Phase, phases_of
from minirpn.training.step import (
    Minibatch,
    StepResult,
    anchor_counts,
    check_finite,
    is_finite,
    loss_and_gradients,
    make_minibatch,
    sgd_update,
)
from minirpn.training.stored import read_stored
from minirpn.training.tables import to_table
from minirpn.weights import LoadReport, load_weights


class NotFiniteError(InputError):
    """A step whose loss or gradient is not finite; the parameters were not updated.

    It names the example, the number of the step from 1 on, and the quantity, such as ``"box_loss is
    nan"``. `place` is that of the example in its step, from 0 on, and `proposals` are its own, if
    it had any.
    """

    def __init__(
        self,
        example: Example,
        step: int,
        quantity: str,
        *,
        place: int = 0,
        proposals: np.ndarray | None = None,
    ) -> None:
        super().__init__(f"{example.annotation.image_path}: step {step}: {quantity}")
        self.example, self.step, self.quantity = example, step, quantity
        self.place, self.proposals = place, proposals


class _Input(NamedTuple):
    """What a step reads of one image."""

    place: int  # in the step
    example: Example
    proposals: np.ndarray | None  # if the phase needs any

    def on_host(self) -> _Input:
        """Return what another process can read."""
        plain = {field.name: getattr(self.example, field.name) for field in fields(Example)}
        plain["image"] = backend.to_host(self.example.image)
        return self._replace(example=Example(**plain))


class DrawnAhead(NamedTuple):
    """A mini-batch, and the number of the image in the run for which it was drawn."""

    minibatch: Minibatch  # on the device of the image
    number: int


@dataclass(frozen=True, eq=False)
class LabelledExample(Example):
    """An example whose anchors were labelled before its step."""

    assigned: AnchorLabels  # on the host
    drawn: DrawnAhead | None  # None if the step draws


_OF_STEPS = 1  # tells the random numbers of steps from those of the order, and of a validation


class Trainer:
    """Network, optimizer and step count of a run.

    Parameters
    ----------
    config
        The run's settings. The first weights, the order of the images
        (`minirpn.data.training_order`) and all that a step draws follow from its seed.
    device
        Where parameters and momentum are, and the steps are computed. Random numbers are drawn on
        the host, and a checkpoint is on the host, so that a run can continue on another device.
    ranks
        The processes that share each step.

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
    since_best : int
        Validations since the one that last raised `best`.
    images : range
        The places in a step of the images that this process computes.
    is_updating : bool
        Whether a step was cut short while it changed parameters.
    """

    def __init__(self, config: TrainConfig, device: Device = CPU, ranks: Ranks = ALONE) -> None:
        (weights_rng,) = np.random.default_rng(config.run.seed).spawn(1)
        self.config = config
        self.device = device
        self.ranks = ranks
        self.images = ranks.part(config.optimizer.images_per_step)
        self.is_updating = False
        self.objective = build_objective(config)
        self.detector_objective = build_detector_objective(config)
        self.model = build_model(config, rng=weights_rng)
        self.network: RPN = rpn_of(self.model)
        for parameter in self.model.parameters():
            parameter.value = device.put(parameter.value)
        self._frozen = {p.name for p in self.model.parameters() if not p.trainable}
        self.phases = phases_of(config)
        self.step = 0
        self.best, self.since_best = -1.0, 0
        self.begin_phase(0)

    @property
    def phase(self) -> Phase:
        """The phase of the next step."""
        return self.phases[self.phase_index]

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.phase.lr(self.step, self.config.optimizer)

    @property
    def out_of_patience(self) -> bool:
        """Whether the training ends early, as `RunConfig.patience` says."""
        patience = self.config.run.patience
        return patience is not None and self.since_best >= patience

    def begin_phase(self, phase_index: int) -> None:
        """Make the parts of a phase trainable, and start with no momentum."""
        self.phase_index = phase_index
        for parameter in self.model.parameters():
            learns = self.part_of(parameter) in self.phase.trainable_parts
            parameter.trainable = learns and parameter.name not in self._frozen
        self._runner = StepRunner(
            self.network.parameters(), record=self.config.run.graphs and self.phase.loss == "rpn"
        )
        self.optimizer = build_optimizer(
            self.config.optimizer, self.model.parameters(), in_place=self._runner.records
        )

    def train_step(
        self, examples: Sequence[Example], proposals: Sequence[np.ndarray | None] | None = None
    ) -> StepResult:
        """Take one step on the mean loss of some examples, and of those of the other ranks.

        On a GPU the next step may overwrite the gradients that are returned, and it changes the
        values of the parameters in place.

        Parameters
        ----------
        examples
            Images of this rank, at least one, resized and preprocessed, on the trainer's device,
            with their ground truths. Objects marked difficult are background, by VOC's rule, unless
            the settings say otherwise. An ignored region is neither an object nor background.
        proposals
            (R, 4) for each image, in its pixels, on the host, if the phase needs proposals.

        Raises
        ------
        NotFiniteError
            A loss or a gradient is not finite. The trainer is what it was before.
        """
        given = [None] * len(examples) if proposals is None else proposals
        optimizer, ranks = self.config.optimizer, self.ranks
        pairs = zip(examples, given, strict=True)
        inputs = [_Input(place, *pair) for place, pair in enumerate(pairs, self.images.start)]
        result = mean_of(self._results(inputs), len(inputs))
        if not ranks.is_alone:
            result = over_ranks(result, ranks, share=len(inputs) / optimizer.images_per_step)
        self.is_updating = True
        try:
            result = sgd_update(self.optimizer, result, lr=self.lr, clip_norm=optimizer.clip_norm)
        except FloatingPointError as error:
            self.is_updating = False
            raise self._not_finite(inputs, str(error)) from error
        self.is_updating = False
        self.step += 1
        return result

    def _results(self, inputs: Sequence[_Input]) -> Iterator[StepResult]:
        """Yield loss and gradients of each image, in order; on the CPU, compute several at once."""
        if len(inputs) == 1 or not self.device.is_host:
            for place, example, proposals in inputs:
                yield self.loss_and_gradients(example, proposals, place=place, recorded=True)
            return

        def compute(one: _Input) -> StepResult:
            return self.loss_and_gradients(one.example, one.proposals, place=one.place)

        yield from results_in_order(compute, inputs, at_once=thread_count())

    def _not_finite(self, inputs: Sequence[_Input], quantity: str) -> NotFiniteError:
        """Return the error for a step in which `quantity` is not finite.

        It is about the first example whose own numbers are not, or the first of all if each is
        finite alone; with several ranks, the first of all of them.
        """
        found = None
        for one in inputs if len(inputs) > 1 or not self.ranks.is_alone else ():
            try:
                check_finite(self.loss_and_gradients(one.example, one.proposals, place=one.place))
            except FloatingPointError as error:
                found = one if self.ranks.is_alone else one.on_host(), str(error)
                break
        for rank, there in enumerate(self.ranks.exchange(found)):
            if there is not None:
                (place, example, proposals), quantity = there
                if not self.ranks.is_alone:
                    quantity += f" on {self.ranks.name_of(rank)}"
                    example = replace(example, image=self.device.put(example.image))
                break
        else:
            place, example, proposals = inputs[0]
        return NotFiniteError(example, self.step + 1, quantity, place=place, proposals=proposals)

    def _number(self, place: int) -> int:
        """Return the number in the run of an image of the next step, from 0 on."""
        return self.step * self.config.optimizer.images_per_step + place

    def rng(self, place: int = 0) -> np.random.Generator:
        """Return the generator of all that is random for an image of the next step.

        It follows from the seed, the steps done and the place of the image in the step, from 0 on.
        """
        return self._rng(self._number(place))

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.config.run.seed, number, _OF_STEPS])

    # An overflow shows in the loss or in a gradient, where `check_finite` reports it by name.
    @np.errstate(over="ignore", invalid="ignore")
    def loss_and_gradients(
        self,
        example: Example,
        proposals: np.ndarray | None = None,
        *,
        place: int = 0,
        recorded: bool = False,
    ) -> StepResult:
        """Return the loss of the phase on an example and its gradients; nothing is updated.

        `place` is that of the example in the next step: it decides what is drawn, see `rng`.
        `rpn_step` explains `recorded`.
        """
        if self.phase.loss == "rpn":
            batch = self.minibatch(example, place=place)
            return self.rpn_step(example.image, batch, recorded=recorded)
        assert isinstance(self.model, FasterRCNN)
        rng = self.rng(place)
        keep = self.config.data.learnt(example.difficult)
        gt_boxes = self.device.put(example.gt_boxes[keep])
        gt_classes = self.device.put(example.gt_classes[keep])
        ignored = self.device.put(example.ignored) if len(example.ignored) else None
        if self.phase.loss == "detector":
            assert proposals is not None
            return detector_loss_and_gradients(
                self.model,
                example.image,
                self.device.put(proposals),
                gt_boxes,
                gt_classes,
                rng=rng,
                config=self.detector_objective.regions,
                ignored=ignored,
            )
        return joint_loss_and_gradients(
            self.model,
            example.image,
            self.minibatch(example, place=place, rng=rng),
            gt_boxes,
            gt_classes,
            scale=example.scale,
            rng=rng,
            config=self.objective.loss,
            detector=self.detector_objective,
            ignored=ignored,
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

    def minibatch(
        self, example: Example, *, place: int = 0, rng: np.random.Generator | None = None
    ) -> Minibatch:
        """Return the mini-batch of anchors of an example at a place in the next step.

        It is on the device. One that was drawn ahead of time for this very place is used. Otherwise
        it is drawn from `rng`; None makes the generator of the place.
        """
        assigned = None
        if isinstance(example, LabelledExample):
            drawn, assigned = example.drawn, example.assigned
            if drawn is not None and drawn.number == self._number(place):
                return drawn.minibatch
        return self._draw(example, rng or self.rng(place), assigned).on(example.image)

    def work_ahead(self) -> Callable[[Example], LabelledExample] | None:
        """Return what a loader can do with the examples of the next steps of this phase, in order.

        It labels their anchors. If the phase trains the RPN alone, it also draws their
        mini-batches. A joint training draws anchors, regions and dropout in turn, so there the
        steps draw. None if there are no anchors to label.
        """
        if self.phase.loss == "detector":
            return None
        numbers = None
        if self.phase.loss == "rpn":
            each, steps = self.config.optimizer.images_per_step, itertools.count(self.step)
            numbers = (step * each + place for step in steps for place in self.images)
        return partial(self._label_ahead, numbers=numbers)

    # This must not change how many threads `minirpn.accel.threads` allows: that number holds for
    # the whole process, and the last bits of a matrix product depend on it. It runs while a step
    # computes on all of them, so it stays on its own thread.
    @on_this_thread()
    def _label_ahead(self, example: Example, numbers: Iterator[int] | None) -> LabelledExample:
        """Return the example with labels, and with a mini-batch if there are numbers of images."""
        assigned = label_anchors(
            *self._anchors_and_objects(example),
            example.image_size,
            config=self.objective.labels,
            ignored=example.ignored,
        )
        drawn = None
        if numbers is not None:
            number = next(numbers)
            batch = self._draw(example, self._rng(number), assigned)
            parts = backend.send_together([batch.labels, batch.targets], example.image)
            drawn = DrawnAhead(batch._replace(labels=parts[0], targets=parts[1]), number)
        return LabelledExample(**vars(example), assigned=assigned, drawn=drawn)

    def _draw(
        self, example: Example, rng: np.random.Generator, assigned: AnchorLabels | None
    ) -> Minibatch:
        """Return a new mini-batch of an example, on the host."""
        return make_minibatch(
            *self._anchors_and_objects(example),
            example.image_size,
            rng=rng,
            objective=self.objective,
            assigned=assigned,
            ignored=example.ignored,
        )

    def _anchors_and_objects(self, example: Example) -> tuple[Array, Array]:
        """Return anchors (K, 4) and the ground truths (M, 4) that are learned from, on the host."""
        anchors = self.network.anchors_for(example.image_size, like=example.gt_boxes)
        return anchors, example.gt_boxes[self.config.data.learnt(example.difficult)]

    def part_of(self, parameter: Parameter) -> Part:
        """Return the part of the network that a parameter belongs to."""
        if parameter.name in {p.name for p in self.network.backbone.parameters()}:
            return "backbone"
        return "rpn" if parameter.name.startswith("rpn.") else "detector"

    def reset_backbone(self, checkpoint: Checkpoint, path: Path) -> None:
        """Give the backbone its values in a checkpoint, read from `path`; everything else stays."""
        backbone = self.network.backbone.parameters()
        names = {parameter.name for parameter in backbone}
        values = {name: value for name, value in checkpoint.parameters.items() if name in names}
        fill_parameters(backbone, values, path)

    def load_weights(self, source: str | Path) -> LoadReport | FineTuneReport:
        """Start from weights, and from now on preprocess pixels as they need it.

        `source` is a file of pretrained weights, or what `read_stored` reads: a run, a checkpoint,
        a shipped model. The settings then say how pixels are preprocessed. If the weights cannot be
        used, an InputError says why, and nothing is changed.
        """
        model, backbone = self.config.model, self.network.backbone
        assert isinstance(backbone, Backbone)  # build_network makes no other
        report: LoadReport | FineTuneReport
        if names_trained(source):
            stored = read_stored(source)
            stored.warn_if_untrained()
            report = start_from(stored, self.model, self.config)
        else:
            report = load_weights(
                model.backbone, self.model.parameters(), source, preprocessing=model.preprocessing
            )
        self.network.backbone = replace(backbone, preprocessing=report.preprocessing)
        self.config = replace(self.config, model=replace(model, preprocessing=report.preprocessing))
        return report

    @property
    def frozen_stages(self) -> tuple[str, ...]:
        """The stages of the backbone that are not trained in any phase, in order."""
        names = [p.name for p in self.network.backbone.parameters() if p.name in self._frozen]
        return tuple(dict.fromkeys(map(stage_of, names)))

    def unfreeze(self) -> None:
        """Train all stages of the backbone; the settings then say so."""
        backbone = self.network.backbone
        assert isinstance(backbone, Backbone)  # build_network makes no other
        backbone.freeze(())
        self.config = replace(self.config, model=replace(self.config.model, freeze=()))
        self._frozen = set()
        self.begin_phase(self.phase_index)

    def checkpoint(self) -> Checkpoint:
        """Return the state as it is now, on the host.

        No run could continue from a parameter that is not finite: then an InputError names it.
        """
        parameters = {p.name: backend.to_host(p.value) for p in self.model.parameters()}
        for name, value in parameters.items():
            if not is_finite(value):
                raise InputError(
                    f"step {self.step}: {name} is not finite; a lower --lr may help, and the last "
                    "checkpoint is from before"
                )
        velocity, squares = (
            {name: backend.to_host(array) for name, array in kept.items()}
            for kept in (self.optimizer.velocity, self.optimizer.squares)
        )
        return Checkpoint(
            parameters,
            velocity,
            squares,
            step=self.step,
            phase=self.phase_index,
            config=to_table(self.config),
            metrics={"best": self.best, "since_best": self.since_best},
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Continue from a checkpoint, read from `path`.

        If it belongs to another network or is damaged, an InputError says why.
        """
        best = checkpoint.metrics.get("best")
        if not isinstance(best, float | int):
            raise InputError(f"{path}: not a whole checkpoint: the best so far is {best!r}")
        since_best = checkpoint.metrics.get("since_best", 0)  # older ones do not have it
        if not isinstance(since_best, int):
            raise InputError(f"{path}: not a whole checkpoint: since_best is {since_best!r}")
        fill_parameters(self.model.parameters(), checkpoint.parameters, path)
        if not 0 <= checkpoint.phase < len(self.phases):
            raise InputError(f"{path}: phase {checkpoint.phase} of {len(self.phases)}")
        self.begin_phase(checkpoint.phase)
        methods = [
            "AdamW" if squares else "SGD"
            for squares in (checkpoint.squares, self.optimizer.squares)
        ]
        if checkpoint.velocity and methods[0] != methods[1]:
            raise InputError(f"{path}: of a training with {methods[0]}, not with {methods[1]}")
        try:
            velocity, squares = (
                {name: self.device.put(array) for name, array in kept.items()}
                for kept in (checkpoint.velocity, checkpoint.squares)
            )
            steps = checkpoint.step - self.phase.start
            self.optimizer.load_state(velocity, squares, steps=steps)
        except ValueError as error:
            raise InputError(f"{path}: momentum of another network: {error}") from error
        self.step, self.best, self.since_best = checkpoint.step, float(best), since_best


def over_ranks(result: StepResult, ranks: Ranks, *, share: float) -> StepResult:
    """Return the mean loss of the images of all ranks and its gradients; counts are added up.

    `result` is that of this rank's images, which are such a share of all. Every rank gets the same.
    """
    grads = list(result.grads.values())
    xp = backend.namespace_of(grads[0])
    losses = [xp.asarray(loss, dtype=grads[0].dtype) for loss in result.losses.values()]
    # If a rank has failed, the step ends here.
    sums, counted = ranks.sums([*losses, *grads], result.counts, factor=share)
    counts: Counter[str] = Counter()
    for one in counted:
        counts.update(one)
    return StepResult(
        dict(zip(result.losses, sums[: len(losses)], strict=True)),
        dict(zip(result.grads, sums[len(losses) :], strict=True)),
        dict(counts),
    )


def mean_of(results: Iterable[StepResult], count: int) -> StepResult:
    """Return the mean loss of `count` images and its gradients; counts are added up.

    Parameters
    ----------
    results
        Those of each image. The gradients of one may be overwritten when the next one is computed.
    count
        How many there are, at least 1.

    Notes
    -----
    Gradients are added in the order of the images, so that the sum is the same every time.
    """
    others = iter(results)
    first = next(others)
    if count == 1:
        return first
    losses = {name: loss / count for name, loss in first.losses.items()}
    grads = {name: grad / count for name, grad in first.grads.items()}
    counts = Counter(first.counts)
    for result in others:
        for name, loss in result.losses.items():
            losses[name] = losses[name] + loss / count
        for name, grad in result.grads.items():
            grads[name] += grad / count
        counts.update(result.counts)
    return StepResult(losses, grads, dict(counts))
