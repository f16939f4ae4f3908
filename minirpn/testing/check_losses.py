"""Checks of smooth L1 and of the loss of equation 1, with slopes, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import strategies
from minirpn.testing.check_cross_entropy import (
    LOG_SOFTMAX,
    LOG_SOFTMAX_MISTAKES,
    OfLogits,
    epsilons,
    first_number,
    log_of_spoiled,
    log_softmax,
)
from minirpn.testing.examine import (
    Asked,
    Contracts,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Verdict,
    ask,
    examine,
    expect_one_of,
)
from minirpn.testing.pairs import by_name, one_number


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


def _sigma_of(beta: float) -> float:
    return 1 / float(np.sqrt(beta))


def _by_beta(of_sigma: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return the same function of x and beta = 1 / sigma^2."""
    return lambda x, beta: of_sigma(x, _sigma_of(beta))


HALF = "Where is the 0.5 of the parabola?"
NEGATIVE_X = "Did you forget that x may be negative?"
ONE_EACH = "Return one value for each element: whoever calls it takes the sum."
NO_MEAN = "Return one value for each element, not their mean."
SIGMA_MISTAKES: Mistakes = {
    HALF: partial(_smooth_l1, parabola=lambda x, sigma: (sigma * x) ** 2),
    "The two branches must meet: |x| - 0.5 / sigma^2 outside.": partial(
        _smooth_l1, below=lambda sigma: 0
    ),
    "The two branches must meet for every sigma: the step depends on it.": partial(
        _smooth_l1, below=lambda sigma: 0.5
    ),
    NEGATIVE_X: partial(_smooth_l1, size=lambda x: x),
    "It turns linear at 1 / sigma^2, not at 1.": partial(_smooth_l1, turn=lambda sigma: 1),
    "It turns linear at 1 / sigma^2, not at 1 / sigma.": partial(
        _smooth_l1, turn=lambda sigma: 1 / sigma
    ),
    "Where is sigma?": lambda x, sigma: _smooth_l1(x, 1),
    "Use the sigma that is passed: this is the loss for 3.": lambda x, sigma: _smooth_l1(x, 3),
    "Sigma is squared in the parabola, too.": partial(
        _smooth_l1, parabola=lambda x, sigma: 0.5 * sigma * x**2
    ),
    "Sigma is squared everywhere: 1 / sigma^2 is the beta of PyTorch.": lambda x, sigma: _smooth_l1(
        x, np.sqrt(sigma)
    ),
    "This takes sigma for the beta of PyTorch, which is 1 / sigma^2.": lambda x, sigma: _smooth_l1(
        x, _sigma_of(sigma)
    ),
    "This is Huber's loss: the line has the slope 1, and the parabola sigma^2.": lambda x, sigma: (
        _smooth_l1(x, sigma) / sigma**2
    ),
    ONE_EACH: lambda x, sigma: np.sum(_smooth_l1(x, sigma)),
    NO_MEAN: lambda x, sigma: np.mean(_smooth_l1(x, sigma)),
}
BETA_MISTAKES: Mistakes = {
    HALF: _by_beta(SIGMA_MISTAKES[HALF]),
    "The two branches must meet: |x| - 0.5 beta outside.": _by_beta(
        partial(_smooth_l1, below=lambda sigma: 0)
    ),
    "The two branches must meet for every beta: the step depends on it.": _by_beta(
        partial(_smooth_l1, below=lambda sigma: 0.5)
    ),
    NEGATIVE_X: _by_beta(SIGMA_MISTAKES[NEGATIVE_X]),
    "It turns linear at beta, not at 1.": _by_beta(partial(_smooth_l1, turn=lambda sigma: 1)),
    "Where is beta?": lambda x, beta: _smooth_l1(x, 1),
    "The parabola is divided by beta.": _by_beta(
        partial(_smooth_l1, parabola=lambda x, sigma: 0.5 * x**2)
    ),
    "This takes beta for sigma: beta is 1 / sigma^2.": lambda x, beta: _smooth_l1(x, beta),
    "This is Huber's loss: the line has the slope 1, and the parabola 1 / beta.": lambda x, beta: (
        beta * _smooth_l1(x, _sigma_of(beta))
    ),
    ONE_EACH: _by_beta(SIGMA_MISTAKES[ONE_EACH]),
    NO_MEAN: _by_beta(SIGMA_MISTAKES[NO_MEAN]),
}
_LEFT = "Left of the parabola the slope is -1."
_NO_HALF = "The derivative of 0.5 x^2 is x: the 0.5 is gone."
_VALUE = "This is the value; its slope is asked for."
_NO_OUTLIER = "The slope is -1 or 1 outside of the parabola: no outlier pulls harder."
_RISES = "The slope has the sign of x: is a minus too much?"
SIGMA_SLOPE_MISTAKES: Mistakes = {
    _LEFT: partial(_slope, line=np.ones_like),
    _NO_HALF: partial(_slope, parabola=lambda x, sigma: 0.5 * sigma**2 * x),
    "Where is sigma?": lambda x, sigma: _slope(x, 1),
    "Use the sigma that is passed: this is the slope for 3.": lambda x, sigma: _slope(x, 3),
    "The parabola's slope has sigma squared.": partial(_slope, parabola=lambda x, sigma: sigma * x),
    "Sigma is squared everywhere: 1 / sigma^2 is the beta of PyTorch.": lambda x, sigma: _slope(
        x, np.sqrt(sigma)
    ),
    "This takes sigma for the beta of PyTorch, which is 1 / sigma^2.": lambda x, sigma: _slope(
        x, _sigma_of(sigma)
    ),
    _VALUE: _smooth_l1,
    _NO_OUTLIER: lambda x, sigma: sigma**2 * x,
    _RISES: lambda x, sigma: -_slope(x, sigma),
}
BETA_SLOPE_MISTAKES: Mistakes = {
    **{
        hint: _by_beta(SIGMA_SLOPE_MISTAKES[hint])
        for hint in (_LEFT, _NO_HALF, _VALUE, _NO_OUTLIER, _RISES)
    },
    "Where is beta?": lambda x, beta: _slope(x, 1),
    "The parabola's slope is x / beta.": _by_beta(partial(_slope, parabola=lambda x, sigma: x)),
    "This takes beta for sigma: beta is 1 / sigma^2.": lambda x, beta: _slope(x, beta),
}


