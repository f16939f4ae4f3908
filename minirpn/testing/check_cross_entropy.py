"""Checks of softmax and sigmoid cross entropy, with their gradients, and the mistakes they know.

From top to bottom: log p by the softmax and what is made of it, the two losses row by row, the
mean and the sum of the rows, the questions, the checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import strategies
from minirpn.testing.examine import (
    Asked,
    Contracts,
    Drawn,
    Exercise,
    Grown,
    Mistakes,
    Question,
    Stage,
    Verdict,
    ask,
    examine,
    expect_one_of,
)
from minirpn.testing.pairs import one_number

OfRows = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of logits and targets: the loss of each row (K,), or its gradient, shaped as the logits."""
OfLogits = Callable[[np.ndarray], np.ndarray]
OfProbabilities = Callable[[np.ndarray], np.ndarray]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log p (K, C) for logits (K, C) of any size."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits))


def log_of_spoiled(logits: np.ndarray, spoil: OfProbabilities) -> np.ndarray:
    """Return the logarithm of what `spoil` makes of the probabilities."""
    return np.asarray(np.log(spoil(_softmax(logits))))


def _overflowing_softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


LOG_SOFTMAX_MISTAKES: dict[str, OfLogits] = {
    "exp(1000) is infinite: subtract the largest logit of the row first.": (
        lambda z: np.log(_overflowing_softmax(z))
    ),
    "exp(1000) is infinite: in log(sum(exp)), too, subtract the largest logit first.": (
        lambda z: z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    ),
    "Is the softmax taken twice?": lambda z: log_softmax(_softmax(z)),
    "These are logits, no probabilities: take the softmax first.": np.log,
    "The softmax is over the classes of a row, not over the rows.": lambda z: log_softmax(z.T).T,
    "Take the natural logarithm, not the one with base 2.": lambda z: log_softmax(z) / math.log(2),
    "Take the natural logarithm, not the one with base 10.": lambda z: (
        log_softmax(z) / math.log(10)
    ),
    "Where is log(sum(exp))?": lambda z: z,
    "The loss is -log p, not 1 - p.": lambda z: _softmax(z) - 1,
    "The loss is -log p: is the minus missing?": lambda z: -log_softmax(z),
}
"""What is taken for log p (K, C), by the hint."""
LOG_SOFTMAX = "Log p is the logit less log(sum(exp))."


def epsilons(loss: float, instead: str) -> dict[str, OfProbabilities]:
    """Return what an epsilon or a clip makes of probabilities; none if none limits the loss.

    The hints claim no cause: a small epsilon, and a clip of p or of the logits, look alike.

    Parameters
    ----------
    loss
        What is given for a loss that should be 300: -log(epsilon) with an epsilon.
    instead
        What to write, for the hint.
    """
    if not 1 < loss < 299:
        return {}
    e = math.exp(-loss)
    limit = f"No -log p gets above {loss:.1f}"
    return {
        f"{limit}: is there an epsilon, or a clip? {instead}": lambda p: p + e,
        f"{limit}: is there a clip, or an epsilon? {instead}": lambda p: np.maximum(p, e),
        f"{limit}, and none is 0: is there a clip? {instead}": lambda p: np.clip(p, e, 1 - e),
    }


