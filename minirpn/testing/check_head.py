"""Checks of the RPN head: its wiring, forward and backward, and its rows of anchors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import mistakes_head as wrong
from minirpn.testing.examine import Question, Task, Verdict, examine

_OUTPUTS = ("objectness", "deltas")
_SMALL = st.integers(1, 2)


def _numbered(*shape: int) -> np.ndarray:
    """Return an array in which every number is another."""
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@st.composite
def _maps(draw: DrawFn) -> Question:
    values = draw(st.sampled_from([2, 4, 1]))
    N, A, Hf, Wf = draw(st.tuples(_SMALL, _SMALL, _SMALL, st.integers(1, 3)))
    return {"y": _numbered(N, A * values, Hf, Wf), "values": values}


def check_anchor_rows(f: Callable[..., Any]) -> Verdict:
    """Check the way from a map to anchors: ``f(y, values)`` has one row an anchor.

    Parameters
    ----------
    f
        Takes y (N, A * values, Hf, Wf), where channel ``a * values + v`` is value v of base anchor
        a, and an int; returns (N, K, values) with K = Hf * Wf * A in the order (row, column, base
        anchor).

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest map found, and perhaps why.

    Examples
    --------
    >>> from minirpn.rpn import anchor_rows
    >>> bool(check_anchor_rows(anchor_rows))
    True
    """
    task = Task(
        answer=wrong.anchor_rows,
        drawn=(_maps(),),
        probes=(
            {"y": _numbered(2, 12, 2, 3), "values": 4},
            {"y": _numbered(1, 6, 3, 2), "values": 2},
        ),
        mistakes=wrong.ROWS,
    )
    return examine(f, task)


def _head_question(
    N: int, C: int, hidden: int, A: int, size: tuple[int, int], *, seed: int = 0
) -> Question:
    """Return small whole numbers, so that sums are exact."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.integers(-3, 4, shape).astype(np.float64)

    weights: dict[str, np.ndarray] = {}
    shapes = ((hidden, C, 3, 3), (2 * A, hidden, 1, 1), (4 * A, hidden, 1, 1))
    for name, shape in zip(wrong.LAYERS, shapes, strict=True):
        weights |= {f"{name}.weight": numbers(*shape), f"{name}.bias": numbers(shape[0])}
    return {
        "features": numbers(N, C, *size),
        "weights": weights,
        "dobjectness": numbers(N, 2 * A, *size),
        "ddeltas": numbers(N, 4 * A, *size),
    }


@st.composite
def _heads(draw: DrawFn) -> Question:
    return _head_question(
        1,
        draw(_SMALL),
        draw(_SMALL),
        1,
        draw(st.tuples(_SMALL, _SMALL)),
        seed=draw(st.integers(0, 99)),
    )


def check_rpn_head(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check the head: ``forward(features, weights)`` and its backward.

    Parameters
    ----------
    forward
        Takes features (N, C, Hf, Wf) and a dictionary with the names and shapes of the parameters
        of `minirpn.rpn.RPNHead`; returns ``(objectness, deltas), cache``, maps of 2A and 4A
        channels. Without `backward` it may return ``(objectness, deltas)`` alone.
    backward
        ``backward(dobjectness, ddeltas, cache)`` returns a dictionary of the gradients: by each
        parameter under its name, and by the features as ``"features"``. None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.
    """

    def both(features: Any, weights: Any, dobjectness: Any, ddeltas: Any) -> Any:
        outputs, cache = _parts(forward(features, weights), backward)
        if outputs is ...:
            return ...
        answers = dict(zip(_OUTPUTS, outputs, strict=True))
        if backward is None or np.shape(answers["objectness"]) != dobjectness.shape:
            return answers
        grads = backward(dobjectness, ddeltas, cache)
        if grads is ...:
            return ...
        return answers | {name: grads[name] for name in ("features", *weights)}

    mistakes = wrong.HEAD if backward else tuple(map(_only_outputs, wrong.HEAD))
    task = Task(
        answer=wrong.head if backward else _only_outputs(wrong.head),
        drawn=(_heads(),),
        probes=(
            _head_question(2, 2, 3, 1, (3, 2)),
            _head_question(1, 1, 2, 2, (2, 3), seed=1),
        ),
        mistakes=mistakes,
    )
    names = [getattr(f, "__name__", "yours") for f in (forward, backward) if f]
    return examine(both, task, " and ".join(names))


def _parts(result: Any, backward: Callable[..., Any] | None) -> tuple[Any, Any]:
    """Return both outputs and the cache of a forward's result, which may have none."""
    if result is ... or (backward is None and not isinstance(result[0], tuple)):
        return result, None
    outputs, cache = result
    return outputs, cache


def _only_outputs(whole: Callable[..., wrong.Answers]) -> Callable[..., wrong.Answers]:
    """Return the forward alone of what answers for both."""

    @wraps(whole)
    def forward(*question: Any, **named: Any) -> wrong.Answers:
        answers = whole(*question, **named)
        return {name: answers[name] for name in _OUTPUTS}

    return forward
