"""The checks of chapter 05: log loss, smooth L1, and both together in equation 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirpn import nn
from minirpn.lessons import parts
from minirpn.testing import Verdict, check_equal, check_rpn_loss, check_smooth_l1

_CALLS = (
    (np.array([[0.0, 2], [1, 0]]), np.array([1, 1])),
    (np.array([[3.0, -1]]), np.array([0])),
    (np.array([[1000.0, 0], [0, 1]]), np.array([1, 0])),
)
"""Scores and labels: ordinary ones, one anchor alone, and one too large for `exp`."""


def _softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _log_loss(objectness: np.ndarray, labels: np.ndarray, shift: Any = None) -> np.ndarray:
    """Return the log loss of each anchor; `shift` is subtracted, or else the larger score."""
    z = objectness - (objectness.max(axis=1, keepdims=True) if shift is None else shift)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]


def _check_log_loss(f: Callable[..., Any]) -> Verdict:
    def log_loss(objectness: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the library's log loss, anchor by anchor."""
        rows, one = [slice(k, k + 1) for k in range(len(labels))], np.ones(1)
        losses = [nn.softmax_cross_entropy_forward(objectness[r], labels[r], one)[0] for r in rows]
        return np.array(losses)

    mistakes: dict[str, Callable[..., Any]] = {
        "One loss for each anchor: do not average.": lambda z, labels: _log_loss(z, labels).mean(),
        "One loss for each anchor: do not sum.": lambda z, labels: _log_loss(z, labels).sum(),
        "exp(1000) is too large: subtract the larger score first.": lambda z, labels: _log_loss(
            z, labels, 0
        ),
        "Subtract the larger score of each row (axis=1), not the largest of all.": (
            lambda z, labels: _log_loss(z, labels, z.max())
        ),
        "Pick the score of the label: column 0 is background, column 1 is object.": (
            lambda z, labels: _log_loss(z, 1 - labels)
        ),
        "One larger score for each row: keep its axis (keepdims=True).": lambda z, labels: (
            _log_loss(z, labels, z.max(axis=1))
        ),
        "Where is the minus? A loss is not negative.": lambda z, labels: -_log_loss(z, labels),
        "This is the probability: the loss is minus its logarithm.": lambda z, labels: np.exp(
            -_log_loss(z, labels)
        ),
        "z_c is subtracted from the logarithm of the sum.": lambda z, labels: (
            _log_loss(z, labels) + 2 * (z - z.max(axis=1, keepdims=True))[range(len(z)), labels]
        ),
        "Use the natural logarithm.": lambda z, labels: _log_loss(z, labels) / np.log(2),
        "The loss uses the score of the right answer in each row, not always that of object.": (
            lambda z, labels: _log_loss(z, np.ones_like(labels))
        ),
        "This is the slope of the loss: the exercise asks for the loss.": lambda z, labels: (
            _softmax(z) - np.eye(2)[labels]
        ),
    }
    return check_equal(f, log_loss, *_CALLS, mistakes=mistakes)


def _check_log_loss_slope(f: Callable[..., Any]) -> Verdict:
    def plain_softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    mistakes: dict[str, Callable[..., Any]] = {
        "The answer minus the right answer, not the other way round.": lambda z, labels: (
            np.eye(2)[labels] - _softmax(z)
        ),
        "These are the probabilities: subtract 1 at the right answer.": lambda z, labels: _softmax(
            z
        ),
        "Subtract 1 in the column of the label: 0 is background, 1 is object.": lambda z, labels: (
            _softmax(z) - np.eye(2)[1 - labels]
        ),
        "Each anchor's own slope: do not divide by how many there are.": lambda z, labels: (
            (_softmax(z) - np.eye(2)[labels]) / len(z)
        ),
        "exp(1000) is too large: subtract the larger score first.": lambda z, labels: (
            plain_softmax(z) - np.eye(2)[labels]
        ),
        "[j = c] is 1 in one of the two columns, not in both.": lambda z, labels: (
            _softmax(z) - labels[:, None]
        ),
        "Two slopes for each anchor, one for each score: (K, 2).": lambda z, labels: (
            _softmax(z)[:, 1] - labels
        ),
        "The softmax of each row: sum over axis=1, with keepdims=True.": lambda z, labels: (
            np.exp(z - z.max()) / np.exp(z - z.max()).sum() - np.eye(2)[labels]
        ),
        "The softmax of each row: axis=1, not axis=0.": lambda z, labels: (
            _softmax(z.T).T - np.eye(2)[labels]
        ),
    }
    return check_equal(f, parts.log_loss_slope, *_CALLS, mistakes=mistakes)


def smooth_l1(x: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Return the library's smooth L1, whose slope is asked for."""
    return nn.smooth_l1_forward(x, sigma=sigma)[0]


def _check_smooth_l1_slope(f: Callable[..., Any]) -> Verdict:
    return check_smooth_l1(smooth_l1, f)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_log_loss": _check_log_loss,
    "my_log_loss_slope": _check_log_loss_slope,
    "my_smooth_l1": check_smooth_l1,
    "my_smooth_l1_slope": _check_smooth_l1_slope,
    "my_rpn_loss": check_rpn_loss,
}
