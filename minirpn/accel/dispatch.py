"""Run a faster implementation in the place of a function, where one is available and faster.

`accelerated` decorates a function that has other implementations: plain loops, compiled loops,
kernels for a GPU. Its body is the definition as array code, for arrays of any library.
`minirpn.accel.table` lists the others; tests check that all of them are equal, up to rounding.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np

from minirpn.accel.implementation import Implementation, UnusableError, possible, run_first

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

        If it was chosen by name: raise as `Implementation.require` does.
        """
        arrays = args[0] if isinstance(args[0], list | tuple) else args[:1]
        if named := self._named():
            return named.require(self.name, arrays)
        on_host = not arrays or type(arrays[0]) is np.ndarray
        some = self._for_numpy if on_host else possible(self.implementations, arrays)
        return next(one for one in some if one.preferred(*args))

    def go_on(self, failure: UnusableError, args: Sequence[Any]) -> Any:
        """Run the next implementation where that of `choose` failed; raise if it was named."""
        if named := self._named():
            raise named.refusal(self.name, str(failure)) from failure
        _, *others = (one for one in self._for_numpy if one.preferred(*args))
        return run_first(others, args, failure)

    def _named(self) -> Implementation | None:
        choices = CHOICES.get()
        return self.by_name.get(choices.get(self.name) or choices.get("*", "")) if choices else None

    @cached_property
    def _for_numpy(self) -> list[Implementation]:
        return possible(self.implementations, [np.zeros(0)])


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
            try:
                return the_operation.choose(*args).function(*args)
            except UnusableError as failure:
                return the_operation.go_on(failure, args)

        return cast(Function, run)

    return decorate
