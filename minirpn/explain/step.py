"""One training step on one image, with every quantity that a training does not keep.

`open_step` finds the rule behind the label of each anchor, its terms of eq. 1 and their gradients,
and the reason why NMS kept or dropped each candidate proposal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn._typing import ImageSize
from minirpn.data.augment import AS_IS
from minirpn.data.samples import Example
from minirpn.data.transforms import prepare
from minirpn.errors import InputError
from minirpn.explain.source import Picture
from minirpn.nn.losses import smooth_l1_forward
from minirpn.rpn.loss import (
    Divisors,
    LossConfig,
    RPNLoss,
    RPNLossGrads,
    divisors,
    rpn_loss_backward,
)
from minirpn.rpn.network import RPN, RPNOutput
from minirpn.rpn.proposals import ProposalConfig, candidates
from minirpn.rpn.targets import (
    IGNORE,
    NEGATIVE,
    POSITIVE,
    AnchorLabels,
    LabelConfig,
    anchor_targets,
    label_anchors,
)
from minirpn.training.build import build_objective, build_pipeline
from minirpn.training.config import TrainConfig
from minirpn.training.step import forward_loss, make_minibatch


class Learning(NamedTuple):
    """Labels, targets, losses and gradients of K anchors."""

    gt_boxes: np.ndarray  # (M, 4) those trained on, pixels of the resized image
    assigned: AnchorLabels  # before sampling
    rules: np.ndarray  # (K,) int8 `Rule`: the reason for each label
    best_of: np.ndarray  # (K,) int16: the object that an anchor is a best anchor of; -1 for none
    labels: np.ndarray  # (K,) int8: after sampling
    targets: np.ndarray  # (K, 4) t*, also of positives that were not sampled
    loss: RPNLoss
    terms: Terms
    grads: RPNLossGrads  # of the loss by the outputs of the head


@dataclass(frozen=True, eq=False)
class OpenStep:
    """All quantities of a training step before the parameters change.

    Parameters
    ----------
    picture
        The image and its ground truth.
    example
        The input of the network: resized, not mirrored.
    config
        The settings of the run.
    base_anchors
        (A, 4) the anchors of cell (0, 0), where the network puts them.
    stride
        Pixels of the resized image per cell.
    output
        The outputs of the network.
    learning
        What it would learn from the image; None without ground truth.
    ranking
        Its candidates for proposals, and which are kept.
    """

    picture: Picture
    example: Example
    config: TrainConfig
    base_anchors: np.ndarray
    stride: float
    output: RPNOutput
    learning: Learning | None
    ranking: Ranking


def open_step(network: RPN, config: TrainConfig, picture: Picture) -> OpenStep:
    """Return all quantities of one training step on a picture, at the size of training images.

    Without ground truth nothing is learned, and the size is that of the first look.

    The mini-batch is drawn with the seed of the run. A training has drawn other random numbers
    before most of its steps. So this is a step that it could have made, not one that it made.

    Parameters
    ----------
    network, config
        As `minirpn.training.build.load_network` gives them. The network is not changed.
    picture
        Of `find_picture`.

    Raises
    ------
    InputError
        The loss is not finite.
    """
    pipeline, learns = build_pipeline(config, network), picture.no_truth is None
    example = prepare(
        picture.sample,
        resize_config=pipeline.resize,
        to_input=pipeline.preprocessing,
        augmentation=config.data.augment.unvaried if learns else AS_IS,
    )
    learning = None
    if learns:
        learning, output = _learn(network, config, example)
    else:
        output, _ = network.forward(example.image[None, ...])
    ranking = rank_proposals(
        output.anchors,
        output.objectness[0, ...],
        output.deltas[0, ...],
        example.image_size,
        scale=example.scale,
        config=config.proposals,
    )
    dy, dx = network.anchor_offset
    placed = network.base_anchors + np.array([dx, dy, dx, dy])
    return OpenStep(picture, example, config, placed, network.stride, output, learning, ranking)


def _learn(network: RPN, config: TrainConfig, example: Example) -> tuple[Learning, RPNOutput]:
    """Return what a training step computes, by the same functions."""
    objective = build_objective(config)
    gt_boxes = example.gt_boxes[config.data.learnt(example.difficult)]
    rng = np.random.default_rng(config.run.seed)
    anchors = network.anchors_for(example.image_size, like=example.image)
    assigned = label_anchors(
        anchors, gt_boxes, example.image_size, config=objective.labels, ignored=example.ignored
    )
    batch = make_minibatch(
        anchors, gt_boxes, example.image_size, rng=rng, objective=objective, assigned=assigned
    )
    with np.errstate(over="ignore", invalid="ignore"):
        loss, output, (_, loss_cache) = forward_loss(
            network, example.image, batch, config=objective.loss
        )
    for name, value in loss._asdict().items():
        if not np.isfinite(float(value)):
            raise InputError(f"{example.annotation.image_path}: {name} loss is {float(value)}")
    terms = terms_of(
        output.objectness[0, ...],
        output.deltas[0, ...],
        batch.labels,
        batch.targets,
        locations=output.locations,
        config=objective.loss,
    )
    learning = Learning(
        gt_boxes,
        assigned,
        rules_of(assigned, box_ops.is_inside(anchors, example.image_size), objective.labels),
        best_of(anchors, gt_boxes, assigned),
        batch.labels,
        anchor_targets(anchors, gt_boxes, assigned.matched_gt, assigned.labels),
        loss,
        terms,
        rpn_loss_backward(1.0, loss_cache),
    )
    return learning, output


def best_of(anchors: np.ndarray, gt_boxes: np.ndarray, assigned: AnchorLabels) -> np.ndarray:
    """Return the object each best anchor was chosen by, -1 for all other anchors.

    It need not be the one that the anchor overlaps most and regresses to.

    Parameters
    ----------
    anchors, gt_boxes
        (K, 4) and (M, 4), half-open pixels.
    assigned
        Of `minirpn.rpn.label_anchors`.

    Returns
    -------
    ndarray
        (K,) int16; the first such object if several chose the anchor.
    """
    chosen = np.full(anchors.shape[0], -1, dtype=np.int16)
    rows = np.flatnonzero(assigned.by_best)
    if len(rows):
        overlaps = box_ops.iou(anchors[rows].astype(np.float64), gt_boxes.astype(np.float64))
        # No IoU exceeds the best of its object; the object that comes nearest chose the anchor.
        chosen[rows] = np.argmax(overlaps - assigned.gt_max_iou, axis=1)
    return chosen


# --- the rule behind each label ------------------------------------------------------------------


class Rule(IntEnum):
    """Why an anchor is positive, negative or ignored."""

    NEGATIVE = 0  # IoU < 0.3 with all ground truths
    BY_IOU = 1  # positive by rule (ii) alone: IoU >= 0.7 with a ground truth
    BY_BEST = 2  # positive by rule (i) alone: a best anchor of a ground truth
    BY_BOTH = 3  # positive by both
    BETWEEN = 4  # ignored: neither positive nor negative
    OUTSIDE = 5  # ignored: it crosses the border of the image (section 3.3)
    ON_IGNORED = 6  # ignored: it would be negative, but lies on an ignored region


def rules_of(assigned: AnchorLabels, inside: np.ndarray, config: LabelConfig) -> np.ndarray:
    """Return the rule behind each label.

    Parameters
    ----------
    assigned
        K anchors as `minirpn.rpn.label_anchors` labels them, on the host.
    inside
        (K,) bool: the anchors that lie wholly inside the image.
    config
        The settings they were labelled with.

    Returns
    -------
    ndarray
        (K,) int8, of `Rule`.
    """
    positive = assigned.labels == POSITIVE
    by_iou = positive & (assigned.max_iou >= config.positive_iou)
    by_best = positive & assigned.by_best
    rules = np.full(assigned.labels.shape, Rule.BETWEEN, dtype=np.int8)
    on_ignored = (assigned.labels == IGNORE) & (assigned.max_iou < config.negative_iou)
    rules[on_ignored] = Rule.ON_IGNORED
    rules[assigned.labels == NEGATIVE] = Rule.NEGATIVE
    rules[by_iou] = Rule.BY_IOU
    rules[by_best] = Rule.BY_BEST
    rules[by_iou & by_best] = Rule.BY_BOTH
    if config.inside_only:
        rules[~inside] = Rule.OUTSIDE
    return rules


# --- the terms of eq. 1 --------------------------------------------------------------------------
#
# L({p_i}, {t_i}) = 1/N_cls sum_i L_cls(p_i, p_i*) + lambda/N_reg sum_i p_i* L_reg(t_i, t_i*)
#
# `minirpn.rpn.rpn_loss_forward` gives the sums; the contributions here add up to them.


class Terms(NamedTuple):
    """The pieces of equation 1 for K anchors, and what the sums over them are divided by."""

    class_losses: np.ndarray  # (K,) L_cls; 0 for an anchor that was not sampled
    box_losses: np.ndarray  # (K, 4) p* L_reg, one for each coordinate; 0 unless positive
    contributions: np.ndarray  # (K, 2) to the objectness term and to the box term
    divisors: Divisors


def terms_of(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    *,
    locations: int,
    config: LossConfig,
) -> Terms:
    """Return all pieces of equation 1; the parameters are those of `minirpn.rpn.rpn_loss_forward`.

    The columns of the contributions sum to the two terms of eq. 1, all of them to the loss.
    """
    divided = divisors(labels, locations, config)
    of_classes = class_losses(objectness, labels)
    smooth, _ = smooth_l1_forward(deltas - targets, sigma=config.sigma)
    of_boxes = np.where((labels == POSITIVE)[:, None], smooth, np.zeros_like(smooth))
    to_box_term = of_boxes.sum(axis=1) * (divided.balance / divided.n_reg)  # (K, 4) -> (K,)
    contributions = np.stack([of_classes / divided.n_cls, to_box_term], axis=1)
    return Terms(of_classes, of_boxes, contributions, divided)


def class_losses(objectness: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return L_cls of each sampled anchor, -log of the probability of its label; 0 elsewhere.

    -log softmax(s)[l] = log(1 + exp(s[other] - s[l])), and the same for one logit z against 0.

    Parameters
    ----------
    objectness
        (K, 2) logits (background, object) of a softmax, or (K, 1) of the logistic function.
    labels
        (K,) int8 of the sampled mini-batch.

    Returns
    -------
    ndarray
        (K,), of the dtype of `objectness`.

    Examples
    --------
    >>> class_losses(np.zeros((2, 2)), np.array([1, -1])) == [np.log(2), 0]
    array([ True,  True])
    """
    logits = objectness[:, -1] - (objectness[:, 0] if objectness.shape[1] == 2 else 0)
    towards_label = np.where(labels == POSITIVE, logits, -logits)
    losses = np.logaddexp(0, -towards_label).astype(objectness.dtype)
    return np.where(labels == IGNORE, np.zeros_like(losses), losses)


