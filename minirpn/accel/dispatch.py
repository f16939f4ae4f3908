"""Run a faster implementation in the place of a function, where one is available and faster.

`accelerated` decorates a function that has other implementations: plain loops, compiled loops,
kernels for a GPU. Its body is the definition as array code, for arrays of any library.
`minirpn.accel.table` lists the others; tests check that all of them are equal.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np

from minirpn._typing import Array
from minirpn.accel.implementation import Implementation, numba_available, warn_of_missing_numba

Function = TypeVar("Function", bound=Callable[..., Any])
# (operation or "*") -> implementation, set by `minirpn.accel.use`; each thread has its own.
CHOICES: ContextVar[dict[str, str] | None] = ContextVar("minirpn_implementations", default=None)
OPERATIONS: dict[str, Operation] = {}


class Operation:
    """An operation and its implementations, the slowest first."""

    def __init__(self, name: str, implementations: Sequence[Implementation]) -> None:
        self.name = name
        self.implementations = tuple(implementations)
        self.by_name = {one.name: one for one in implementations}
        OPERATIONS[name] = self

    def choose(self, *args: Any) -> Implementation:
        """Return the implementation that runs for these arguments.

        If it was chosen by name: raise ``TypeError`` if it does not support arrays of this kind,
        and ``RuntimeError`` if it needs a library or a device that is not available.
        """
        arrays = args[0] if isinstance(args[0], list | tuple) else args[:1]
        choices = CHOICES.get()
        chosen = choices and self.by_name.get(choices.get(self.name) or choices.get("*", ""))
        if not chosen:
            on_host = not arrays or type(arrays[0]) is np.ndarray
            possible = self._for_numpy if on_host else self._possible(arrays)
            return next(one for one in possible if one.preferred(*args))
        if not all(map(chosen.supports, arrays)):
            kind = f"{type(arrays[0]).__module__}.{type(arrays[0]).__qualname__}"
            raise TypeError(f"{self.name}: {chosen.name!r} does not support {kind}")
        if not chosen.is_available():
            raise RuntimeError(f"{self.name}: {chosen.name!r} needs what is not installed here")
        return chosen

    @cached_property
    def _for_numpy(self) -> list[Implementation]:
        return self._possible([np.zeros(0)])

    def _possible(self, arrays: Sequence[Array]) -> list[Implementation]:
        """Return the implementations that can run here on such arrays, the fastest first."""
        supporting = [one for one in self.implementations if all(map(one.supports, arrays))]
        if not numba_available() and any(one.is_available is numba_available for one in supporting):
            warn_of_missing_numba()
        return [one for one in reversed(supporting) if one.is_available()]


def accelerated(
    name: str, *, checks: Callable[..., tuple[Any, ...]] | None = None
) -> Callable[[Function], Function]:
    """Return a decorator for the implementation ``array`` of the operation `name`.

    Parameters
    ----------
    name
        The operation, as `minirpn.accel.use` calls it.
    checks
        Called first: raises an error, or returns the arguments as every implementation needs them.
    """
    from minirpn.accel.table import operation

    def decorate(function: Function) -> Function:
        the_operation = operation(name, function)
        signature = inspect.signature(function)
        if checks is not None:
            checks.__qualname__ = function.__qualname__  # Python's own errors name the function

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                args = bound.args
            if checks is not None:
                args = checks(*args)
            return the_operation.choose(*args).function(*args)

        return cast(Function, run)

    return decorate
