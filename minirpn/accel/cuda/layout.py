"""How maps (N,C,H,W) lie in the memory of a device: as NumPy has them, or channels last.

Tensor cores, which compute in TF32, want the channels of a pixel next to each other; the units for
true float32 want the pixels of a channel next to each other. Shapes never change: maps with
channels last are a view of an array (N,H,W,C). The output of one operation lies as the next one
wants it, so nothing is copied on the way through a network.
"""

from __future__ import annotations

import math

from minirpn._typing import Array
from minirpn.accel.cuda._load import contiguous, empty

Shape = tuple[int, ...]
# The axes of (N,C,H,W) with channels last, and the way back.
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def is_channels_last(array: Array) -> bool:
    """Tell whether (N,C,H,W) lies with channels last, and not also as NumPy would have it."""
    return array.ndim == 4 and not array.flags.c_contiguous and lies(array, True)


def lies(array: Array, channels_last: bool) -> bool:
    """Tell whether (N,C,H,W) lies in memory in this way."""
    return bool(memory(array, channels_last).flags.c_contiguous)


def laid(array: Array, channels_last: bool) -> Array:
    """Return (N,C,H,W) laid in memory in this way, itself if it is."""
    if lies(array, channels_last):
        return array
    copied = contiguous(memory(array, channels_last))
    return copied.transpose(FIRST) if channels_last else copied


def is_dense(array: Array) -> bool:
    """Tell whether an array lies without gaps in memory, row by row or channels last."""
    return bool(array.flags.c_contiguous) or is_channels_last(array)


def dense(array: Array) -> Array:
    """Return the array without gaps in memory, itself if `is_dense`."""
    return array if is_dense(array) else contiguous(array)


def memory(array: Array, channels_last: bool) -> Array:
    """Return maps laid in this way in the order of their memory: (N,H,W,C) with channels last."""
    return array.transpose(LAST) if channels_last else array


def empty_maps(
    shape: Shape, like: Array, channels_last: bool = False, dtype: str | None = None
) -> Array:
    """Return an uninitialised array laid in this way, on the device of `like`."""
    if not channels_last:
        return empty(shape, like, dtype)
    N, C, H, W = shape
    return empty((N, H, W, C), like, dtype).transpose(FIRST)


def rows_of(shape: Shape, channels_last: bool = False) -> tuple[int, int]:
    """Return how a kernel goes through an array: how many rows, and how many numbers in each.

    A row is a channel of maps (N,C,H,W), or with channels last a row of an image. An array of
    another shape has the rows of its last axis.
    """
    if len(shape) != 4:
        return math.prod(shape[:-1]), math.prod(shape[-1:])
    N, C, H, W = shape
    return (N * H, W * C) if channels_last else (N * C, H * W)
