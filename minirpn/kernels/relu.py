"""The rectifier: two ladders, for the output and for the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import Ladder, Rung, numba_present
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.relu import relu_cuda, relu_dx_cuda
from minirpn.kernels.threads import share

# Elements of one piece of work. Fewer are not worth waking a second thread.
PIECE = 2**17


def rectify(x: Array, y: Array) -> None:
    """Write ``max(x, 0)`` into `y`, both (P,); a NaN stays one."""
    for k in range(len(x)):
        y[k] = 0 if x[k] < 0 else x[k]


def rectify_dx(dy: Array, y: Array, dx: Array) -> None:
    """Write `dy` where `y` is positive, and zero elsewhere, into `dx`, all (P,)."""
    for k in range(len(y)):
        dx[k] = dy[k] if y[k] > 0 else 0


def relu_loops(x: Array) -> Array:
    """Return ``max(x, 0)`` of any shape; a NaN stays one."""
    y = np.empty(x.shape, x.dtype)
    rectify(x.reshape(-1), y.reshape(-1))
    return y


def relu_dx_loops(dy: Array, y: Array) -> Array:
    """Return `dy` where `y` is positive, and zero elsewhere."""
    dx = np.empty(dy.shape, dy.dtype)
    rectify_dx(dy.reshape(-1), y.reshape(-1), dx.reshape(-1))
    return dx


def relu_xp(x: Array) -> Array:
    """Return the same in one call."""
    xp = namespace_of(x)
    return xp.maximum(x, xp.zeros((), dtype=x.dtype, device=device_of(x)))


def relu_dx_xp(dy: Array, y: Array) -> Array:
    """Return the same in one call."""
    xp = namespace_of(dy, y)
    return xp.where(y > 0, dy, xp.zeros((), dtype=dy.dtype, device=device_of(dy)))


_rectify = compiled(rectify)
_rectify_dx = compiled(rectify_dx)


def relu_numba(x: Array) -> Array:
    """Return the same from the loops, compiled, in pieces shared among threads."""
    y = np.empty(x.shape, x.dtype)
    _in_pieces(_rectify, np.ascontiguousarray(x), y)
    return y


def relu_dx_numba(dy: Array, y: Array) -> Array:
    """Return the same from the loops, compiled, in pieces shared among threads.

    `numpy.where` takes ten times as long: it chooses byte by byte, not in vectors.
    """
    dx = np.empty(dy.shape, dy.dtype)
    _in_pieces(_rectify_dx, np.ascontiguousarray(dy), np.ascontiguousarray(y), dx)
    return dx


def _in_pieces(function: Callable[..., None], *arrays: Array) -> None:
    """Call `function` with the same piece of each array, for all pieces."""
    flat = [array.reshape(-1) for array in arrays]
    if flat[0].size <= PIECE:
        function(*flat)
        return
    starts = range(0, flat[0].size, PIECE)
    share(lambda start: function(*(array[start : start + PIECE] for array in flat)), starts)


RELU = Ladder(
    "relu",
    (
        Rung("loops", relu_loops, takes=is_numpy),
        Rung("xp", relu_xp),
        Rung("numba", relu_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", relu_cuda, takes=on_cuda, present=cuda_present),
    ),
)
RELU_DX = Ladder(
    "relu_dx",
    (
        Rung("loops", relu_dx_loops, takes=is_numpy),
        Rung("xp", relu_dx_xp),
        Rung("numba", relu_dx_numba, takes=is_numpy, present=numba_present),
        Rung("cuda", relu_dx_cuda, takes=on_cuda, present=cuda_present),
    ),
)
