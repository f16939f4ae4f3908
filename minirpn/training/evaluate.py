"""Measure a network on a data set: its loss, and the recall of its proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array
from minirpn.data.loader import Draw, Loader
from minirpn.data.samples import Annotation, Example
from minirpn.data.transforms import ResizeConfig, prepare
from minirpn.data.voc import VOCDataset
from minirpn.detector import DetectionConfig, Detections, FasterRCNN, postprocess
from minirpn.evaluation import (
    COUNTS,
    APResult,
    Matching,
    RecallResult,
    average_precision,
    proposal_recall,
)
from minirpn.rpn.loss import RPNLoss
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig, Proposals, propose
from minirpn.training.step import Objective, forward_loss


@dataclass(frozen=True)
class Pipeline:
    """How a stored image becomes the network's input.

    Parameters
    ----------
    resize
        The size it is brought to.
    preprocessing
        The backbone's: (H, W, 3) uint8 to (3, H, W) float32.
    threads
        How many images are prepared at a time.
    """

    resize: ResizeConfig
    preprocessing: Callable[[np.ndarray], np.ndarray]
    threads: int = 1

    def examples(self, dataset: VOCDataset, draws: Iterator[Draw]) -> Loader:
        """Return a loader of prepared examples; use it in a ``with`` block."""
        make = partial(prepare, resize_config=self.resize, to_input=self.preprocessing)
        return Loader(dataset, draws, make, threads=self.threads)

    def in_order(self, dataset: VOCDataset, limit: int | None) -> Loader:
        """Return a loader of the first `limit` images in their order, not mirrored."""
        count = len(dataset) if limit is None else min(limit, len(dataset))
        return self.examples(dataset, (Draw(index, flip=False) for index in range(count)))


class ImageProposals(NamedTuple):
    """The proposals of one image in its original pixels, on the host, best first."""

    annotation: Annotation
    boxes: np.ndarray  # (R, 4)
    scores: np.ndarray  # (R,)


class ImageDetections(NamedTuple):
    """What a detector found in an image, in its original pixels, on the host."""

    annotation: Annotation
    found: Detections
    proposals: ImageProposals  # that it looked at


class Validation(NamedTuple):
    """What a validation found: mean losses of the RPN, recall at IoU 0.5 by count, precision."""

    loss: float
    objectness_loss: float
    box_loss: float
    recall: RecallResult
    precision: APResult | None  # None without a detector
    images: int


def in_original_pixels(proposals: Proposals, example: Example) -> ImageProposals:
    """Return the proposals of a resized image in the pixels of the original.

    The sides of the resized image are rounded to whole pixels, so its border may lie a fraction of
    a pixel beyond the original's, where the boxes are clipped.
    """
    boxes = _original(proposals.boxes, example)
    return ImageProposals(example.annotation, boxes, backend.to_host(proposals.scores))


def detections_in_original_pixels(
    found: Detections, proposals: Proposals, example: Example
) -> ImageDetections:
    """Return the detections in a resized image in the pixels of the original, like proposals."""
    on_host = Detections(
        _original(found.boxes, example),
        backend.to_host(found.scores),
        backend.to_host(found.classes),
    )
    return ImageDetections(example.annotation, on_host, in_original_pixels(proposals, example))


def _original(boxes: Array, example: Example) -> np.ndarray:
    boxes = backend.to_host(boxes) / np.float32(example.scale)
    return box_ops.clip(boxes, example.original_size)


def as_many_as(config: ProposalConfig, count: int) -> ProposalConfig:
    """Return the settings that propose up to `count` boxes an image, and are otherwise the same.

    NMS goes down the list from the best, so the first proposals stay what they are.
    """
    return replace(config, post_nms=count, pre_nms=max(config.pre_nms, count))


def propose_all(
    network: RPN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    config: ProposalConfig,
    *,
    limit: int | None = None,
) -> Iterator[ImageProposals]:
    """Yield the proposals of each image of a data set, in its order.

    Parameters
    ----------
    network, dataset, pipeline
        What proposes, on what, prepared how.
    config
        Counts and thresholds.
    limit
        Only the first so many images.
    """
    with pipeline.in_order(dataset, limit) as examples:
        for example in examples:
            proposals = network.propose(example.image, scale=example.scale, config=config)
            yield in_original_pixels(proposals, example)


def detect_all(
    model: FasterRCNN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    proposals: ProposalConfig,
    detections: DetectionConfig,
    *,
    limit: int | None = None,
) -> Iterator[ImageDetections]:
    """Yield the detections in each image of a data set, in its order; as `propose_all`."""
    with pipeline.in_order(dataset, limit) as examples:
        for example in examples:
            found = model.detect(
                example.image, scale=example.scale, proposals=proposals, config=detections
            )
            yield detections_in_original_pixels(*found, example)


def recall_of(
    found: list[ImageProposals],
    *,
    counts: tuple[int, ...] = COUNTS,
    matching: Matching = "one-to-one",
) -> RecallResult:
    """Return the recall of proposals against the ground truths of their images.

    Parameters
    ----------
    found
        One for each image.
    counts
        Numbers of proposals an image.
    matching
        See `minirpn.evaluation.proposal_recall`.
    """
    return proposal_recall(
        [item.boxes for item in found],
        [item.annotation.gt_boxes for item in found],
        difficult=[item.annotation.difficult for item in found],
        counts=counts,
        matching=matching,
    )


def precision_of(found: list[ImageDetections], classes: Sequence[str]) -> APResult:
    """Return the average precision of detections against the ground truths of their images.

    Parameters
    ----------
    found
        One for each image.
    classes
        Those of the data set.
    """
    return average_precision(
        [item.found for item in found],
        [item.annotation.gt_boxes for item in found],
        [item.annotation.gt_classes for item in found],
        classes=classes,
        difficult=[item.annotation.difficult for item in found],
    )


def validate(
    model: RPN | FasterRCNN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    objective: Objective,
    config: ProposalConfig,
    *,
    detections: DetectionConfig | None = None,
    seed: int,
    limit: int | None = None,
) -> Validation:
    """Return mean losses, proposal recall and perhaps precision over a data set, changing nothing.

    Each image's mini-batch is drawn from a generator of its own (`seed` and its position), so
    that validating neither depends on the state of the training nor disturbs it.

    Parameters
    ----------
    model, dataset, pipeline
        What is measured, on what, prepared how.
    objective, config
        What was asked of the RPN, and how it proposes.
    detections
        How the model detects; None measures the RPN alone.
    seed
        Of the mini-batches.
    limit
        Only the first so many images.
    """
    network = model.rpn if isinstance(model, FasterRCNN) else model
    losses: list[RPNLoss] = []
    proposed: list[ImageProposals] = []
    found: list[ImageDetections] = []
    with pipeline.in_order(dataset, limit) as examples:
        for index, example in enumerate(examples):
            loss, output, _, _ = forward_loss(
                network,
                example.image,
                example.gt_boxes[~example.difficult],
                rng=np.random.default_rng([seed, index]),
                objective=objective,
            )
            losses.append(loss)
            proposals = propose(
                output.anchors,
                output.objectness[0, ...],
                output.deltas[0, ...],
                example.image_size,
                scale=example.scale,
                config=config,
            )
            proposed.append(in_original_pixels(proposals, example))
            if detections is not None and isinstance(model, FasterRCNN):
                answers, _ = model.detector.forward(output.features, proposals.boxes)
                kept = postprocess(proposals.boxes, *answers, example.image_size, config=detections)
                found.append(detections_in_original_pixels(kept, proposals, example))
    total, objectness, box = np.mean([[float(value) for value in loss] for loss in losses], axis=0)
    counts = tuple(count for count in COUNTS if count <= config.post_nms) or (config.post_nms,)
    return Validation(
        float(total),
        float(objectness),
        float(box),
        recall_of(proposed, counts=counts),
        precision_of(found, dataset.classes) if found else None,
        len(proposed),
    )
