"""How many threads compute, and work shared among them.

Implementations that cut their work into pieces hand the pieces to `share`. Matrix products and
numba's loops release the interpreter's lock, so plain Python threads do. While pieces run, the BLAS
is held to one thread of its own: its threads and ours would fight for the same cores.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

Piece = TypeVar("Piece")


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _State:
    """What the functions below share."""

    def __init__(self) -> None:
        self.count = _cores()
        self.begin_afresh()

    def begin_afresh(self) -> None:
        # One call of `share` at a time. Two at once would use the same cores, and the later to
        # end would put back the BLAS limit of the earlier.
        self.busy = threading.RLock()
        self.pool: ThreadPoolExecutor | None = None


_STATE = _State()
if hasattr(os, "register_at_fork"):  # the parent's threads, and what they held, are not in a child
    os.register_at_fork(after_in_child=_STATE.begin_afresh)


@cache
def _blas() -> Any:
    """Return the controller of the BLAS that NumPy has loaded."""
    np.matmul(np.ones((1, 1)), np.ones((1, 1)))
    return ThreadpoolController().select(user_api="blas")


def thread_count() -> int:
    """Return how many threads compute: the cores this process may use, or what was set."""
    return _STATE.count


def set_threads(count: int) -> None:
    """Compute with so many threads from now on, matrix products outside `share` included.

    Raises
    ------
    ValueError
        `count` is less than 1.

    Notes
    -----
    Results of `share` do not depend on it: how work is cut, and in what order sums are added, is
    fixed.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1 thread, got {count}")
    with _STATE.busy:
        if _STATE.pool is not None:
            _STATE.pool.shutdown()
        _STATE.count, _STATE.pool = count, None
        _blas().limit(limits=count)
        # From threadpoolctl 3.7 on, the thread that has set a limit owns OpenBLAS, and those of
        # others are ignored, until it leaves a ``with`` block.
        with _blas().limit(limits=count):
            pass


def share(function: Callable[[Piece], None], pieces: Iterable[Piece]) -> None:
    """Call `function` with each piece, on `thread_count` threads; return when all are done.

    The calls must write to places apart from each other, and not call `share`; their order is not
    fixed. What the caller has set in its context (`numpy.errstate`, `accel.use`) holds in all
    of them. After an error no further piece is begun; it is raised when those under way have ended.
    """
    queue: SimpleQueue[Piece] = SimpleQueue()
    for piece in pieces:
        queue.put(piece)

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                piece = queue.get_nowait()
                try:
                    function(piece)
                except BaseException:
                    _drain(queue)
                    raise

    with _STATE.busy, _blas().limit(limits=1):
        helpers = min(_STATE.count, queue.qsize()) - 1
        # A copy for each: one context cannot be entered by two threads at a time.
        futures = [_pool().submit(copy_context().run, work) for _ in range(helpers)]
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


def _pool() -> ThreadPoolExecutor:
    if _STATE.pool is None:
        # Some BLAS libraries keep a limit for each thread, hence the initializer.
        _STATE.pool = ThreadPoolExecutor(
            _STATE.count, "minirpn", initializer=lambda: _blas().limit(limits=1)
        )
    return _STATE.pool
