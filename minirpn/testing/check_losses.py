"""Checks of smooth L1 and of the loss of eq. 1, with their slopes, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import strategies
from minirpn.testing.examine import Exercise, Mistakes, Question, Verdict, examine


def _smooth_l1(x: np.ndarray, sigma: float) -> np.ndarray:
    turn = 1 / sigma**2
    return np.where(np.abs(x) < turn, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 * turn)


def _slope(x: np.ndarray, sigma: float) -> np.ndarray:
    return np.where(np.abs(x) < 1 / sigma**2, sigma**2 * x, np.sign(x))


SMOOTH_L1_MISTAKES: Mistakes = {
    "Where is the 0.5 of the parabola?": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma**2, (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2
    ),
    "The two branches must meet: |x| - 0.5 / sigma^2 outside.": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma**2, 0.5 * (sigma * x) ** 2, np.abs(x)
    ),
    "The two branches must meet for every sigma: the step depends on it.": lambda x, sigma: (
        np.where(np.abs(x) < 1 / sigma**2, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5)
    ),
    "Did you forget that x may be negative?": lambda x, sigma: np.where(
        x < 1 / sigma**2, 0.5 * (sigma * x) ** 2, x - 0.5 / sigma**2
    ),
    "It turns linear at 1 / sigma^2, not at 1.": lambda x, sigma: np.where(
        np.abs(x) < 1, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2
    ),
    "It turns linear at 1 / sigma^2, not at 1 / sigma.": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2
    ),
    "Where is sigma?": lambda x, sigma: _smooth_l1(x, 1),
    "Sigma is squared in the parabola, too.": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma**2, 0.5 * sigma * x**2, np.abs(x) - 0.5 / sigma**2
    ),
    "Return one value for each element: whoever calls it takes the sum.": lambda x, sigma: np.sum(
        _smooth_l1(x, sigma)
    ),
}
SLOPE_MISTAKES: Mistakes = {
    "Left of the parabola the slope is -1.": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma**2, sigma**2 * x, 1
    ),
    "The derivative of 0.5 x^2 is x: the 0.5 is gone.": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma**2, 0.5 * sigma**2 * x, np.sign(x)
    ),
    "Where is sigma?": lambda x, sigma: _slope(x, 1),
    "The parabola's slope has sigma squared.": lambda x, sigma: np.where(
        np.abs(x) < 1 / sigma**2, sigma * x, np.sign(x)
    ),
    "This is the value; its slope is asked for.": _smooth_l1,
    "The slope is -1 or 1 outside of the parabola: no outlier pulls harder.": lambda x, sigma: (
        sigma**2 * x
    ),
}


@st.composite
def _differences(draw: DrawFn) -> Question:
    """Draw x (N,), often where the parabola ends, and sigma."""
    sigma = draw(st.sampled_from([1.0, 3.0, 0.5]))
    turn = 1 / sigma**2
    steps = st.one_of(
        st.sampled_from([-turn, turn, 0.0]), st.integers(-48, 48).map(lambda k: k / 16)
    )
    return {"x": np.array(draw(st.lists(steps, min_size=1, max_size=4))), "sigma": sigma}


def check_smooth_l1(f: Callable[..., Any], df: Callable[..., Any] | None = None) -> Verdict:
    """Check smooth L1: ``f(x, sigma=...)`` is its value at each x, ``df(x, sigma=...)`` its slope.

    Parameters
    ----------
    f, df
        Take x (N,) and return (N,); None checks no slope.

    Raises
    ------
    CheckError
        A value or a slope is wrong; the message has the smallest x found, and perhaps why.

    Notes
    -----
    ``0.5 (sigma x)^2`` where ``|x| < 1/sigma^2``, else ``|x| - 0.5/sigma^2``. See
    `minirpn.nn.smooth_l1_forward`.

    Examples
    --------
    >>> from minirpn import nn
    >>> bool(check_smooth_l1(lambda x, sigma: nn.smooth_l1_forward(x, sigma=sigma)[0]))
    True
    """
    values = examine(f, _exercise(_smooth_l1, SMOOTH_L1_MISTAKES))
    if df is None:
        return values
    slopes = examine(df, _exercise(_slope, SLOPE_MISTAKES))
    both = f"{values.function} and {slopes.function}"
    return Verdict(both, values.questions + slopes.questions if values and slopes else 0)


def _exercise(answer: Callable[..., Any], mistakes: Mistakes) -> Exercise:
    probe = np.array([-2.0, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 2.0, 5.0])
    return Exercise(
        answer=answer,
        drawn=(_differences(),),
        probes=tuple({"x": probe, "sigma": sigma} for sigma in (1.0, 3.0)),
        last=({"x": np.zeros(0), "sigma": 1.0},),
        mistakes=mistakes,
        keywords=frozenset({"sigma"}),
    )


N_CLS, BALANCE = 256, 10  # section 3.1.2

AnchorWeights = tuple[np.ndarray, np.ndarray]


def _anchor_weights(labels: np.ndarray, locations: int) -> AnchorWeights:
    """Return what each anchor's two losses are multiplied by: (K,) and (K, 1)."""
    sampled, positive = labels != IGNORE, labels == POSITIVE
    return sampled / N_CLS, (positive * BALANCE / locations)[:, None]


