"""The loss of eq. 1 as people first write it, each time wrong in one way; see `mistakes_boxes`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn.rpn import IGNORE, POSITIVE
from minirpn.testing.mistakes_losses import slope, smooth_l1

N_CLS, BALANCE = 256, 10  # section 3.1.2

Weights = tuple[np.ndarray, np.ndarray]


def _weights(labels: np.ndarray, locations: int) -> Weights:
    """Return what each anchor's two losses are multiplied by: (K,) and (K, 1)."""
    sampled, positive = labels != IGNORE, labels == POSITIVE
    return sampled / N_CLS, (positive * BALANCE / locations)[:, None]


def _log_probabilities(objectness: np.ndarray) -> np.ndarray:
    shifted = objectness - objectness.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _loss(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    weights: Weights,
) -> np.ndarray:
    """Return eq. 1 with the given weights of the anchors."""
    is_object = (labels == POSITIVE).astype(int)
    chosen = np.take_along_axis(_log_probabilities(objectness), is_object[:, None], axis=1)[:, 0]
    charges = smooth_l1(deltas - targets, 1)
    return np.asarray(-np.sum(weights[0] * chosen) + np.sum(weights[1] * charges))


def rpn_loss(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
) -> np.ndarray:
    """Return eq. 1 as it should be; the others in this file spoil it."""
    return _loss(objectness, deltas, labels, targets, _weights(labels, locations))


def rpn_loss_slopes(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
) -> dict[str, np.ndarray]:
    """Return the gradients of eq. 1 as they should be; the others in this file spoil them."""
    of_objectness, of_box = _weights(labels, locations)
    is_target = (labels == POSITIVE)[:, None] == np.array([False, True])
    dobjectness = of_objectness[:, None] * (np.exp(_log_probabilities(objectness)) - is_target)
    return {"dobjectness": dobjectness, "ddeltas": of_box * slope(deltas - targets, 1)}


def _reweighted(
    hint: str, spoil: Callable[[Weights, np.ndarray, int], Weights]
) -> Callable[..., np.ndarray]:
    """Return eq. 1 with spoiled weights, under the hint for it."""

    def loss(
        objectness: np.ndarray,
        deltas: np.ndarray,
        labels: np.ndarray,
        targets: np.ndarray,
        locations: int,
    ) -> np.ndarray:
        weights = spoil(_weights(labels, locations), labels, locations)
        return _loss(objectness, deltas, labels, targets, weights)

    loss.__doc__ = hint
    return loss


def _swapped(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
) -> np.ndarray:
    """Column 0 is background, column 1 is object."""
    return rpn_loss(objectness[:, ::-1], deltas, labels, targets, locations)


def _respoiled(
    hint: str, spoil: Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
) -> Callable[..., dict[str, np.ndarray]]:
    """Return the gradients of eq. 1, spoiled, under the hint for it."""

    def slopes(
        objectness: np.ndarray,
        deltas: np.ndarray,
        labels: np.ndarray,
        targets: np.ndarray,
        locations: int,
    ) -> dict[str, np.ndarray]:
        right = rpn_loss_slopes(objectness, deltas, labels, targets, locations)
        dobjectness, ddeltas = spoil(right["dobjectness"], right["ddeltas"], locations)
        return {"dobjectness": dobjectness, "ddeltas": ddeltas}

    slopes.__doc__ = hint
    return slopes


def _count(mask: np.ndarray) -> int:
    return max(int(mask.sum()), 1)


RPN_LOSS = (
    _reweighted("Where is 1 / N_cls?", lambda w, labels, n: (w[0] * N_CLS, w[1])),
    _reweighted(
        "N_cls is 256 even where fewer are sampled.",
        lambda w, labels, n: (w[0] * N_CLS / _count(labels != IGNORE), w[1]),
    ),
    _reweighted("Where is 1 / N_reg?", lambda w, labels, n: (w[0], w[1] * n)),
    _reweighted(
        "N_reg is the number of locations, not of positives.",
        lambda w, labels, n: (w[0], w[1] * n / _count(labels == POSITIVE)),
    ),
    _reweighted("Where is lambda?", lambda w, labels, n: (w[0], w[1] / BALANCE)),
    _reweighted(
        "Only positives have a box to regress to.",
        lambda w, labels, n: (w[0], (labels != IGNORE)[:, None] * BALANCE / n),
    ),
    _reweighted(
        "An ignored anchor costs nothing.",
        lambda w, labels, n: (np.full(len(labels), 1 / N_CLS), w[1]),
    ),
    _reweighted(
        "The four deltas of an anchor are summed, not averaged.",
        lambda w, labels, n: (w[0], w[1] / 4),
    ),
    _swapped,
)
RPN_LOSS_SLOPES = (
    _respoiled("Where is 1 / N_cls?", lambda do, dd, n: (do * N_CLS, dd)),
    _respoiled("Where is 1 / N_reg?", lambda do, dd, n: (do, dd * n)),
    _respoiled("Where is lambda?", lambda do, dd, n: (do, dd / BALANCE)),
    _respoiled("Is a sign the wrong way round?", lambda do, dd, n: (-do, -dd)),
    _respoiled("Is the sign of the boxes' gradient wrong?", lambda do, dd, n: (do, -dd)),
    _respoiled("Column 0 is background, column 1 is object.", lambda do, dd, n: (do[:, ::-1], dd)),
)
