"""Threads that work for a program, and what does their work in a browser, which has none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

IN_BROWSER = sys.platform == "emscripten"
"""Whether this Python is a browser's: no threads, no processes, and nothing that compiles."""


def thread_pool(
    threads: int, name: str, *, initializer: Callable[[], object] | None = None
) -> Executor:
    """Return an executor with this many threads; in a browser, one that has none.

    Parameters
    ----------
    threads
        How many, at least 1.
    name
        How the names of the threads begin.
    initializer
        Each thread calls it at its start.

    Notes
    -----
    Without threads, a function runs to its end when it is submitted. So functions must not wait for
    what is submitted after them, and their results must not depend on the order in which they run.
    """
    if IN_BROWSER:
        return AtOnce()
    return ThreadPoolExecutor(threads, name, initializer=initializer)


class AtOnce(Executor):
    """An executor that runs each function when it is submitted, in the thread of the caller."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the result of a function that has run, or its error."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
