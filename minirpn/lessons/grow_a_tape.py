"""The checks of chapter 09: a tape, and what is played on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import numpy as np

from minirpn.testing import Verdict, check_equal
from minirpn.testing.check_head import HEAD_MISTAKES, head_question, loops_head
from minirpn.testing.examine import FormError


def _check_multiply_backward(f: Callable[..., Any]) -> Verdict:
    def multiply_backward(dy: Any, cache: tuple[Any, Any]) -> tuple[Any, Any]:
        a, b = cache
        return dy * b, dy * a

    mistakes: dict[str, Callable[..., Any]] = {
        "If a grows, the product grows by b times that: are the two swapped?": (
            lambda dy, cache: (dy * cache[0], dy * cache[1])
        ),
        "Chain rule: multiply by dy, the gradient that comes back.": (
            lambda dy, cache: (cache[1], cache[0])
        ),
        "Swapped, and without dy, the gradient that comes back.": lambda dy, cache: cache,
        "dy goes through a sum unchanged; through a product it is multiplied.": (
            lambda dy, cache: (dy, dy)
        ),
        "That is dy times the product: each gradient has the other factor alone.": (
            lambda dy, cache: (dy * cache[0] * cache[1],) * 2
        ),
        "Do not add the two: return one gradient for each factor.": (
            lambda dy, cache: dy * (cache[0] + cache[1])
        ),
        "dy is multiplied, not added.": lambda dy, cache: (dy + cache[1], dy + cache[0]),
        "Both gradients come back with a plus.": lambda dy, cache: (dy * cache[1], -dy * cache[0]),
    }
    calls = (
        (2.0, (3.0, 5.0)),
        (1.0, (3.0, 0.0)),
        (np.array([1.0, -2]), (np.array([3.0, 0]), np.array([4.0, 7]))),
    )
    return check_equal(f, multiply_backward, *calls, mistakes=mistakes)


class Record(NamedTuple):
    """How a value was made, and its backward, as in the chapter."""

    name: str
    backward: Any
    cache: Any
    inputs: tuple[int, ...]


class Value(NamedTuple):
    """An array and its place on the tape, as in the chapter."""

    array: Any
    place: int


class _Taped:
    """A value that records on its tape what is computed with it."""

    def __init__(self, tape: list[Record], array: Any, record: Record) -> None:
        self.tape = tape
        self.value = Value(array, len(tape))
        tape.append(record)

    def __add__(self, other: _Taped) -> _Taped:
        y = self.value.array + other.value.array
        return self._made("add", y, lambda dy, cache: (dy, dy), None, other)

    def __mul__(self, other: _Taped) -> _Taped:
        factors = (self.value.array, other.value.array)

        def backward(dy: Any, cache: Any) -> tuple[Any, Any]:
            return dy * cache[1], dy * cache[0]

        return self._made("multiply", factors[0] * factors[1], backward, factors, other)

    def __neg__(self) -> _Taped:
        return self._made("negate", -self.value.array, lambda dy, cache: -dy, None)

    def _made(self, name: str, y: Any, backward: Any, cache: Any, *others: _Taped) -> _Taped:
        inputs = tuple(one.value.place for one in (self, *others))
        return _Taped(self.tape, y, Record(name, backward, cache, inputs))


def _leaf(tape: list[Record], array: Any, name: str) -> _Taped:
    return _Taped(tape, array, Record(name, None, None, ()))


def leaf(tape: list[Record], array: Any, name: str) -> Value:
    """Put an array on the tape that nothing made, as in the chapter."""
    return _leaf(tape, array, name).value


def _then_unused(y: _Taped, x: _Taped) -> _Taped:
    y * x  # recorded, and not used: the value is not the last one on the tape
    return y


def _beside_unused(x: _Taped) -> _Taped:
    x * x  # recorded, and not used
    return x + x


def _of_u(x: _Taped) -> _Taped:
    u = x * x
    return x * (u + (u + x))


# What is computed on the tape, and its slope by the rules of calculus.
FORMULAS: dict[str, tuple[Callable[[_Taped], _Taped], Callable[[Any], Any]]] = {
    "x": (lambda x: x, lambda x: 1 + 0 * x),
    "-x": (lambda x: -x, lambda x: -1 + 0 * x),
    "x + x": (lambda x: x + x, lambda x: 2 + 0 * x),
    "x * x + x": (lambda x: x * x + x, lambda x: 2 * x + 1),
    "x * (x * x + x)": (lambda x: x * (x * x + x), lambda x: 3 * x**2 + 2 * x),
    "x + x, then z = y * x": (lambda x: _then_unused(x + x, x), lambda x: 2 + 0 * x),
    "x + x, after z = x * x": (_beside_unused, lambda x: 2 + 0 * x),
    "x * (u + (u + x)), u = x * x": (_of_u, lambda x: 6 * x**2 + 2 * x),
}


def _played(gradients: Callable[..., Any], y: str, x: Any) -> Any:
    """Return the gradient by x that playing the tape of a formula gives."""
    tape: list[Record] = []
    start = _leaf(tape, x, "x")
    last = FORMULAS[y][0](start)
    grads = gradients(tape, last.value)
    if grads is ...:
        return ...
    if not isinstance(grads, list | tuple) or len(grads) != len(tape):
        raise FormError("returns no list with one gradient for each place of the tape")
    grad = grads[start.value.place]
    if grad is None:
        raise FormError("leaves the gradient of x None")
    return grad


def _play(
    tape: list[Record],
    last: Value,
    *,
    join: Callable[[Any, Any], Any] = lambda old, new: old + new,
    places: Callable[[list[Record], Value], Sequence[int]] = lambda tape, last: range(
        last.place, -1, -1
    ),
    start: Callable[[list[Record], Value], tuple[int, Any]] = lambda tape, last: (last.place, 1.0),
    passed: Callable[[Any], Any] = lambda grad: grad,
) -> list[Any]:
    """Return the gradients of a tape; each option spoils one part."""
    grads: list[Any] = [None] * len(tape)
    first, value = start(tape, last)
    grads[first] = value
    for place in places(tape, last):
        record = tape[place]
        if record.backward is None or grads[place] is None:
            continue
        parts = record.backward(passed(grads[place]), record.cache)
        for source, part in zip(
            record.inputs, parts if isinstance(parts, tuple) else (parts,), strict=True
        ):
            grads[source] = part if grads[source] is None else join(grads[source], part)
    return grads


def _in_place(old: Any, new: Any) -> Any:
    old += new
    return old


GRADIENTS_MISTAKES: dict[str, Callable[..., Any]] = {
    "A value that is used twice gets two gradients: add them.": partial(
        _play, join=lambda old, new: new
    ),
    "A gradient that comes later is added to the first one.": partial(
        _play, join=lambda old, new: old
    ),
    "Gradients of several uses are added, not averaged.": partial(
        _play, join=lambda old, new: (old + new) / 2
    ),
    "Begin at `last` and go down to place 0: backwards, not forwards.": partial(
        _play, places=lambda tape, last: range(last.place + 1)
    ),
    "Does your loop begin one place after `last`'s own record?": partial(
        _play, places=lambda tape, last: range(last.place - 1, -1, -1)
    ),
    "`last` need not be the end of the tape: begin with 1 at its own place.": partial(
        _play,
        start=lambda tape, last: (len(tape) - 1, 1.0),
        places=lambda tape, last: range(len(tape) - 1, -1, -1),
    ),
    "Begin with 1: the gradient of `last` by itself, not its value.": partial(
        _play, start=lambda tape, last: (last.place, last.array)
    ),
    "Begin with 1, not with 0: the gradient of `last` by itself.": partial(
        _play, start=lambda tape, last: (last.place, 0.0)
    ),
    "Give the backward the gradient that has arrived at this place, not 1.": partial(
        _play, passed=lambda grad: 1.0
    ),
    "+= changes the array of another value, too: add with a + b.": partial(_play, join=_in_place),
}


def _check_gradients(f: Callable[..., Any]) -> Verdict:
    def slope(y: str, x: Any) -> Any:
        return FORMULAS[y][1](x)

    def played_by(gradients: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(gradients)
        def play(y: str, x: Any) -> Any:
            return _played(gradients, y, x)

        return play

    mistakes = {hint: played_by(one) for hint, one in GRADIENTS_MISTAKES.items()}
    ordinary = [(formula, 3.0) for formula in FORMULAS]
    arrays = [(formula, np.array([2.0, -1])) for formula in ("x * x + x", [*FORMULAS][-1])]
    return check_equal(played_by(f), slope, *ordinary, *arrays, mistakes=mistakes)


def _rows(y: np.ndarray, values: int) -> np.ndarray:
    """Return one row an anchor: (1, A * values, Hf, Wf) -> (Hf * Wf * A, values)."""
    return y[0].transpose(1, 2, 0).reshape(-1, values)


def _check_head(f: Callable[..., Any], *, leaf: Callable[..., Any] = leaf) -> Verdict:
    """Check the head on a tape. What it calls must know the values that `leaf` makes."""
    none = np.zeros(0)

    def head(
        features: np.ndarray,
        weights: dict[str, np.ndarray],
        *,
        loops: Callable[..., Any] = loops_head,
        values: tuple[int, int] = (2, 4),
    ) -> dict[str, np.ndarray]:
        maps = loops(features, weights, none, none)
        return {
            name: _rows(maps[name], count)
            for name, count in zip(("objectness", "deltas"), values, strict=True)
        }

    def right(features: np.ndarray, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return head(features, weights)

    @wraps(f)
    def on_a_tape(features: np.ndarray, weights: dict[str, np.ndarray]) -> Any:
        tape: list[Any] = []
        start = leaf(tape, features, "features")
        found = f(tape, start, {name: leaf(tape, one, name) for name, one in weights.items()})
        if found is ...:
            return ...
        pair = isinstance(found, tuple | list) and len(found) == 2
        if not pair or not all(isinstance(one, type(start)) for one in found):
            raise FormError("returns no pair of values of the tape")
        return dict(zip(("objectness", "deltas"), (one.array for one in found), strict=True))

    mistakes: dict[str, Callable[..., Any]] = {
        hint: partial(head, loops=wrong) for hint, wrong in HEAD_MISTAKES.items()
    }
    first = "Objectness comes first, then the deltas."
    mistakes[first] = partial(head, loops=HEAD_MISTAKES[first], values=(4, 2))
    mistakes["Objectness comes in rows of 2, deltas in rows of 4."] = partial(head, values=(4, 2))
    mistakes["Objectness has two scores for each anchor: rows of 2."] = partial(head, values=(4, 4))
    mistakes["A map is no row: put both through `rows`."] = lambda features, weights: loops_head(
        features, weights, none, none
    )
    questions = (
        head_question(1, 1, 2, 2, (1, 1), seed=3),
        head_question(1, 2, 2, 2, (3, 4), seed=1),
        head_question(1, 1, 3, 1, (4, 3), seed=2),
    )
    calls = [(question["features"], question["weights"]) for question in questions]
    return check_equal(on_a_tape, right, *calls, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_multiply_backward": _check_multiply_backward,
    "my_gradients": _check_gradients,
    "my_head": _check_head,
}