def _of_target(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the number in the column of each row's target: (K, C), (K,) -> (K,)."""
    return np.asarray(np.take_along_axis(rows, targets[:, None].astype(int), axis=1)[:, 0])


def _softmax_rows(
    logits: np.ndarray, targets: np.ndarray, log_p: OfLogits = log_softmax
) -> np.ndarray:
    return -_of_target(log_p(logits), targets)


def _is_target(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.asarray(targets[:, None] == np.arange(logits.shape[1]))


def _softmax_slopes(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.asarray(_softmax(logits) - _is_target(logits, targets))


SOFTMAX_MISTAKES: dict[str, OfRows] = {
    **{hint: partial(_softmax_rows, log_p=log_p) for hint, log_p in LOG_SOFTMAX_MISTAKES.items()},
    "Only the target's log p counts, not the sum over all classes.": lambda z, t: (
        -log_softmax(z).sum(axis=1)
    ),
    "Divide by the number of rows, not by that of all logits.": lambda z, t: (
        _softmax_rows(z, t) / z.shape[1]
    ),
}
SOFTMAX_SLOPE_MISTAKES: dict[str, OfRows] = {
    "The gradient is p - 1 at the target, not p.": lambda z, t: _softmax(z),
    "Is the sign the wrong way round? The gradient is p, less 1 at the target.": lambda z, t: (
        -_softmax_slopes(z, t)
    ),
    "The other classes have a gradient, too: their p.": lambda z, t: (
        _softmax_slopes(z, t) * _is_target(z, t)
    ),
    "This is the gradient by p: the one by the logits is p, less 1 at the target.": lambda z, t: (
        -1 * _is_target(z, t) / _softmax(z)
    ),
    "exp(1000) is infinite: subtract the largest logit of the row first.": lambda z, t: (
        _overflowing_softmax(z) - _is_target(z, t)
    ),
    "The softmax is over the classes of a row, not over the rows.": lambda z, t: (
        _softmax(z.T).T - _is_target(z, t)
    ),
    "Divide by the number of rows, not by that of all logits.": lambda z, t: (
        _softmax_slopes(z, t) / z.shape[1]
    ),
}


def _softmax_epsilons(loss: float) -> dict[str, OfRows]:
    return {
        hint: partial(_softmax_rows, log_p=partial(log_of_spoiled, spoil=spoil))
        for hint, spoil in epsilons(loss, LOG_SOFTMAX).items()
    }


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))


def _sigmoid_rows(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def _by_probabilities(
    p: np.ndarray, targets: np.ndarray, spoil: OfProbabilities = lambda p: p
) -> np.ndarray:
    """Return -log p of targets of 1 and -log(1 - p) of the others, both p spoiled."""
    return -(targets * np.log(spoil(p)) + (1 - targets) * np.log(spoil(1 - p)))


def _by_logits(logits: np.ndarray, targets: np.ndarray, spoil: OfProbabilities) -> np.ndarray:
    return _by_probabilities(_sigmoid(logits), targets, spoil)


def _sigmoid_slopes(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return _sigmoid(logits) - targets


STABLE = "max(z, 0) - z t + log1p(exp(-|z|)) holds for every z."
SIGMOID_MISTAKES: dict[str, OfRows] = {
    f"1 - p is 0 from z = 37 on, and its logarithm infinite. {STABLE}": lambda z, t: (
        _by_probabilities(_sigmoid(z), t)
    ),
    f"exp(1000) is infinite. {STABLE}": lambda z, t: np.log(1 + np.exp(z)) - z * t,
    "Is the sigmoid taken twice?": lambda z, t: _sigmoid_rows(_sigmoid(z), t),
    "These are logits, no probabilities: take the sigmoid first.": _by_probabilities,
    "Targets of 0 have a loss, too: -log(1 - p).": lambda z, t: t * _sigmoid_rows(z, t),
    "A target of 1 is an object: its loss is -log p.": lambda z, t: _sigmoid_rows(z, 1 - t),
    "The loss is -log p: is the minus missing?": lambda z, t: -_sigmoid_rows(z, t),
    "Take the natural logarithm, not the one with base 2.": lambda z, t: (
        _sigmoid_rows(z, t) / math.log(2)
    ),
    "Take the natural logarithm, not the one with base 10.": lambda z, t: (
        _sigmoid_rows(z, t) / math.log(10)
    ),
}
SIGMOID_SLOPE_MISTAKES: dict[str, OfRows] = {
    "The gradient is p - t, not p.": lambda z, t: _sigmoid(z),
    "Is the sign the wrong way round? The gradient is p - t.": lambda z, t: -_sigmoid_slopes(z, t),
    "The slope of the sigmoid cancels: the gradient is p - t.": lambda z, t: (
        _sigmoid_slopes(z, t) * _sigmoid(z) * _sigmoid(-z)
    ),
    "This is the gradient by p: the one by the logit is p - t.": lambda z, t: (
        (1 - t) / _sigmoid(-z) - t / _sigmoid(z)
    ),
    "exp(1000) is infinite: 1 / (1 + exp(-z)) holds for every z.": lambda z, t: (
        np.exp(z) / (1 + np.exp(z)) - t
    ),
    "These are logits: take the sigmoid first.": lambda z, t: z - t,
    "Is the sigmoid taken twice?": lambda z, t: _sigmoid(_sigmoid(z)) - t,
}


def _sigmoid_epsilons(loss: float) -> dict[str, OfRows]:
    return {
        hint: partial(_by_logits, spoil=spoil) for hint, spoil in epsilons(loss, STABLE).items()
    }


_OF_ROWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": np.mean,
    "sum": np.sum,
    "none": np.asarray,
}
_NAMES = {
    "mean": "the mean of the rows",
    "sum": "the sum of the rows",
    "none": "the loss of each row",
}


def _reduced(rows: OfRows, reduction: str) -> Callable[..., Any]:
    return lambda logits, targets: _OF_ROWS[reduction](rows(logits, targets))


def _slope_of(slopes: OfRows, reduction: str) -> Callable[..., Any]:
    def slope(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        count = max(len(logits), 1) if reduction == "mean" else 1
        return slopes(logits, targets) / count

    return slope


@dataclass(frozen=True)
class Loss:
    """A cross entropy by the row, the mistakes of its author, and the questions.

    Parameters
    ----------
    rows, slopes
        The right loss of each row, and its gradient.
    row_mistakes, slope_mistakes
        The same, wrong, by the hint.
    epsilon_mistakes
        What an epsilon makes of it, from the loss given where it should be 300.
    stages, probes
        See `Exercise`.
    apart
        The question of which the loss should be 300.
    """

    rows: OfRows
    slopes: OfRows
    row_mistakes: dict[str, OfRows]
    slope_mistakes: dict[str, OfRows]
    epsilon_mistakes: Callable[[float], dict[str, OfRows]]
    stages: tuple[Stage, ...]
    probes: tuple[Question, ...]
    apart: Question

    def value(self, reduction: str = "mean") -> Callable[..., Any]:
        """Return the right function of logits and targets."""
        return _reduced(self.rows, reduction)

    def mistakes(self, reduction: str = "mean", loss_of_300: float = 300) -> Mistakes:
        """Return the wrong ones by the hint; those with an epsilon, too, if it limits the loss."""
        known = self.row_mistakes | self.epsilon_mistakes(loss_of_300)
        return {hint: _reduced(rows, reduction) for hint, rows in known.items()} | {
            f"This is {_NAMES[other]}: {_NAMES[reduction]} is asked for.": self.value(other)
            for other in _OF_ROWS
            if other != reduction
        }

    def gradient_mistakes(self, reduction: str = "mean") -> Mistakes:
        """Return the wrong gradients by the hint."""
        known = {hint: _slope_of(slopes, reduction) for hint, slopes in self.slope_mistakes.items()}
        other, hint = (
            ("sum", "The loss is a mean: divide its gradient by the number of rows, too.")
            if reduction == "mean"
            else ("mean", "The loss is no mean: do not divide its gradient by the number of rows.")
        )
        return known | {hint: _slope_of(self.slopes, other)}

    def check(
        self, f: Callable[..., Any], df: Callable[..., Any] | None, reduction: str
    ) -> Verdict:
        """Check a loss, and its gradient if there is one, and name another reduction that fits."""
        expect_one_of("reduction", reduction, _OF_ROWS)
        contracts: Contracts = {
            f'reduction="{other}"': partial(self._examine, f, df, other, {})
            for other in _OF_ROWS
            if other != reduction
        }
        return self._examine(f, df, reduction, contracts)

    def _examine(
        self,
        f: Callable[..., Any],
        df: Callable[..., Any] | None,
        reduction: str,
        contracts: Contracts,
    ) -> Verdict:
        none: Question = {name: part[:0] for name, part in self.probes[0].items()}
        # The mean of no rows is not defined.
        stages = self.stages if reduction == "mean" else (*self.stages, Asked((none,)))
        exercise = partial(Exercise, stages=stages, probes=self.probes)
        right = self.value(reduction)
        read = one_number if reduction != "none" else lambda result: result
        plain = exercise(answer=right, read=read)
        mistakes = self.mistakes(reduction, first_number(ask(f, self.apart, plain)))
        verdict = examine(f, exercise(answer=right, read=read, mistakes=mistakes), None, contracts)
        if df is None:
            return verdict
        slope, slope_mistakes = _slope_of(self.slopes, reduction), self.gradient_mistakes(reduction)
        return verdict & examine(
            df, exercise(answer=slope, mistakes=slope_mistakes), None, contracts
        )


def first_number(answer: Any) -> float:
    """Return the first number of an answer, NaN if it is not one of numbers."""
    is_numeric = isinstance(answer, np.ndarray) and answer.dtype.kind in "iuf" and answer.size
    return float(answer.flat[0]) if is_numeric else math.nan


@st.composite
def _rows_of_classes(
    draw: DrawFn, *, rows: Sequence[int], classes: Sequence[int], largest: float
) -> Question:
    K, C = draw(st.sampled_from(rows)), draw(st.sampled_from(classes))
    targets = draw(st.lists(st.integers(0, C - 1), min_size=K, max_size=K))
    return {
        "logits": draw(strategies.logits(K, C, largest=largest)),
        "targets": np.array(targets, dtype=np.int64),
    }


@st.composite
def _held(draw: DrawFn, questions: st.SearchStrategy[Question], dtype: Any) -> Question:
    """Draw logits in a dtype and in odd layouts, and the labels in odd layouts."""
    question = draw(strategies.stored(questions, ("logits",), dtypes=(dtype,)))
    return question | {"targets": draw(strategies.layouts(question["targets"]))}


def _crowd_of_classes(rows: int, classes: int) -> Question:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=5, size=(200, 200))
    targets = rng.integers(0, 200, size=200)
    return {"logits": logits[:rows, :classes], "targets": np.minimum(targets[:rows], classes - 1)}


_EIGHTHS: Question = {
    "logits": np.array([[1.0, -2, 0.5], [0.25, 3, -1], [-0.5, 0, 2], [4, 1, 1.125]]),
    "targets": np.array([0, 2, 1, 0]),
}
_ROWS = partial(_rows_of_classes, rows=(1, 2, 3, 4), classes=(2, 1, 3, 6))
SOFTMAX = Loss(
    rows=_softmax_rows,
    slopes=_softmax_slopes,
    row_mistakes=SOFTMAX_MISTAKES,
    slope_mistakes=SOFTMAX_SLOPE_MISTAKES,
    epsilon_mistakes=_softmax_epsilons,
    stages=(
        Drawn(_rows_of_classes(rows=(1, 2, 3), classes=(2, 3, 4), largest=4), 60),
        Drawn(_held(_ROWS(largest=100), np.float64), 80),
        # exp(-40) is an ordinary number in float32, and exp(-100) is not.
        Drawn(_held(_ROWS(largest=20), np.float32), 40),
        Grown(partial(_crowd_of_classes, classes=21), strategies.COUNTS),
        Grown(partial(_crowd_of_classes, 3), strategies.COUNTS),
        Asked(
            (
                *strategies.in_each_layout(_EIGHTHS, ("logits",)),
                {"logits": np.array([[1000.0, 998.0]]), "targets": np.array([1])},
                {"logits": np.array([[0.0, 1.0], [1000.0, 998.0]]), "targets": np.array([1, 0])},
                {"logits": np.array([[-1000.0, -1001.0]]), "targets": np.array([0])},
                {"logits": np.array([[1000.0, -1000.0]]), "targets": np.array([0])},
                {"logits": np.array([[0.0, 1000.0]]), "targets": np.array([1])},
                {"logits": np.array([[90, 0]], dtype=np.float32), "targets": np.array([1])},
            )
        ),
    ),
    probes=(_EIGHTHS,),
    apart={"logits": np.array([[0.0, 300.0]]), "targets": np.array([0])},
)


@st.composite
def _rows_of_scores(draw: DrawFn, *, rows: Sequence[int], largest: float) -> Question:
    K = draw(st.sampled_from(rows))
    targets = draw(st.lists(st.integers(0, 1), min_size=K, max_size=K))
    return {
        "logits": draw(strategies.logits(K, 1, largest=largest))[:, 0],
        "targets": np.array(targets, dtype=np.float64),
    }


def _crowd_of_scores(count: int) -> Question:
    numbers = np.random.default_rng(0).normal(scale=5, size=(200, 2))
    return {
        "logits": numbers[:count, 0],
        "targets": (numbers[:count, 1] > 0).astype(np.float64),
    }


SIGMOID = Loss(
    rows=_sigmoid_rows,
    slopes=_sigmoid_slopes,
    row_mistakes=SIGMOID_MISTAKES,
    slope_mistakes=SIGMOID_SLOPE_MISTAKES,
    epsilon_mistakes=_sigmoid_epsilons,
    stages=(
        Drawn(_rows_of_scores(rows=(1, 2, 3), largest=4), 60),
        Drawn(
            strategies.stored(
                _rows_of_scores(rows=(1, 2, 3, 4), largest=100),
                ("logits", "targets"),
                dtypes=(np.float64,),
            ),
            80,
        ),
        Drawn(
            strategies.stored(
                _rows_of_scores(rows=(1, 2, 3, 4), largest=20),
                ("logits", "targets"),
                dtypes=(np.float32,),
            ),
            40,
        ),
        Grown(_crowd_of_scores, strategies.COUNTS),
        Asked(
            tuple(
                {"logits": np.array([logit]), "targets": np.array([target])}
                for logit, target in ((1000.0, 1.0), (-1000.0, 0.0))
            )
        ),
    ),
    probes=(
        {
            "logits": np.array([1.0, -2.0, 0.5, 3.0]),
            "targets": np.array([1.0, 1.0, 0.0, 0.0]),
        },
    ),
    apart={"logits": np.array([-300.0]), "targets": np.array([1.0])},
)


def check_softmax_cross_entropy(
    f: Callable[..., Any], df: Callable[..., Any] | None = None, *, reduction: str = "mean"
) -> Verdict:
    """Check softmax cross entropy: ``f(logits, targets)`` is the loss, ``df`` its gradient.

    Parameters
    ----------
    f
        Takes logits (K, C) and targets (K,), the class of each row from 0 to C - 1; returns the
        loss: a number, also as an array or a list with one element.
    df
        Takes the same and returns the gradient of the loss by the logits (K, C); None checks none.
    reduction
        ``"mean"`` or ``"sum"`` of the rows; ``"none"``: f returns the loss of each row (K,), and df
        the gradient of their sum.

    Raises
    ------
    CheckError
        The loss or its gradient is wrong; the message has the smallest example found, and perhaps
        why.
    ValueError
        There is no such reduction.

    Notes
    -----
    ``-log(softmax(logits[k])[targets[k]])`` for each row. Logits go up to 100, in float32 to 20,
    and a few are 1000. See `minirpn.nn.softmax_cross_entropy_forward`.

    Examples
    --------
    >>> from minirpn import nn
    >>> def mean(logits, targets):
    ...     weights = np.full(len(logits), 1 / len(logits), logits.dtype)
    ...     return nn.softmax_cross_entropy_forward(logits, targets, weights)[0]
    >>> bool(check_softmax_cross_entropy(mean))
    True
    """
    return SOFTMAX.check(f, df, reduction)


def check_sigmoid_cross_entropy(
    f: Callable[..., Any], df: Callable[..., Any] | None = None, *, reduction: str = "mean"
) -> Verdict:
    """Check sigmoid cross entropy: ``f(logits, targets)`` is the loss, ``df`` its gradient.

    Parameters
    ----------
    f
        Takes logits (K,) and targets (K,) of 0 and 1, both of the same floating-point dtype;
        returns the loss: a number, also as an array or a list with one element.
    df
        Takes the same and returns the gradient of the loss by the logits (K,); None checks none.
    reduction
        ``"mean"`` or ``"sum"`` of the rows; ``"none"``: f returns the loss of each row (K,), and df
        the gradient of their sum.

    Raises
    ------
    CheckError
        The loss or its gradient is wrong; the message has the smallest example found, and perhaps
        why.
    ValueError
        There is no such reduction.

    Notes
    -----
    ``-log(p)`` for a target of 1 and ``-log(1 - p)`` for 0, with ``p = 1 / (1 + exp(-logit))``.
    Logits go up to 100, in float32 to 20, and a few are 1000. See
    `minirpn.nn.sigmoid_cross_entropy_forward`.

    Examples
    --------
    >>> def losses(logits, targets):
    ...     return np.logaddexp(0, logits) - logits * targets
    >>> bool(check_sigmoid_cross_entropy(losses, reduction="none"))
    True
    """
    return SIGMOID.check(f, df, reduction)
