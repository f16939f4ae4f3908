"""Strategies for Hypothesis and exact oracles, to test your own boxes, anchors and layers with.

>>> from hypothesis import given
>>> from minirpn.testing import strategies
>>> test = given(strategies.boxes())(lambda boxes: None)
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis  # noqa: F401 - asked for here to say what is missing
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "minirpn.testing needs Hypothesis: pip install hypothesis"
    ) from missing

from minirpn.testing import exact, strategies

__all__ = ["exact", "strategies"]
