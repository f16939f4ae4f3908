"""Memory that a thread uses again and again.

A system gives new memory page by page, when it is first touched, and clears it before; that can
take longer than what is computed in it.
"""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike

from minirpn._typing import Array

_LOCAL = threading.local()
LINE = 64  # bytes that a cache moves at once


def buffer(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an uninitialised array in this thread's memory of that name.

    It holds until the thread asks for the same name again.
    """
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    memory = getattr(_LOCAL, name, None)
    if memory is None or memory.nbytes < needed:
        memory = np.empty(needed, np.uint8)
        setattr(_LOCAL, name, memory)
    return memory[:needed].view(dtype).reshape(shape)


def planes(name: str, count: int, size: int, dtype: DTypeLike) -> Array:
    """Return a buffer of `count` rows of at least `size` elements, for use side by side.

    The rows are an odd number of cache lines apart: at a power of two they would all compete for
    the same few places in the cache.
    """
    per_line = LINE // np.dtype(dtype).itemsize
    lines = -(-size // per_line)
    return buffer(name, (count, (lines + 1 - lines % 2) * per_line), dtype)
