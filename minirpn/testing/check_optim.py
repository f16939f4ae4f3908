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
    Asked,
    Contracts,
    Drawn,
    Exercise,
    FormError,
    Grown,
    Mistakes,
    Question,
    Verdict,
    examine,
    expect_one_of,
)
from minirpn.testing.pairs import by_name
from minirpn.testing.storage import copy_of
from minirpn.testing.words import difference


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
    def nesterov(v: Any, u: Any, g: Any, lr: float, m: float, d: float) -> Answers:
        velocity = right(v, u, g, lr, m, d)["velocity"]
        ahead = right(v, velocity, g, lr, m, d)["value"]  # a second step with the same slope
        return {"value": ahead, "velocity": velocity}

    def beside(v: Any, u: Any, g: Any, lr: float, m: float, d: float) -> Answers:
        step = right(v, u, g, lr, m, 0.0)
        return step | {"value": step["value"] - lr * d * v}

    return {
        "Where is the weight decay?": lambda v, u, g, lr, m, d: right(v, u, g, lr, m, 0.0),
        "Decay makes weights smaller: it is added to the slope.": lambda v, u, g, lr, m, d: right(
            v, u, g, lr, m, -d
        ),
        "The decay is of the value, not of the velocity.": lambda v, u, g, lr, m, d: right(
            v, u, g + d * u, lr, m, 0.0
        ),
        "The decay is a part of the slope: SGDW is what has it beside.": beside,
        "Where is the momentum?": lambda v, u, g, lr, m, d: right(v, u, g, lr, 0.0, d),
        "Add the whole slope, not 1 - momentum of it.": lambda v, u, g, lr, m, d: right(
            v, u, (1 - m) * g, lr, m, (1 - m) * d
        ),
        "Add the whole gradient, not 1 - momentum of it.": (
            lambda v, u, g, lr, m, d: right(v, u, (1 - m) * g, lr, m, d)
        ),
        "This is Nesterov's momentum: subtract the new velocity alone.": nesterov,
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


Step = Callable[..., Any]
NAMES = ("value", "velocity")
KEEPS_MEMORY = "the next step changes it: is it the same memory for both?"


def _walk(step: Step) -> Step:
    """Return a function that makes some steps, each from where the one before ended."""

    def walk(
        value: Any,
        velocity: Any,
        grad: Any,
        lr: Any,
        momentum: Any,
        weight_decay: Any,
        steps: int = 1,
    ) -> Any:
        result = step(value, velocity, grad, lr, momentum, weight_decay)
        for _ in range(steps - 1):
            ends = {name: np.asarray(end) for name, end in by_name(result, NAMES).items()}
            before = {name: end.copy() for name, end in ends.items()}
            result = step(ends["value"], ends["velocity"], grad, lr, momentum, weight_decay)
            if difference(ends, before):
                raise FormError(f"does not keep what it returned: {KEEPS_MEMORY}")
        return result

    return walk


def _returns(step: Step) -> Step:
    """Return a function that returns what `step` changes in place."""

    def returns(value: np.ndarray, velocity: np.ndarray, *rest: Any) -> Any:
        value, velocity = copy_of(value), copy_of(velocity)
        for array in (value, velocity):
            array.setflags(write=True)
        return ... if step(value, velocity, *rest) is ... else (value, velocity)

    return returns


def _question(value: Any, velocity: Any, grad: Any, *rest: float) -> Question:
    names = ("lr", "momentum", "weight_decay", "steps")
    arrays: Question = {"value": value, "velocity": velocity, "grad": grad}
    return arrays | dict(zip(names, rest, strict=False))


@st.composite
def _steps(
    draw: DrawFn, *, least: int = 1, largest: float = 2, steps: tuple[int, ...] = ()
) -> Question:
    count = draw(st.integers(least, 3))
    arrays = draw(strategies.errors(3 * count, largest=largest)).reshape(3, count)
    rates = ([1.0, 0.1, 0.001, 0.0], [0.9, 0.5, 0.0, 0.99], [0.0005, 0.1, 0.0])
    rest = [draw(st.sampled_from(several)) for several in (*rates, *([steps] if steps else []))]
    return _question(*arrays, *rest)


def _grown(shape: tuple[int, ...]) -> Question:
    count = int(np.prod(shape))
    numbers = np.random.default_rng(0).normal(size=(200, 3))
    return _question(*(part.reshape(shape) for part in numbers[:count].T.copy()), 0.1, 0.9, 0.1)


def check_sgd_step(f: Step, *, rule: str = "caffe", in_place: bool = False) -> Verdict:
    """Check a step: ``f(value, velocity, grad, lr, momentum, weight_decay)`` returns the next two.

    Parameters
    ----------
    f
        Takes value, velocity and grad, of one shape, such as (n,) or (O, C, k, k), and three
        numbers; returns ``(value, velocity)``, and changes no argument.
    rule
        ``"caffe"``: v = m v + lr (g + d w), w = w - v; ``"torch"``: v = m v + (g + d w), w = w - lr
        v.
    in_place
        For an f that changes value and velocity instead; what it returns is not read.

    Raises
    ------
    CheckError
        A value or a velocity is wrong, of one step or after several; the message has the smallest
        example found, and perhaps why.
    ValueError
        There is no such rule.

    Notes
    -----
    ``steps`` in a message says how many steps were made, each from where the one before ended, with
    the same gradient. See `minirpn.nn.SGD`.
    """
    expect_one_of("rule", rule, RULES)
    other = next(name for name in RULES if name != rule)
    contracts: Contracts = {
        f"in_place={not in_place}": partial(examine_step, f, rule, not in_place, {}),
        f'rule="{other}"': partial(examine_step, f, other, in_place, {}),
        f'rule="{other}", in_place={not in_place}': partial(
            examine_step, f, other, not in_place, {}
        ),
    }
    return examine_step(f, rule, in_place, contracts)


def examine_step(f: Step, rule: str, in_place: bool, contracts: Contracts) -> Verdict:
    """Check a step by one rule; `contracts` are the options that a message may propose."""
    numbers = np.array([[1.0, -2.0, 0.5], [0.25, 0.5, -1.0], [-0.5, 3.0, 2.0]])
    whole = np.array([[[1.0, -2], [3, 5]], [[2, 3], [-1, 4]], [[-1, 3], [2, 7]]])  # 2 x 2 each
    none = np.zeros(0)
    exercise = Exercise(
        answer=_walk(RULES[rule]),
        stages=(
            Drawn(_steps(), 60),
            Drawn(strategies.stored(_steps(least=0, largest=1e4), (*NAMES, "grad")), 60),
            Drawn(_steps(steps=(2, 3)), 30),
            Grown(lambda count: _grown((count,)), strategies.COUNTS),
            Asked(strategies.in_each_layout(_question(*whole, 0.1, 0.9, 0.5), (*NAMES, "grad"))),
            Asked(
                (_grown((1, 2)), _grown((2, 1, 3, 3)), _question(none, none, none, 0.1, 0.9, 0.1))
            ),
        ),
        probes=(_question(*numbers, 0.1, 0.9, 0.5), _question(*numbers, 0.01, 0.5, 0.1)),
        mistakes={hint: _walk(mistake) for hint, mistake in MISTAKES[rule].items()},
        read=partial(by_name, names=NAMES),
    )
    name = str(getattr(f, "__name__", "your function"))
    return examine(_walk(_returns(f) if in_place else f), exercise, name, contracts)
