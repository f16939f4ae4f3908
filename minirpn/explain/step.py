"""One training step on one image, with everything kept that a training lets go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn.data.samples import Example
from minirpn.data.transforms import prepare
from minirpn.errors import InputError
from minirpn.explain.ranking import Ranking, rank_proposals
from minirpn.explain.rules import rules_of
from minirpn.explain.source import Picture
from minirpn.explain.terms import Terms, terms_of
from minirpn.rpn.loss import RPNLoss, RPNLossGrads, rpn_loss_backward
from minirpn.rpn.network import RPN, RPNOutput
from minirpn.rpn.targets import AnchorLabels, anchor_targets, label_anchors
from minirpn.training.build import build_objective, build_pipeline
from minirpn.training.config import TrainConfig
from minirpn.training.step import forward_loss, make_minibatch


class Learning(NamedTuple):
    """What K anchors are asked, what that costs, and which gradient answers it."""

    gt_boxes: np.ndarray  # (M, 4) those learnt from, pixels of the resized image
    assigned: AnchorLabels  # before sampling
    rules: np.ndarray  # (K,) int8 `Rule`: how each label came about
    best_of: np.ndarray  # (K,) int16: the object an anchor is a best anchor of; -1 for none
    labels: np.ndarray  # (K,) int8: after sampling
    targets: np.ndarray  # (K, 4) t*, also of positives that were not sampled
    loss: RPNLoss
    terms: Terms
    grads: RPNLossGrads  # by what the head gave


@dataclass(frozen=True, eq=False)
class OpenStep:
    """A training step, opened up before the parameters change.

    Parameters
    ----------
    picture
        The image and its ground truth.
    example
        What the network was shown: resized, not mirrored.
    config
        The settings of the run.
    base_anchors
        (A, 4) the anchors of cell (0, 0), where the network puts them.
    stride
        Pixels of the resized image per cell.
    output
        What the network says.
    learning
        What it would learn; None without ground truth.
    ranking
        What it proposes.
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
    """Return one training step on a picture, opened up.

    The mini-batch is drawn from the seed of the run. A training draws on from one step to the
    next, so the step here is one it could have taken rather than one it took.

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
    pipeline = build_pipeline(config, network)
    example = prepare(
        picture.sample, resize_config=pipeline.resize, to_input=pipeline.preprocessing
    )
    learning = None
    if picture.no_truth is None:
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
    """Return what a training step finds out, through the very functions that it calls."""
    objective = build_objective(config)
    gt_boxes = example.gt_boxes[config.data.learnt(example.difficult)]
    rng = np.random.default_rng(config.run.seed)
    anchors = network.anchors_for(example.image_size, like=example.image)
    assigned = label_anchors(anchors, gt_boxes, example.image_size, config=objective.labels)
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
        (K,) int16; the first such object, should several have chosen the anchor.
    """
    chosen = np.full(anchors.shape[0], -1, dtype=np.int16)
    rows = np.flatnonzero(assigned.by_best)
    if len(rows):
        overlaps = box_ops.iou(anchors[rows].astype(np.float64), gt_boxes.astype(np.float64))
        # No anchor has more than an object's best, so the one nearest to it was chosen.
        chosen[rows] = np.argmax(overlaps - assigned.gt_max_iou, axis=1)
    return chosen
