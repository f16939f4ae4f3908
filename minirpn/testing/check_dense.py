"""The checks of the fully connected layer and of the ReLU, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing.check_conv import HELD
from minirpn.testing.examine import (
    Answers,
    Asked,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair
from minirpn.testing.strategies import COUNTS, stored
from minirpn.testing.windows import EXACT_UNITS, ROUNDED_UNITS, distinct, grown, numbers

_SEEDS = st.integers(0, 2**16)


# --- the fully connected layer -------------------------------------------------------------------


def loops_linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dy: np.ndarray) -> Answers:
    """Return y and the gradients, row by row."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    dweight, dbias = np.zeros(weight.shape), np.zeros(bias.shape)
    for n, o in np.ndindex(y.shape):
        y[n, o] = (x[n] * weight[o]).sum() + bias[o]
        dx[n] += dy[n, o] * weight[o]
        dweight[o] += dy[n, o] * x[n]
        dbias[o] += dy[n, o]
    return {"y": y, "dx": dx, "dweight": dweight, "dbias": dbias}


def _of_columns(x: Any, weight: Any, bias: Any, dy: Any) -> Answers:
    """Take the weight for one of (D, O); it raises where x has another width."""
    wrong = {"y": x @ weight + bias, "dx": dy @ weight.T, "dweight": x.T @ dy}
    return wrong | {"dbias": dy.sum(axis=0)}


def _wrong_gradient(**wrong: Callable[..., Any]) -> Callable[..., Answers]:
    """Return the layer with a gradient that is wrong: a function of x, weight and dy."""

    def layer(x: Any, weight: Any, bias: Any, dy: Any) -> Answers:
        right = loops_linear(x, weight, bias, dy)
        return right | {name: change(x, weight, dy) for name, change in wrong.items()}

    return layer


LINEAR_MISTAKES: Mistakes = {
    "The weight is (O, D), one row for each output: y = x weight^T + bias.": _of_columns,
    "Where is the bias?": lambda x, weight, bias, dy: loops_linear(x, weight, 0 * bias, dy),
    "Is the weight transposed in dx? dx = dy weight.": _wrong_gradient(
        dx=lambda x, weight, dy: dy @ weight.T
    ),
    "dweight has the shape of the weight, (O, D): dy^T x, not x^T dy.": _wrong_gradient(
        dweight=lambda x, weight, dy: x.T @ dy
    ),
    "Sum dweight over the rows: the loss has its 1 / N already.": _wrong_gradient(
        dweight=lambda x, weight, dy: dy.T @ x / len(x)
    ),
    "The bias adds to every row: dbias is a sum, not a mean.": _wrong_gradient(
        dbias=lambda x, weight, dy: dy.mean(axis=0)
    ),
    "dbias has one number for each output: sum dy over its rows, not over its columns.": (
        _wrong_gradient(dbias=lambda x, weight, dy: dy.sum(axis=1))
    ),
    "The bias adds to every row: dbias is the sum over all, not dy itself.": _wrong_gradient(
        dbias=lambda x, weight, dy: dy
    ),
}


def _linear_question(N: int, D: int, outs: int, *, seed: int = 0, unit: float = 1.0) -> Question:
    rng = np.random.default_rng(seed)
    return {
        "x": numbers(rng, N, D, unit=unit),
        "weight": numbers(rng, outs, D, unit=unit),
        "bias": numbers(rng, outs, unit=unit),
        "dy": numbers(rng, N, outs, unit=unit),
    }


@st.composite
def _linears(draw: DrawFn, *, most: int, units: st.SearchStrategy[float]) -> Question:
    count = st.integers(1, most)
    N, D, outs = draw(count), draw(count), draw(count)
    return _linear_question(N, D, outs, seed=draw(_SEEDS), unit=draw(units))


