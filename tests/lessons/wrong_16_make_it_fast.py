"""Wrong answers to the exercises of chapter 16, as learners wrote them, and what must be said."""

import numpy as np

Bt = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
At = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def no_halves(d, w):
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]], [
        w[0],
        w[0] + w[1] + w[2],
        w[0] - w[1] + w[2],
        w[2],
    ]


def turned_difference(d, w):
    weights = [w[0], sum(w) / 2, (w[0] - w[1] + w[2]) / 2, w[2]]
    return [d[0] - d[2], d[1] + d[2], d[1] - d[2], d[1] - d[3]], weights


def three_products(d, w):
    return [d[0], d[1], d[2]], w


def matrix_product(d, w):
    return At @ ((G @ w @ G.T) @ (Bt @ d @ Bt.T)) @ At.T


def left_only(d, w):
    return At @ ((G @ w @ G.T) * (Bt @ d @ Bt.T))


def flipped(d, w):
    return At @ ((G @ w[::-1, ::-1] @ G.T) * (Bt @ d @ Bt.T)) @ At.T


def multiplications(C, outs, H, W, k):
    return outs * H * W * C * k * k / (4 * (C * H * W + outs * C * k * k + outs * H * W))


def numbers_not_bytes(C, outs, H, W, k):
    return 2 * outs * H * W * C * k * k / (C * H * W + outs * C * k * k + outs * H * W)


def no_weights(C, outs, H, W, k):
    return 2 * outs * H * W * C * k * k / (4 * (C * H * W + outs * H * W))


def without_test(n, m, a, b, overlaps):
    width = max(0, min(a[n, 2], b[m, 2]) - max(a[n, 0], b[m, 0]))
    height = max(0, min(a[n, 3], b[m, 3]) - max(a[n, 1], b[m, 1]))
    shared = width * height
    both = np.prod(a[n, 2:] - a[n, :2]) + np.prod(b[m, 2:] - b[m, :2]) - shared
    overlaps[n, m] = shared / both if shared else 0


def only_the_first(n, m, a, b, overlaps):
    if n == 0 and m == 0:
        without_test(n, m, a, b, overlaps)


def one_too_many(n, m, a, b, overlaps):
    if n <= len(a) and m <= len(b):
        without_test(n, m, a, b, overlaps)


def weights_first(d, w):
    half, middle = (w[0] + w[2]) / 2, w[1] / 2
    return [w[0], half + middle, half - middle, w[2]], [
        d[0] - d[2],
        d[1] + d[2],
        d[2] - d[1],
        d[1] - d[3],
    ]


WRONG = {
    "my_sides": [
        (weights_first, "the first list is of pixels"),
        (no_halves, "Where are the halves"),
        (turned_difference, "d2 - d1, not d1 - d2"),
        (three_products, "yours raises ValueError"),
    ],
    "my_tile": [
        (matrix_product, "number by number"),
        (left_only, "A^T on the left, A on the right"),
        (flipped, "The kernel is not turned round"),
    ],
    "my_intensity": [
        (multiplications, "two operations"),
        (numbers_not_bytes, "four bytes"),
        (no_weights, "weights are read, too"),
    ],
    "my_thread": [
        (without_test, "yours raises IndexError"),
        (one_too_many, "yours raises IndexError"),
        (only_the_first, "yours gives 0"),
    ],
}
