"""The RPN head: a small network that slides over the feature map (section 3.1).

A 3x3 convolution reads the features around each cell, a ReLU follows, and two sibling 1x1
convolutions give for each of the A anchors of the cell whether it holds an object (`objectness`)
and how to move it onto that object (`deltas`).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.nn.layers import Conv2d, Parameter, ReLU

Classifier = Literal["softmax", "logistic"]
# Numbers of the cls layer for an anchor: two logits (background, object), or one.
SCORES_PER_ANCHOR = {"softmax": 2, "logistic": 1}


class HeadOutput(NamedTuple):
    """The output of the head for every anchor, in the order (row, column, base anchor)."""

    objectness: Array  # (N, K, 2) logits (background, object) of a softmax, or (N, K, 1) logits
    deltas: Array  # (N, K, 4)


class HeadCache(NamedTuple):
    """What `RPNHead.backward` needs from `RPNHead.forward`."""

    conv: Any
    relu: Any
    objectness: Any
    deltas: Any
    feature_size: tuple[int, int]


def anchor_rows(y: Array, values: int) -> Array:
    """Return a map of the head as rows of `values` numbers, one row for each anchor.

    Parameters
    ----------
    y
        (N, A * values, Hf, Wf): channel ``a * values + v`` is value v of base anchor a.
    values
        Numbers for each anchor: 4 deltas, 2 logits, or 1.

    Returns
    -------
    Array
        (N, K, values) with K = Hf * Wf * A in the order (row, column, base anchor).

    Notes
    -----
    `anchor_map` is the inverse. py-faster-rcnn has the same channels for the deltas, but puts all
    background scores before all object scores.
    """
    xp = namespace_of(y)
    N, channels, Hf, Wf = y.shape
    A = channels // values
    y = xp.reshape(y, (N, A, values, Hf, Wf))  # (N, A * v, Hf, Wf) -> (N, A, v, Hf, Wf)
    y = xp.permute_dims(y, (0, 3, 4, 1, 2))  # -> (N, Hf, Wf, A, v)
    return xp.reshape(y, (N, Hf * Wf * A, values))  # -> (N, K, v)


def anchor_map(rows: Array, feature_size: tuple[int, int]) -> Array:
    """Return rows (N, K, values) as a map (N, A * values, Hf, Wf): the inverse of `anchor_rows`."""
    xp = namespace_of(rows)
    N, K, values = rows.shape
    Hf, Wf = feature_size
    A = K // (Hf * Wf)
    rows = xp.reshape(rows, (N, Hf, Wf, A, values))  # (N, K, v) -> (N, Hf, Wf, A, v)
    rows = xp.permute_dims(rows, (0, 3, 4, 1, 2))  # -> (N, A, v, Hf, Wf)
    return xp.reshape(rows, (N, A * values, Hf, Wf))  # -> (N, A * v, Hf, Wf)


class RPNHead:
    """The 3x3 convolution, its ReLU and the two 1x1 siblings.

    Parameters
    ----------
    in_channels
        C of the features.
    hidden
        Channels of the 3x3 convolution: 256 for ZF, 512 for VGG-16 (section 3.1).
    anchors_per_cell
        A, nine in the paper.
    classifier
        ``"softmax"`` (two logits for each anchor, as the paper) or ``"logistic"`` (one; the paper's
        footnote 3).
    rng
        Draws the weights from N(0, `std`).
    std
        0.01 (section 3.1.3).
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        anchors_per_cell: int,
        *,
        classifier: Classifier = "softmax",
        rng: np.random.Generator,
        std: float = 0.01,
    ) -> None:
        if classifier not in SCORES_PER_ANCHOR:
            raise ValueError(f"classifier: expected softmax or logistic, got {classifier!r}")
        self.classifier = classifier
        self.scores_per_anchor = SCORES_PER_ANCHOR[classifier]
        scores = anchors_per_cell * self.scores_per_anchor
        self.conv = Conv2d("rpn.conv", in_channels, hidden, kernel=3, padding=1, rng=rng, std=std)
        self.relu = ReLU("rpn.relu")
        self.objectness = Conv2d("rpn.objectness", hidden, scores, kernel=1, rng=rng, std=std)
        self.deltas = Conv2d("rpn.deltas", hidden, 4 * anchors_per_cell, kernel=1, rng=rng, std=std)

    def parameters(self) -> list[Parameter]:
        """Return the parameters of the three convolutions."""
        layers = (self.conv, self.objectness, self.deltas)
        return [parameter for layer in layers for parameter in layer.parameters()]

    def forward(self, features: Array) -> tuple[HeadOutput, HeadCache]:
        """Return objectness (N, K, 2 or 1) and deltas (N, K, 4) of features (N, C, Hf, Wf)."""
        hidden, conv_cache, relu_cache = self.conv.forward_relu(features)
        objectness, objectness_cache = self.objectness.forward(hidden)
        deltas, deltas_cache = self.deltas.forward(hidden)
        output = HeadOutput(anchor_rows(objectness, self.scores_per_anchor), anchor_rows(deltas, 4))
        size = (features.shape[2], features.shape[3])
        return output, HeadCache(conv_cache, relu_cache, objectness_cache, deltas_cache, size)

    def backward(
        self, dobjectness: Array, ddeltas: Array, cache: HeadCache, *, need_dx: bool = True
    ) -> tuple[Array | None, dict[str, Array]]:
        """Return the gradient by the features (None if not needed), and those by the parameters.

        Parameters
        ----------
        dobjectness, ddeltas
            Gradients of the loss by the two outputs of `forward`, in their shapes.
        cache
            The cache that `forward` returned.
        need_dx
            Whether the backbone is trained.
        """
        check_shape(ddeltas, (*dobjectness.shape[:2], 4), "ddeltas")
        dhidden: Any
        dhidden_by_deltas: Any
        dy = anchor_map(dobjectness, cache.feature_size)
        dhidden, objectness_grads = self.objectness.backward(dy, cache.objectness)
        dy = anchor_map(ddeltas, cache.feature_size)
        dhidden_by_deltas, deltas_grads = self.deltas.backward(dy, cache.deltas)
        dhidden += dhidden_by_deltas  # in place, which keeps the order in memory
        dhidden, _ = self.relu.backward(dhidden, cache.relu)
        dfeatures, conv_grads = self.conv.backward(dhidden, cache.conv, need_dx=need_dx)
        return dfeatures, conv_grads | objectness_grads | deltas_grads
