"""Argument checks: one clear line for each way an argument can be wrong."""

from __future__ import annotations

from minirpn._typing import Array, ImageSize


def check_boxes(boxes: Array, name: str = "boxes") -> None:
    """Raise unless `boxes` has shape (..., 4) and a floating-point dtype.

    Raises
    ------
    ValueError
        The last axis does not hold four coordinates.
    TypeError
        The dtype is not floating point.
    """
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
    kind = getattr(array.dtype, "kind", None)  # NumPy's dtypes have one, and CuPy's are those
    # Other libraries spell theirs "float32" or "array_api_strict.float32".
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
