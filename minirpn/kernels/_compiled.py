"""Compile a plain Python function with numba when it is first called, not when it is imported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

_LOCK = threading.Lock()


class Compiled:
    """A function that numba compiles on its first call.

    Importing numba takes longer than importing this whole package, and most programs need few of
    its kernels; so both wait until a kernel is called. The machine code is kept on disk, and the
    global interpreter lock is released while it runs.

    Parameters
    ----------
    function
        The loops, in the subset of Python that numba compiles.
    helpers
        Plain functions *of the same module* that `function` calls. (numba's disk cache watches
        the file of `function` alone: a helper in another file could change unseen.)
    """

    def __init__(self, function: Callable[..., Any], *helpers: Callable[..., Any]) -> None:
        for helper in helpers:
            if helper.__module__ != function.__module__:
                raise ValueError(f"{helper.__name__} is not in the module of {function.__name__}")
        self.python = function
        self._helpers = helpers
        self._machine: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *args: Any) -> Any:
        if self._machine is None:
            with _LOCK:
                if self._machine is None:
                    self._machine = self._compile()
        return self._machine(*args)

    def _compile(self) -> Callable[..., Any]:
        import numba

        jit = numba.njit(cache=True, nogil=True, error_model="numpy")
        namespace = dict(self.python.__globals__)
        for helper in self._helpers:
            namespace[helper.__name__] = jit(_rebound(helper, namespace))
        return jit(_rebound(self.python, namespace))


def _rebound(function: Callable[..., Any], namespace: dict[str, Any]) -> FunctionType:
    """Return the function reading its globals from `namespace`, where helpers are compiled."""
    plain = function.__code__
    copy = FunctionType(plain, namespace, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return copy


def compiled(function: Callable[..., Any], *helpers: Callable[..., Any]) -> Compiled:
    """Return `function` compiled by numba on its first call; see `Compiled`."""
    return Compiled(function, *helpers)
