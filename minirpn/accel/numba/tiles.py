"""The transforms of Winograd's F(4x4, 3x3), which turn a 3x3 convolution into 36 matrix products.

Four outputs in a row of a correlation with three weights need six pixels and, computed directly,
twelve products. Six are enough::

    y = At [ (G w) * (Bt d) ]       d (6) pixels, w (3) weights, y (4) outputs, * elementwise

The idea: d, w and y stand for polynomials, and a product of polynomials is known from its values
at enough points; here 0, 1, -1, 2, -2 and infinity. In two dimensions each transform is applied
along the columns and along the rows, and a tile of 4x4 outputs needs 36 products instead of 144.
Each of the 36 is summed over channels: that is a matrix product.

G has fractions, and divisions are slow. So `weight_points` is ``24 G w``, in whole factors, and one
product with 1 / 24^2 makes up for that in both dimensions; `points_weight` likewise.

The formula is linear in d and in w, so the gradient needs only the transposed matrices::

    dw = Gt [ (A dy) * (Bt d) ]

Transformed tiles lie in 36 planes, one for each point, of channels times tiles: (36, at least
C tiles), tiles in row-major order. Loops run along tiles or channels, so that they compile to
vectors.

References: Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016, section 4.3.
"""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array
from minirpn.nn.window import Pair

# float32 holds them exactly, and a product with one has the dtype of the other factor.
TWO, FOUR, FIVE, EIGHT = np.float32(2), np.float32(4), np.float32(5), np.float32(8)
SIX, TWENTY_FOUR = np.float32(6), np.float32(24)
Six = tuple[Array, Array, Array, Array, Array, Array]

# --- the five transforms in one dimension; terms that two points share are computed once ---


def pixel_points(d0: Array, d1: Array, d2: Array, d3: Array, d4: Array, d5: Array) -> Six:
    """Return ``Bt d``."""
    even1, odd1 = d4 - FOUR * d2, d3 - FOUR * d1
    even2, odd2 = d4 - d2, TWO * (d3 - d1)
    zero, infinity = FOUR * d0 - FIVE * d2 + d4, FOUR * d1 - FIVE * d3 + d5
    return zero, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, infinity


def weight_points(w0: Array, w1: Array, w2: Array) -> Six:
    """Return ``24 G w``."""
    even1, odd1 = -FOUR * (w0 + w2), -FOUR * w1
    even2, odd2 = w0 + FOUR * w2, TWO * w1
    return SIX * w0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, TWENTY_FOUR * w2


def points_weight(
    u0: Array, u1: Array, u2: Array, u3: Array, u4: Array, u5: Array
) -> tuple[Array, Array, Array]:
    """Return ``24 Gt u``."""
    even1, odd1, even2, odd2 = FOUR * (u1 + u2), FOUR * (u1 - u2), u3 + u4, u3 - u4
    return (
        SIX * u0 - even1 + even2,
        TWO * odd2 - odd1,
        FOUR * even2 - even1 + TWENTY_FOUR * u5,
    )


def output_points(y0: Array, y1: Array, y2: Array, y3: Array) -> Six:
    """Return ``A y``."""
    even1, odd1 = y0 + y2, y1 + y3
    even2, odd2 = y0 + FOUR * y2, TWO * y1 + EIGHT * y3
    return y0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, y3


def points_output(
    m0: Array, m1: Array, m2: Array, m3: Array, m4: Array, m5: Array
) -> tuple[Array, Array, Array, Array]:
    """Return ``At m``."""
    even1, odd1, even2, odd2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        m0 + even1 + even2,
        odd1 + TWO * odd2,
        even1 + FOUR * even2,
        odd1 + EIGHT * odd2 + m5,
    )


# --- in two dimensions, for many tiles ---


