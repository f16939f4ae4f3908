"""Wrong answers to the exercises of chapter 17, as learners wrote them, and what must be said."""

import math

import numpy as np


def log_losses(objectness, labels):
    return np.array(
        [
            math.log(sum(math.exp(score) for score in scores)) - scores[label]
            for scores, label in zip(objectness, labels, strict=True)
        ]
    )


def smooth_l1(x, sigma=3.0):
    small = np.abs(x) < 1 / sigma**2
    return np.where(small, sigma**2 * x**2 / 2, np.abs(x) - 1 / (2 * sigma**2))


def terms(objectness, deltas, labels, targets, sigma=3.0):
    sampled, positive = labels != -1, labels == 1
    of_scores = log_losses(objectness[sampled], labels[sampled]).sum()
    return of_scores, smooth_l1((deltas - targets)[positive], sigma).sum(), sampled, positive


def sigma_1(*question):
    of_scores, of_boxes, sampled, _ = terms(*question, sigma=1.0)
    return (of_scores + of_boxes) / sampled.sum()


def over_256(*question):
    of_scores, of_boxes, _, _ = terms(*question)
    return of_scores / 256 + of_boxes / 256


def times_10(*question):
    of_scores, of_boxes, sampled, _ = terms(*question)
    return of_scores / sampled.sum() + 10 * of_boxes / sampled.sum()


def over_positives(*question):
    of_scores, of_boxes, sampled, positive = terms(*question)
    return of_scores / sampled.sum() + of_boxes / positive.sum()


def undivided(*question):
    of_scores, of_boxes, _, _ = terms(*question)
    return of_scores + of_boxes


def over_all(objectness, deltas, labels, targets):
    of_scores, of_boxes, _, _ = terms(objectness, deltas, labels, targets)
    return (of_scores + of_boxes) / labels.size


def ignored_too(objectness, deltas, labels, targets):
    of_boxes = smooth_l1((deltas - targets)[labels == 1]).sum()
    return (log_losses(objectness, labels).sum() + of_boxes) / (labels != -1).sum()


def boxes_of_negatives(objectness, deltas, labels, targets):
    sampled = labels != -1
    of_scores = log_losses(objectness[sampled], labels[sampled]).sum()
    return (of_scores + smooth_l1((deltas - targets)[sampled]).sum()) / sampled.sum()


def averaged(objectness, deltas, labels, targets):
    of_scores, _, sampled, positive = terms(objectness, deltas, labels, targets)
    return (of_scores + smooth_l1((deltas - targets)[positive]).mean(axis=1).sum()) / sampled.sum()


def side(box):
    return math.sqrt((box[2] - box[0]) * (box[3] - box[1]))


def nearest(box):
    return int(np.clip(np.round(4 + np.log2(side(box) / 224)), 2, 5))


def unlimited(box):
    return math.floor(4 + math.log2(side(box) / 224))


def natural(box):
    return int(np.clip(np.floor(4 + np.log(side(box) / 224)), 2, 5))


def area(box):
    return int(np.clip(np.floor(4 + np.log2(side(box) ** 2 / 224)), 2, 5))


def longer_side(box):
    longer = max(box[2] - box[0], box[3] - box[1])
    return int(np.clip(np.floor(4 + np.log2(longer / 224)), 2, 5))


def never_rounded(box):
    return np.clip(4 + np.log2(side(box) / 224), 2, 5)


def from_0(box):
    return int(np.clip(np.floor(np.log2(side(box) / 224)), 2, 5))


def of_the_corner(box):
    return int(np.clip(np.floor(4 + np.log2(math.sqrt(box[2] * box[3]) / 224)), 2, 5))


def the_other_way(box):
    return int(np.clip(np.floor(4 + np.log2(224 / side(box))), 2, 5))


WRONG = {
    "my_released_loss": [
        (sigma_1, "has sigma 3"),
        (over_256, "not by 256"),
        (times_10, "no factor 10"),
        (over_positives, "not by the positive ones"),
        (undivided, "this is the sum"),
        (over_all, "not by that of all"),
        (ignored_too, "label -1"),
        (boxes_of_negatives, "Only positive anchors have a box loss."),
        (averaged, "added, not averaged"),
    ],
    "my_level": [
        (nearest, "Round down, not to the nearest"),
        (unlimited, "No level is below 2 or above 5"),
        (natural, "base 2"),
        (area, "Take the root of the area"),
        (longer_side, "not the longer side"),
        (never_rounded, "round it down"),
        (from_0, "add 4"),
        (of_the_corner, "x2 - x1"),
        (the_other_way, "not 224 by the side"),
    ],
    "my_focal_loss": [
        (lambda p, gamma: np.log(p) * (1 - p) ** gamma, "where is the minus?"),
        (lambda p, gamma: -np.power(p, gamma) * np.log(p), "(1 - p), not p"),
        (lambda p, gamma: -((1 - p) ** 2) * np.log(p), "not always 2"),
        (lambda p, gamma: -np.log(p), "where is the factor?"),
        (lambda p, gamma: -((1 - p) ** gamma) * np.log(1 - p), "not of 1 - p"),
        (lambda p, gamma: -(1 - p) * gamma * np.log(p), "an exponent, not a factor"),
        (lambda p, gamma: -(1 - p**gamma) * np.log(p), "this is 1 - p to the power"),
        (lambda p, gamma: -np.sum((1 - p) ** gamma * np.log(p)), "not their sum"),
    ],
}
