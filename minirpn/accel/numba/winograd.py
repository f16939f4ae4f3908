"""Convolution by Winograd's F(4x4, 3x3): a quarter of the multiplications, for 3x3 of stride 1.

Tiles are transformed, multiplied as 36 matrices, and transformed back; `minirpn.accel.numba.tiles`
has the transforms. With few channels the output is computed in strips of tile rows, so small that
the transformed tiles stay in the cache between the three steps. With many channels strips would
have too few tiles for a fast product: then all pixels of a larger block of tiles are transformed
first, and chunks of the output's channels are computed from them, each with its own kernels. The
gradient by x is the same convolution of dy with the kernels turned by half a turn. The gradient by
the weight is a sum over all tiles, in blocks.

How the work is cut does not depend on the number of threads, nor does the order of any sum.
Rounding errors are some ten times larger than those of a direct sum, because intermediate numbers
are larger than the result. For other convolutions than 3x3 of stride 1, `strips` runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

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
from minirpn.nn.window import Pair, conv_output_size

POINTS = 36
CACHE_LINE = 64  # bytes
# The transformed tiles of a strip fill about the second-level cache of a core (half or four times
# as much differ by a few per cent).
STRIP_BYTES = 2**20
# A strip has at least so many tiles: matrix products with fewer columns are slower.
LEAST_TILES = 64
# With so many channels, inputs and outputs together, blocks are faster than strips: by a quarter
# with 512 to 512. With 128 to 128, strips are faster by a quarter.
WIDE = 512
# The transformed tiles of a block fill half a third-level cache: those of x; those of x and dy in
# the gradient by the weight, or as much as its sums, so that it does not mostly add to them.
BLOCK_BYTES = 2**24
# Output channels that one piece of work computes. With half as many, products are a tenth slower.
CHUNK = 128

_transform_pixels = compiled(tiles.transform_pixels, tiles.pixel_points)
_transform_products = compiled(tiles.transform_products, tiles.points_output)
_transform_gradient = compiled(tiles.transform_gradient, tiles.output_points)
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
    _convolve(x, weight, np.ascontiguousarray(bias), padding, relu, y)
    return y


def conv2d_dx_winograd(dy: Array, weight: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return dx (N,C,H,W): dy convolved with the kernels turned by half a turn."""
    if not is_winograd(weight.shape[2:], stride, padding):
        return conv2d_dx_strips(dy, weight, size, stride, padding)
    dx = np.empty((len(dy), weight.shape[1], *size), dy.dtype)
    no_bias = np.zeros(weight.shape[1], dy.dtype)
    turned_padding = 2 - padding[0], 2 - padding[1]
    _convolve(dy, weight, no_bias, turned_padding, False, dx, turned=True)
    return dx


