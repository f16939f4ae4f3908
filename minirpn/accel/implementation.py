"""One implementation of an operation: where it is, what it supports, when it is available."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from textwrap import shorten
from typing import Any

import array_api_compat
import numpy as np

from minirpn._typing import Array, OtherArray
from minirpn.workers import IN_BROWSER

_LOG = logging.getLogger(__name__)
SAID: set[str] = set()  # what `say_once` has logged


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

    @property
    def needs_numba(self) -> bool:
        """Whether it is available exactly where numba is."""
        return self.is_available is numba_available

    def require(self, operation: str, arrays: Sequence[Array]) -> Implementation:
        """Return itself if it can run here on such arrays, for an operation of this name.

        Raises
        ------
        TypeError
            It does not support arrays of this kind.
        RuntimeError
            It needs a library or a device that cannot be used.
        """
        if not all(map(self.supports, arrays)):
            kind = f"{type(arrays[0]).__module__}.{type(arrays[0]).__qualname__}"
            raise TypeError(f"{operation}: {self.name!r} does not support {kind}")
        if not self.is_available():
            trouble = numba_trouble() if self.needs_numba else None
            raise self.refusal(operation, trouble or "what it needs is not installed")
        return self

    def refusal(self, operation: str, trouble: str) -> RuntimeError:
        """Return the error for who chose it by name."""
        return RuntimeError(f"{operation}: {self.name!r} cannot be used here: {trouble}")


def possible(
    implementations: Sequence[Implementation], arrays: Sequence[Array]
) -> list[Implementation]:
    """Return the implementations that can run here on such arrays, in reversed order."""
    supporting = [one for one in implementations if all(map(one.supports, arrays))]
    if any(one.needs_numba for one in supporting) and (trouble := numba_trouble()):
        say_slower(trouble)
    return [one for one in reversed(supporting) if one.is_available()]


def run_first(
    implementations: Iterable[Implementation], args: Sequence[Any], failure: UnusableError
) -> Any:
    """Run the first implementation that is usable, after the `failure` of another."""
    for one in implementations:
        say_slower(str(failure))
        try:
            return one.function(*args)
        except UnusableError as error:
            failure = error
    raise failure


def _imported(place: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(place):
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


class UnusableError(RuntimeError):
    """An implementation cannot compute this here; another one can."""


@cache
def numba_trouble() -> str | None:
    """Return why numba cannot be used here, or None. This imports it."""
    if IN_BROWSER:
        return "numba compiles nothing for a browser"
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed"
    try:
        import numba

        is_off = numba.config.DISABLE_JIT
    except Exception as error:  # it is incomplete, or NumPy is too new for it
        return f"numba cannot be imported: {one_line(error)}"
    # Its loops would run as plain Python, a thousand times as slow.
    return "numba is switched off by NUMBA_DISABLE_JIT" if is_off else None


def numba_available() -> bool:
    """Tell whether numba can be used here. This imports it."""
    return numba_trouble() is None


def say_once(words: str, reason: str = "", level: int = logging.WARNING) -> None:
    """Log `words`, with the first reason for them only; the command line prints it as a line."""
    if words not in SAID:
        SAID.add(words)
        _LOG.log(level, "%s (%s)" if reason else "%s%s", words, reason)


def say_slower(trouble: str) -> None:
    """Say once that there is something else to run, and why.

    Not in a browser, where nobody can do anything about it.
    """
    if IN_BROWSER:
        return
    say_once("slower code runs in place of numba's, so that last digits may differ", trouble)


def one_line(error: Exception) -> str:
    """Return the kind and the message of another library's error, as one line that is not long."""
    return shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")


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
