"""The library and device of an array, and checks of arguments with one clear line each."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from minirpn._positions import NUMPY
from minirpn._typing import Array, ImageSize

# The namespace of each type of array met so far: finding it takes longer than a small kernel.
_NAMESPACES: dict[type | None, Any] = {np.ndarray: NUMPY}


def namespace_of(*arrays: Array) -> Any:
    """Return the array API namespace of the arrays; raise ``TypeError`` if they share none."""
    kind = type(arrays[0]) if arrays else None
    if kind in _NAMESPACES and all(type(array) is kind for array in arrays):
        return _NAMESPACES[kind]
    namespace = array_api_compat.array_namespace(*arrays)
    if array_api_compat.is_cupy_array(arrays[0]):
        _NAMESPACES[kind] = namespace
    return NUMPY if namespace is array_api_compat.numpy else namespace


def is_numpy(array: Array) -> bool:
    """Return whether `array` is a NumPy array."""
    return isinstance(array, np.ndarray)


def device_of(array: Array) -> Any:
    """Return the device of `array`, as its own library names it."""
    if array_api_compat.is_cupy_array(array):
        return array.device
    return array_api_compat.device(array)


def check_boxes(boxes: Array, name: str = "boxes") -> None:
    """Raise ``ValueError`` unless the shape is (..., 4), ``TypeError`` unless of floating point."""
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{name}: expected shape (..., 4), got {tuple(boxes.shape)}")
    check_floating(boxes, name)


def check_box_list(boxes: Array, name: str = "boxes") -> None:
    """Raise unless `boxes` has shape (N, 4) and a floating-point dtype."""
    if boxes.ndim != 2:
        raise ValueError(f"{name}: expected shape (N, 4), got {tuple(boxes.shape)}")
    check_boxes(boxes, name)


def check_floating(array: Array, name: str) -> None:
    """Raise ``TypeError`` unless `array` is of a real floating-point dtype."""
    kind = getattr(array.dtype, "kind", None)  # NumPy's dtypes have it, and CuPy uses NumPy's
    # Other libraries print "float32" or "array_api_strict.float32".
    if kind != "f" if kind else "float" not in str(array.dtype):
        raise TypeError(f"{name}: expected a floating-point array, got {array.dtype}")


def check_shape(array: Array, shape: tuple[int | None, ...], name: str) -> None:
    """Raise ``ValueError`` unless `array` has this shape; None stands for any length."""
    found = tuple(array.shape)
    if found == shape:
        return
    if len(found) != len(shape) or any(
        want is not None and have != want for have, want in zip(found, shape, strict=True)
    ):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {found}")


def check_image_size(image_size: ImageSize) -> None:
    """Raise ``ValueError`` unless `image_size` is (height, width), both at least one pixel."""
    if len(image_size) != 2 or min(image_size) < 1:
        raise ValueError(f"image_size: expected (height, width) of at least 1, got {image_size}")
