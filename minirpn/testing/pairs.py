"""A forward and its backward as one function, which is how the kit asks for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

Answers = dict[str, np.ndarray]
"""``y``, and the gradients by name."""


def parts(result: Any, backward: Callable[..., Any] | None) -> tuple[Any, Any]:
    """Return y and the cache of a forward's result, which is y alone where no backward follows."""
    if result is ... or (backward is None and not isinstance(result, tuple)):
        return result, None
    y, cache = result
    return y, cache


def only_y(pair: Callable[..., Answers]) -> Callable[..., Answers]:
    """Return the forward alone of what answers for both."""

    @wraps(pair)
    def forward(*question: Any, **named: Any) -> Answers:
        return {"y": pair(*question, **named)["y"]}

    return forward


def name_of(forward: Callable[..., Any], backward: Callable[..., Any] | None) -> str:
    """Return what to call the two in a message."""
    names = [getattr(function, "__name__", "yours") for function in (forward, backward) if function]
    return " and ".join(names)
