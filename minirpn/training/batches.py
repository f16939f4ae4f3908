"""From stored images to what a step reads, prepared on the loader's threads ahead of the step.

`Pipeline` decodes, resizes and preprocesses images. `WorkAhead` labels the anchors of an image and
draws its mini-batch, both on the host, and sends them to the device: the step finds them there.

A joint training draws anchors, regions and dropout in turn from one stream of random numbers. There
only the labels are made ahead, and the step draws.

Labelling must not change how many threads `minirpn.accel.threads` allows: that number holds for
the whole process, and the last bits of a matrix product depend on it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.augment import AS_IS, Augmentation
from minirpn.data.loader import Draw, Loader
from minirpn.data.samples import Example, Sample
from minirpn.data.transforms import ResizeConfig, prepare
from minirpn.data.voc import VOCDataset
from minirpn.devices import CPU, Device
from minirpn.rpn.network import RPN
from minirpn.rpn.targets import AnchorLabels, label_anchors
from minirpn.training.config import DataConfig
from minirpn.training.step import Minibatch, Objective, make_minibatch


@dataclass(frozen=True)
class Pipeline:
    """How a stored image becomes the network's input.

    Parameters
    ----------
    resize
        The size it is brought to.
    preprocessing
        The backbone's: (H, W, 3) uint8 to (3, H, W) float32.
    device
        Where the network is, and the images go.
    threads
        How many images are prepared at a time.
    dtype
        Of pixels and boxes. Both are made in float32 and then widened: the labels are the same.
    """

    resize: ResizeConfig
    preprocessing: Callable[[np.ndarray], np.ndarray]
    device: Device = CPU
    threads: int = 1
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))

    def example(self, sample: Sample, *, augmentation: Augmentation = AS_IS) -> Example:
        """Return an image as the network reads it, on the device; a loader's threads call this."""
        example = prepare(
            sample,
            resize_config=self.resize,
            to_input=self.preprocessing,
            augmentation=augmentation,
        )
        image = example.image.astype(self.dtype, copy=False)
        return replace(
            example,
            image=self.device.send(image),
            gt_boxes=example.gt_boxes.astype(self.dtype, copy=False),
        )

    def examples(
        self,
        dataset: VOCDataset,
        draws: Iterator[Draw],
        *,
        finish: Callable[[Example], Example] | None = None,
    ) -> Loader:
        """Return a loader of prepared examples; use it in a ``with`` block.

        Parameters
        ----------
        dataset, draws, finish
            See `minirpn.data.Loader`.
        """
        return Loader(dataset, draws, self.example, threads=self.threads, finish=finish)

    def in_order(self, dataset: VOCDataset, limit: int | None) -> Loader:
        """Return a loader of the first `limit` images in their order, as they are."""
        count = len(dataset) if limit is None else min(limit, len(dataset))
        return self.examples(dataset, (Draw(index) for index in range(count)))


class DrawnAhead(NamedTuple):
    """A mini-batch, and the states of the random generator before and after it was drawn."""

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
    """Labels the anchors of examples for steps to come, and draws their mini-batches if it can.

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
