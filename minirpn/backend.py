"""The array library behind an array, and the only place where data changes device.

Everything else in the package takes its namespace from its inputs (`namespace_of`) and so returns
arrays of the type, and on the device, that it was given.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from minirpn._typing import Array


def namespace_of(*arrays: Array) -> Any:
    """Return the array API namespace the arrays share.

    Raises
    ------
    TypeError
        An argument is not an array, or the arrays are of different libraries.
    """
    return array_api_compat.array_namespace(*arrays)


def is_numpy(array: Array) -> bool:
    """Tell whether `array` lives in host memory as a NumPy array."""
    return isinstance(array, np.ndarray)


def device_of(array: Array) -> Any:
    """Return the device of `array`, in the words of its own library."""
    return array_api_compat.device(array)


def to_host(array: Array) -> np.ndarray:
    """Copy `array` to the host as a NumPy array; a NumPy array is returned as it is.

    Raises
    ------
    TypeError
        `array` is not an array of a known library.
    """
    if is_numpy(array):
        return array
    namespace_of(array)  # raises TypeError for anything that is not an array
    if array_api_compat.is_cupy_array(array):
        return array.get()
    cpu = namespace_of(array).Device("CPU_DEVICE")  # array-api-strict, the stand-in for a GPU
    return np.asarray(array_api_compat.to_device(array, cpu))


def to_device(array: np.ndarray, like: Array) -> Array:
    """Copy a host array to the library and device of `like`; the dtype stays."""
    if is_numpy(like):
        return array
    xp = namespace_of(like)
    # A copy, because a read-only host array has no place in some libraries.
    return xp.asarray(np.array(array), device=device_of(like))
