"""How maps (N,C,H,W) lie in the memory of a device: as NumPy would have them, or channels last.

Tensor cores, which TF32 is for, want the channels of a pixel side by side; the units for true
float32 want the pixels of a channel so. Shapes never change: a map with channels last is a view of
an array (N,H,W,C). What one operation gives goes into the next as it is, so nothing is copied on
the way through a network.
"""

from __future__ import annotations

import math

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of

Shape = tuple[int, ...]
# The axes of (N,C,H,W) with channels last, and the way back.
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def is_channels_last(array: Array) -> bool:
    """Tell whether (N,C,H,W) lies with channels last, and not also as NumPy would have it."""
    if array.ndim != 4 or array.flags.c_contiguous:
        return False
    return bool(array.transpose(LAST).flags.c_contiguous)


def lies(array: Array, channels_last: bool) -> bool:
    """Tell whether (N,C,H,W) lies in memory in this way."""
    return bool(memory(array, channels_last).flags.c_contiguous)


def laid(array: Array, channels_last: bool) -> Array:
    """Return (N,C,H,W) laid in memory in this way, itself if it is."""
    if lies(array, channels_last):
        return array
    copied = namespace_of(array).ascontiguousarray(memory(array, channels_last))
    return copied.transpose(FIRST) if channels_last else copied


def dense(array: Array) -> Array:
    """Return an array without gaps in memory, row by row or channels last, itself if it is one."""
    if array.flags.c_contiguous or is_channels_last(array):
        return array
    return namespace_of(array).ascontiguousarray(array)


def memory(array: Array, channels_last: bool) -> Array:
    """Return maps laid in this way in the order of their memory: (N,H,W,C) with channels last."""
    return array.transpose(LAST) if channels_last else array


def empty(shape: Shape, like: Array, channels_last: bool = False, dtype: object = None) -> Array:
    """Return an array with nothing in it yet, maps laid in this way, where `like` is."""
    xp = namespace_of(like)
    options = {"dtype": dtype or like.dtype, "device": device_of(like)}
    if not channels_last:
        return xp.empty(shape, **options)
    N, C, H, W = shape
    return xp.empty((N, H, W, C), **options).transpose(FIRST)


def rows_of(shape: Shape, channels_last: bool = False) -> tuple[int, int]:
    """Return how a kernel walks through an array: how many rows, and numbers in each.

    A row is a channel of maps (N,C,H,W), with channels last a row of an image, and else what the
    last axis has.
    """
    if len(shape) != 4:
        return math.prod(shape[:-1]), math.prod(shape[-1:])
    N, C, H, W = shape
    return (N * H, W * C) if channels_last else (N * C, H * W)
