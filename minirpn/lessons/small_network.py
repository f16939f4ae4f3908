"""The network of chapter 12, of the library's parts: four convolutions of stride 2, and a head.

The chapter builds the same network of the learner's own parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minirpn import rpn
from minirpn.lessons.parts import anchor_rows, conv, conv_backward, relu_backward

LAYERS = {"conv1": 2, "conv2": 2, "conv3": 2, "conv4": 2, "conv5": 1, "rpn.conv": 1}
"""Convolutions of 3 x 3, each with a ReLU, by name -> stride. There is no pooling."""
CHANNELS = (16, 32, 64, 64, 64, 64)
SIBLINGS = {"rpn.objectness": 2, "rpn.deltas": 4}
"""The two convolutions of 1 x 1 at the end -> values for each anchor."""
ANCHORS = 9

Numbers = dict[str, np.ndarray]
"""Parameters, velocities or slopes by name, such as ``conv1.weight``."""


def first_parameters(seed: int) -> Numbers:
    """Return random weights, He's before a ReLU and else N(0, 0.01), and biases of 0."""
    rng, inputs = np.random.default_rng(seed), 3
    parameters: Numbers = {}
    for name, outputs in zip(LAYERS, CHANNELS, strict=True):
        weight = rng.normal(0, np.sqrt(2 / (9 * inputs)), (outputs, inputs, 3, 3))
        parameters |= {f"{name}.weight": weight, f"{name}.bias": np.zeros(outputs)}
        inputs = outputs
    for name, values in SIBLINGS.items():
        weight = rng.normal(0, 0.01, (ANCHORS * values, inputs, 1, 1))
        parameters |= {f"{name}.weight": weight, f"{name}.bias": np.zeros(ANCHORS * values)}
    return {name: value.astype(np.float32) for name, value in parameters.items()}


def forward(parameters: Numbers, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return objectness (K, 2) and deltas (K, 4) of a picture (3, H, W), and a cache."""
    x, inputs = image[None], []
    for name, stride in LAYERS.items():
        inputs.append(x)
        y = conv(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"], stride, 1)
        x = np.maximum(y, 0)
    objectness, deltas = (
        anchor_rows(conv(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"]), values)[0]
        for name, values in SIBLINGS.items()
    )
    return objectness, deltas, (parameters, inputs, x)


def backward(by_scores: np.ndarray, by_deltas: np.ndarray, cache: Any) -> Numbers:
    """Return the slopes of the loss by every parameter, from those by the network's answers."""
    parameters, inputs, y = cache
    slopes: Numbers = {}
    dx: Any = 0
    for name, rows in zip(SIBLINGS, (by_scores, by_deltas), strict=True):
        maps, weight = rpn.anchor_map(rows[None], y.shape[2:]), f"{name}.weight"
        one, slopes[weight], slopes[f"{name}.bias"] = conv_backward(
            maps, (y, parameters[weight], 1, 0)
        )
        dx = dx + one
    for (name, stride), x in zip(reversed(LAYERS.items()), reversed(inputs), strict=True):
        weight = f"{name}.weight"
        dx, slopes[weight], slopes[f"{name}.bias"] = conv_backward(
            relu_backward(dx, y), (x, parameters[weight], stride, 1)
        )
        y = x
    return slopes
