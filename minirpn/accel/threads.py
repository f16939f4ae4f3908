"""How many threads compute, and how they share work.

Implementations cut their work into pieces and give these to `share`. Plain Python threads are
enough, because matrix products and numba's loops release the interpreter's lock. While pieces run,
the BLAS uses one thread: its threads and ours would compete for the same cores.

A piece may be large, such as the step of one image, and share its own work in its turn. It does so
on its part of the threads: with two images on two cores each runs on one, and with sixteen cores
each has eight.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextvars import ContextVar, copy_context
from functools import cache
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from minirpn.workers import thread_pool

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _State:
    """The number of threads, and the threads themselves."""

    def __init__(self) -> None:
        self.count = _cores()
        self.reset()

    def reset(self) -> None:
        # One call of `share` at a time. Two at once would use the same cores, and the one that
        # ends last would restore the BLAS limit of the other.
        self.busy = threading.RLock()
        self.pool: Executor | None = None


_STATE = _State()
# On how many threads the caller may share work; None outside of all pieces: on all there are.
_THREADS: ContextVar[int | None] = ContextVar("minirpn_threads", default=None)
# A child has no threads of its parent, but would have their locks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_STATE.reset)


@cache
def _blas() -> Any:
    """Return the controller of the BLAS that NumPy has loaded."""
    np.matmul(np.ones((1, 1)), np.ones((1, 1)))
    return ThreadpoolController().select(user_api="blas")


def thread_count() -> int:
    """Return how many threads compute: what was set, or the cores this process may use."""
    return _STATE.count


def set_threads(count: int) -> None:
    """Compute with this many threads from now on, in matrix products outside `share` too.

    Raises
    ------
    ValueError
        `count` is less than 1.

    Notes
    -----
    Results of `share` do not depend on it: how work is cut and in which order sums are added is
    fixed.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1 thread, got {count}")
    with _STATE.busy:
        if _STATE.pool is not None:
            _STATE.pool.shutdown()
        _STATE.count, _STATE.pool = count, None
        _blas().limit(limits=count)
        # From threadpoolctl 3.7 on, OpenBLAS ignores the limits of other threads than the one that
        # set a limit, until that one leaves a ``with`` block.
        with _blas().limit(limits=count):
            pass


@contextlib.contextmanager
def on_this_thread() -> Iterator[None]:
    """Let `share` run all its pieces on the calling thread, in a ``with`` block.

    So work in the background neither waits for the threads that compute nor holds them up. How many
    threads the BLAS uses is not changed.
    """
    with _on_threads(1):
        yield


@contextlib.contextmanager
def _on_threads(count: int) -> Iterator[None]:
    token = _THREADS.set(count)
    try:
        yield
    finally:
        _THREADS.reset(token)


def share(function: Callable[[Piece], None], pieces: Iterable[Piece]) -> None:
    """Call `function` with each piece, on `thread_count` threads; return when all are done.

    Each call must write to a place of its own; their order is not fixed. A call may share work in
    its turn, which then runs on its part of the threads. What the caller has set in its context
    (`numpy.errstate`, `accel.use`) holds in all of them. After an error, no further piece begins;
    the error is raised when the pieces that have begun have ended.
    """
    threads = _THREADS.get()
    if threads is not None:
        _share(function, list(pieces), threads)
        return
    with _STATE.busy, _blas().limit(limits=1):
        _share(function, list(pieces), _STATE.count)


def results_in_order(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], *, at_once: int
) -> Iterator[Result]:
    """Yield the result of `function` for each piece, in order; `share` computes some at once.

    Parameters
    ----------
    function
        As for `share`.
    pieces
        Taken `at_once` at a time, when their results are asked for.
    at_once
        How many are computed at once, at least 1, and how many results are kept.
    """
    pieces = iter(pieces)
    while some := list(islice(pieces, at_once)):
        yield from _results(function, some)


def _results(function: Callable[[Piece], Result], pieces: list[Piece]) -> Iterator[Result]:
    results: dict[int, Result] = {}

    def compute(place: int) -> None:
        results[place] = function(pieces[place])

    share(compute, range(len(pieces)))
    for place in range(len(pieces)):
        yield results.pop(place)


def _share(function: Callable[[Piece], None], pieces: list[Piece], threads: int) -> None:
    """Call `function` with each piece, on so many threads, the caller's among them."""
    workers = min(threads, len(pieces))
    if workers <= 1:
        with _on_threads(threads):
            for piece in pieces:
                function(piece)
        return
    queue: SimpleQueue[Piece] = SimpleQueue()
    for piece in pieces:
        queue.put(piece)

    def work() -> None:
        with _on_threads(threads // workers), contextlib.suppress(Empty):
            while True:
                piece = queue.get_nowait()
                try:
                    function(piece)
                except BaseException:
                    _drain(queue)
                    raise

    # A copy for each: one context cannot be entered by two threads at a time. The pool has a thread
    # for each: the parts of all callers together are no more than all threads.
    futures = [_pool().submit(copy_context().run, work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error


def _drain(queue: SimpleQueue[Any]) -> None:
    with contextlib.suppress(Empty):
        while True:
            queue.get_nowait()


def _pool() -> Executor:
    if _STATE.pool is None:
        # Each thread sets the limit at its start, because some BLAS libraries keep one for each.
        _STATE.pool = thread_pool(
            _STATE.count, "minirpn", initializer=lambda: _blas().limit(limits=1)
        )
    return _STATE.pool
