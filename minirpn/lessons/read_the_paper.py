"""The checks of chapter 17: the released loss, a level of a pyramid, the focal loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from minirpn import nn, rpn
from minirpn.testing import Verdict, check_equal
from minirpn.testing.check_boxes import rows
from minirpn.testing.pictures import draw_boxes_of


def _right_loss(
    objectness: np.ndarray, deltas: np.ndarray, labels: np.ndarray, targets: np.ndarray
) -> float:
    config = rpn.LossConfig(form="released")
    loss, _ = rpn.rpn_loss_forward(objectness, deltas, labels, targets, locations=1, config=config)
    return float(loss.total)


def _loss(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    *,
    sigma: float = 3,
    weight: float = 1,
    scores_of: int = 0,
    boxes_of: int = 1,
    over: Callable[[np.ndarray], tuple[float, float]] = lambda labels: ((labels >= 0).sum(),) * 2,
    a_box: Callable[..., np.ndarray] = np.sum,
) -> float:
    """Return the released loss; each option spoils one part.

    `scores_of` and `boxes_of` are the least labels that count, `over` returns what both terms are
    divided by.
    """
    z = objectness - objectness.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
    box_losses = a_box(nn.smooth_l1_forward(deltas - targets, sigma=sigma)[0], axis=1)
    count_scores, count_boxes = over(labels)
    of_scores = losses[labels >= scores_of].sum() / count_scores
    return float(of_scores + weight * box_losses[labels >= boxes_of].sum() / count_boxes)


def _check_released_loss(f: Callable[..., Any]) -> Verdict:
    mistakes: Mapping[str, Callable[..., Any]] = {
        "The released smooth L1 has sigma 3.": partial(_loss, sigma=1),
        "There is no factor 10 in the released form.": partial(_loss, weight=10),
        "Divide both by the number of sampled anchors, not by 256.": partial(
            _loss, over=lambda labels: (256, 256)
        ),
        "Divide the box loss by the sampled anchors, too, not by the positive ones.": partial(
            _loss, over=lambda labels: ((labels >= 0).sum(), (labels == 1).sum())
        ),
        "Divide by the number of sampled anchors, not by that of all.": partial(
            _loss, over=lambda labels: (len(labels), len(labels))
        ),
        "Divide by the number of sampled anchors: this is the sum.": partial(
            _loss, over=lambda labels: (1, 1)
        ),
        "The log loss is of all sampled anchors, negative ones too.": partial(_loss, scores_of=1),
        "Anchors with the label -1 have no log loss.": partial(_loss, scores_of=-1),
        "Only positive anchors have a box loss.": partial(_loss, boxes_of=0),
        "Only positive anchors have a box loss; those with the label -1 have no loss at all.": (
            partial(_loss, scores_of=-1, boxes_of=-1)
        ),
        "The four numbers of a box are added, not averaged.": partial(_loss, a_box=np.mean),
        "Add the loss of the boxes, too.": partial(_loss, weight=0),
    }
    one_positive = (
        np.array([[0.0, 1], [2, 0], [1, 0]]),
        np.array([[0.0, 0, 0, 0], [1, 0, 0, 2], [0, 3, 0, 0]]),
        np.array([0, 1, -1]),
        np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
    )
    two_positive = (
        np.array([[0.5, 0], [0, 1], [1, -1], [0, 0]]),
        np.array([[0.0, 0.1, 0, 0], [0, 0, 0.25, 0], [0, 0, 1, 0], [0.5, 0, 0, 0]]),
        np.array([1, 0, 1, -1]),
        np.zeros((4, 4)),
    )
    return check_equal(f, _right_loss, one_positive, two_positive, mistakes=mistakes)


def _right_level(box: np.ndarray) -> int:
    """Return the level by halving and doubling, without a logarithm."""
    side, level = math.sqrt((box[2] - box[0]) * (box[3] - box[1])), 4
    while side < 224 and level > 2:
        side, level = side * 2, level - 1
    while side >= 448 and level < 5:
        side, level = side / 2, level + 1
    return level


def _level(
    box: np.ndarray,
    *,
    side: Callable[[float, float], float] = lambda w, h: math.sqrt(w * h),
    log: Callable[[float], float] = math.log2,
    whole: Callable[[float], float] = math.floor,
    start: float = 4,
    limits: tuple[float, float] = (2, 5),
) -> float:
    """Return the level; each option spoils one part."""
    level = whole(start + log(side(box[2] - box[0], box[3] - box[1]) / 224))
    return min(max(level, limits[0]), limits[1])


def _check_level(f: Callable[..., Any]) -> Verdict:
    mistakes: Mapping[str, Callable[..., Any]] = {
        "Round down, not to the nearest number.": partial(_level, whole=round),
        "Round down, not up.": partial(_level, whole=math.ceil),
        "A level is a whole number: round it down.": partial(_level, whole=float),
        "The logarithm is that to base 2, np.log2.": partial(_level, log=math.log),
        "The logarithm is that to base 2, not to base 10.": partial(_level, log=math.log10),
        "The sides are x2 - x1 and y2 - y1.": lambda box: _right_level(box * (0, 0, 1, 1)),
        "Divide the side by 224, not 224 by the side.": partial(
            _level, side=lambda w, h: 224**2 / math.sqrt(w * h)
        ),
        "Take the root of the area: its side, not the area.": partial(
            _level, side=lambda w, h: w * h
        ),
        "Take the root of the area, not the longer side.": partial(_level, side=max),
        "Take the root of the area, not the width alone.": partial(_level, side=lambda w, h: w),
        "No level is below 2 or above 5.": partial(_level, limits=(-math.inf, math.inf)),
        "No level is above 5.": partial(_level, limits=(2, math.inf)),
        "No level is below 2.": partial(_level, limits=(-math.inf, 5)),
        "A square of 224 pixels is at level 4: add 4.": partial(_level, start=0),
    }
    sides = ((224, 224), (112, 112), (200, 200), (100, 400), (448, 448), (10, 10), (2000, 2000))
    moved = (rows((300, 50, 500, 250))[0],)  # the corner is not in the upper left
    calls = (moved, *((rows((0, 0, width, height))[0],) for width, height in sides))
    return check_equal(f, _right_level, *calls, mistakes=mistakes, draw=draw_boxes_of)


def _right_focal_loss(p: np.ndarray, gamma: float) -> np.ndarray:
    """Return it as the library's logistic loss, each answer with a weight of its own."""
    logits, weights, one = np.log(p / (1 - p)), (1 - p) ** gamma, np.ones(1)
    alone = (slice(k, k + 1) for k in range(len(p)))
    losses = [nn.sigmoid_cross_entropy_forward(logits[k], one, weights[k])[0] for k in alone]
    return np.array(losses)