def _log_probabilities(objectness: np.ndarray) -> np.ndarray:
    shifted = objectness - objectness.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _rpn_loss(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
    *,
    spoil: Callable[[AnchorWeights, np.ndarray, int], AnchorWeights] = lambda w, labels, n: w,
) -> np.ndarray:
    """Return eq. 1; `spoil` changes the weights of the anchors."""
    of_objectness, of_box = spoil(_anchor_weights(labels, locations), labels, locations)
    is_object = (labels == POSITIVE).astype(int)
    chosen = np.take_along_axis(_log_probabilities(objectness), is_object[:, None], axis=1)[:, 0]
    losses = _smooth_l1(deltas - targets, 1)
    return np.asarray(-np.sum(of_objectness * chosen) + np.sum(of_box * losses))


def _rpn_loss_slopes(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
    *,
    spoil: Callable[[Any, Any, int], tuple[Any, Any]] = lambda do, dd, n: (do, dd),
) -> dict[str, np.ndarray]:
    """Return the gradients of eq. 1; `spoil` changes them."""
    of_objectness, of_box = _anchor_weights(labels, locations)
    is_target = (labels == POSITIVE)[:, None] == np.array([False, True])
    dobjectness = of_objectness[:, None] * (np.exp(_log_probabilities(objectness)) - is_target)
    ddeltas = of_box * _slope(deltas - targets, 1)
    dobjectness, ddeltas = spoil(dobjectness, ddeltas, locations)
    return {"dobjectness": dobjectness, "ddeltas": ddeltas}


def _count(mask: np.ndarray) -> int:
    return max(int(mask.sum()), 1)


# w: both weights of each anchor; n: the number of locations
RPN_LOSS_MISTAKES: Mistakes = {
    hint: partial(_rpn_loss, spoil=spoil)
    for hint, spoil in {
        "Where is 1 / N_cls?": lambda w, labels, n: (w[0] * N_CLS, w[1]),
        "N_cls is 256 even where fewer are sampled.": lambda w, labels, n: (
            w[0] * N_CLS / _count(labels != IGNORE),
            w[1],
        ),
        "Where is 1 / N_reg?": lambda w, labels, n: (w[0], w[1] * n),
        "N_reg is the number of locations, not of positives.": lambda w, labels, n: (
            w[0],
            w[1] * n / _count(labels == POSITIVE),
        ),
        "Where is lambda?": lambda w, labels, n: (w[0], w[1] / BALANCE),
        "Only positives have a box to regress to.": lambda w, labels, n: (
            w[0],
            (labels != IGNORE)[:, None] * BALANCE / n,
        ),
        "An ignored anchor costs nothing.": lambda w, labels, n: (
            np.full(len(labels), 1 / N_CLS),
            w[1],
        ),
        "The four deltas of an anchor are summed, not averaged.": lambda w, labels, n: (
            w[0],
            w[1] / 4,
        ),
    }.items()
} | {
    "Column 0 is background, column 1 is object.": lambda objectness, *rest: _rpn_loss(
        objectness[:, ::-1], *rest
    ),
}
RPN_LOSS_SLOPES_MISTAKES: Mistakes = {
    hint: partial(_rpn_loss_slopes, spoil=spoil)
    for hint, spoil in {
        "Where is 1 / N_cls?": lambda do, dd, n: (do * N_CLS, dd),
        "Where is 1 / N_reg?": lambda do, dd, n: (do, dd * n),
        "Where is lambda?": lambda do, dd, n: (do, dd / BALANCE),
        "Is a sign the wrong way round?": lambda do, dd, n: (-do, -dd),
        "Is the sign of the boxes' gradient wrong?": lambda do, dd, n: (do, -dd),
        "Column 0 is background, column 1 is object.": lambda do, dd, n: (do[:, ::-1], dd),
    }.items()
}


