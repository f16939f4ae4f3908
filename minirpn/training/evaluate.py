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
from minirpn.training.batches import Pipeline
from minirpn.training.build import build_pipeline, rpn_of
from minirpn.training.config import TrainConfig
from minirpn.training.inference import (
    ImageDetections,
    ImageProposals,
    detect_all,
    detections_in_original_pixels,
    detections_of,
    in_original_pixels,
    propose_all,
)
from minirpn.training.step import Objective, forward_loss, make_minibatch


class Validation(NamedTuple):
    """The result of a validation: mean losses of the RPN, recall by count, precision."""

    loss: float
    objectness_loss: float
    box_loss: float
    recall: RecallResult
    precision: APResult | None  # None without a detector
    images: int


def recall_of(
    images: list[ImageProposals],
    *,
    counts: tuple[int, ...] = COUNTS,
    matching: Matching = "one-to-one",
) -> RecallResult:
    """Return the recall of proposals against the ground truths of their images.

    Parameters
    ----------
    images
        Proposals of each image.
    counts
        Numbers of proposals an image.
    matching
        See `minirpn.evaluation.proposal_recall`.
    """
    return proposal_recall(
        [item.boxes for item in images],
        [item.annotation.gt_boxes for item in images],
        difficult=[item.annotation.difficult for item in images],
        counts=counts,
        matching=matching,
    )


def precision_of(images: list[ImageDetections], classes: Sequence[str]) -> APResult:
    """Return the average precision of detections against the ground truths of their images.

    Parameters
    ----------
    images
        Detections of each image.
    classes
        Those of the data set.
    """
    return average_precision(
        [item.detections for item in images],
        [item.annotation.gt_boxes for item in images],
        [item.annotation.gt_classes for item in images],
        classes=classes,
        difficult=[item.annotation.difficult for item in images],
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
        What the RPN learns, and how it proposes.
    detections
        How the model detects; None measures the RPN alone.
    seed
        Of the mini-batches.
    limit
        Only the first so many images.
    """
    network = rpn_of(model)
    losses: list[list[float]] = []
    proposed: list[ImageProposals] = []
    detected: list[ImageDetections] = []
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
            proposals = output.propose(example.image_size, scale=example.scale, config=config)
            proposed.append(in_original_pixels(proposals, example))
            if detections is not None and isinstance(model, FasterRCNN):
                kept = detections_of(model, output, proposals, example, detections)
                detected.append(detections_in_original_pixels(kept, proposals, example))
    total, objectness, box = np.mean(losses, axis=0)
    return Validation(
        float(total),
        float(objectness),
        float(box),
        recall_of(proposed, counts=_counts_up_to(config.post_nms)),
        precision_of(detected, dataset.classes) if detected else None,
        len(proposed),
    )


class SplitResult(NamedTuple):
    """What a network proposes and detects in all images of a data set, and how good that is."""

    proposals: list[ImageProposals]
    detections: list[ImageDetections]  # empty without a detector
    recall: RecallResult
    precision: APResult | None  # None without a detector


def evaluate_split(
    model: RPN | FasterRCNN, config: TrainConfig, dataset: VOCDataset
) -> SplitResult:
    """Return proposals, detections, recall and precision of a network on a whole data set.

    Parameters
    ----------
    model
        The trained network.
    config
        The settings of its run.
    dataset
        The images.
    """
    pipeline = build_pipeline(config, rpn_of(model))
    detected: list[ImageDetections] = []
    if isinstance(model, FasterRCNN):
        detected = list(detect_all(model, dataset, pipeline, config.proposals, config.detections))
        proposed = [item.proposals for item in detected]
    else:
        proposed = list(propose_all(model, dataset, pipeline, config.proposals))
    recall = recall_of(proposed, counts=_counts_up_to(config.proposals.post_nms))
    precision = None
    if isinstance(model, FasterRCNN):
        precision = precision_of(detected, dataset.classes)
    return SplitResult(proposed, detected, recall, precision)


def _counts_up_to(post_nms: int) -> tuple[int, ...]:
    """Return the numbers of proposals for which recall is measured, if so many are made."""
    return tuple(count for count in COUNTS if count <= post_nms) or (post_nms,)