def _check_focal_loss(f: Callable[..., Any]) -> Verdict:
    mistakes: Mapping[str, Callable[..., Any]] = {
        "A loss is positive, and the logarithm of p is negative: where is the minus?": (
            lambda p, gamma: (1 - p) ** gamma * np.log(p)
        ),
        "The factor goes to 0 where the network is right: (1 - p), not p.": (
            lambda p, gamma: -(p**gamma) * np.log(p)
        ),
        "The logarithm is that of p, not of 1 - p.": (
            lambda p, gamma: -((1 - p) ** gamma) * np.log(1 - p)
        ),
        "gamma is an exponent, not a factor.": lambda p, gamma: -gamma * (1 - p) * np.log(p),
        "gamma is an argument: it is not always 2.": lambda p, gamma: -((1 - p) ** 2) * np.log(p),
        "Do not forget the exponent gamma.": lambda p, gamma: -(1 - p) * np.log(p),
        "This is the log loss: where is the factor?": lambda p, gamma: -np.log(p),
        "The factor is (1 - p) to the power of gamma: this is 1 - p to the power of gamma.": (
            lambda p, gamma: -(1 - p**gamma) * np.log(p)
        ),
        "Only the factor has the exponent, not the logarithm.": (
            lambda p, gamma: (-(1 - p) * np.log(p)) ** gamma
        ),
        "Give a loss for each answer, not their sum.": (
            lambda p, gamma: -((1 - p) ** gamma * np.log(p)).sum()
        ),
        "Give a loss for each answer, not their mean.": (
            lambda p, gamma: -((1 - p) ** gamma * np.log(p)).mean()
        ),
        "The logarithm is the natural one, np.log.": (
            lambda p, gamma: -((1 - p) ** gamma) * np.log2(p)
        ),
    }
    few = np.array([0.25, 0.5, 0.75])
    calls = ((few, gamma) for gamma in (2.0, 3.0, 0.0, 0.5))
    return check_equal(f, _right_focal_loss, *calls, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_released_loss": _check_released_loss,
    "my_level": _check_level,
    "my_focal_loss": _check_focal_loss,
}