# --- proposals before and after NMS --------------------------------------------------------------

KEPT = -1
"""Fate of a candidate that NMS keeps."""
NOT_REACHED = -2
"""Fate of a candidate that NMS did not reach: enough were kept before it."""


class Ranking(NamedTuple):
    """The R candidates that entered NMS, highest score first, and what became of each."""

    anchors: np.ndarray  # (R,) int32: the anchor that predicts it
    # (R,) int32: KEPT, NOT_REACHED, or the position of the kept one that removed it
    fates: np.ndarray


def rank_proposals(
    anchors: np.ndarray,
    objectness: np.ndarray,
    deltas: np.ndarray,
    image_size: ImageSize,
    *,
    scale: float,
    config: ProposalConfig,
) -> Ranking:
    """Return the candidates of `minirpn.rpn.propose` with their fates.

    Parameters are those of `minirpn.rpn.propose`, on the host.

    Returns
    -------
    Ranking
        The kept ones, in their order, are the proposals. Any other was removed by the proposal
        with the highest score among those before it that overlap it by more than the threshold. If
        there is none, it is `NOT_REACHED`: NMS stopped at `post_nms` proposals.
    """
    boxes, scores, best = candidates(
        anchors, objectness, deltas, image_size, scale=scale, config=config
    )
    kept = box_ops.nms(boxes, scores, iou_threshold=config.iou_threshold, max_keep=config.post_nms)
    fates = np.full(len(best), NOT_REACHED, dtype=np.int32)
    if len(kept):
        # The first kept box above the threshold is the one NMS met first: later ones are worse.
        removes = box_ops.iou(boxes, boxes[kept]) > config.iou_threshold  # (R, kept)
        removed = removes.any(axis=1)
        fates[removed] = kept[removes.argmax(axis=1)[removed]]
    fates[kept] = KEPT
    return Ranking(best.astype(np.int32), fates)
