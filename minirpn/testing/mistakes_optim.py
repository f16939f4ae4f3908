"""Steps of gradient descent as people first write them, each wrong in one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Answers = dict[str, np.ndarray]
Rule = Callable[..., Answers]


class _Asked(NamedTuple):
    """The arguments of a step."""

    value: np.ndarray
    velocity: np.ndarray
    grad: np.ndarray
    lr: float
    momentum: float
    weight_decay: float

    @property
    def slope(self) -> np.ndarray:
        return self.grad + self.weight_decay * self.value


def _caffe(asked: _Asked) -> Answers:
    velocity = asked.momentum * asked.velocity + asked.lr * asked.slope
    return {"value": asked.value - velocity, "velocity": velocity}


def _torch(asked: _Asked) -> Answers:
    velocity = asked.momentum * asked.velocity + asked.slope
    return {"value": asked.value - asked.lr * velocity, "velocity": velocity}


def _told(words: str, step: Callable[[_Asked], Answers]) -> Rule:
    """Return a step of the public arguments, its docstring the words given."""

    def rule(
        value: np.ndarray,
        velocity: np.ndarray,
        grad: np.ndarray,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> Answers:
        return step(_Asked(value, velocity, grad, lr, momentum, weight_decay))

    rule.__doc__ = words
    return rule


RULES = {
    "caffe": _told("The step as Caffe takes it.", _caffe),
    "torch": _told("The step as PyTorch takes it.", _torch),
}


def _of_either(right: Callable[[_Asked], Answers]) -> tuple[Rule, ...]:
    """Return the mistakes that can be made with either rule, made with this one."""
    return (
        _told("Where is the weight decay?", lambda asked: right(asked._replace(weight_decay=0.0))),
        _told(
            "Decay makes weights smaller: it is added to the slope.",
            lambda asked: right(asked._replace(weight_decay=-asked.weight_decay)),
        ),
        _told("Where is the momentum?", lambda asked: right(asked._replace(momentum=0.0))),
        _told(
            "The slope counts in full, not by 1 - momentum.",
            lambda asked: right(
                asked._replace(
                    grad=(1 - asked.momentum) * asked.grad,
                    weight_decay=(1 - asked.momentum) * asked.weight_decay,
                )
            ),
        ),
        _told(
            "Downhill is against the slope: take the velocity off the value.",
            lambda asked: right(asked) | {"value": 2 * asked.value - right(asked)["value"]},
        ),
    )


def _lr_twice(asked: _Asked) -> Answers:
    velocity = _caffe(asked)["velocity"]
    return {"value": asked.value - asked.lr * velocity, "velocity": velocity}


def _decay_without_lr(asked: _Asked) -> Answers:
    slope = asked.lr * asked.grad + asked.weight_decay * asked.value
    velocity = asked.momentum * asked.velocity + slope
    return {"value": asked.value - velocity, "velocity": velocity}


def _no_lr(asked: _Asked) -> Answers:
    velocity = _torch(asked)["velocity"]
    return {"value": asked.value - velocity, "velocity": velocity}


CAFFE = (
    *_of_either(_caffe),
    _told("This is PyTorch's rule: Caffe has the learning rate inside the velocity.", _torch),
    _told("The learning rate is inside the velocity already.", _lr_twice),
    _told("The decay is a part of the slope: the learning rate is for both.", _decay_without_lr),
    _told(
        "Walk by the new velocity, not by the old one.",
        lambda asked: _caffe(asked) | {"value": asked.value - asked.velocity},
    ),
)
TORCH = (
    *_of_either(_torch),
    _told("This is Caffe's rule: PyTorch has the learning rate outside of the velocity.", _caffe),
    _told("Where is the learning rate?", _no_lr),
    _told(
        "Walk by the new velocity, not by the old one.",
        lambda asked: _torch(asked) | {"value": asked.value - asked.lr * asked.velocity},
    ),
)