def _convolve(
    x: Array,
    weight: Array,
    bias: Array,
    padding: Pair,
    relu: bool,
    y: Array,
    *,
    turned: bool = False,
) -> None:
    """Write the convolution of x (N,C,H,W) into y (N,O,Ho,Wo), in strips or in blocks.

    With `turned` the kernels are those of `weight` (C,O,3,3), each turned by half a turn.
    """
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    (N, C), outs = x.shape[:2], y.shape[1]
    rows, columns = _tiles(y)
    tile_bytes = POINTS * (C + outs) * x.itemsize
    if C + outs >= WIDE:
        height = max(1, BLOCK_BYTES // (POINTS * C * columns * x.itemsize))
        for n in range(N):
            for part in cut(rows, height, even=False):
                _convolve_block(x[n], weight, bias, part, padding, relu, y[n], turned)
        return
    kernels = _transformed(weight, turned=turned)
    if turned:
        kernels = kernels.transpose(0, 2, 1)  # (36,C,O) -> (36,O,C)

    def strip(piece: tuple[int, range]) -> None:
        n, part = piece
        tiles, tile_rows = len(part) * columns, _ends(part)
        pixels = _planes("pixels", C * tiles, x.dtype)
        products = _planes("products", outs * tiles, x.dtype)
        _transform_pixels(x[n], pixels, (0, C), tile_rows, columns, padding)
        np.matmul(kernels, _matrices(pixels, C, tiles), out=_matrices(products, outs, tiles))
        _transform_products(products, y[n], tile_rows, columns, bias, relu)

    height = -(-max(LEAST_TILES, STRIP_BYTES // tile_bytes) // columns)
    share(strip, [(n, part) for n in range(N) for part in cut(rows, height)])


def _convolve_block(
    x: Array,
    weight: Array,
    bias: Array,
    part: range,
    padding: Pair,
    relu: bool,
    y: Array,
    turned: bool,
) -> None:
    """Write some tile rows of y (O,Ho,Wo): all of x (C,H,W) first, then a chunk of y's channels."""
    columns, tile_rows = _tiles(y)[1], _ends(part)
    C, tiles = len(x), len(part) * columns
    pixels = _planes("pixels", C * tiles, x.dtype)
    V = _matrices(pixels, C, tiles)

    def multiply(some: range) -> None:
        kernels = _planes("kernels", len(some) * C, x.dtype)
        products = _planes("products", len(some) * tiles, x.dtype)
        if turned:
            _transform_weight(weight, kernels, (0, C), _ends(some), turned)
            U = _matrices(kernels, C, len(some)).transpose(0, 2, 1)
        else:
            _transform_weight(weight, kernels, _ends(some), (0, C), turned)
            U = _matrices(kernels, len(some), C)
        np.matmul(U, V, out=_matrices(products, len(some), tiles))
        own = slice(some.start, some.stop)
        _transform_products(products, y[own], tile_rows, columns, bias[own], relu)

    share(lambda some: _pixels(x, pixels, some, part, columns, padding), _parts(C))
    share(multiply, _chunks(len(y)))


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
    dweight = np.zeros((outs, C, *kernel), x.dtype)
    block_bytes = max(BLOCK_BYTES, POINTS * outs * C * x.itemsize)
    height = max(1, block_bytes // (POINTS * (C + outs) * columns * x.itemsize))
    blocks = [(n, part) for n in range(N) for part in cut(rows, height, even=False)]
    if len(blocks) == 1:
        _multiply_block(dy[0], x[0], dweight, padding)
    elif blocks:
        # Not in a buffer: with 512 channels on both sides it would keep 38 MB for ever.
        sums = np.empty((POINTS, _row_length(outs * C, x.dtype)), x.dtype)
        for number, (n, part) in enumerate(blocks):
            _add_block(dy[n], x[n], _matrices(sums, outs, C), part, padding, number == 0)
        share(
            lambda some: _transform_back(sums[:, some.start * C :], dweight, _ends(some)),
            _parts(outs),
        )
    return dweight


def _multiply_block(dy: Array, x: Array, dweight: Array, padding: Pair) -> None:
    """Write the products of all tiles of dy (O,Ho,Wo) and x (C,H,W) into dweight (O,C,3,3).

    Threads share the channels of x to be transformed, and then the chunks of O: the transformed
    tiles and the products of a chunk stay near the core.
    """
    rows, columns = _tiles(dy)
    (outs, C), tiles = dweight.shape[:2], rows * columns
    pixels = _planes("pixels", C * tiles, x.dtype)
    V = _matrices(pixels, C, tiles).transpose(0, 2, 1)  # (36,C,T) -> (36,T,C)

    def multiply(some: range) -> None:
        gradients = _planes("products", len(some) * tiles, x.dtype)
        kernels = _planes("kernels", len(some) * C, x.dtype)
        _transform_gradient(dy, gradients, _ends(some), (0, rows), columns)
        D = _matrices(gradients, len(some), tiles)
        np.matmul(D, V, out=_matrices(kernels, len(some), C))  # (k, T) @ (T, C) -> (k, C)
        _transform_back(kernels, dweight, _ends(some))

    share(lambda some: _pixels(x, pixels, some, range(rows), columns, padding), _parts(C))
    share(multiply, _chunks(outs))


def _add_block(
    dy: Array, x: Array, sums: Array, part: range, padding: Pair, is_first: bool
) -> None:
    """Add the products of some tile rows of dy (O,Ho,Wo) and x (C,H,W) to `sums` (36,O,C).

    Threads share the channels to be transformed, and then the 36 products. The first block's are
    the sums.
    """
    columns, tile_rows = _tiles(dy)[1], _ends(part)
    (outs, C), tiles = sums.shape[1:], len(part) * columns
    pixels = _planes("pixels", C * tiles, x.dtype)
    gradients = _planes("products", outs * tiles, x.dtype)

    def transform(piece: tuple[str, range]) -> None:
        which, some = piece
        if which == "x":
            _pixels(x, pixels, some, part, columns, padding)
        else:
            own = gradients[:, some.start * tiles :]
            _transform_gradient(dy, own, _ends(some), tile_rows, columns)

    def multiply(point: int) -> None:
        # (O, T) @ (T, C) -> (O, C)
        if is_first:
            np.matmul(D[point], V[point].T, out=sums[point])
            return
        product = buffer("sum", (outs, C), x.dtype)
        np.matmul(D[point], V[point].T, out=product)
        sums[point] += product

    V, D = _matrices(pixels, C, tiles), _matrices(gradients, outs, tiles)
    share(transform, [("x", some) for some in _parts(C)] + [("dy", some) for some in _parts(outs)])
    share(multiply, range(POINTS))


def _pixels(x: Array, pixels: Array, some: range, part: range, columns: int, padding: Pair) -> None:
    """Transform `some` channels of x (C,H,W) in the tile rows of `part`."""
    tiles = len(part) * columns
    own = pixels[:, some.start * tiles :]
    _transform_pixels(x, own, _ends(some), _ends(part), columns, padding)


def _planes(name: str, size: int, dtype: DTypeLike) -> Array:
    """Return a buffer of 36 rows of at least `size` elements, which loops read in parallel.

    The rows are an odd number of cache lines apart: at a power of two they would all compete for
    the same few places in the cache.
    """
    return buffer(name, (POINTS, _row_length(size, dtype)), dtype)


def _row_length(size: int, dtype: DTypeLike) -> int:
    """Return how many elements apart rows of `size` elements begin; see `_planes`."""
    per_line = CACHE_LINE // np.dtype(dtype).itemsize
    lines = -(-size // per_line)
    return (lines + 1 - lines % 2) * per_line


def _transformed(weight: Array, *, turned: bool = False) -> Array:
    """Return (36,O,C) of `weight` (O,C,3,3), in this thread's buffer."""
    weight = np.ascontiguousarray(weight)
    outs, C = weight.shape[:2]
    kernels = _planes("kernels", outs * C, weight.dtype)
    share(
        lambda some: _transform_weight(
            weight, kernels[:, some.start * C :], _ends(some), (0, C), turned
        ),
        _parts(outs),
    )
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


def _chunks(count: int) -> Iterator[range]:
    """Yield the channels of an output in chunks, at least two, so that two threads have work."""
    return cut(count, min(CHUNK, -(-count // 2)))


def _ends(part: range) -> Pair:
    return part.start, part.stop
