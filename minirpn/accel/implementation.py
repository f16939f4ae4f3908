"""One implementation of an operation: where it is, what it supports, when it is available."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import array_api_compat
import numpy as np

from minirpn._typing import Array, OtherArray


@dataclass(frozen=True)
class Implementation:
    """One way to compute an operation.

    Parameters
    ----------
    name
        What `minirpn.accel.use` calls it.
    place
        The function, or where it is: ``"module:function"``, imported on the first call.
    supports
        Tells whether it works on arrays of this kind. Called with the first argument, or with each
        array in it if that is a list.
    is_available
        Tells whether the library or the device it needs is on this machine.
    is_preferred
        Tells whether it is faster for these arguments; not called if it was chosen by name. A
        function, or where it is.
    rounding
        How far a result may be from that of the loops, in machine epsilons times the largest
        result, or 1; None where both round alike, but for the order of sums.
    options
        Keyword arguments that the function always gets.
    """

    name: str
    place: str | Callable[..., Any]
    supports: Callable[[Array], bool] = lambda array: True
    is_available: Callable[[], bool] = lambda: True
    is_preferred: str | Callable[..., bool] | None = None
    rounding: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        function = _imported(self.place)
        return partial(function, **self.options) if self.options else function

    @cached_property
    def preferred(self) -> Callable[..., bool]:
        """The function that tells whether it is preferred for some arguments."""
        return _imported(self.is_preferred or (lambda *args: True))


def _imported(place: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(place):
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def numba_available() -> bool:
    """Tell whether numba can be imported, without importing it."""
    return importlib.util.find_spec("numba") is not None


@cache
def warn_of_missing_numba() -> None:
    """Warn once that numba is not installed, when it would be used."""
    warnings.warn(
        "numba is not installed: slower implementations run instead, with the same results",
        RuntimeWarning,
        stacklevel=2,
    )


# The kernels for a GPU are compiled for these.
_REALS = {np.dtype("float32"), np.dtype("float64")}


def on_cuda(array: OtherArray) -> bool:
    """Tell whether the kernels for a GPU support this array: one of CuPy, float or double."""
    if isinstance(array, np.ndarray):
        return False
    return array_api_compat.is_cupy_array(array) and array.dtype in _REALS


def on_cuda_float32(array: Array) -> bool:
    """Tell whether cuDNN supports this array; it computes few convolutions in double."""
    return on_cuda(array) and bool(array.dtype == np.float32)
