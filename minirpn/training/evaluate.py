"""Measure a network on a data set: loss, recall of proposals, precision of detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.voc import VOCDataset
from minirpn.detector import DetectionConfig, FasterRCNN
from minirpn.evaluation import (
    COUNTS,
    APResult,
    Matching,
    RecallResult,
    average_precision,
    proposal_recall,
)
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig
from minirpn.training.inference import (
    ImageDetections,
    ImageProposals,
    Pipeline,
    detections_in_original_pixels,
    detections_of,
    in_original_pixels,
    proposals_of,
)
from minirpn.training.step import Objective, forward_loss, make_minibatch


class Validation(NamedTuple):
    """What a validation found: mean losses of the RPN, recall at IoU 0.5 by count, precision."""

    loss: float
    objectness_loss: float
    box_loss: float
    recall: RecallResult
    precision: APResult | None  # None without a detector
    images: int


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
    losses: list[list[float]] = []
    proposed: list[ImageProposals] = []
    found: list[ImageDetections] = []
    with pipeline.in_order(dataset, limit) as examples:
        for index, example in enumerate(examples):
            anchors = network.anchors_for(example.image_size, like=example.gt_boxes)
            batch = make_minibatch(
                anchors,
                example.gt_boxes[~example.difficult],
                example.image_size,
                rng=np.random.default_rng([seed, index]),
                objective=objective,
            )
            loss, output, _ = forward_loss(
                network, example.image, batch.on(example.image), config=objective.loss
            )
            losses.append(backend.numbers(loss))
            proposals = proposals_of(output, example, config)
            proposed.append(in_original_pixels(proposals, example))
            if detections is not None and isinstance(model, FasterRCNN):
                kept = detections_of(model, output, proposals, example, detections)
                found.append(detections_in_original_pixels(kept, proposals, example))
    total, objectness, box = np.mean(losses, axis=0)
    counts = tuple(count for count in COUNTS if count <= config.post_nms) or (config.post_nms,)
    return Validation(
        float(total),
        float(objectness),
        float(box),
        recall_of(proposed, counts=counts),
        precision_of(found, dataset.classes) if found else None,
        len(proposed),
    )
