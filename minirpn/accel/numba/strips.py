"""Convolution in strips: im2col piece by piece, in buffers that fit the cache of a core.

Columns for the whole image would be kh kw times larger than it, and would be written to memory and
read again. So the work is cut: the output into strips of rows, the gradients into chunks of
channels (each chunk has its own part of the result, and its own columns). For each piece, numba's
loops fill a small buffer, and `numpy.matmul` writes the product into the result. Threads share the
pieces. How the work is cut does not depend on the number of threads, nor does the order of any sum.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share
from minirpn.nn.window import Pair, conv_output_size, reached

# The second-level cache of a core. Measured on two cores at SqueezeNet's sizes, half and twice as
# much differ by a few per cent.
BUFFER_BYTES = 2**20
# OpenBLAS multiplies at full speed from about this many columns on (with 62 it is a fifth slower).
LEAST_COLUMNS = 256
# Rows of columns (channels times taps) in one piece of a gradient: half as many are a tenth slower.
CHUNK_ROWS = 144
# A gradient by the weight is cut into at least this many pieces, so that many threads have work;
# but rows are cut no further than into so many multiplications, about 0.3 ms: smaller products are
# slower.
LEAST_PIECES = 8
LEAST_WORK = 2**24
# Memory that each thread uses again and again. A system clears new memory page by page, when it is
# first used; that can take longer than the computation in it.
_LOCAL = threading.local()


def fill_columns(image: Array, columns: Array, first_row: int, stride: Pair, padding: Pair) -> None:
    """Write the windows of `image` (C,H,W) into `columns` (C,kh,kw,rows,Wo).

    The first row of columns is output row `first_row`; pixels outside the image are zero.
    """
    C, H, W = image.shape
    _, kh, kw, rows, Wo = columns.shape
    for c in range(C):
        for p in range(kh):
            for q in range(kw):
                low, high = reached(q - padding[1], stride[1], W, Wo)
                for r in range(rows):
                    target = columns[c, p, q, r]
                    y = (first_row + r) * stride[0] + p - padding[0]
                    if y < 0 or y >= H:
                        target[:] = 0
                        continue
                    target[:low] = 0
                    target[high:] = 0
                    start = low * stride[1] + q - padding[1]
                    inside, source = target[low:high], image[c, y, start:]
                    if stride[1] == 1:  # a case of its own: the compiler copies this in vectors
                        for j in range(len(inside)):
                            inside[j] = source[j]
                    elif stride[1] == 2:  # and this one in vectors of every other pixel
                        for j in range(len(inside)):
                            inside[j] = source[2 * j]
                    else:
                        for j in range(len(inside)):
                            inside[j] = source[j * stride[1]]


def add_columns(columns: Array, dimage: Array, first_row: int, stride: Pair, padding: Pair) -> None:
    """Add `columns` (C,kh,kw,rows,Wo) to the pixels of `dimage` (C,H,W) that they came from.

    The adjoint of `fill_columns`.
    """
    C, H, W = dimage.shape
    _, kh, kw, rows, Wo = columns.shape
    for c in range(C):
        for p in range(kh):
            for q in range(kw):
                low, high = reached(q - padding[1], stride[1], W, Wo)
                for r in range(rows):
                    y = (first_row + r) * stride[0] + p - padding[0]
                    if y < 0 or y >= H:
                        continue
                    start = low * stride[1] + q - padding[1]
                    inside, target = columns[c, p, q, r, low:high], dimage[c, y, start:]
                    if stride[1] == 1:
                        for j in range(len(inside)):
                            target[j] += inside[j]
                    else:
                        for j in range(len(inside)):
                            target[j * stride[1]] += inside[j]


def finish(y: Array, start: int, end: int, bias: Array, relu: bool) -> None:
    """Add `bias` (O,) to the pixels from `start` to `end` of `y` (O, Ho Wo); and ReLU."""
    for o in range(len(y)):
        pixels = y[o, start:end]
        for k in range(len(pixels)):
            value = pixels[k] + bias[o]
            pixels[k] = 0 if relu and value < 0 else value


_fill_columns = compiled(fill_columns, reached)
_add_columns = compiled(add_columns, reached)
_finish = compiled(finish)


def conv2d_strips(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    out: Array | None = None,
    relu: bool = False,
) -> Array:
    """Return y (N,O,Ho,Wo), a strip of output rows at a time."""
    x, bias, kernel = np.ascontiguousarray(x), np.ascontiguousarray(bias), weight.shape[2:]
    Ho, Wo = conv_output_size(x.shape[2:], kernel, stride, padding)
    y = place_for((x.shape[0], weight.shape[0], Ho, Wo), x.dtype, out)
    kernels = _matrix(weight)
    if _is_pointwise(kernel, stride, padding):
        _multiply_pixels(kernels, x, y, bias, relu)
        return y
    row_bytes = kernels.shape[1] * Wo * x.itemsize
    height = max(BUFFER_BYTES // row_bytes, -(-LEAST_COLUMNS // Wo))

    def strip(piece: tuple[int, range]) -> None:
        n, rows = piece
        columns = buffer("columns", (x.shape[1], *kernel, len(rows), Wo), x.dtype)
        _fill_columns(x[n], columns, rows.start, stride, padding)
        flat, start, end = _flat(y[n]), rows.start * Wo, rows.stop * Wo
        np.matmul(kernels, _matrix_of(columns), out=flat[:, start:end])
        _finish(flat, start, end, bias, relu)

    share(strip, [(n, rows) for n in range(x.shape[0]) for rows in cut(Ho, height)])
    return y


def place_for(shape: tuple[int, ...], dtype: np.dtype, out: Array | None) -> Array:
    """Return the array for an output: `out` if there is one, or a new one.

    Raises
    ------
    ValueError
        The pixels of an image of `out` do not lie one after the other.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not all(maps.flags.c_contiguous for maps in out):
        raise ValueError("out: the pixels of an image must lie one after the other in memory")
    return out


