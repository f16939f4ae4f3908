"""A number that is not finite: what says so, and which layer it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minirpn._typing import Array
from minirpn.data.samples import Example
from minirpn.errors import InputError
from minirpn.nn.layers import Grads, Layer
from minirpn.training.step import is_finite


class NotFiniteError(InputError):
    """A step whose loss or gradient is not finite, and which was therefore not taken.

    Parameters
    ----------
    example
        Its image.
    step
        Its number, counted from 1.
    quantity
        What is not finite, such as ``"box_loss is nan"``.
    """

    def __init__(self, example: Example, step: int, quantity: str) -> None:
        super().__init__(f"{example.annotation.image_path}: step {step}: {quantity}")
        self.example, self.step, self.quantity = example, step, quantity


class _AnomalyError(Exception):
    """Leaves the step where the first number is not finite, and says where that is."""


def first_anomaly(model: Any, compute: Callable[[], object]) -> str | None:
    """Return where the first number that is not finite appears, None if every layer's are.

    Parameters
    ----------
    model
        An `RPN` or a `FasterRCNN`.
    compute
        Runs it forward and backward, such as `minirpn.training.trainer.Trainer.compute` with its
        arguments bound. It is left at the first such number.

    Returns
    -------
    str or None
        Such as ``"the output of conv3"`` on the way forward or ``"the gradient that conv3 hands
        back"`` on the way back. The input, the parameters and the output of each layer are looked
        at, so what is named is where it begins.
    """
    layers = list(layers_of(model))
    try:
        for layer in layers:
            _watch(layer)
        with np.errstate(over="ignore", invalid="ignore"):
            compute()
    except _AnomalyError as found:
        return str(found)
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
            vars(layer).pop("backward", None)
    return None


def layers_of(part: Any) -> Iterator[Layer]:
    """Yield the innermost layers of a network, or of a part of one."""
    inner = part if isinstance(part, tuple | list) else _attributes(part)
    found = False
    for item in inner:
        for layer in layers_of(item):
            found = True
            yield layer
    if isinstance(part, Layer) and not found:
        yield part


def _attributes(part: Any) -> list[Any]:
    """Return what an object of this package holds."""
    ours = type(part).__module__.startswith("minirpn.")
    return list(getattr(part, "__dict__", {}).values()) if ours else []


def _watch(layer: Layer) -> None:
    """Let a layer look at what it takes and gives, until `forward` and `backward` are taken off."""
    forward, backward = layer.forward, layer.backward

    def watched_forward(x: Array, **options: Any) -> tuple[Array, Any]:
        _demand_finite(x, f"the input of {layer.name}")
        for parameter in layer.parameters():
            _demand_finite(parameter.value, parameter.name)
        y, cache = forward(x, **options)
        _demand_finite(y, f"the output of {layer.name}")
        return y, cache

    def watched_backward(dy: Array, cache: Any, **options: Any) -> tuple[Array | None, Grads]:
        _demand_finite(dy, f"the gradient that reaches {layer.name}")
        dx, grads = backward(dy, cache, **options)
        for name, grad in grads.items():
            _demand_finite(grad, f"the gradient of {name}")
        if dx is not None:
            _demand_finite(dx, f"the gradient that {layer.name} hands back")
        return dx, grads

    # On the object, so that they hide the methods of its class.
    vars(layer).update(forward=watched_forward, backward=watched_backward)


def _demand_finite(array: Array, what: str) -> None:
    if not is_finite(array):
        raise _AnomalyError(what)
