"""The array library behind an array, and the only place where data changes device.

Everything else in the package takes its namespace from its inputs (`namespace_of`) and so returns
arrays of the type, and on the device, that it was given. Which devices there are, and how one is
opened for a whole program: `minirpn.devices`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from minirpn._checks import device_of, is_numpy, namespace_of
from minirpn._typing import Array

__all__ = [
    "Move",
    "constant",
    "device_of",
    "host_dtype",
    "is_numpy",
    "namespace_of",
    "numbers",
    "send",
    "send_together",
    "to_device",
    "to_host",
    "wait_for",
    "watched_moves",
]


class Move(NamedTuple):
    """An array that went from one memory to the other."""

    way: str  # "to the host" or "to the device"
    shape: tuple[int, ...]
    dtype: str


# Those who count moves; see `watched_moves`.
_WATCHERS: list[list[Move]] = []
# Fixed numbers that are on a device already; see `constant`.
_CONSTANTS: dict[tuple[Any, ...], Array] = {}


def host_dtype(array: Array) -> np.dtype[Any]:
    """Return NumPy's name of the dtype of `array`."""
    if isinstance(array.dtype, np.dtype):  # CuPy's are NumPy's
        return array.dtype
    # Array libraries spell it "float32" or "array_api_strict.float32".
    return np.dtype(str(array.dtype).split(".")[-1])


def to_host(array: Array) -> np.ndarray:
    """Copy `array` to the host as a NumPy array; what is NumPy's already is returned as it is.

    Raises
    ------
    TypeError
        `array` is not an array of a known library.
    """
    if _is_on_host(array):
        return array
    xp = namespace_of(array)  # raises TypeError for anything that is not an array
    _tell("to the host", array)
    if array_api_compat.is_cupy_array(array):
        return array.get()
    cpu = xp.Device("CPU_DEVICE")  # array-api-strict, the stand-in for a GPU
    return np.asarray(array_api_compat.to_device(array, cpu))


def to_device(array: np.ndarray, like: Array) -> Array:
    """Copy a host array to the library and device of `like`; the dtype stays."""
    if is_numpy(like):
        return array
    xp = namespace_of(like)
    _tell("to the device", array)
    if array_api_compat.is_cupy_array(like):
        return xp.asarray(array, device=device_of(like))
    # A copy, because a read-only host array has no place in some libraries.
    return xp.asarray(np.array(array), device=device_of(like))


def send(array: np.ndarray, like: Array) -> Array:
    """Copy a host array as `to_device` does, beside what the device computes at the moment.

    For threads that prepare what is needed later. It is there when this returns, whatever the
    device still had to do.

    Notes
    -----
    With CuPy: from pinned memory, which the device reads by itself, on a stream of its own.
    """
    (sent,) = send_together([array], like)
    return sent


def send_together(arrays: Sequence[np.ndarray], like: Array) -> list[Array]:
    """Copy host arrays as `send` does, and wait for all of them once."""
    if not array_api_compat.is_cupy_array(like):
        return [to_device(array, like) for array in arrays]
    import cupy
    import cupyx

    pinned = []
    for array in arrays:
        _tell("to the device", array)
        pinned.append(cupyx.empty_pinned(array.shape, array.dtype))
        pinned[-1][...] = array
    with device_of(like):
        sent = [cupy.empty(array.shape, array.dtype) for array in arrays]
        # What was here before, and given back, may still be read by what has not run yet.
        given_back = cupy.cuda.Event()
        given_back.record(cupy.cuda.Stream.null)
        stream = cupy.cuda.Stream(non_blocking=True)
        stream.wait_event(given_back)
        for there, here in zip(sent, pinned, strict=True):
            there.set(here, stream=stream)
        stream.synchronize()
    return sent


def constant(array: np.ndarray, like: Array) -> Array:
    """Return fixed numbers in library, device and dtype of `like`; they travel there once.

    Parameters
    ----------
    array
        A few numbers on the host, the same in every call. The result is not to be modified.
    like
        Says where.
    """
    if is_numpy(like):
        return array.astype(like.dtype, copy=False)
    key = (array.tobytes(), array.shape, array.dtype.str, str(device_of(like)), str(like.dtype))
    if key not in _CONSTANTS:
        _CONSTANTS[key] = to_device(array.astype(host_dtype(like)), like)
    return _CONSTANTS[key]


def numbers(arrays: Sequence[Array]) -> list[float]:
    """Return the values of arrays of shape (), which come to the host together."""
    if not arrays:
        return []
    if _is_on_host(arrays[0]):
        return [float(array) for array in arrays]
    return to_host(namespace_of(*arrays).stack(arrays)).tolist()


def wait_for(like: Array) -> None:
    """Return when the device of `like` has done all that was asked of it; the host always has."""
    if array_api_compat.is_cupy_array(like):
        # A device has one context in a process, CuPy's and PyTorch's: all streams in it are waited
        # for, whichever library has filled them.
        device_of(like).synchronize()


@contextlib.contextmanager
def watched_moves() -> Iterator[list[Move]]:
    """Give a list that fills with the moves made inside the ``with`` block, by any thread.

    Examples
    --------
    >>> with watched_moves() as moves:
    ...     host = to_host(np.zeros(3))  # is there already
    >>> moves
    []
    """
    moves: list[Move] = []
    _WATCHERS.append(moves)
    try:
        yield moves
    finally:
        # By identity: two lists of the same moves are equal.
        _WATCHERS[:] = [other for other in _WATCHERS if other is not moves]


def _is_on_host(array: Array) -> bool:
    # NumPy gives a scalar of its own, or a float, where others give an array of shape ().
    return isinstance(array, np.ndarray | np.generic | float)


def _tell(way: str, array: Array) -> None:
    """Let those who watch know of a move."""
    for moves in _WATCHERS:
        moves.append(Move(way, tuple(array.shape), str(host_dtype(array))))