def conv2d_dx_strips(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W), a chunk of channels at a time."""
    dy = np.ascontiguousarray(dy)
    (N, _, Ho, Wo), C, kernel = dy.shape, weight.shape[1], weight.shape[2:]
    kernels = _matrix(weight).T  # (C kh kw, O)
    if _is_pointwise(kernel, stride, padding):
        dx = np.empty((N, C, *size), dy.dtype)
        _multiply_pixels(kernels, dy, dx)
        return dx
    dx = np.zeros((N, C, *size), dy.dtype)
    taps = math.prod(kernel)
    height = max(1, BUFFER_BYTES // (CHUNK_ROWS * Wo * dy.itemsize))

    def chunk(piece: tuple[int, range]) -> None:
        n, channels = piece
        own = slice(channels.start, channels.stop)
        for rows in cut(Ho, height):
            columns = buffer("columns", (len(channels), *kernel, len(rows), Wo), dy.dtype)
            gradients = _flat(dy[n])[:, rows.start * Wo : rows.stop * Wo]
            part = kernels[own.start * taps : own.stop * taps]
            np.matmul(part, gradients, out=_matrix_of(columns))
            _add_columns(columns, dx[n, own], rows.start, stride, padding)

    share(chunk, [(n, part) for n in range(N) for part in cut(C, max(1, CHUNK_ROWS // taps))])
    return dx


def conv2d_dweight_strips(dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dweight (O,C,kh,kw), a chunk of channels and a band of rows at a time.

    Each band has its own sum; these are added in order at the end.
    """
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    (N, outs, Ho, Wo), C, taps = dy.shape, x.shape[1], math.prod(kernel)
    is_pointwise = _is_pointwise(kernel, stride, padding)
    # Pixels that are the columns need no buffer: one product takes them as they are.
    chunks = list(cut(C, C if is_pointwise else max(1, CHUNK_ROWS // taps)))
    pieces = min(LEAST_PIECES, N * outs * C * taps * Ho * Wo // LEAST_WORK)
    bands = list(cut(Ho, -(-Ho // max(1, pieces // len(chunks)))))
    height = Ho if is_pointwise else max(1, BUFFER_BYTES // (CHUNK_ROWS * Wo * x.itemsize))
    sums = np.zeros((len(bands), outs, C * taps), x.dtype)

    def chunk(piece: tuple[int, range]) -> None:
        band, channels = piece
        own = slice(channels.start, channels.stop)
        total = sums[band, :, own.start * taps : own.stop * taps]
        is_first = True
        for n in range(N):
            for within in cut(len(bands[band]), height):
                rows = bands[band][within.start : within.stop]
                if is_pointwise:
                    columns = x[n, own, rows.start : rows.stop]
                else:
                    columns = buffer("columns", (len(channels), *kernel, len(rows), Wo), x.dtype)
                    _fill_columns(x[n, own], columns, rows.start, stride, padding)
                gradients = _flat(dy[n])[:, rows.start * Wo : rows.stop * Wo]
                matrix = columns.reshape(total.shape[1], -1).T
                if is_first:
                    np.matmul(gradients, matrix, out=total)
                else:
                    total += gradients @ matrix
                is_first = False

    share(chunk, [(band, part) for part in chunks for band in range(len(bands))])
    summed = sums[0] if len(bands) == 1 else np.sum(sums, axis=0)
    return summed.reshape(outs, C, *kernel)


def _multiply_pixels(
    matrix: Array, x: Array, y: Array, bias: Array | None = None, relu: bool = False
) -> None:
    """Set each pixel of `y` (N,O,H,W) to `matrix` (O,C) times that of `x`, plus `bias`."""
    pixels = x.shape[2] * x.shape[3]

    def strip(piece: tuple[int, range]) -> None:
        n, part = piece
        own = slice(part.start, part.stop)
        flat = _flat(y[n])
        np.matmul(matrix, _flat(x[n])[:, own], out=flat[:, own])
        if bias is not None:
            _finish(flat, part.start, part.stop, bias, relu)

    width = max(LEAST_COLUMNS, LEAST_WORK // max(1, matrix.size))
    share(strip, [(n, part) for n in range(x.shape[0]) for part in cut(pixels, width)])


def _is_pointwise(kernel: Pair, stride: Pair, padding: Pair) -> bool:
    """Tell whether the pixels are the columns."""
    return (*kernel, *stride, *padding) == (1, 1, 1, 1, 0, 0)


def buffer(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an uninitialised array in this thread's memory of that name.

    It is valid until the thread calls this with the same name again.
    """
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    memory = getattr(_LOCAL, name, None)
    if memory is None or memory.nbytes < needed:
        memory = np.empty(needed, np.uint8)
        setattr(_LOCAL, name, memory)
    return memory[:needed].view(dtype).reshape(shape)


def cut(length: int, most: int, *, even: bool = True) -> Iterator[range]:
    """Yield ``range(length)`` in parts of at most `most`, which differ in length by at most one.

    With `even` their number is even or one, so that two threads have equal shares.
    """
    count = -(-length // most)
    if even and count > 1:
        count = min(length, count + count % 2)
    for k in range(count):
        yield range(length * k // count, length * (k + 1) // count)


def _matrix(weight: Array) -> Array:
    """Return (O, C kh kw) of (O,C,kh,kw)."""
    return weight.reshape(weight.shape[0], -1)


def _matrix_of(columns: Array) -> Array:
    """Return (C kh kw, rows Wo) of (C,kh,kw,rows,Wo)."""
    C, kh, kw, rows, Wo = columns.shape
    return columns.reshape(C * kh * kw, rows * Wo)


def _flat(maps: Array) -> Array:
    """Return (C, H W) of (C,H,W)."""
    return maps.reshape(maps.shape[0], -1)
