"""Measure a network on a data set: its loss, and the recall of its proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn.data.loader import Draw, Loader
from minirpn.data.samples import Annotation, Example
from minirpn.data.transforms import ResizeConfig, prepare
from minirpn.data.voc import VOCDataset
from minirpn.evaluation import COUNTS, Matching, RecallResult, proposal_recall
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


class Validation(NamedTuple):
    """What a validation found: mean losses, and recall at IoU 0.5 by count."""

    loss: float
    objectness_loss: float
    box_loss: float
    recall: RecallResult
    images: int


def in_original_pixels(proposals: Proposals, example: Example) -> ImageProposals:
    """Return the proposals of a resized image in the pixels of the original.

    The sides of the resized image are rounded to whole pixels, so its border may lie a fraction of
    a pixel beyond the original's, where the boxes are clipped.
    """
    boxes = backend.to_host(proposals.boxes) / np.float32(example.scale)
    boxes = box_ops.clip(boxes, example.original_size)
    return ImageProposals(example.annotation, boxes, backend.to_host(proposals.scores))


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


def validate(
    network: RPN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    objective: Objective,
    config: ProposalConfig,
    *,
    seed: int,
    limit: int | None = None,
) -> Validation:
    """Return mean losses and proposal recall over a data set, changing nothing.

    Each image's mini-batch is drawn from a generator of its own (`seed` and its position), so
    that validating neither depends on the state of the training nor disturbs it.
    """
    losses: list[RPNLoss] = []
    found: list[ImageProposals] = []
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
            found.append(in_original_pixels(proposals, example))
    total, objectness, box = np.mean([[float(value) for value in loss] for loss in losses], axis=0)
    counts = tuple(count for count in COUNTS if count <= config.post_nms) or (config.post_nms,)
    return Validation(
        float(total), float(objectness), float(box), recall_of(found, counts=counts), len(found)
    )
