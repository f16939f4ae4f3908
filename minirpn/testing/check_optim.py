"""The check of a step of gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import mistakes_optim as wrong
from minirpn.testing import strategies
from minirpn.testing.examine import Question, Task, Verdict, examine

_MISTAKES = {"caffe": wrong.CAFFE, "torch": wrong.TORCH}


@st.composite
def _steps(draw: DrawFn) -> Question:
    rows = draw(strategies.deltas(3))
    count = draw(st.integers(1, 3))
    value, velocity, grad = rows[:, :count]
    return {
        "value": value,
        "velocity": velocity,
        "grad": grad,
        "lr": draw(st.sampled_from([1.0, 0.1, 0.001])),
        "momentum": draw(st.sampled_from([0.9, 0.5, 0.0])),
        "weight_decay": draw(st.sampled_from([0.0005, 0.1, 0.0])),
    }


def check_sgd_step(f: Callable[..., Any], *, rule: str = "caffe") -> Verdict:
    """Check a step: ``f(value, velocity, grad, lr, momentum, weight_decay)`` is the next two.

    Parameters
    ----------
    f
        Takes value, velocity and grad (n,) and three numbers; returns ``(value, velocity)``.
    rule
        ``"caffe"``: v = m v + lr (g + d w), w = w - v; ``"torch"``: v = m v + (g + d w), w = w - lr
        v.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.
    ValueError
        There is no such rule.

    Notes
    -----
    See `minirpn.nn.SGD`.
    """
    if rule not in _MISTAKES:
        raise ValueError(f"rule: expected one of {', '.join(_MISTAKES)}, got {rule!r}")
    numbers = np.array([[1.0, -2.0, 0.5], [0.25, 0.5, -1.0], [-0.5, 3.0, 2.0]])
    value, velocity, grad = numbers
    probes = tuple(
        {"value": value, "velocity": velocity, "grad": grad}
        | {"lr": lr, "momentum": momentum, "weight_decay": decay}
        for lr, momentum, decay in ((0.1, 0.9, 0.5), (0.01, 0.5, 0.1))
    )
    task = Task(
        answer=wrong.RULES[rule],
        drawn=(_steps(),),
        probes=probes,
        mistakes=_MISTAKES[rule],
        reads=_named,
    )
    return examine(f, task)


def _named(result: Any) -> Any:
    if isinstance(result, dict):
        return result
    value, velocity = result
    return {"value": value, "velocity": velocity}
