"""Compile a Python function with numba on its first call, not when it is imported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

from minirpn.accel.implementation import UnusableError, numba_trouble, one_line, say_once

_LOCK = threading.Lock()


class Compiled:
    """A function that numba compiles on its first call with arguments of some types.

    To import numba takes longer than to import this whole package, and most programs need few of
    the compiled functions. The machine code is kept on disk where that is possible, and releases
    the global interpreter lock while it runs.

    Parameters
    ----------
    function
        The loops, in the subset of Python that numba compiles.
    helpers
        Plain functions that `function` calls, in this or another file; a helper of a helper comes
        before it.
    """

    def __init__(self, function: Callable[..., Any], *helpers: Callable[..., Any]) -> None:
        self.python = function
        self._helpers = helpers
        self._machine: Any = None
        self._failures: dict[tuple[Any, ...], str] = {}
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *args: Any) -> Any:
        """Run the machine code.

        Raises
        ------
        UnusableError
            numba cannot compile it for arguments of these types; the next time, it does not try.
        """
        if self._failures and (reason := self._failures.get(_kinds(args))):
            raise UnusableError(reason)
        try:
            return (self._machine or self._made())(*args)
        except MemoryError:  # it says nothing about the function
            raise
        except Exception as error:
            if self._is_compiled_for(args):  # then the function itself raised it
                raise
            reason = self._failures[_kinds(args)] = (
                f"numba cannot compile {self.__name__}: {one_line(error)}"
            )
            raise UnusableError(reason) from error

    def _made(self) -> Any:
        """Return what numba makes of the function, which compiles when it is called."""
        import numba

        jit = numba.njit(nogil=True, error_model="numpy")
        with _LOCK:
            if self._machine is None:
                machine: dict[str, Any] = {}
                for function in (*self._helpers, self.python):
                    machine[function.__name__] = jit(_rebound(function, machine))
                    _keep(machine[function.__name__], self._helpers)
                self._machine = machine[self.python.__name__]
        return self._machine

    def _is_compiled_for(self, args: tuple[Any, ...]) -> bool:
        import numba

        try:
            return tuple(map(numba.typeof, args)) in self._machine.signatures
        except Exception:  # it has no type for some argument
            return False


def _kinds(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what numba chooses machine code by, roughly: types and dtypes."""
    return tuple((type(arg), getattr(arg, "dtype", None)) for arg in args)


def _rebound(function: Callable[..., Any], helpers: dict[str, Any]) -> FunctionType:
    """Return the function with compiled helpers."""
    namespace = {**function.__globals__, **helpers}
    copy = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _keep(machine: Any, helpers: tuple[Callable[..., Any], ...]) -> None:
    """Let a function of numba keep its machine code on disk, if there is a place for it."""
    try:
        from minirpn.accel.numba.kept import CodeOnDisk

        machine._cache = CodeOnDisk(machine.py_func, helpers)
    except Exception as error:  # no folder, no source files, a numba that works in another way
        say_not_kept(error)


def say_not_kept(error: Exception) -> None:
    """Say once why the next start will wait for the compiler again."""
    say_once(
        "machine code is not kept on disk: each start compiles it, for seconds", one_line(error)
    )


def compiler_trouble() -> str | None:
    """Return why numba cannot be used here, or None; it compiles something to know."""
    if trouble := numba_trouble():
        return trouble
    import numba

    try:
        numba.njit(lambda x: x)(1)
    except Exception as error:
        return f"numba cannot compile: {one_line(error)}"
    return None


def compiled(function: Callable[..., Any], *helpers: Callable[..., Any]) -> Compiled:
    """Return `function` compiled by numba on its first call; see `Compiled`."""
    return Compiled(function, *helpers)
