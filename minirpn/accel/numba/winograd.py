"""Convolution by Winograd's F(4x4, 3x3): a quarter of the multiplications, for 3x3 of stride 1.

Tiles are transformed, multiplied as 36 matrices, and transformed back; `minirpn.accel.numba.tiles`
has the transforms. The output is computed in strips of tile rows, so small that the transformed
tiles stay in the cache between the three steps. The gradient by x is the same convolution of dy
with the kernels turned by half a turn. The gradient by the weight is a sum over all tiles, in
blocks.

How the work is cut does not depend on the number of threads, nor does the order of any sum.
Rounding errors are some ten times larger than those of a direct sum, because intermediate numbers
are larger than the result. For other convolutions than 3x3 of stride 1, `strips` runs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from minirpn._typing import Array
from minirpn.accel.numba import tiles
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.numba.strips import (
    buffer,
    conv2d_dweight_strips,
    conv2d_dx_strips,
    conv2d_strips,
    cut,
    place_for,
)
from minirpn.accel.threads import share
from minirpn.nn.window import Pair, conv_output_size, reached

POINTS = 36
CACHE_LINE = 64  # bytes
# The transformed tiles of a strip fill about the second-level cache of a core (half or four times
# as much differ by a few per cent).
STRIP_BYTES = 2**20
# A strip has at least so many tiles: matrix products with fewer columns are slower.
LEAST_TILES = 64
# The transformed tiles of x and dy in a block of the gradient by the weight fill half a third-level
# cache.
BLOCK_BYTES = 2**24

_transform_pixels = compiled(tiles.transform_pixels, tiles.pixel_points, reached, tiles.split)
_transform_products = compiled(tiles.transform_products, tiles.points_output)
_transform_gradient = compiled(tiles.transform_gradient, tiles.output_points, reached, tiles.split)
_transform_weight = compiled(tiles.transform_weight, tiles.weight_points)
_transform_back = compiled(tiles.transform_back, tiles.points_weight)


def conv2d_winograd(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    out: Array | None = None,
    relu: bool = False,
) -> Array:
    """Return y (N,O,Ho,Wo), a strip of tile rows at a time."""
    kernel = weight.shape[2:]
    if not is_winograd(kernel, stride, padding):
        return conv2d_strips(x, weight, bias, stride, padding, out, relu)
    size = conv_output_size(x.shape[2:], kernel, stride, padding)
    y = place_for((x.shape[0], weight.shape[0], *size), x.dtype, out)
    _convolve(x, _transformed(weight), np.ascontiguousarray(bias), padding, relu, y)
    return y


def conv2d_dx_winograd(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): dy convolved with the kernels turned by half a turn."""
    if not is_winograd(weight.shape[2:], stride, padding):
        return conv2d_dx_strips(dy, weight, size, stride, padding)
    kernels = _transformed(weight, turned=True).transpose(0, 2, 1)  # (36,O,C) -> (36,C,O)
    dx = np.empty((len(dy), weight.shape[1], *size), dy.dtype)
    no_bias = np.zeros(weight.shape[1], dy.dtype)
    _convolve(dy, kernels, no_bias, (2 - padding[0], 2 - padding[1]), False, dx)
    return dx