@st.composite
def _differences(
    draw: DrawFn, parameter: str, *, least: int, largest: float, sigmas: tuple[float, ...]
) -> Question:
    """Draw x (N,), often where the parabola ends, and sigma or beta."""
    sigma = draw(st.sampled_from(sigmas))
    count = draw(st.integers(least, 4))
    x = draw(strategies.errors(count, turn=1 / sigma**2, largest=largest))
    return {"x": x, parameter: _value_of(parameter, sigma)}


def _value_of(parameter: str, sigma: float) -> float:
    return sigma if parameter == "sigma" else 1 / sigma**2


def _many_differences(parameter: str, count: int) -> Question:
    x = np.random.default_rng(0).normal(size=200)
    return {"x": x[:count], parameter: _value_of(parameter, 2.0)}


def check_smooth_l1(
    f: Callable[..., Any], df: Callable[..., Any] | None = None, *, parameter: str = "sigma"
) -> Verdict:
    """Check smooth L1: ``f(x, sigma=...)`` is its value at each x, ``df(x, sigma=...)`` its slope.

    Parameters
    ----------
    f, df
        Take x (N,) and return (N,); None checks no slope.
    parameter
        ``"sigma"``; or ``"beta"`` for those who call 1 / sigma^2 so, as PyTorch does: then f and df
        get ``beta=...`` instead.

    Raises
    ------
    CheckError
        A value or a slope is wrong; the message has the smallest x found, and perhaps why.
    ValueError
        There is no such parameter.

    Notes
    -----
    ``0.5 (sigma x)^2`` where ``|x| < 1/sigma^2``, else ``|x| - 0.5/sigma^2``; x goes up to 10,000.
    See `minirpn.nn.smooth_l1_forward`.

    Examples
    --------
    >>> from minirpn import nn
    >>> bool(check_smooth_l1(lambda x, sigma: nn.smooth_l1_forward(x, sigma=sigma)[0]))
    True
    """
    expect_one_of("parameter", parameter, _OF_SMOOTH_L1)
    contracts: Contracts = {
        f'parameter="{other}"': partial(_examine_smooth_l1, f, df, other, {})
        for other in _OF_SMOOTH_L1
        if other != parameter
    }
    return _examine_smooth_l1(f, df, parameter, contracts)


# value, its mistakes, slope, its mistakes
_OF_SMOOTH_L1 = {
    "sigma": (_smooth_l1, SIGMA_MISTAKES, _slope, SIGMA_SLOPE_MISTAKES),
    "beta": (_by_beta(_smooth_l1), BETA_MISTAKES, _by_beta(_slope), BETA_SLOPE_MISTAKES),
}


