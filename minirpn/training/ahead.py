"""What a step asks of the anchors, worked out while the device is at work on the step before.

Which anchors are positive follows from the size of the image and from its ground truths, and the
mini-batch from these labels and the random state. So a thread of the loader labels the anchors on
the host, draws, and sends labels and targets to the device: the step finds them there.

A joint training draws anchors, regions and what is dropped in turn, from one stream of random
numbers. There only the labels are made ahead, and the step draws.

Labels must not touch what the step computes with at the same time: how many threads
`minirpn.kernels.threads` lets compute holds for the process, and a product of matrices depends on
it in its last bits.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.samples import Example
from minirpn.rpn.network import RPN
from minirpn.rpn.targets import AnchorLabels, label_anchors
from minirpn.training.config import DataConfig
from minirpn.training.step import Minibatch, Objective, make_minibatch


class DrawnAhead(NamedTuple):
    """A mini-batch, and the states of the random generator it was drawn with."""

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
        The mini-batch; None where the step is to draw it.
    """

    assigned: AnchorLabels
    drawn: DrawnAhead | None


@dataclass(frozen=True)
class AnchorTask:
    """What a training asks of the anchors of an example.

    Parameters
    ----------
    network
        Says where the anchors are.
    objective
        How they are labelled and sampled.
    data
        Which objects are learned from.
    """

    network: RPN
    objective: Objective
    data: DataConfig

    def label(self, example: Example) -> AnchorLabels:
        """Return the labels of the anchors, made on the host."""
        anchors, gt_boxes = self._on_host(example)
        return label_anchors(anchors, gt_boxes, example.image_size, config=self.objective.labels)

    def draw(self, example: Example, rng: np.random.Generator) -> Minibatch:
        """Return a mini-batch of the anchors, made on the host; it labels what is not labelled."""
        anchors, gt_boxes = self._on_host(example)
        return make_minibatch(
            anchors,
            gt_boxes,
            example.image_size,
            rng=rng,
            objective=self.objective,
            assigned=example.assigned if isinstance(example, LabelledExample) else None,
        )

    def _on_host(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        """Return anchors (K, 4) and the ground truths (M, 4) that are learned from."""
        anchors = self.network.anchors_for(example.image_size, like=example.gt_boxes)
        return anchors, example.gt_boxes[self.data.learnt(example.difficult)]


class WorkAhead:
    """Labels the anchors of the examples of steps to come, and perhaps draws their mini-batches.

    A loader calls it with one example after the other, in the order of the steps.

    Parameters
    ----------
    task
        What is asked.
    rng
        As it is before the first of these steps; a copy of it draws. None: the steps draw.
    """

    def __init__(self, task: AnchorTask, rng: np.random.Generator | None) -> None:
        self._task = task
        self._rng = copy.deepcopy(rng)

    def __call__(self, example: Example) -> LabelledExample:
        """Return the example with what was worked out."""
        labelled = LabelledExample(**vars(example), assigned=self._task.label(example), drawn=None)
        if self._rng is None:
            return labelled
        before = self._rng.bit_generator.state
        batch = self._task.draw(labelled, self._rng)
        labels, targets = backend.send_together([batch.labels, batch.targets], example.image)
        there = batch._replace(labels=labels, targets=targets)
        drawn = DrawnAhead(there, before, self._rng.bit_generator.state)
        return replace(labelled, drawn=drawn)
