"""Checks of losses and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE
from minirpn.testing import mistakes_losses as wrong
from minirpn.testing import mistakes_rpn_loss as wrong_rpn
from minirpn.testing import strategies
from minirpn.testing.examine import Question, Task, Verdict, examine


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
    values = examine(f, _task(wrong.smooth_l1, wrong.SMOOTH_L1))
    if df is None:
        return values
    slopes = examine(df, _task(wrong.slope, wrong.SLOPE))
    both = f"{values.function} and {slopes.function}"
    return Verdict(both, values.questions + slopes.questions if values and slopes else 0)


def _task(answer: Callable[..., Any], mistakes: tuple[Callable[..., Any], ...]) -> Task:
    probe = np.array([-2.0, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 2.0, 5.0])
    return Task(
        answer=answer,
        drawn=(_differences(),),
        probes=tuple({"x": probe, "sigma": sigma} for sigma in (1.0, 3.0)),
        last=({"x": np.zeros(0), "sigma": 1.0},),
        mistakes=mistakes,
        keywords=frozenset({"sigma"}),
    )


@st.composite
def _sampled_anchors(draw: DrawFn) -> Question:
    """Draw what the head said of a few anchors, and what it should have said."""
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
    loss = examine(f, _rpn_task(wrong_rpn.rpn_loss, wrong_rpn.RPN_LOSS))
    if df is None:
        return loss
    task = _rpn_task(wrong_rpn.rpn_loss_slopes, wrong_rpn.RPN_LOSS_SLOPES)
    slopes = examine(df, replace(task, reads=_named_slopes))
    both = f"{loss.function} and {slopes.function}"
    return Verdict(both, loss.questions + slopes.questions if loss and slopes else 0)


def _named_slopes(result: Any) -> Any:
    if isinstance(result, dict):
        return result
    dobjectness, ddeltas = result
    return {"dobjectness": dobjectness, "ddeltas": ddeltas}


def _rpn_task(answer: Callable[..., Any], mistakes: tuple[Callable[..., Any], ...]) -> Task:
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
    return Task(
        answer=answer,
        drawn=(_sampled_anchors(),),
        probes=(probe,),
        last=(large,),
        mistakes=mistakes,
    )
