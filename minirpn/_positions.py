"""Positions in arrays have 64 bits, also where NumPy's have 32: in a browser.

NumPy counts positions in `numpy.intp`, as wide as an address of the machine. A browser's addresses
have 32 bits. There `numpy.take` refuses positions of 64 bits, and `numpy.argsort` returns 32.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import array_api_compat
import array_api_compat.numpy
import numpy as np

from minirpn._typing import Array

_RETURN_POSITIONS = ("argmax", "argmin", "argsort", "nonzero", "searchsorted")


def wide_positions(xp: Any, position: type[np.signedinteger] = np.intp) -> Any:
    """Return an array library of NumPy's whose functions take and return positions as int64.

    Parameters
    ----------
    xp
        NumPy, as array-api-compat has it.
    position
        The dtype that `xp` counts positions in. If it has 64 bits, `xp` itself is returned.
    """
    if np.dtype(position).itemsize == 8:
        return xp
    wide = ModuleType(xp.__name__)
    vars(wide).update(vars(xp))

    def take(x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
        return xp.take(x, indices.astype(position), axis=axis)

    vars(wide)["take"] = take
    for name in _RETURN_POSITIONS:
        vars(wide)[name] = _returning_int64(getattr(xp, name))
    return wide


def _returning_int64(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        if isinstance(result, tuple):  # of `nonzero`, one array for each axis
            return tuple(one.astype(np.int64) for one in result)
        return result.astype(np.int64)

    return run


NUMPY = wide_positions(array_api_compat.numpy)
"""NumPy as the array API standard has it, with positions of 64 bits."""
