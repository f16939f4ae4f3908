"""Checks of the RPN head and of its rows of anchors, and the mistakes they know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing.check_conv import loops_conv2d
from minirpn.testing.examine import (
    Answers,
    Asked,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    examine,
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair
from minirpn.testing.strategies import COUNTS, stored
from minirpn.testing.windows import EXACT_UNITS, ROUNDED_UNITS, grown, numbers

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


def loops_head(
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
    relu_after: bool = False,
    shares: tuple[float, float] = (1, 1),
) -> Answers:
    """Return both outputs and, where they have the right size, all gradients.

    Each option spoils one part; the shares are those of objectness and deltas in the gradient of
    the hidden map.
    """

    def layer(name: str, x: np.ndarray, padding: int, dy: np.ndarray | None = None) -> Answers:
        """Return a convolution; where `dy` fits it, with the gradients."""
        layer_bias = weights[f"{name}.bias"] * bias
        dy = np.zeros(0) if dy is None else dy
        return loops_conv2d(x, weights[f"{name}.weight"], layer_bias, dy, 1, padding)

    def sibling(name: str, hidden: np.ndarray, dy: np.ndarray) -> Answers:
        answers = layer(name, hidden, 0, dy)
        y = answers["y"]
        if not relu_after or y.shape != dy.shape:
            return answers
        return layer(name, hidden, 0, np.where(y > 0, dy, 0)) | {"y": np.maximum(y, 0)}

    conv, objectness, deltas = LAYERS
    before = layer(conv, features, padding)["y"]
    hidden = np.maximum(before, 0) if relu else before
    by_objectness = sibling(objectness, hidden, dobjectness)
    by_deltas = sibling(deltas, hidden, ddeltas)
    if swapped:
        return {"objectness": by_deltas["y"], "deltas": by_objectness["y"]}
    answers = {"objectness": by_objectness["y"], "deltas": by_deltas["y"]}
    if "dx" not in by_objectness:
        return answers
    dhidden = shares[0] * by_objectness["dx"] + shares[1] * by_deltas["dx"]
    if relu and relu_back:
        dhidden = np.where(before > 0, dhidden, 0)
    by_conv = layer(conv, features, padding, dhidden)
    for name, grads in zip(LAYERS, (by_conv, by_objectness, by_deltas), strict=True):
        answers |= {f"{name}.weight": grads["dweight"], f"{name}.bias": grads["dbias"]}
    return answers | {"features": by_conv["dx"]}


def _head_without_padding(features: np.ndarray, *rest: Any) -> Answers:
    """Return what a head without padding does where a convolution refuses too small a map."""
    if min(features.shape[2:]) < 3:
        raise ValueError
    return loops_head(features, *rest, padding=0)


NO_RELU = "Where is the ReLU?"
HEAD_MISTAKES = spoiled(
    loops_head,
    relu={False: NO_RELU},
    bias={False: "Where are the biases?"},
    padding={0: "The 3x3 convolution needs a padding of 1, or cells are lost."},
    swapped={True: "Objectness comes first, then the deltas."},
    relu_after={True: "No ReLU after the siblings: scores and deltas may be negative."},
    shares={
        (1, 0): "The hidden map feeds both siblings: where is the gradient through the deltas?",
        (0, 1): "The hidden map feeds both siblings: where is the gradient through the objectness?",
        (0.5, 0.5): "The gradients through both siblings are added, not averaged.",
    },
    relu_back={False: "Where is the gradient of the ReLU?"},
) | {"The 3x3 convolution needs a padding of 1, to fit on any map.": _head_without_padding}


_SMALL = st.integers(1, 2)


def _numbered(*shape: int) -> np.ndarray:
    """Return an array of different numbers."""
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@st.composite
def _maps(draw: DrawFn, *, wide: bool = False) -> Question:
    values = draw(st.sampled_from([2, 4, 1, 3, 21] if wide else [2, 4, 1]))
    count = st.integers(1, 5) if wide else _SMALL
    A = draw(st.sampled_from([1, 2, 3, 9, 12]) if wide else _SMALL)
    N, Hf, Wf = draw(st.tuples(count, count, st.integers(1, 7 if wide else 3)))
    y = _numbered(N, A * values, Hf, Wf)
    if wide:
        y = (y - draw(st.sampled_from([0.0, 1000.0]))) * draw(st.sampled_from([1.0, 1 / 16]))
    return {"y": y, "values": values}


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
        stages=(
            Drawn(_maps()),
            Drawn(stored(_maps(wide=True), ("y",)), examples=40),
            grown({"y": _numbered(COUNTS[-1], 4, 2, 1), "values": 2}, {"y": 0}),
            grown({"y": _numbered(1, 4, COUNTS[-1], 2), "values": 2}, {"y": 2}),
            grown({"y": _numbered(1, 4, 2, COUNTS[-1]), "values": 4}, {"y": 3}),
            Asked(({"y": _numbered(1, 36, 38, 63), "values": 4},)),
        ),
        probes=(
            {"y": _numbered(2, 12, 2, 3), "values": 4},
            {"y": _numbered(1, 6, 3, 2), "values": 2},
        ),
        mistakes=ROWS_MISTAKES,
    )
    return examine(f, exercise)


def head_question(
    N: int,
    C: int,
    hidden: int,
    A: int,
    size: tuple[int, int],
    *,
    seed: int = 0,
    unit: float = 1.0,
) -> Question:
    """Return small whole numbers, or multiples of the unit: so sums are exact."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    shapes = ((hidden, C, 3, 3), (2 * A, hidden, 1, 1), (4 * A, hidden, 1, 1))
    for name, shape in zip(LAYERS, shapes, strict=True):
        weights[f"{name}.weight"] = numbers(rng, *shape, unit=unit)
        weights[f"{name}.bias"] = numbers(rng, shape[0], unit=unit)
    return {
        "features": numbers(rng, N, C, *size, unit=unit),
        "weights": weights,
        "dobjectness": numbers(rng, N, 2 * A, *size, unit=unit),
        "ddeltas": numbers(rng, N, 4 * A, *size, unit=unit),
    }


