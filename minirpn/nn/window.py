"""Sliding windows: output sizes, padding, and the pixels that each tap of a window reads.

Convolution and pooling share this arithmetic. Sizes, kernels, strides and paddings are pairs
``(vertical, horizontal)``; `pair` makes one from an int. A tap is one position in the window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of

Pair: TypeAlias = tuple[int, int]


def pair(value: int | Pair, name: str, *, least: int) -> Pair:
    """Return ``(vertical, horizontal)`` of an int or a pair, each at least `least`.

    Raises
    ------
    ValueError
        It is neither, or too small; the message starts with `name`.
    """
    if type(value) is tuple and len(value) == 2 and value[0] >= least and value[1] >= least:
        return value
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or min(both) < least:
        raise ValueError(f"{name}: expected an int or a pair of at least {least}, got {value}")
    return both[0], both[1]


def conv_output_size(
    size: Pair, kernel: int | Pair, stride: int | Pair = 1, padding: int | Pair = 0
) -> Pair:
    """Return (height, width) of a convolution's output.

    ``floor((size + 2 padding - kernel) / stride) + 1`` along each axis: only windows that lie
    inside the padded image count.

    Raises
    ------
    ValueError
        The kernel is larger than the padded image.

    Examples
    --------
    >>> conv_output_size((600, 1000), 3, stride=2)
    (299, 499)
    """
    kernel, stride = pair(kernel, "kernel", least=1), pair(stride, "stride", least=1)
    padding = pair(padding, "padding", least=0)
    room = [s + 2 * p - k for s, k, p in zip(size, kernel, padding, strict=True)]
    if min(room) < 0:
        raise ValueError(f"kernel: {kernel} is larger than the image {size} padded by {padding}")
    return room[0] // stride[0] + 1, room[1] // stride[1] + 1


def pool_output_size(
    size: Pair,
    kernel: int | Pair,
    stride: int | Pair,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
) -> Pair:
    """Return (height, width) of a pooling's output.

    As `conv_output_size`; with `ceil_mode` the division rounds up, so that a last, cut window
    covers the pixels left over.

    Raises
    ------
    ValueError
        The kernel is larger than the padded image, or a window could lie in the padding alone
        (padding of kernel size or more).

    Notes
    -----
    Caffe's rules: it pools with ceil, and drops a window that would start in the padding behind
    the image. (Caffe does the latter only with padding. Without padding such a window exists where
    the stride exceeds the kernel, and it is empty: it is dropped here as well.)

    Examples
    --------
    >>> pool_output_size((75, 125), 2, 2), pool_output_size((75, 125), 2, 2, ceil_mode=True)
    ((37, 62), (38, 63))
    """
    kernel, stride = pair(kernel, "kernel", least=1), pair(stride, "stride", least=1)
    padding = pair(padding, "padding", least=0)
    if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise ValueError(f"padding: {padding} is not smaller than the kernel {kernel}")
    floored = conv_output_size(size, kernel, stride, padding)
    if not ceil_mode:
        return floored
    counts = []
    for s, k, step, p in zip(size, kernel, stride, padding, strict=True):
        count = -(-(s + 2 * p - k) // step) + 1
        starts_behind = (count - 1) * step >= s + p
        counts.append(count - 1 if starts_behind else count)
    return counts[0], counts[1]


def placed(x: Array, offset: Pair, size: Pair, fill: float = 0.0) -> Array:
    """Return a plane of `size` filled with `fill`, with `x` (N,C,H,W) copied in at `offset`."""
    N, C, H, W = x.shape
    (top, left), (height, width) = offset, size
    if size == (H, W) and offset == (0, 0):
        return x
    xp = namespace_of(x)
    plane = xp.full((N, C, height, width), fill, dtype=x.dtype, device=device_of(x))
    plane[:, :, top : top + H, left : left + W] = x
    return plane


def padded(x: Array, padding: Pair) -> Array:
    """Return `x` with `padding` zeros on each side."""
    (H, W), (top, left) = x.shape[2:], padding
    return placed(x, padding, (H + 2 * top, W + 2 * left))


def taps(kernel: Pair, stride: Pair, rows: range, columns: range) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of the padded image that each tap of the kernel reads.

    Taps come in row-major order. `rows` and `columns` are output positions: for each tap
    ``image[:, :, ys, xs]`` has the shape (N, C, len(rows), len(columns)).
    """
    for p in range(kernel[0]):
        for q in range(kernel[1]):
            yield _read_by(p, stride[0], rows), _read_by(q, stride[1], columns)


def _read_by(tap: int, stride: int, positions: range) -> slice:
    first, last = positions.start * stride + tap, (positions.stop - 1) * stride + tap
    return slice(first, last + 1, stride)


def reached(offset: int, stride: int, width: int, count: int) -> tuple[int, int]:
    """Return the range of j in [0, count) for which ``j stride + offset`` is in [0, width).

    For these outputs a tap reads pixels of the image, not padding. Compiled loops use it as well.
    """
    low = min(max(0, -(offset // stride)), count)
    high = max(low, min(count, (width - 1 - offset) // stride + 1))
    return low, high