def _examine_smooth_l1(
    f: Callable[..., Any], df: Callable[..., Any] | None, parameter: str, contracts: Contracts
) -> Verdict:
    value, mistakes, slope, slope_mistakes = _OF_SMOOTH_L1[parameter]
    probe = np.array([-2.0, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 2.0, 5.0])
    wide = _differences(parameter, least=0, largest=1e4, sigmas=(1.0, 3.0, 0.5, 2.0, 10.0))
    exercise = partial(
        Exercise,
        stages=(
            Drawn(_differences(parameter, least=1, largest=3, sigmas=(1.0, 3.0, 0.5)), 60),
            Drawn(strategies.stored(wide, ("x",)), 80),
            Grown(partial(_many_differences, parameter), strategies.COUNTS),
            Asked(
                (
                    {"x": np.zeros(0), parameter: 1.0},
                    *strategies.in_each_layout(
                        {"x": np.arange(-8, 9) / 4, parameter: _value_of(parameter, 2.0)}, ("x",)
                    ),
                )
            ),
        ),
        probes=tuple({"x": probe, parameter: _value_of(parameter, sigma)} for sigma in (1.0, 3.0)),
        keywords=frozenset({parameter}),
    )
    values = examine(f, exercise(answer=value, mistakes=mistakes), None, contracts)
    if df is None:
        return values
    return values & examine(df, exercise(answer=slope, mistakes=slope_mistakes), None, contracts)


N_CLS, BALANCE = 256, 10  # section 3.1.2

Weights = tuple[np.ndarray, np.ndarray]
Spoil = Callable[[np.ndarray, np.ndarray, np.ndarray, int], Weights]


def _weights(labels: np.ndarray, locations: int) -> Weights:
    """Return what each anchor's two losses are multiplied by: (K,) and (K, 1)."""
    sampled, positive = labels != IGNORE, labels == POSITIVE
    return sampled / N_CLS, (positive * BALANCE / locations)[:, None]


def _column(labels: np.ndarray) -> np.ndarray:
    """Return the column of an anchor's class; that of an ignored one does not count."""
    return np.asarray(labels == POSITIVE, dtype=int)


def _rpn_loss(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
    *,
    spoil: Spoil = lambda cls, box, labels, n: (cls, box),
    log_p: OfLogits = log_softmax,
    column: Callable[[np.ndarray], np.ndarray] = _column,
    smooth_l1: Callable[[np.ndarray], np.ndarray] = lambda x: _smooth_l1(x, 1),
) -> np.ndarray:
    """Return eq. 1; `spoil` changes the weights of the anchors, each other option a part."""
    of_objectness, of_box = spoil(*_weights(labels, locations), labels, locations)
    chosen = np.take_along_axis(log_p(objectness), column(labels)[:, None], axis=1)[:, 0]
    losses = smooth_l1(deltas - targets)
    return np.asarray(-np.sum(of_objectness * chosen) + np.sum(of_box * losses))


def _rpn_loss_slopes(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
    *,
    spoil: Spoil = lambda cls, box, labels, n: (cls, box),
    turn_round: Callable[[Any, Any], tuple[Any, Any]] = lambda do, dd: (do, dd),
    less: float = 1,
    column: Callable[[np.ndarray], np.ndarray] = _column,
    slope: Callable[[np.ndarray], np.ndarray] = lambda x: _slope(x, 1),
) -> dict[str, np.ndarray]:
    """Return the gradients of eq. 1; `spoil` changes the weights, each other option a part."""
    of_objectness, of_box = spoil(*_weights(labels, locations), labels, locations)
    is_target = np.arange(2) == column(labels)[:, None] % 2
    dobjectness = of_objectness[:, None] * (np.exp(log_softmax(objectness)) - less * is_target)
    dobjectness, ddeltas = turn_round(dobjectness, of_box * slope(deltas - targets))
    return {"dobjectness": dobjectness, "ddeltas": ddeltas}


def _count(mask: np.ndarray) -> int:
    return max(int(mask.sum()), 1)


