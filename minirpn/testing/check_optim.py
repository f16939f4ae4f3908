"""The check of a step of gradient descent, and the mistakes it knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import strategies
from minirpn.testing.examine import (
    Answers,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
)
from minirpn.testing.pairs import by_name


def _caffe(
    value: Any, velocity: Any, grad: Any, lr: float, momentum: float, weight_decay: float
) -> Answers:
    velocity = momentum * velocity + lr * (grad + weight_decay * value)
    return {"value": value - velocity, "velocity": velocity}


def _torch(
    value: Any, velocity: Any, grad: Any, lr: float, momentum: float, weight_decay: float
) -> Answers:
    velocity = momentum * velocity + (grad + weight_decay * value)
    return {"value": value - lr * velocity, "velocity": velocity}


RULES = {"caffe": _caffe, "torch": _torch}


def _common_mistakes(right: Callable[..., Answers]) -> Mistakes:
    """Return the mistakes that both rules have in common, made with this one."""
    # v, u, g: value, velocity, gradient; m, d: momentum, weight decay.
    return {
        "Where is the weight decay?": lambda v, u, g, lr, m, d: right(v, u, g, lr, m, 0.0),
        "Decay makes weights smaller: it is added to the slope.": lambda v, u, g, lr, m, d: right(
            v, u, g, lr, m, -d
        ),
        "Where is the momentum?": lambda v, u, g, lr, m, d: right(v, u, g, lr, 0.0, d),
        "Add the whole slope, not 1 - momentum of it.": lambda v, u, g, lr, m, d: right(
            v, u, (1 - m) * g, lr, m, (1 - m) * d
        ),
        "Downhill is against the slope: subtract the velocity from the value.": (
            lambda v, *rest: right(v, *rest) | {"value": 2 * v - right(v, *rest)["value"]}
        ),
    }


def _lr_twice(v: Any, u: Any, g: Any, lr: float, m: float, d: float) -> Answers:
    velocity = _caffe(v, u, g, lr, m, d)["velocity"]
    return {"value": v - lr * velocity, "velocity": velocity}


def _decay_without_lr(v: Any, u: Any, g: Any, lr: float, m: float, d: float) -> Answers:
    velocity = m * u + lr * g + d * v
    return {"value": v - velocity, "velocity": velocity}


def _no_lr(v: Any, u: Any, g: Any, lr: float, m: float, d: float) -> Answers:
    velocity = _torch(v, u, g, lr, m, d)["velocity"]
    return {"value": v - velocity, "velocity": velocity}


MISTAKES: dict[str, Mistakes] = {
    "caffe": {
        **_common_mistakes(_caffe),
        "This is PyTorch's rule: Caffe has the learning rate inside the velocity.": _torch,
        "The learning rate is inside the velocity already.": _lr_twice,
        "The decay is a part of the slope: the learning rate is for both.": _decay_without_lr,
        "Use the new velocity, not the old one.": lambda v, u, *rest: (
            _caffe(v, u, *rest) | {"value": v - u}
        ),
    },
    "torch": {
        **_common_mistakes(_torch),
        "This is Caffe's rule: PyTorch has the learning rate outside of the velocity.": _caffe,
        "Where is the learning rate?": _no_lr,
        "Use the new velocity, not the old one.": lambda v, u, g, lr, *rest: (
            _torch(v, u, g, lr, *rest) | {"value": v - lr * u}
        ),
    },
}


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
    """Check a step: ``f(value, velocity, grad, lr, momentum, weight_decay)`` returns the next two.

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
    if rule not in MISTAKES:
        raise ValueError(f"rule: expected one of {', '.join(MISTAKES)}, got {rule!r}")
    numbers = np.array([[1.0, -2.0, 0.5], [0.25, 0.5, -1.0], [-0.5, 3.0, 2.0]])
    value, velocity, grad = numbers
    probes = tuple(
        {"value": value, "velocity": velocity, "grad": grad}
        | {"lr": lr, "momentum": momentum, "weight_decay": decay}
        for lr, momentum, decay in ((0.1, 0.9, 0.5), (0.01, 0.5, 0.1))
    )
    exercise = Exercise(
        answer=RULES[rule],
        stages=(Drawn(_steps()),),
        probes=probes,
        mistakes=MISTAKES[rule],
        read=partial(by_name, names=("value", "velocity")),
    )
    return examine(f, exercise)