def transform_pixels(
    image: Array, V: Array, some: Pair, tile_rows: Pair, columns: int, padding: Pair
) -> None:
    """Write ``Bt d B`` of the 6x6 tiles d of `image` (C,H,W) behind its padding into V.

    Of `some` channels and `tile_rows`, both first and end; there are `columns` tiles in a row. V
    begins with the first of these channels.
    """
    H, W = image.shape[1:]
    start, end = tile_rows
    # Six rows of pixels with their padding, as far as the last tile reaches.
    rows = np.zeros((6, 4 * (columns + 1)), image.dtype)
    d0, d1, d2, d3, d4, d5 = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    inside = rows[:, padding[1] :]
    for c in range(some[0], some[1]):
        for i in range(start, end):
            for k in range(6):
                y = 4 * i + k - padding[0]
                if 0 <= y < H:
                    row, pixels = inside[k], image[c, y]
                    for x in range(min(W, len(row))):
                        row[x] = pixels[x]
                else:
                    rows[k] = 0
            for x in range(len(d0)):
                d0[x], d1[x], d2[x], d3[x], d4[x], d5[x] = pixel_points(
                    d0[x], d1[x], d2[x], d3[x], d4[x], d5[x]
                )
            at = ((c - some[0]) * (end - start) + i - start) * columns
            own = slice(at, at + columns)
            for k in range(6):
                p = rows[k]
                v0, v1, v2 = V[6 * k, own], V[6 * k + 1, own], V[6 * k + 2, own]
                v3, v4, v5 = V[6 * k + 3, own], V[6 * k + 4, own], V[6 * k + 5, own]
                for t in range(columns):
                    x = 4 * t
                    v0[t], v1[t], v2[t], v3[t], v4[t], v5[t] = pixel_points(
                        p[x], p[x + 1], p[x + 2], p[x + 3], p[x + 4], p[x + 5]
                    )


def transform_products(
    M: Array, y: Array, tile_rows: Pair, columns: int, bias: Array, relu: bool
) -> None:
    """Write ``At m A`` plus `bias` of the 6x6 tiles in M into the rows of `y` (O,Ho,Wo)."""
    outs, Ho, Wo = y.shape
    start, end = tile_rows
    tall = np.empty((4, 6, columns), M.dtype)
    row = np.empty(4 * columns, M.dtype)
    for o in range(outs):
        for i in range(start, end):
            at = (o * (end - start) + i - start) * columns
            own = slice(at, at + columns)
            for k in range(6):
                m0, m1, m2 = M[k, own], M[6 + k, own], M[12 + k, own]
                m3, m4, m5 = M[18 + k, own], M[24 + k, own], M[30 + k, own]
                y0, y1, y2, y3 = tall[0, k], tall[1, k], tall[2, k], tall[3, k]
                for t in range(columns):
                    y0[t], y1[t], y2[t], y3[t] = points_output(
                        m0[t], m1[t], m2[t], m3[t], m4[t], m5[t]
                    )
            for a in range(min(4, Ho - 4 * i)):
                m0, m1, m2 = tall[a, 0], tall[a, 1], tall[a, 2]
                m3, m4, m5 = tall[a, 3], tall[a, 4], tall[a, 5]
                for t in range(columns):
                    row[4 * t], row[4 * t + 1], row[4 * t + 2], row[4 * t + 3] = points_output(
                        m0[t], m1[t], m2[t], m3[t], m4[t], m5[t]
                    )
                target = y[o, 4 * i + a]
                for j in range(Wo):
                    value = row[j] + bias[o]
                    target[j] = 0 if relu and value < 0 else value


