"""Checks of losses and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import mistakes_losses as wrong
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
