"""Eq. 1 before anything is summed: what each anchor costs.

L({p_i}, {t_i}) = 1/N_cls sum_i L_cls(p_i, p_i*) + lambda/N_reg sum_i p_i* L_reg(t_i, t_i*)

`minirpn.rpn.rpn_loss_forward` gives the sums alone; the contributions here add up to them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minirpn.nn.losses import smooth_l1_forward
from minirpn.rpn.loss import Divisors, LossConfig, divisors
from minirpn.rpn.targets import IGNORE, POSITIVE


class Terms(NamedTuple):
    """The pieces of eq. 1 for K anchors, and what the sums over them are divided by."""

    class_losses: np.ndarray  # (K,) L_cls
    box_losses: np.ndarray  # (K, 4) L_reg, one for each coordinate
    contributions: np.ndarray  # (K, 2) to the objectness term and to the box term
    divisors: Divisors


def class_losses(objectness: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return L_cls of each sampled anchor, -log of the probability of its label; 0 elsewhere.

    -log softmax(s)[l] = log(1 + exp(s[other] - s[l])), and the same for one logit z against 0.

    Parameters
    ----------
    objectness
        (K, 2) scores (background, object) before the softmax, or (K, 1) logits.
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


def box_losses(
    deltas: np.ndarray, targets: np.ndarray, labels: np.ndarray, *, sigma: float
) -> np.ndarray:
    """Return p* L_reg of each coordinate: smooth L1 of t - t* where positive, 0 elsewhere.

    Parameters
    ----------
    deltas, targets
        (K, 4) each: t and t*.
    labels
        (K,) int8 of the sampled mini-batch.
    sigma
        Of smooth L1, see `minirpn.nn.losses.smooth_l1_forward`.
    """
    charges, _ = smooth_l1_forward(deltas - targets, sigma=sigma)
    return np.where((labels == POSITIVE)[:, None], charges, np.zeros_like(charges))


def contributions(
    class_losses: np.ndarray, box_losses: np.ndarray, divided: Divisors
) -> np.ndarray:
    """Return what each anchor adds to the objectness term and to the box term, (K, 2).

    The columns sum to the two terms of eq. 1, all of it to the loss.
    """
    of_boxes = box_losses.sum(axis=1) * (divided.balance / divided.n_reg)  # (K, 4) -> (K,)
    return np.stack([class_losses / divided.n_cls, of_boxes], axis=1)


def terms_of(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    *,
    locations: int,
    config: LossConfig,
) -> Terms:
    """Return all pieces of eq. 1; the parameters are those of `minirpn.rpn.rpn_loss_forward`."""
    divided = divisors(labels, locations, config)
    of_classes = class_losses(objectness, labels)
    of_boxes = box_losses(deltas, targets, labels, sigma=config.sigma)
    return Terms(of_classes, of_boxes, contributions(of_classes, of_boxes, divided), divided)