def transform_gradient(dy: Array, D: Array, some: Pair, tile_rows: Pair, columns: int) -> None:
    """Write ``A g At`` of the 4x4 tiles g of `dy` (O,Ho,Wo) into D; see `transform_pixels`.

    D begins with the first of `some` channels.
    """
    Ho, Wo = dy.shape[1:]
    start, end = tile_rows
    rows = np.zeros((6, 4 * columns), dy.dtype)
    d0, d1, d2, d3, d4, d5 = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    for o in range(some[0], some[1]):
        for i in range(start, end):
            for k in range(4):
                if 4 * i + k < Ho:
                    row, pixels = rows[k], dy[o, 4 * i + k]
                    for x in range(Wo):
                        row[x] = pixels[x]
                else:
                    rows[k] = 0
            for x in range(len(d0)):
                d0[x], d1[x], d2[x], d3[x], d4[x], d5[x] = output_points(d0[x], d1[x], d2[x], d3[x])
            at = ((o - some[0]) * (end - start) + i - start) * columns
            own = slice(at, at + columns)
            for k in range(6):
                p = rows[k]
                v0, v1, v2 = D[6 * k, own], D[6 * k + 1, own], D[6 * k + 2, own]
                v3, v4, v5 = D[6 * k + 3, own], D[6 * k + 4, own], D[6 * k + 5, own]
                for t in range(columns):
                    x = 4 * t
                    v0[t], v1[t], v2[t], v3[t], v4[t], v5[t] = output_points(
                        p[x], p[x + 1], p[x + 2], p[x + 3]
                    )


def transform_weight(weight: Array, U: Array, outs: Pair, channels: Pair, turned: bool) -> None:
    """Write ``G w Gt`` of `weight` (O,C,3,3) into U, for some `outs` and `channels`, first and end.

    `turned` turns each kernel by half a turn.
    """
    first, end = channels
    C = end - first
    taps = np.empty((3, 3, C), weight.dtype)
    tall = np.empty((6, 3, C), weight.dtype)
    scale = weight.dtype.type(1 / 24**2)
    for o in range(outs[0], outs[1]):
        for p in range(3):
            for q in range(3):
                tap = taps[2 - p, 2 - q] if turned else taps[p, q]
                for c in range(C):
                    tap[c] = scale * weight[o, first + c, p, q]
        for q in range(3):
            w0, w1, w2 = taps[0, q], taps[1, q], taps[2, q]
            u0, u1, u2 = tall[0, q], tall[1, q], tall[2, q]
            u3, u4, u5 = tall[3, q], tall[4, q], tall[5, q]
            for c in range(C):
                u0[c], u1[c], u2[c], u3[c], u4[c], u5[c] = weight_points(w0[c], w1[c], w2[c])
        own = slice((o - outs[0]) * C, (o - outs[0] + 1) * C)
        for k in range(6):
            w0, w1, w2 = tall[k, 0], tall[k, 1], tall[k, 2]
            u0, u1, u2 = U[6 * k, own], U[6 * k + 1, own], U[6 * k + 2, own]
            u3, u4, u5 = U[6 * k + 3, own], U[6 * k + 4, own], U[6 * k + 5, own]
            for c in range(C):
                u0[c], u1[c], u2[c], u3[c], u4[c], u5[c] = weight_points(w0[c], w1[c], w2[c])


def transform_back(U: Array, dweight: Array, some: Pair) -> None:
    """Write ``Gt u G`` of U into `dweight` (O,C,3,3), for `some` outputs, first and end.

    U begins with the first of them.
    """
    C = dweight.shape[1]
    tall = np.empty((3, 6, C), dweight.dtype)
    scale = dweight.dtype.type(1 / 24**2)
    for o in range(some[0], some[1]):
        own = slice((o - some[0]) * C, (o - some[0] + 1) * C)
        for k in range(6):
            u0, u1, u2 = U[k, own], U[6 + k, own], U[12 + k, own]
            u3, u4, u5 = U[18 + k, own], U[24 + k, own], U[30 + k, own]
            w0, w1, w2 = tall[0, k], tall[1, k], tall[2, k]
            for c in range(C):
                w0[c], w1[c], w2[c] = points_weight(u0[c], u1[c], u2[c], u3[c], u4[c], u5[c])
        for p in range(3):
            u0, u1, u2 = tall[p, 0], tall[p, 1], tall[p, 2]
            u3, u4, u5 = tall[p, 3], tall[p, 4], tall[p, 5]
            taps = dweight[o, :, p]
            for c in range(C):
                w0c, w1c, w2c = points_weight(u0[c], u1[c], u2[c], u3[c], u4[c], u5[c])
                taps[c, 0], taps[c, 1], taps[c, 2] = scale * w0c, scale * w1c, scale * w2c
