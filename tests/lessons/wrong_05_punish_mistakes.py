"""Wrong answers to the exercises of chapter 05, as learners wrote them, and what must be said."""

import numpy as np


def _p(z):
    z = np.exp(z - z.max(axis=1)[:, None])
    return z / z.sum(axis=1)[:, None]


def averaged(objectness, labels):
    return -np.log(_p(objectness)[np.arange(len(labels)), labels]).mean()


def summed(objectness, labels):
    return sum(-np.log(_p(objectness)[k, c]) for k, c in enumerate(labels))


def unshifted(objectness, labels):
    powers = np.exp(objectness)
    return -np.log(powers[np.arange(len(labels)), labels] / powers.sum(axis=1))


def positive_log(objectness, labels):
    return np.log(_p(objectness)[np.arange(len(labels)), labels])


def always_object(objectness, labels):
    z = objectness - objectness.max(axis=1, keepdims=True)
    return np.log(np.exp(z).sum(axis=1)) - z[:, 1]


def no_keepdims(objectness, labels):
    z = objectness - objectness.max(axis=1)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]


def turned(objectness, labels):
    return np.eye(2)[labels] - _p(objectness)


def only_p(objectness, labels):
    return _p(objectness)


def mean_slope(objectness, labels):
    slope = _p(objectness)
    slope[np.arange(len(labels)), labels] -= 1
    return slope / len(labels)


def both_columns(objectness, labels):
    return _p(objectness) - labels.reshape(-1, 1)


def no_half(x, sigma=1.0):
    return np.where(abs(x) < 1 / sigma**2, (sigma * x) ** 2, abs(x) - 0.5 / sigma**2)


def without_sigma(x, sigma=1.0):
    return np.where(abs(x) < 1, 0.5 * x**2, abs(x) - 0.5)


def no_absolute(x, sigma=1.0):
    return np.where(x < 1 / sigma**2, 0.5 * (sigma * x) ** 2, x - 0.5 / sigma**2)


def total(x, sigma=1.0):
    return np.where(abs(x) < 1 / sigma**2, 0.5 * (sigma * x) ** 2, abs(x) - 0.5 / sigma**2).sum()


def sigma_once(x, sigma=1.0):
    return np.where(abs(x) < 1 / sigma**2, sigma * x, np.sign(x))


def always_one(x, sigma=1.0):
    return np.where(abs(x) < 1 / sigma**2, sigma**2 * x, 1.0)


def _smooth(x):
    return np.where(abs(x) < 1, 0.5 * x**2, abs(x) - 0.5)


def _log(objectness, labels):
    return -np.log(_p(objectness)[np.arange(len(labels)), labels])


def boxes_of_all(objectness, deltas, labels, targets, locations):
    sampled = labels != -1
    scores = _log(objectness[sampled], labels[sampled]).sum() / 256
    return scores + 10 / locations * _smooth(deltas - targets).sum()


def no_lambda(objectness, deltas, labels, targets, locations):
    sampled, positive = labels != -1, labels == 1
    scores = _log(objectness[sampled], labels[sampled]).sum() / 256
    return scores + _smooth((deltas - targets)[positive]).sum() / locations


def mean_of_scores(objectness, deltas, labels, targets, locations):
    sampled, positive = labels != -1, labels == 1
    scores = _log(objectness[sampled], labels[sampled]).sum() / max(1, sampled.sum())
    return scores + 10 * _smooth((deltas - targets)[positive]).sum() / locations


WRONG = {
    "my_log_loss": [
        (averaged, "do not average"),
        (summed, "do not sum"),
        (unshifted, "exp(1000) is too large"),
        (positive_log, "Where is the minus"),
        (always_object, "not always that of object"),
        (no_keepdims, "keepdims=True"),
    ],
    "my_log_loss_slope": [
        (turned, "not the other way round"),
        (only_p, "subtract 1 at the right answer"),
        (mean_slope, "do not divide"),
        (both_columns, "not in both"),
    ],
    "my_smooth_l1": [
        (no_half, "0.5 of the parabola"),
        (without_sigma, "Where is sigma"),
        (no_absolute, "x may be negative"),
        (total, "one value for each element"),
    ],
    "my_smooth_l1_slope": [(sigma_once, "sigma squared"), (always_one, "the slope is -1")],
    "my_rpn_loss": [
        (boxes_of_all, "not over all anchors"),
        (no_lambda, "Where is lambda"),
        (mean_of_scores, "256 even where fewer"),
    ],
}