@st.composite
def _heads(draw: DrawFn) -> Question:
    return head_question(
        1,
        draw(_SMALL),
        draw(_SMALL),
        1,
        draw(st.tuples(_SMALL, _SMALL)),
        seed=draw(st.integers(0, 99)),
    )


@st.composite
def _any_heads(
    draw: DrawFn, *, units: st.SearchStrategy[float], dtypes: tuple[Any, ...]
) -> Question:
    """Draw more images, channels and anchors, fractions, dtypes and layouts."""
    count = st.integers(1, 5)
    question = head_question(
        draw(count),
        draw(count),
        draw(count),
        draw(st.sampled_from([1, 2, 3, 9])),
        draw(st.tuples(count, count)),
        seed=draw(st.integers(0, 99)),
        unit=draw(units),
    )
    flat = {name: part for name, part in question.items() if name != "weights"}
    flat |= question["weights"]
    held = draw(stored(st.just(flat), tuple(flat), dtypes=dtypes))
    return {
        name: {weight: held[weight] for weight in question["weights"]}
        if name == "weights"
        else held[name]
        for name in question
    }


_MANY_IMAGES = head_question(COUNTS[-1], 1, 1, 1, (1, 1))
_MANY_ROWS = head_question(1, 1, 2, 1, (COUNTS[-1], 1))
_MANY_COLUMNS = head_question(1, 2, 1, 1, (1, COUNTS[-1]))
_WHOLE_MAP = {"features": 0, "dobjectness": 0, "ddeltas": 0}
# As many anchors as in the paper, and more channels than a block of compiled code.
_USUAL = head_question(2, 17, 65, 9, (4, 6), unit=1 / 16)


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

    Notes
    -----
    See `minirpn.rpn.RPNHead`: a 3x3 convolution, a ReLU with the gradient 0 at 0, and two 1x1
    convolutions beside each other.
    """

    def both(features: Any, weights: Any, dobjectness: Any, ddeltas: Any) -> Any:
        def run(features: Any) -> Any:
            return forward(features, weights)

        def run_other() -> Any:
            return forward(features[:, :, :1] + 1, {name: 1 - weights[name] for name in weights})

        dy = {"objectness": dobjectness, "deltas": ddeltas}
        return answers_of(run, features, backward, dy, ("features", *weights), run_other)

    exercise = Exercise(
        answer=loops_head,
        stages=(
            Drawn(_heads()),
            Drawn(_any_heads(units=EXACT_UNITS, dtypes=(np.float64, np.float32)), examples=25),
            Drawn(_any_heads(units=ROUNDED_UNITS, dtypes=(np.float64,)), examples=10),
            grown(_MANY_IMAGES, _WHOLE_MAP),
            grown(_MANY_ROWS, dict.fromkeys(_WHOLE_MAP, 2)),
            grown(_MANY_COLUMNS, dict.fromkeys(_WHOLE_MAP, 3)),
            Asked((_USUAL,)),
        ),
        probes=(
            head_question(2, 2, 3, 1, (3, 4)),
            head_question(1, 1, 2, 2, (2, 3), seed=1),
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
