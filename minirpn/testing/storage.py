"""How an array is held, its dtype and layout in memory: it makes no difference to the answer.

Whole numbers along one axis are labels or indices; along more they are boxes, and held oddly.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def copy_of(value: Any) -> Any:
    """Return a copy of an array with its strides, negative ones too, and as writable.

    Of a dictionary a copy of each part; anything else as it is.
    """
    if isinstance(value, dict):
        return {name: copy_of(part) for name, part in value.items()}
    return _copy_of_array(value) if isinstance(value, np.ndarray) else value


def _copy_of_array(array: np.ndarray) -> np.ndarray:
    low = sum(min(0, (size - 1) * stride) for size, stride in _steps(array))
    high = sum(max(0, (size - 1) * stride) for size, stride in _steps(array))
    if array.size == 0:
        return array.copy()
    room = np.empty(high - low + array.itemsize, dtype=np.uint8)
    copy: np.ndarray = np.ndarray(array.shape, array.dtype, room, -low, array.strides)
    copy[...] = array
    copy.setflags(write=array.flags.writeable)
    return copy


def _steps(array: np.ndarray) -> zip[tuple[int, int]]:
    return zip(array.shape, array.strides, strict=True)


def on_host(value: Any) -> Any:
    """Return a tensor that wants a gradient, or lies on a device, as an array; all else as is.

    Of a list or a tuple a list of its parts.
    """
    if isinstance(value, list | tuple):
        return [on_host(part) for part in value]
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    return value.get() if hasattr(value, "__cuda_array_interface__") else value


def plain_copy(value: Any) -> Any:
    """Return the same numbers held the usual way: float64 for real ones, row by row, writable."""
    if isinstance(value, dict):
        return {name: plain_copy(part) for name, part in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    is_real = value.dtype.kind == "f" or _is_whole_boxes(value)
    return np.array(value, dtype=np.float64 if is_real else None, order="C")


def _is_whole_boxes(array: np.ndarray) -> bool:
    return array.dtype.kind in "iu" and array.ndim > 1


def is_plain(value: Any) -> bool:
    """Return whether `plain_copy` holds the value as it is held now."""
    return not storage(value)


def storage(value: Any) -> str:
    """Return in words how an array is held; an empty string for the usual way.

    Of a dictionary how each part is held that is held oddly; of anything else nothing.

    Examples
    --------
    >>> storage(np.zeros((2, 3), dtype=np.float32).T)
    'float32, column by column'
    """
    if isinstance(value, dict):
        return ", ".join(dict.fromkeys(filter(None, map(storage, value.values()))))
    return _storage_of_array(value) if isinstance(value, np.ndarray) else ""


def _storage_of_array(array: np.ndarray) -> str:
    is_usual = array.dtype in (np.float64, np.bool_) or (
        array.dtype.kind in "iu" and not _is_whole_boxes(array)
    )
    words = [] if is_usual else [str(array.dtype)]
    reversed_ = any(stride < 0 for stride in array.strides)
    if array.size and (reversed_ or not array.flags.c_contiguous):
        columns = "column by column" if array.flags.f_contiguous else "with gaps"
        words.append("reversed in memory" if reversed_ else columns)
    if not array.flags.writeable:
        words.append("read-only")
    return ", ".join(words)
