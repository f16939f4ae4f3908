"""The checks of chapter 08: the first weights of a layer, and the head there and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from minirpn import nn
from minirpn.testing import Verdict, check_anchor_rows, check_equal, check_rpn_head

Shape = tuple[int, ...]


def _he_std(shape: Shape, *, gain: float = 2, power: float = 0.5) -> float:
    return float((gain / math.prod(shape[1:])) ** power)


def _check_he_std(f: Callable[..., Any]) -> Verdict:
    def he_std(shape: Shape) -> float:
        return _he_std(shape)

    mistakes: dict[str, Callable[..., Any]] = {
        "That is the variance: s is its square root.": partial(_he_std, power=1),
        "Take the root of the whole fraction, not of the 2 alone.": lambda shape: (
            math.sqrt(2) / math.prod(shape[1:])
        ),
        "ReLU halves the mean square: where is the 2?": partial(_he_std, gain=1),
        "The factor n s^2 / 2 should be 1: should the 2 multiply or divide?": partial(
            _he_std, gain=0.5
        ),
        "An output sums over the input channels and the whole kernel: "
        "where is the kernel?": lambda shape: math.sqrt(2 / shape[1]),
        "Both sides of the kernel count.": lambda shape: math.sqrt(2 / math.prod(shape[1:3])),
        "The first number counts outputs; one output sums over the inputs and its kernel.": (
            lambda shape: math.sqrt(2 / (shape[0] * math.prod(shape[2:])))
        ),
        "One output has its own sum: leave out the number of outputs.": lambda shape: math.sqrt(
            2 / math.prod(shape)
        ),
        "The terms of the sum are multiplied out: channels times height times width.": (
            lambda shape: math.sqrt(2 / sum(shape[1:]))
        ),
        "The more inputs, the smaller the weights: is your fraction upside down?": partial(
            _he_std, power=-0.5
        ),
    }
    calls = (((8, 3),), ((16, 3, 3, 3),), ((5, 4, 3, 1),), ((18, 512, 1, 1),))
    return check_equal(f, he_std, *calls, mistakes=mistakes)


def head_forward(features: Any, weights: dict[str, Any]) -> tuple[Any, Any]:
    """Return (objectness, deltas) and the caches, as the function of the chapter does."""

    def layer(name: str, x: Any, padding: int = 0) -> tuple[Any, Any]:
        weight, bias = weights[f"rpn.{name}.weight"], weights[f"rpn.{name}.bias"]
        return nn.conv2d_forward(x, weight, bias, padding=padding)

    y, conv_cache = layer("conv", features, padding=1)
    hidden, relu_cache = nn.relu_forward(y)
    (objectness, cache_o), (deltas, cache_d) = layer("objectness", hidden), layer("deltas", hidden)
    return (objectness, deltas), (conv_cache, relu_cache, cache_o, cache_d)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_he_std": _check_he_std,
    "my_head": check_rpn_head,
    "my_anchor_rows": check_anchor_rows,
    "my_head_backward": partial(check_rpn_head, head_forward),
}
