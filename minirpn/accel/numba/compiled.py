"""Compile a Python function with numba on its first call, not when it is imported."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

_LOCK = threading.Lock()
_LOG = logging.getLogger(__name__)


class Compiled:
    """A function that numba compiles on its first call.

    To import numba takes longer than to import this whole package, and most programs need few of
    the compiled functions. The machine code is kept on disk, and releases the global interpreter
    lock while it runs.

    Parameters
    ----------
    function
        The loops, in the subset of Python that numba compiles.
    helpers
        Plain functions that `function` calls, in this or another file; a helper of a helper comes
        before it. (numba's cache on disk notices changes only in the file of `function`. So a
        checksum of the helpers' files is part of the name of the machine code.)
    """

    def __init__(self, function: Callable[..., Any], *helpers: Callable[..., Any]) -> None:
        self.python = function
        self._helpers = helpers
        self._machine: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *args: Any) -> Any:  # noqa: D102
        if self._machine is None:
            with _LOCK:
                if self._machine is None:
                    self._machine = self._compile()
        return self._machine(*args)

    def _compile(self) -> Callable[..., Any]:
        import numba

        jit = numba.njit(cache=True, nogil=True, error_model="numpy")
        checksum = _checksum(self._helpers)
        machine: dict[str, Callable[..., Any]] = {}
        for helper in self._helpers:
            machine[helper.__name__] = jit(_rebound(helper, machine, checksum))
        compiled = jit(_rebound(self.python, machine, checksum))
        if not _is_kept(compiled):
            _announce()
        return compiled


def _is_kept(machine: Any) -> bool:
    """Tell whether numba has machine code of this function on disk."""
    folder, name = Path(machine.stats.cache_path), machine.py_func.__qualname__
    return any(name in index.name for index in folder.glob("*.nbi"))


@cache
def _announce() -> None:
    """Log once that there will be a wait; the command line prints it."""
    _LOG.info("compiling for this machine: some seconds, once; the code is kept on disk")


def _checksum(helpers: tuple[Callable[..., Any], ...]) -> str:
    """Return a checksum of the files that the helpers are in."""
    files = sorted({helper.__code__.co_filename for helper in helpers})
    return f"{zlib.crc32(b''.join(Path(file).read_bytes() for file in files)):08x}"


def _rebound(
    function: Callable[..., Any], helpers: dict[str, Callable[..., Any]], checksum: str
) -> FunctionType:
    """Return the function with compiled helpers, under a name that has their checksum."""
    namespace = {**function.__globals__, **helpers}
    copy = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    copy.__qualname__ = f"{function.__qualname__}_{checksum}"
    return copy


def compiled(function: Callable[..., Any], *helpers: Callable[..., Any]) -> Compiled:
    """Return `function` compiled by numba on its first call; see `Compiled`."""
    return Compiled(function, *helpers)
