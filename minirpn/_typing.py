"""Names for types that many modules share."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

# An array of any supported library: NumPy, CuPy, array-api-strict. The libraries share a standard,
# not a base class, so no type says all of it. A checker sees NumPy's arrays, which most users have:
# CuPy has no type hints, and its arrays pass as any type. Docstrings say shape and dtype.
Array: TypeAlias = NDArray[Any]

# Where code asks which library an array is of, or uses what only CuPy's arrays have.
OtherArray: TypeAlias = Any

# (height, width), in pixels, always in this order.
ImageSize: TypeAlias = tuple[int, int]