def check_linear(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check a fully connected layer: ``forward(x, weight, bias)`` and its backward.

    Parameters
    ----------
    forward
        Takes x (N, D), weight (O, D) and bias (O,); returns ``(y, cache)``, y of shape (N, O).
        Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns ``(dx, dweight, dbias)``; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    See `minirpn.nn.linear_forward`: y = x weight^T + bias.

    Examples
    --------
    >>> from minirpn.nn import linear_backward, linear_forward
    >>> bool(check_linear(linear_forward, linear_backward))
    True
    """

    def both(x: Any, weight: Any, bias: Any, dy: Any) -> Any:
        def run_other() -> Any:
            return forward(1 - weight, weight + 1, bias)

        return answers_of(
            lambda x: forward(x, weight, bias),
            x,
            backward,
            {"y": dy},
            ("dx", "dweight", "dbias"),
            run_other,
        )

    exercise = Exercise(
        answer=loops_linear,
        stages=(
            Drawn(_linears(most=3, units=st.just(1.0))),
            Drawn(stored(_linears(most=5, units=EXACT_UNITS), HELD), examples=50),
            Drawn(
                stored(_linears(most=5, units=ROUNDED_UNITS), HELD, dtypes=(np.float64,)),
                examples=15,
            ),
            grown(_linear_question(COUNTS[-1], 2, 1), {"x": 0, "dy": 0}),
            grown(_linear_question(2, COUNTS[-1], 1), {"x": 1, "weight": 1}),
            grown(_linear_question(1, 2, COUNTS[-1]), {"weight": 0, "bias": 0, "dy": 1}),
        ),
        probes=(_linear_question(3, 2, 2), _linear_question(2, 3, 2, seed=1)),
        mistakes=LINEAR_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise)


# --- the rectifier -------------------------------------------------------------------------------


def loops_relu(
    x: np.ndarray,
    dy: np.ndarray,
    *,
    value: Callable[[float], float] = lambda number: max(number, 0.0),
    slope: Callable[[float, float], float] = lambda number, given: given if number > 0 else 0.0,
) -> Answers:
    """Return y and dx, number by number; each option spoils one of them."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        number, given = float(x[place]), float(dy[place])
        y[place], dx[place] = value(number), slope(number, given)
    return {"y": y, "dx": dx}


def _leaky(x: np.ndarray, dy: np.ndarray, *, slope: float) -> Answers:
    return loops_relu(
        x,
        dy,
        value=lambda number: number if number > 0 else slope * number,
        slope=lambda number, given: given if number > 0 else slope * given,
    )


RELU_MISTAKES: Mistakes = spoiled(
    loops_relu,
    value={
        abs: "This is |x|: below 0 ReLU gives 0.",
        (lambda number: min(number, 0.0)): "This is min(x, 0): ReLU is max(x, 0).",
        (lambda number: float(number > 0)): "ReLU gives x itself where x > 0, not 1.",
    },
    slope={
        (lambda number, given: given): "dx is dy only where x > 0: where is the mask? "
        "(y >= 0 is true everywhere.)",
        (lambda number, given: given if number >= 0 else 0.0): "At x = 0 the gradient is 0: "
        "mask by x > 0, not x >= 0.",
        (lambda number, given: float(number > 0)): "This is the slope: multiply it by dy.",
        (lambda number, given: max(given, 0.0)): "Mask by x, not by dy.",
        (lambda number, given: given if number < 0 else 0.0): "The mask is the wrong way round: "
        "dy passes where x > 0.",
        (lambda number, given: number * given if number > 0 else 0.0): "dx is dy where x > 0; "
        "do not multiply it by x.",
    },
) | {
    "Below 0 ReLU gives 0: is yours a leaky one?": partial(_leaky, slope=0.01),
    "ReLU has no upper limit: is yours ReLU6?": partial(
        loops_relu,
        value=lambda number: min(max(number, 0.0), 6.0),
        slope=lambda number, given: given if 0 < number < 6 else 0.0,
    ),
}


def _relu_question(
    shape: tuple[int, ...], *, seed: int = 0, unit: float = 1.0, zeros: bool = False
) -> Question:
    rng = np.random.default_rng(seed)
    draw = numbers if zeros else distinct
    return {
        "x": draw(rng, *shape, unit=unit),
        "dy": numbers(rng, *shape, unit=unit),
    }


@st.composite
def _rectified(draw: DrawFn, *, units: st.SearchStrategy[float], zeros: bool = False) -> Question:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return _relu_question(tuple(shape), seed=draw(_SEEDS), unit=draw(units), zeros=zeros)


def check_relu(forward: Callable[..., Any], backward: Callable[..., Any] | None = None) -> Verdict:
    """Check the rectifier: ``forward(x)`` and its backward.

    Parameters
    ----------
    forward
        Takes x of any shape; returns ``(y, cache)``. Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns dx; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    See `minirpn.nn.relu_forward`. At x = 0 the gradient is 0, as in most libraries; this is asked
    last.

    Examples
    --------
    >>> from minirpn.nn import relu_backward, relu_forward
    >>> bool(check_relu(relu_forward, relu_backward))
    True
    """

    def both(x: Any, dy: Any) -> Any:
        return answers_of(
            forward, x, backward, {"y": dy}, ("dx",), lambda: forward(np.arange(-3.0, 4.0))
        )

    exercise = Exercise(
        answer=loops_relu,
        stages=(
            Drawn(_rectified(units=st.just(1.0)), examples=60),
            Drawn(stored(_rectified(units=EXACT_UNITS | ROUNDED_UNITS), ("x", "dy")), examples=60),
            grown(_relu_question((COUNTS[-1],)), {"x": 0, "dy": 0}),
            Asked((_relu_question((2, 3, 20, 30)), _relu_question((0, 3, 2, 2)))),
            Drawn(_rectified(units=st.just(1.0), zeros=True), examples=60),
        ),
        probes=(_relu_question((2, 8)), _relu_question((3,), seed=1)),
        mistakes=RELU_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise)
