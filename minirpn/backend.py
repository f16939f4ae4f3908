"""The array library behind an array, and the only place where data changes device.

All other modules take the namespace from their inputs (`namespace_of`), so their results have the
type and the device of the inputs. `minirpn.devices` lists the devices and opens one for a program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from minirpn._checks import device_of, is_numpy, namespace_of
from minirpn._typing import Array, OtherArray

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
    """One copy of an array between host and device."""

    way: str  # "to the host" or "to the device"
    shape: tuple[int, ...]
    dtype: str


# Lists to which every move is added; see `watched_moves`.
_MOVE_LISTS: list[list[Move]] = []
# Constants that are on a device already; see `constant`.
_CONSTANTS: dict[tuple[Any, ...], Array] = {}


def host_dtype(array: OtherArray) -> np.dtype[Any]:
    """Return the dtype of `array` as a NumPy dtype."""
    if isinstance(array.dtype, np.dtype):  # CuPy's are NumPy's
        return array.dtype
    # Other libraries print "float32" or "array_api_strict.float32".
    return np.dtype(str(array.dtype).split(".")[-1])


def to_host(array: OtherArray) -> np.ndarray:
    """Copy `array` to the host as a NumPy array; a NumPy array is returned as it is.

    Raises
    ------
    TypeError
        `array` is not an array of a known library.
    """
    if _is_on_host(array):
        return array
    xp = namespace_of(array)  # raises TypeError for anything that is not an array
    _note_move("to the host", array)
    if array_api_compat.is_cupy_array(array):
        return array.get()
    cpu = xp.Device("CPU_DEVICE")  # array-api-strict, the stand-in for a GPU
    return np.asarray(array_api_compat.to_device(array, cpu))


def to_device(array: np.ndarray, like: Array) -> Array:
    """Copy a host array to the library and device of `like`; the dtype stays."""
    if is_numpy(like):
        return array
    xp = namespace_of(like)
    _note_move("to the device", array)
    if array_api_compat.is_cupy_array(like):
        return xp.asarray(array, device=device_of(like))
    # A copy, because some libraries do not accept a read-only array.
    return xp.asarray(np.array(array), device=device_of(like))


def send(array: np.ndarray, like: Array) -> Array:
    """Copy a host array as `to_device` does, while the device computes.

    For threads that prepare data for later steps. The copy is complete when this returns.

    Notes
    -----
    CuPy copies from pinned memory, which the device reads itself, on a separate stream.
    """
    (sent,) = send_together([array], like)
    return sent


def send_together(arrays: Sequence[np.ndarray], like: Array) -> list[Array]:
    """Copy host arrays as `send` does, and wait once for all of them."""
    if not array_api_compat.is_cupy_array(like):
        return [to_device(array, like) for array in arrays]
    import cupy
    import cupyx

    pinned = []
    for array in arrays:
        _note_move("to the device", array)
        pinned.append(cupyx.empty_pinned(array.shape, array.dtype))
        pinned[-1][...] = array
    with device_of(like):
        sent = [cupy.empty(array.shape, array.dtype) for array in arrays]
        # Memory that was freed may still be read by kernels that have not run yet: wait for them.
        freed = cupy.cuda.Event()
        freed.record(cupy.cuda.Stream.null)
        stream = cupy.cuda.Stream(non_blocking=True)
        stream.wait_event(freed)
        for there, here in zip(sent, pinned, strict=True):
            there.set(here, stream=stream)
        stream.synchronize()
    return sent


def constant(array: np.ndarray, like: Array) -> Array:
    """Return constant numbers with the library, device and dtype of `like`; copied there once.

    Parameters
    ----------
    array
        A few numbers on the host. Do not modify the result: later calls return it again.
    like
        Any array of the library, device and dtype.
    """
    if is_numpy(like):
        return array.astype(like.dtype, copy=False)
    key = (array.tobytes(), array.shape, array.dtype.str, str(device_of(like)), str(like.dtype))
    if key not in _CONSTANTS:
        _CONSTANTS[key] = to_device(array.astype(host_dtype(like)), like)
    return _CONSTANTS[key]


def numbers(arrays: Sequence[Array]) -> list[float]:
    """Return the values of arrays of shape (), copied to the host together."""
    if not arrays:
        return []
    if _is_on_host(arrays[0]):
        return [float(array) for array in arrays]
    return to_host(namespace_of(*arrays).stack(arrays)).tolist()


def wait_for(like: Array) -> None:
    """Wait until the device of `like` has finished its work; for the host, return at once."""
    if array_api_compat.is_cupy_array(like):
        # CuPy and PyTorch share one context per device and process: this waits for all streams
        # of both.
        device_of(like).synchronize()


@contextlib.contextmanager
def watched_moves() -> Iterator[list[Move]]:
    """Yield a list of the moves made inside the ``with`` block, by any thread.

    Examples
    --------
    >>> with watched_moves() as moves:
    ...     host = to_host(np.zeros(3))  # is on the host already
    >>> moves
    []
    """
    moves: list[Move] = []
    _MOVE_LISTS.append(moves)
    try:
        yield moves
    finally:
        # By identity: two lists of the same moves are equal.
        _MOVE_LISTS[:] = [other for other in _MOVE_LISTS if other is not moves]


def _is_on_host(array: Array) -> bool:
    # NumPy returns scalars or floats where other libraries return arrays of shape ().
    return isinstance(array, np.ndarray | np.generic | float)


def _note_move(way: str, array: Array) -> None:
    """Add a move to every list of `watched_moves`."""
    for moves in _MOVE_LISTS:
        moves.append(Move(way, tuple(array.shape), str(host_dtype(array))))