@st.composite
def _sampled_anchors(draw: DrawFn) -> Question:
    """Draw a head's outputs for a few anchors, their labels and targets."""
    K = draw(st.integers(1, 3))
    labels = draw(st.lists(st.sampled_from([POSITIVE, NEGATIVE, IGNORE]), min_size=K, max_size=K))
    return {
        "objectness": draw(strategies.deltas(K, largest=4))[:, :2],
        "deltas": draw(strategies.deltas(K)),
        "labels": np.array(labels),
        "targets": draw(strategies.deltas(K)),
        "locations": draw(st.integers(1, 40)),
    }


def check_rpn_loss(f: Callable[..., Any], df: Callable[..., Any] | None = None) -> Verdict:
    """Check eq. 1: ``f(objectness, deltas, labels, targets, locations)`` is the loss.

    Parameters
    ----------
    f
        Takes objectness (K, 2) (background, object), deltas (K, 4), labels (K,) of 1, 0 and -1 for
        ignored, targets (K, 4), and the number of anchor locations; returns the total loss. N_cls
        is 256, N_reg the locations, lambda 10, smooth L1 has sigma 1.
    df
        Takes the same and returns the gradients by objectness (K, 2) and by deltas (K, 4); None
        checks none.

    Raises
    ------
    CheckError
        The loss or a gradient is wrong; the message has the smallest example found, and perhaps
        why.

    Notes
    -----
    See `minirpn.rpn.rpn_loss_forward`.
    """
    loss = examine(f, _rpn_exercise(_rpn_loss, RPN_LOSS_MISTAKES))
    if df is None:
        return loss
    exercise = _rpn_exercise(_rpn_loss_slopes, RPN_LOSS_SLOPES_MISTAKES)
    slopes = examine(df, replace(exercise, read=_named_slopes))
    both = f"{loss.function} and {slopes.function}"
    return Verdict(both, loss.questions + slopes.questions if loss and slopes else 0)


def _named_slopes(result: Any) -> Any:
    if isinstance(result, dict):
        return result
    dobjectness, ddeltas = result
    return {"dobjectness": dobjectness, "ddeltas": ddeltas}


def _rpn_exercise(answer: Callable[..., Any], mistakes: Mistakes) -> Exercise:
    rng = np.random.default_rng(0)
    probe = {
        "objectness": rng.normal(size=(4, 2)),
        "deltas": rng.normal(size=(4, 4)),
        "labels": np.array([POSITIVE, NEGATIVE, IGNORE, POSITIVE]),
        "targets": rng.normal(size=(4, 4)),
        "locations": 3,
    }
    large = {
        "objectness": np.array([[1000.0, -1000.0], [1000.0, 1000.0]]),
        "deltas": np.zeros((2, 4)),
        "labels": np.array([NEGATIVE, POSITIVE]),
        "targets": np.zeros((2, 4)),
        "locations": 1,
    }
    return Exercise(
        answer=answer,
        drawn=(_sampled_anchors(),),
        probes=(probe,),
        last=(large,),
        mistakes=mistakes,
    )