# cls, box: the weights of an anchor's two losses; n: the number of locations
WEIGHT_MISTAKES: dict[str, Spoil] = {
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
    "Only positives have a box to regress to; the sum is not over all anchors.": (
        lambda cls, box, labels, n: (cls, 0 * box + BALANCE / n)
    ),
    "An ignored anchor costs nothing.": lambda cls, box, labels, n: (0 * cls + 1 / N_CLS, box),
    "The four deltas of an anchor are summed, not averaged.": (
        lambda cls, box, labels, n: (cls, box / 4)
    ),
}
COLUMNS = "Column 0 is background, column 1 is object."
LABEL_AS_COLUMN = "An ignored anchor costs nothing: its label -1 is no column."
RELEASED_SIGMA = "Smooth L1 has sigma 1 here; 3 is that of the released code."


def _every_anchor(cls: np.ndarray, box: np.ndarray, labels: np.ndarray, n: int) -> Weights:
    return 0 * cls + 1 / N_CLS, box


RPN_LOSS_MISTAKES: Mistakes = {
    **{hint: partial(_rpn_loss, spoil=spoil) for hint, spoil in WEIGHT_MISTAKES.items()},
    COLUMNS: partial(_rpn_loss, column=lambda labels: 1 - _column(labels)),
    LABEL_AS_COLUMN: partial(_rpn_loss, column=lambda labels: labels, spoil=_every_anchor),
    RELEASED_SIGMA: partial(_rpn_loss, smooth_l1=lambda x: _smooth_l1(x, 3)),
    "Within 1 smooth L1 is a parabola: 0.5 x^2.": partial(_rpn_loss, smooth_l1=np.abs),
    "From 1 on smooth L1 is a line: |x| - 0.5.": partial(_rpn_loss, smooth_l1=lambda x: 0.5 * x**2),
    **{hint: partial(_rpn_loss, log_p=log_p) for hint, log_p in LOG_SOFTMAX_MISTAKES.items()},
}
# do, dd: the gradients by objectness and deltas
RPN_LOSS_SLOPES_MISTAKES: Mistakes = {
    **{hint: partial(_rpn_loss_slopes, spoil=spoil) for hint, spoil in WEIGHT_MISTAKES.items()},
    COLUMNS: partial(_rpn_loss_slopes, column=lambda labels: 1 - _column(labels)),
    LABEL_AS_COLUMN: partial(_rpn_loss_slopes, column=lambda labels: labels, spoil=_every_anchor),
    "The gradient by the logits is p - 1 in the right column, not p.": partial(
        _rpn_loss_slopes, less=0
    ),
    "Is a sign the wrong way round?": partial(
        _rpn_loss_slopes, turn_round=lambda do, dd: (-do, -dd)
    ),
    "Is the sign of the boxes' gradient wrong?": partial(
        _rpn_loss_slopes, turn_round=lambda do, dd: (do, -dd)
    ),
    "Is the sign of the objectness' gradient wrong?": partial(
        _rpn_loss_slopes, turn_round=lambda do, dd: (-do, dd)
    ),
    RELEASED_SIGMA: partial(_rpn_loss_slopes, slope=lambda x: _slope(x, 3)),
    "Within 1 the slope of smooth L1 is x.": partial(_rpn_loss_slopes, slope=np.sign),
    "From 1 on the slope of smooth L1 is 1: no outlier pulls harder.": partial(
        _rpn_loss_slopes, slope=lambda x: x
    ),
}


def _epsilon_mistakes(loss: float) -> Mistakes:
    """Return eq. 1 with an epsilon in its logarithm, by the hint; see `epsilons`."""
    return {
        hint: partial(_rpn_loss, log_p=partial(log_of_spoiled, spoil=spoil))
        for hint, spoil in epsilons(loss, LOG_SOFTMAX).items()
    }


@st.composite
def _sampled_anchors(
    draw: DrawFn, *, least: int, largest_logit: float, largest_error: float
) -> Question:
    """Draw a head's outputs for a few anchors, their labels and targets."""
    K = draw(st.integers(least, 3))
    labels = draw(st.lists(st.sampled_from([POSITIVE, NEGATIVE, IGNORE]), min_size=K, max_size=K))
    targets = draw(strategies.deltas(K))
    errors = draw(strategies.errors(4 * K, largest=largest_error)).reshape(K, 4)
    return {
        "objectness": draw(strategies.logits(K, 2, largest=largest_logit)),
        "deltas": targets + errors,
        "labels": np.array(labels, dtype=np.int64),
        "targets": targets,
        "locations": draw(st.sampled_from([1, 2, 3, 40, 2400])),
    }


