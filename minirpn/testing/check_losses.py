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
from minirpn.testing.examine import (
    Asked,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
)
from minirpn.testing.pairs import by_name


def _smooth_l1(
    x: np.ndarray,
    sigma: float,
    *,
    size: Callable[[np.ndarray], np.ndarray] = np.abs,
    turn: Callable[[float], float] = lambda sigma: 1 / sigma**2,
    parabola: Callable[[np.ndarray, float], np.ndarray] = lambda x, sigma: 0.5 * (sigma * x) ** 2,
    below: Callable[[float], float] = lambda sigma: 0.5 / sigma**2,
) -> np.ndarray:
    """Return the parabola, from `turn` on the line |x| - `below`; each option spoils one part."""
    return np.where(size(x) < turn(sigma), parabola(x, sigma), size(x) - below(sigma))


def _slope(
    x: np.ndarray,
    sigma: float,
    *,
    parabola: Callable[[np.ndarray, float], np.ndarray] = lambda x, sigma: sigma**2 * x,
    line: Callable[[np.ndarray], Any] = np.sign,
) -> np.ndarray:
    return np.where(np.abs(x) < 1 / sigma**2, parabola(x, sigma), line(x))


SMOOTH_L1_MISTAKES: Mistakes = {
    "Where is the 0.5 of the parabola?": partial(
        _smooth_l1, parabola=lambda x, sigma: (sigma * x) ** 2
    ),
    "The two branches must meet: |x| - 0.5 / sigma^2 outside.": partial(
        _smooth_l1, below=lambda sigma: 0
    ),
    "The two branches must meet for every sigma: the step depends on it.": partial(
        _smooth_l1, below=lambda sigma: 0.5
    ),
    "Did you forget that x may be negative?": partial(_smooth_l1, size=lambda x: x),
    "It turns linear at 1 / sigma^2, not at 1.": partial(_smooth_l1, turn=lambda sigma: 1),
    "It turns linear at 1 / sigma^2, not at 1 / sigma.": partial(
        _smooth_l1, turn=lambda sigma: 1 / sigma
    ),
    "Where is sigma?": lambda x, sigma: _smooth_l1(x, 1),
    "Sigma is squared in the parabola, too.": partial(
        _smooth_l1, parabola=lambda x, sigma: 0.5 * sigma * x**2
    ),
    "Return one value for each element: whoever calls it takes the sum.": (
        lambda x, sigma: np.sum(_smooth_l1(x, sigma))
    ),
}
SLOPE_MISTAKES: Mistakes = {
    "Left of the parabola the slope is -1.": partial(_slope, line=np.ones_like),
    "The derivative of 0.5 x^2 is x: the 0.5 is gone.": partial(
        _slope, parabola=lambda x, sigma: 0.5 * sigma**2 * x
    ),
    "Where is sigma?": lambda x, sigma: _slope(x, 1),
    "The parabola's slope has sigma squared.": partial(_slope, parabola=lambda x, sigma: sigma * x),
    "This is the value; its slope is asked for.": _smooth_l1,
    "The slope is -1 or 1 outside of the parabola: no outlier pulls harder.": (
        lambda x, sigma: sigma**2 * x
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
    return values if df is None else values & examine(df, _exercise(_slope, SLOPE_MISTAKES))


def _exercise(answer: Callable[..., Any], mistakes: Mistakes) -> Exercise:
    probe = np.array([-2.0, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 2.0, 5.0])
    return Exercise(
        answer=answer,
        stages=(Drawn(_differences()), Asked(({"x": np.zeros(0), "sigma": 1.0},))),
        probes=tuple({"x": probe, "sigma": sigma} for sigma in (1.0, 3.0)),
        mistakes=mistakes,
        keywords=frozenset({"sigma"}),
    )


N_CLS, BALANCE = 256, 10  # section 3.1.2

Weights = tuple[np.ndarray, np.ndarray]
Spoil = Callable[[np.ndarray, np.ndarray, np.ndarray, int], Weights]


def _weights(labels: np.ndarray, locations: int) -> Weights:
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
    spoil: Spoil = lambda cls, box, labels, n: (cls, box),
) -> np.ndarray:
    """Return eq. 1; `spoil` changes the weights of the anchors."""
    of_objectness, of_box = spoil(*_weights(labels, locations), labels, locations)
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
    of_objectness, of_box = _weights(labels, locations)
    is_target = (labels == POSITIVE)[:, None] == np.array([False, True])
    dobjectness = of_objectness[:, None] * (np.exp(_log_probabilities(objectness)) - is_target)
    ddeltas = of_box * _slope(deltas - targets, 1)
    dobjectness, ddeltas = spoil(dobjectness, ddeltas, locations)
    return {"dobjectness": dobjectness, "ddeltas": ddeltas}


def _count(mask: np.ndarray) -> int:
    return max(int(mask.sum()), 1)


# cls, box: the weights of an anchor's two losses; n: the number of locations
RPN_LOSS_MISTAKES: Mistakes = {
    hint: partial(_rpn_loss, spoil=spoil)
    for hint, spoil in {
        "Where is 1 / N_cls?": lambda cls, box, labels, n: (cls * N_CLS, box),
        "N_cls is 256 even where fewer are sampled.": (
            lambda cls, box, labels, n: (cls * N_CLS / _count(labels != IGNORE), box)
        ),
        "Where is 1 / N_reg?": lambda cls, box, labels, n: (cls, box * n),
        "N_reg is the number of locations, not of positives.": (
            lambda cls, box, labels, n: (cls, box * n / _count(labels == POSITIVE))
        ),
        "Where is lambda?": lambda cls, box, labels, n: (cls, box / BALANCE),
        "Only positives have a box to regress to.": (
            lambda cls, box, labels, n: (cls, (labels != IGNORE)[:, None] * BALANCE / n)
        ),
        "An ignored anchor costs nothing.": lambda cls, box, labels, n: (0 * cls + 1 / N_CLS, box),
        "The four deltas of an anchor are summed, not averaged.": (
            lambda cls, box, labels, n: (cls, box / 4)
        ),
    }.items()
}
RPN_LOSS_MISTAKES["Column 0 is background, column 1 is object."] = lambda objectness, *rest: (
    _rpn_loss(objectness[:, ::-1], *rest)
)
# do, dd: the gradients by objectness and deltas
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
    read = partial(by_name, names=("dobjectness", "ddeltas"))
    return loss & examine(df, replace(exercise, read=read))


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
        stages=(Drawn(_sampled_anchors()), Asked((large,))),
        probes=(probe,),
        mistakes=mistakes,
    )
