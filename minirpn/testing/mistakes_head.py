"""The RPN head as people first wire it, each time wrong in one way; see `mistakes_boxes`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirpn.nn import conv2d_backward, conv2d_forward, relu_backward, relu_forward

Answers = dict[str, np.ndarray]
Weights = dict[str, np.ndarray]

LAYERS = ("rpn.conv", "rpn.objectness", "rpn.deltas")


def anchor_rows(y: np.ndarray, values: int) -> np.ndarray:
    """Return one row of values an anchor as it should be; those below spoil it."""
    N, channels, Hf, Wf = y.shape
    A = channels // values
    # (N, A * v, Hf, Wf) -> (N, A, v, Hf, Wf) -> (N, Hf, Wf, A, v) -> (N, K, v)
    return y.reshape(N, A, values, Hf, Wf).transpose(0, 3, 4, 1, 2).reshape(N, -1, values)


def rows_reshaped(y: np.ndarray, values: int) -> np.ndarray:
    """Reshaping moves no number: bring the channels to the end first."""
    return y.reshape(len(y), -1, values)


def rows_by_anchor(y: np.ndarray, values: int) -> np.ndarray:
    """The anchors of a cell come one after the other: the order is (row, column, anchor)."""
    N, channels, Hf, Wf = y.shape
    split = y.reshape(N, channels // values, values, Hf, Wf)
    return split.transpose(0, 1, 3, 4, 2).reshape(N, -1, values)


def rows_by_column(y: np.ndarray, values: int) -> np.ndarray:
    """Go row by row, not column by column."""
    return anchor_rows(y.transpose(0, 1, 3, 2), values)


def rows_by_value(y: np.ndarray, values: int) -> np.ndarray:
    """Channel a * values + v is value v of anchor a: the values of an anchor are neighbours."""
    N, channels, Hf, Wf = y.shape
    split = y.reshape(N, values, channels // values, Hf, Wf)
    return split.transpose(0, 3, 4, 2, 1).reshape(N, -1, values)


def rows_without_images(y: np.ndarray, values: int) -> np.ndarray:
    """Keep the axis of the images: (N, K, values)."""
    return anchor_rows(y, values).reshape(-1, values)


ROWS = (rows_reshaped, rows_by_anchor, rows_by_column, rows_by_value, rows_without_images)


@dataclass(frozen=True)
class Wiring:
    """How a head is put together, and what was forgotten."""

    relu: bool = True
    relu_back: bool = True
    bias: bool = True
    padding: int = 1
    swapped: bool = False  # the two outputs
    from_objectness: float = 1  # share of each sibling in the gradient of the hidden map
    from_deltas: float = 1


def head(
    features: np.ndarray,
    weights: Weights,
    dobjectness: np.ndarray,
    ddeltas: np.ndarray,
    wiring: Wiring = Wiring(),
) -> Answers:
    """Return both outputs and, where they have the right size, all gradients."""

    def layer(name: str, x: np.ndarray, padding: int) -> Any:
        bias = weights[f"{name}.bias"] * wiring.bias
        return conv2d_forward(x, weights[f"{name}.weight"], bias, padding=padding)

    conv, objectness, deltas = LAYERS
    before, conv_cache = layer(conv, features, wiring.padding)
    rectified, relu_cache = relu_forward(before)
    hidden = rectified if wiring.relu else before
    (y_objectness, objectness_cache), (y_deltas, deltas_cache) = (
        layer(sibling, hidden, 0) for sibling in (objectness, deltas)
    )
    if wiring.swapped:
        return {"objectness": y_deltas, "deltas": y_objectness}
    answers = {"objectness": y_objectness, "deltas": y_deltas}
    if y_objectness.shape != dobjectness.shape:
        return answers
    by_objectness = conv2d_backward(dobjectness, objectness_cache)
    by_deltas = conv2d_backward(ddeltas, deltas_cache)
    dhidden = wiring.from_objectness * np.asarray(by_objectness.dx)
    dhidden = dhidden + wiring.from_deltas * np.asarray(by_deltas.dx)
    if wiring.relu and wiring.relu_back:
        dhidden = relu_backward(dhidden, relu_cache)
    by_conv = conv2d_backward(dhidden, conv_cache)
    for name, grads in zip(LAYERS, (by_conv, by_objectness, by_deltas), strict=True):
        answers |= {f"{name}.weight": grads.dweight, f"{name}.bias": grads.dbias}
    return answers | {"features": by_conv.dx}


def _wired(hint: str, wiring: Wiring) -> Callable[..., Answers]:
    """Return a head with this wiring, under the hint for it."""

    def wired(
        features: np.ndarray, weights: Weights, dobjectness: np.ndarray, ddeltas: np.ndarray
    ) -> Answers:
        return head(features, weights, dobjectness, ddeltas, wiring)

    wired.__doc__ = hint
    return wired


HEAD = (
    _wired("Where is the ReLU?", Wiring(relu=False)),
    _wired("Where are the biases?", Wiring(bias=False)),
    _wired("The 3x3 convolution needs a padding of 1, or cells are lost.", Wiring(padding=0)),
    _wired("Objectness comes first, then the deltas.", Wiring(swapped=True)),
    _wired(
        "The hidden map feeds both siblings: where is the gradient through the deltas?",
        Wiring(from_deltas=0),
    ),
    _wired(
        "The hidden map feeds both siblings: where is the gradient through the objectness?",
        Wiring(from_objectness=0),
    ),
    _wired(
        "The gradients through both siblings are added, not averaged.",
        Wiring(from_objectness=0.5, from_deltas=0.5),
    ),
    _wired("Where is the gradient of the ReLU?", Wiring(relu_back=False)),
)