def _wide_anchors(largest_logit: float, dtype: Any) -> st.SearchStrategy[Question]:
    """Draw large logits or large errors, not both: of a large sum the small part is not seen."""
    several = st.one_of(
        _sampled_anchors(least=0, largest_logit=largest_logit, largest_error=2),
        _sampled_anchors(least=0, largest_logit=4, largest_error=1e4),
    )
    return strategies.stored(several, ("objectness", "deltas", "targets"), dtypes=(dtype,))


def _many_anchors(count: int) -> Question:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(200, 10))
    labels = rng.integers(IGNORE, POSITIVE, size=200, endpoint=True)
    return {
        "objectness": numbers[:count, :2],
        "deltas": numbers[:count, 2:6],
        "labels": labels[:count],
        "targets": numbers[:count, 6:],
        "locations": 40,
    }


def _eighths() -> Question:
    """Return anchors whose numbers are multiples of 1/8."""
    question = _many_anchors(9)
    names = ("objectness", "deltas", "targets")
    return question | {name: np.round(8 * question[name]) / 8 for name in names}


def _asked_anchors(objectness: Any, labels: list[int], deltas: float = 0.0) -> Question:
    boxes = np.zeros((len(labels), 4))
    return {
        "objectness": np.array(objectness, dtype=np.float64),
        "deltas": boxes + deltas,
        "labels": np.array(labels),
        "targets": boxes,
        "locations": 1,
    }


def check_rpn_loss(f: Callable[..., Any], df: Callable[..., Any] | None = None) -> Verdict:
    """Check equation 1: ``f(objectness, deltas, labels, targets, locations)`` is the loss.

    Parameters
    ----------
    f
        Takes objectness (K, 2) (background, object), deltas (K, 4), labels (K,) of 1, 0 and -1 for
        ignored, targets (K, 4), and the number of anchor locations; returns the total loss: a
        number, also as an array or a list with one element. N_cls is 256, N_reg the locations,
        lambda 10, smooth L1 has sigma 1.
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
    Logits go up to 100, in float32 to 20, and a few are 1000; differences of deltas up to 10,000.
    See `minirpn.rpn.rpn_loss_forward`.
    """
    exercise = partial(Exercise, stages=_RPN_STAGES, probes=_RPN_PROBES)
    plain = exercise(answer=_rpn_loss, read=one_number)
    apart = _asked_anchors([[300, 0]], [POSITIVE])
    mistakes = RPN_LOSS_MISTAKES | _epsilon_mistakes(N_CLS * first_number(ask(f, apart, plain)))
    loss = examine(f, exercise(answer=_rpn_loss, read=one_number, mistakes=mistakes))
    if df is None:
        return loss
    read = partial(by_name, names=("dobjectness", "ddeltas"))
    slopes = exercise(answer=_rpn_loss_slopes, read=read, mistakes=RPN_LOSS_SLOPES_MISTAKES)
    return loss & examine(df, slopes)


_RPN_STAGES = (
    Drawn(_sampled_anchors(least=1, largest_logit=4, largest_error=2), 60),
    Drawn(_wide_anchors(100, np.float64), 60),
    # exp(-40) is an ordinary number in float32, and exp(-100) is not.
    Drawn(_wide_anchors(20, np.float32), 20),
    Grown(_many_anchors, strategies.COUNTS),
    Asked(strategies.in_each_layout(_eighths(), ("objectness", "deltas", "targets"))),
    Asked(
        (
            _asked_anchors([[1, 2], [3, -1], [0, 1]], 3 * [IGNORE], 2),
            _asked_anchors([[1, 2], [3, -1], [0, 1]], 3 * [NEGATIVE], 2),
            _asked_anchors([[1, 2], [3, -1], [0, 1]], 3 * [POSITIVE], 2),
            _asked_anchors([[0, 1], [1000, 998]], [NEGATIVE, POSITIVE]),
            _asked_anchors([[1000, -1000], [1000, 1000]], [NEGATIVE, POSITIVE]),
            _asked_anchors([[90, 0]], [POSITIVE])
            | {"objectness": np.array([[90, 0]], dtype=np.float32)},
        )
    ),
)
_numbers = np.random.default_rng(0).normal(size=(4, 10))
_RPN_PROBES = (
    {
        "objectness": _numbers[:, :2],
        "deltas": _numbers[:, 2:6],
        "labels": np.array([POSITIVE, NEGATIVE, IGNORE, POSITIVE]),
        "targets": _numbers[:, 6:],
        "locations": 3,
    },
)