def _convolve(x: Array, kernels: Array, bias: Array, padding: Pair, relu: bool, y: Array) -> None:
    """Write into y (N,O,Ho,Wo) what x (N,C,H,W) and transformed kernels (36,O,C) give."""
    x = np.ascontiguousarray(x)
    (N, C), outs = x.shape[:2], y.shape[1]
    rows, columns = _tiles(y)

    def strip(piece: tuple[int, range]) -> None:
        n, part = piece
        tiles, tile_rows = len(part) * columns, _ends(part)
        pixels = _planes("pixels", C * tiles, x.dtype)
        products = _planes("products", outs * tiles, x.dtype)
        _transform_pixels(x[n], pixels, (0, C), tile_rows, columns, padding)
        np.matmul(kernels, _matrices(pixels, C, tiles), out=_matrices(products, outs, tiles))
        _transform_products(products, y[n], tile_rows, columns, bias, relu)

    tiles = max(LEAST_TILES, STRIP_BYTES // (POINTS * (C + outs) * x.itemsize))
    share(strip, [(n, part) for n in range(N) for part in cut(rows, -(-tiles // columns))])


def conv2d_dweight_winograd(
    dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """Return dweight (O,C,3,3), a block of tile rows at a time.

    Within a block, threads share the channels to be transformed, and then the 36 products.
    """
    if not is_winograd(kernel, stride, padding):
        return conv2d_dweight_strips(dy, x, kernel, stride, padding)
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    (N, outs), C = dy.shape[:2], x.shape[1]
    rows, columns = _tiles(dy)
    sums = _planes("kernels", outs * C, x.dtype)
    sums[...] = 0
    height = max(1, BLOCK_BYTES // (POINTS * (C + outs) * columns * x.itemsize))
    for n in range(N):
        for part in cut(rows, height):
            _add_block(dy[n], x[n], _matrices(sums, outs, C), part, padding)
    dweight = np.empty((outs, C, *kernel), x.dtype)
    share(lambda some: _transform_back(sums, dweight, _ends(some)), _parts(outs))
    return dweight


def _add_block(dy: Array, x: Array, sums: Array, part: range, padding: Pair) -> None:
    """Add the products of some tile rows of dy (O,Ho,Wo) and x (C,H,W) to `sums` (36,O,C)."""
    columns, tile_rows = _tiles(dy)[1], _ends(part)
    (outs, C), tiles = sums.shape[1:], len(part) * columns
    pixels = _planes("pixels", C * tiles, x.dtype)
    gradients = _planes("products", outs * tiles, x.dtype)

    def transform(piece: tuple[str, range]) -> None:
        which, some = piece
        if which == "x":
            _transform_pixels(x, pixels, _ends(some), tile_rows, columns, padding)
        else:
            _transform_gradient(dy, gradients, _ends(some), tile_rows, columns)

    def multiply(point: int) -> None:
        product = buffer("sum", (outs, C), x.dtype)
        # (O, P) @ (P, C) -> (O, C)
        np.matmul(D[point], V[point].T, out=product)
        sums[point] += product

    V, D = _matrices(pixels, C, tiles), _matrices(gradients, outs, tiles)
    share(transform, [("x", some) for some in _parts(C)] + [("dy", some) for some in _parts(outs)])
    share(multiply, range(POINTS))


def _planes(name: str, size: int, dtype: DTypeLike) -> Array:
    """Return a buffer of 36 rows of at least `size` elements, which loops read in parallel.

    The rows are an odd number of cache lines apart: at a power of two they would all compete for
    the same few places in the cache.
    """
    per_line = CACHE_LINE // np.dtype(dtype).itemsize
    lines = -(-size // per_line)
    return buffer(name, (POINTS, (lines + 1 - lines % 2) * per_line), dtype)


def _transformed(weight: Array, *, turned: bool = False) -> Array:
    """Return (36,O,C) of `weight` (O,C,3,3), in this thread's buffer."""
    weight = np.ascontiguousarray(weight)
    outs, C = weight.shape[:2]
    kernels = _planes("kernels", outs * C, weight.dtype)
    share(lambda some: _transform_weight(weight, kernels, _ends(some), turned), _parts(outs))
    return _matrices(kernels, outs, C)


def is_winograd(kernel: Pair, stride: Pair, padding: Pair) -> bool:
    """Tell whether F(4x4, 3x3) can compute such a convolution."""
    return (*kernel, *stride) == (3, 3, 1, 1) and max(padding) <= 2


def conv2d_preferred(
    x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair, out: Array | None = None
) -> bool:
    """Tell whether the output is faster this way than by strips."""
    return is_winograd(weight.shape[2:], stride, padding) and _is_faster(x, *weight.shape[:2])


def conv2d_dx_preferred(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> bool:
    """Tell whether the gradient by x is faster this way than by strips."""
    return is_winograd(weight.shape[2:], stride, padding) and _is_faster(dy, *weight.shape[:2])


def conv2d_dweight_preferred(
    dy: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair
) -> bool:
    """Tell whether the gradient by the weight is faster this way than by strips."""
    return is_winograd(kernel, stride, padding) and _is_faster(dy, dy.shape[1], x.shape[1])


def _is_faster(maps: Array, outs: int, C: int) -> bool:
    """Tell whether there is enough work, so that the transforms cost less than they save.

    Measured (`tests/benchmarks`): with 16 channels on both sides strips are as fast at 37x62, with
    32 at 19x31. With 12 tiles strips are faster for any number of channels, because the kernels are
    transformed for too few tiles.
    """
    tiles = maps.shape[0] * math.prod(_tiles(maps))
    return min(C, outs) >= 16 and tiles >= 40 and tiles * outs * C >= 40 * 32 * 32


def _tiles(y: Array) -> Pair:
    """Return how many tiles cover the maps `y` (...,Ho,Wo), vertically and horizontally."""
    Ho, Wo = y.shape[-2:]
    return -(-Ho // 4), -(-Wo // 4)


def _matrices(flat: Array, rows: int, columns: int) -> Array:
    """Return (36, rows, columns) of planes (36, at least rows times columns), as a view."""
    return flat[:, : rows * columns].reshape(len(flat), rows, columns)


def _parts(count: int) -> list[range]:
    """Return ``range(count)`` in at most eight parts."""
    return list(cut(count, max(1, -(-count // 8))))


def _ends(part: range) -> Pair:
    return part.start, part.stop
