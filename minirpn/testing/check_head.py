"""Checks of the RPN head and of its rows of anchors, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.nn import conv2d_backward, conv2d_forward, relu_backward, relu_forward
from minirpn.testing.examine import (
    Answers,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair

LAYERS = ("rpn.conv", "rpn.objectness", "rpn.deltas")


def _anchor_rows(
    y: np.ndarray, values: int, *, axes: tuple[int, int, int, int] = (3, 4, 1, 2)
) -> np.ndarray:
    """Return one row an anchor; the axes are those of row, column, anchor and value."""
    N, channels, Hf, Wf = y.shape
    # (N, A * v, Hf, Wf) -> (N, A, v, Hf, Wf) -> (N, Hf, Wf, A, v) -> (N, K, v)
    split = y.reshape(N, channels // values, values, Hf, Wf)
    return split.transpose(0, *axes).reshape(N, -1, values)


def _rows_by_value(y: np.ndarray, values: int) -> np.ndarray:
    N, channels, Hf, Wf = y.shape
    split = y.reshape(N, values, channels // values, Hf, Wf)
    return split.transpose(0, 3, 4, 2, 1).reshape(N, -1, values)


ROWS_MISTAKES: Mistakes = {
    "Reshaping moves no number: bring the channels to the end first.": (
        lambda y, values: y.reshape(len(y), -1, values)
    ),
    "The anchors of a cell come one after the other: the order is (row, column, anchor).": partial(
        _anchor_rows, axes=(1, 3, 4, 2)
    ),
    "Go row by row, not column by column.": partial(_anchor_rows, axes=(4, 3, 1, 2)),
    "Channel a * values + v is value v of anchor a: the values of an anchor are neighbours.": (
        _rows_by_value
    ),
    "Keep the axis of the images: (N, K, values).": (
        lambda y, values: _anchor_rows(y, values).reshape(-1, values)
    ),
}


def _head(
    features: np.ndarray,
    weights: dict[str, np.ndarray],
    dobjectness: np.ndarray,
    ddeltas: np.ndarray,
    *,
    relu: bool = True,
    relu_back: bool = True,
    bias: bool = True,
    padding: int = 1,
    swapped: bool = False,
    shares: tuple[float, float] = (1, 1),
) -> Answers:
    """Return both outputs and, where they have the right size, all gradients.

    Each option spoils one part; the shares are those of objectness and deltas in the gradient of
    the hidden map.
    """

    def layer(name: str, x: np.ndarray, padding: int) -> Any:
        layer_bias = weights[f"{name}.bias"] * bias
        return conv2d_forward(x, weights[f"{name}.weight"], layer_bias, padding=padding)

    conv, objectness, deltas = LAYERS
    before, conv_cache = layer(conv, features, padding)
    after, relu_cache = relu_forward(before)
    hidden = after if relu else before
    (y_objectness, objectness_cache), (y_deltas, deltas_cache) = (
        layer(sibling, hidden, 0) for sibling in (objectness, deltas)
    )
    if swapped:
        return {"objectness": y_deltas, "deltas": y_objectness}
    answers = {"objectness": y_objectness, "deltas": y_deltas}
    if y_objectness.shape != dobjectness.shape:
        return answers
    by_objectness = conv2d_backward(dobjectness, objectness_cache)
    by_deltas = conv2d_backward(ddeltas, deltas_cache)
    dhidden = shares[0] * np.asarray(by_objectness.dx) + shares[1] * np.asarray(by_deltas.dx)
    if relu and relu_back:
        dhidden = relu_backward(dhidden, relu_cache)
    by_conv = conv2d_backward(dhidden, conv_cache)
    for name, grads in zip(LAYERS, (by_conv, by_objectness, by_deltas), strict=True):
        answers |= {f"{name}.weight": grads.dweight, f"{name}.bias": grads.dbias}
    return answers | {"features": by_conv.dx}


NO_RELU = "Where is the ReLU?"
HEAD_MISTAKES = spoiled(
    _head,
    relu={False: NO_RELU},
    bias={False: "Where are the biases?"},
    padding={0: "The 3x3 convolution needs a padding of 1, or cells are lost."},
    swapped={True: "Objectness comes first, then the deltas."},
    shares={
        (1, 0): "The hidden map feeds both siblings: where is the gradient through the deltas?",
        (0, 1): "The hidden map feeds both siblings: where is the gradient through the objectness?",
        (0.5, 0.5): "The gradients through both siblings are added, not averaged.",
    },
    relu_back={False: "Where is the gradient of the ReLU?"},
)


_SMALL = st.integers(1, 2)


def _numbered(*shape: int) -> np.ndarray:
    """Return an array of different numbers."""
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@st.composite
def _maps(draw: DrawFn) -> Question:
    values = draw(st.sampled_from([2, 4, 1]))
    N, A, Hf, Wf = draw(st.tuples(_SMALL, _SMALL, _SMALL, st.integers(1, 3)))
    return {"y": _numbered(N, A * values, Hf, Wf), "values": values}


def check_anchor_rows(f: Callable[..., Any]) -> Verdict:
    """Check the reordering of a map by anchors: ``f(y, values)`` has one row for each anchor.

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
    exercise = Exercise(
        answer=_anchor_rows,
        stages=(Drawn(_maps()),),
        probes=(
            {"y": _numbered(2, 12, 2, 3), "values": 4},
            {"y": _numbered(1, 6, 3, 2), "values": 2},
        ),
        mistakes=ROWS_MISTAKES,
    )
    return examine(f, exercise)


def _head_question(
    N: int, C: int, hidden: int, A: int, size: tuple[int, int], *, seed: int = 0
) -> Question:
    """Return small whole numbers, so that sums are exact."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.integers(-3, 4, shape).astype(np.float64)

    weights: dict[str, np.ndarray] = {}
    shapes = ((hidden, C, 3, 3), (2 * A, hidden, 1, 1), (4 * A, hidden, 1, 1))
    for name, shape in zip(LAYERS, shapes, strict=True):
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
        def run(features: Any) -> Any:
            return forward(features, weights)

        dy = {"objectness": dobjectness, "deltas": ddeltas}
        return answers_of(run, features, backward, dy, ("features", *weights))

    exercise = Exercise(
        answer=_head,
        stages=(Drawn(_heads()),),
        probes=(
            _head_question(2, 2, 3, 1, (3, 2)),
            _head_question(1, 1, 2, 2, (2, 3), seed=1),
        ),
        mistakes=HEAD_MISTAKES,
    )
    return examine_pair(
        forward,
        backward,
        both,
        exercise,
        outputs=("objectness", "deltas"),
        handed_back=("dobjectness", "ddeltas"),
    )
