"""Names for types that many modules share."""

from __future__ import annotations

from typing import Any, TypeAlias

# An array of any supported library: NumPy, CuPy, array-api-strict. The libraries share a standard,
# not a base class, so the checker sees Any and the docstrings say shape and dtype.
Array: TypeAlias = Any

# (height, width), in pixels, always in this order.
ImageSize: TypeAlias = tuple[int, int]
