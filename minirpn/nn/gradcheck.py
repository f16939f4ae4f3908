"""Check a hand-written backward against differences of the forward.

`check_gradients` compares two numbers for each input: the slope along a random direction by the
backward, and by differences of the forward. It finds the errors that a comparison of every element
finds, with a few calls of the forward instead of two for each element.
`check_gradients_elementwise` is that comparison: slow, and easier to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minirpn._typing import Array

# The error of central differences is about STEP^2 (curvature) plus 1e-16 / STEP (rounding).
STEP = 1e-5
RTOL = 1e-6


class GradientError(AssertionError):
    """A backward is wrong."""


class KinkError(ValueError):
    """The inputs are at a kink of the forward, where it has no gradient."""


class Slopes(NamedTuple):
    """The slopes along one direction of one input: of the backward, and by differences."""

    input: str
    analytic: float
    numeric: float


class _Difference(NamedTuple):
    """A slope by central differences, and how much its two sides differ."""

    slope: float
    bend: float


def check_gradients(
    forward: Callable[..., tuple[Array, Any]],
    backward: Callable[[Array, Any], Any],
    inputs: Array | Sequence[Array],
    *,
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
    step: float = STEP,
    rtol: float = RTOL,
) -> tuple[Slopes, ...]:
    """Compare the backward with the forward along one random direction of each input.

    For ``L = sum(dy * y)`` with a random ``dy``, and a random direction ``u`` of the length 1:
    ``sum(dx * u)`` must equal ``(L(x + step u) - L(x - step u)) / (2 step)``.

    Parameters
    ----------
    forward
        ``y, cache = forward(*inputs)``.
    backward
        ``grads = backward(dy, cache)``: an array for one input, or a tuple with a gradient for
        each; None is skipped.
    inputs
        A float64 NumPy array, or a sequence of them.
    rng
        Draws ``dy`` and the directions.
    names
        Names of the inputs in messages; by default the fields of the gradients' named tuple.
    step
        Length of the step along ``u``.
    rtol
        Allowed difference, relative to the size of the gradient; rounding is allowed for as well.

    Returns
    -------
    slopes
        The two numbers that were compared, for each input.

    Raises
    ------
    GradientError
        The two differ; the message names the input and both numbers.
    KinkError
        The two differ because the forward has a kink within `step`, such as a ReLU at 0 or a tie in
        a maximum: the slopes ahead and behind differ too. Move the inputs away from it.
    TypeError
        An input is not float64: rounding in float32 would hide the errors.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> square = lambda x: (x * x, x)
    >>> check_gradients(square, lambda dy, x: 2 * x * dy, np.ones(3), rng=rng)[0].input
    'input 0'
    """
    loss, gradients = _projected(forward, backward, inputs, rng, names)
    slopes = []
    for index, (name, grad) in gradients.items():
        direction = rng.normal(size=grad.shape)
        direction /= np.linalg.norm(direction)
        analytic = float(np.sum(grad * direction))
        numeric = _slope(loss, index, direction, step)
        allowed = rtol * (float(np.linalg.norm(grad)) + abs(numeric.slope)) + loss.rounding / step
        _compare(name, analytic, numeric, allowed, "along a random direction")
        slopes.append(Slopes(name, analytic, numeric.slope))
    return tuple(slopes)


def check_gradients_elementwise(
    forward: Callable[..., tuple[Array, Any]],
    backward: Callable[[Array, Any], Any],
    inputs: Array | Sequence[Array],
    *,
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
    step: float = STEP,
    rtol: float = RTOL,
) -> tuple[Slopes, ...]:
    """Compare every element of every gradient with a difference of the forward.

    As `check_gradients`, with one direction for each element. That takes two calls of the forward
    for each element, and the message names the first wrong one.
    """
    loss, gradients = _projected(forward, backward, inputs, rng, names)
    slopes = []
    for index, (name, grad) in gradients.items():
        for element in np.ndindex(grad.shape):
            direction = np.zeros(grad.shape)
            direction[element] = 1.0
            numeric = _slope(loss, index, direction, step)
            analytic = float(grad[element])
            allowed = rtol * (abs(analytic) + abs(numeric.slope)) + loss.rounding / step
            label = f"{name}[{', '.join(map(str, element))}]"
            _compare(label, analytic, numeric, allowed, "at this element")
            slopes.append(Slopes(label, analytic, numeric.slope))
    return tuple(slopes)


class _Loss:
    """``sum(dy * forward(*inputs))``, with one input displaced."""

    def __init__(self, forward: Callable[..., Any], inputs: list[Array], dy: Array) -> None:
        self.forward, self.inputs, self.dy = forward, inputs, dy
        y = forward(*inputs)[0]
        self.here = float(np.sum(dy * y))
        # An upper limit for the rounding error of a difference of two losses in float64.
        self.rounding = 1e-14 * float(np.sum(np.abs(dy * y)))

    def displaced(self, index: int, by: Array) -> float:
        inputs = list(self.inputs)
        inputs[index] = inputs[index] + by
        return float(np.sum(self.dy * self.forward(*inputs)[0]))


def _projected(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Array | Sequence[Array],
    rng: np.random.Generator,
    names: Sequence[str] | None,
) -> tuple[_Loss, dict[int, tuple[str, Array]]]:
    """Draw dy; return the loss, and by position the name and the gradient of each input."""
    given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    for position, array in enumerate(given):
        if np.asarray(array).dtype != np.float64:
            raise TypeError(f"inputs[{position}]: expected float64, got {np.asarray(array).dtype}")
    y, cache = forward(*given)
    dy = rng.normal(size=np.shape(y))
    grads = backward(dy, cache)
    of_inputs = grads if isinstance(grads, tuple | list) else (grads,)
    if len(of_inputs) != len(given):
        raise GradientError(f"{len(of_inputs)} gradients came back for {len(given)} inputs")
    if names is None:
        names = getattr(grads, "_fields", [f"input {k}" for k in range(len(given))])
    gradients = {}
    for position, (name, x, grad) in enumerate(zip(names, given, of_inputs, strict=True)):
        if grad is None:
            continue
        if np.shape(grad) != np.shape(x):
            raise GradientError(f"{name}: shape {np.shape(grad)}, but the input's is {np.shape(x)}")
        gradients[position] = (name, np.asarray(grad))
    return _Loss(forward, given, dy), gradients


def _slope(loss: _Loss, index: int, direction: Array, step: float) -> _Difference:
    ahead = (loss.displaced(index, step * direction) - loss.here) / step
    behind = (loss.here - loss.displaced(index, -step * direction)) / step
    return _Difference((ahead + behind) / 2, abs(ahead - behind))


def _compare(name: str, analytic: float, numeric: _Difference, allowed: float, where: str) -> None:
    error = abs(analytic - numeric.slope)
    if error <= allowed:
        return
    # A kink within the step changes one side only: the sides differ by twice the error, or once if
    # the kink is at the point itself. With a wrong gradient both sides agree.
    if numeric.bend >= error:
        raise KinkError(f"{name}: a kink of the forward lies within the step {where}")
    raise GradientError(
        f"{name}: {where} the backward says {analytic:.10g}, differences say {numeric.slope:.10g}"
    )
