"""Wrong answers to the exercises of chapter 07, as learners wrote them, and what must be said."""

import math

import numpy as np

from minirpn import nn

# --- how many windows ---


def floor(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) // stride + 1


def one_sided_padding(side, kernel, stride, padding):
    count = math.ceil((side + padding - kernel) / stride) + 1
    return count - 1 if (count - 1) * stride >= side + padding else count


def no_first_window(side, kernel, stride, padding):
    count = -(-(side + 2 * padding - kernel) // stride)
    return count - 1 if (count - 1) * stride >= side + padding else count


def never_dropped(side, kernel, stride, padding):
    return -(-(side + 2 * padding - kernel) // stride) + 1


def greater(side, kernel, stride, padding):
    count = -(-(side + 2 * padding - kernel) // stride) + 1
    return count - 1 if (count - 1) * stride > side + padding else count


def start_in_image(side, kernel, stride, padding):
    count = -(-(side + 2 * padding - kernel) // stride) + 1
    return count - ((count - 1) * stride >= side)


# --- pooling ---


def pool(x, kernel, stride, padding, ceil_mode, *, outside=-np.inf, step=None, best=np.max):
    step = step or stride
    Ho, Wo = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    image = np.pad(x, ((0, 0), (0, 0), *2 * [(padding, padding + stride)]), constant_values=outside)
    y = np.zeros((*x.shape[:2], Ho, Wo))
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = best(
            image[n, c, i * step : i * step + kernel, j * step : j * step + kernel]
        )
    return y


def padded_by_zeros(x, kernel, stride, padding=0, ceil_mode=False):
    return pool(x, kernel, stride, padding, ceil_mode, outside=0)


def kernel_apart(x, kernel, stride, padding=0, ceil_mode=False):
    Ho, Wo = nn.pool_output_size(x.shape[2:], kernel, kernel, padding, ceil_mode)
    y = np.zeros((*x.shape[:2], Ho, Wo))
    for n, c, i, j in np.ndindex(y.shape):
        top, left = i * kernel - padding, j * kernel - padding
        y[n, c, i, j] = x[n, c, max(top, 0) : top + kernel, max(left, 0) : left + kernel].max()
    return y


def smallest(x, kernel, stride, padding=0, ceil_mode=False):
    return pool(x, kernel, stride, padding, ceil_mode, outside=np.inf, best=np.min)


def negative_slices(x, kernel, stride, padding=0, ceil_mode=False):
    Ho, Wo = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    y = np.zeros((*x.shape[:2], Ho, Wo))
    for n, c, i, j in np.ndindex(y.shape):
        top, left = i * stride - padding, j * stride - padding
        y[n, c, i, j] = np.max(x[n, c, top : top + kernel, left : left + kernel])
    return y


def always_floor(x, kernel, stride, padding=0, ceil_mode=False):
    return pool(x, kernel, stride, padding, False)


def pool_backward(dy, cache, *, add=True, step=None, shift=1, across=False):
    winner, (_, kw), stride, padding, (H, W) = cache
    step = step or stride
    dx = np.zeros((*dy.shape[:2], H, W))
    for n, c, i, j in np.ndindex(dy.shape):
        down, right = winner[n, c, i, j] // kw, winner[n, c, i, j] % kw
        if across:
            down, right = right, down
        row = i * step[0] - shift * padding[0] + down
        column = j * step[1] - shift * padding[1] + right
        dx[n, c, row, column] = dy[n, c, i, j] + (dx[n, c, row, column] if add else 0)
    return dx


def set_not_added(dy, cache):
    return pool_backward(dy, cache, add=False)


def no_stride(dy, cache):
    return pool_backward(dy, cache, step=(1, 1))


def no_padding(dy, cache):
    return pool_backward(dy, cache, shift=0)


def rows_and_columns_swapped(dy, cache):
    return pool_backward(dy, cache, across=True)


def to_the_last_pixel(dy, cache):
    winner, (kh, kw), *rest = cache
    return pool_backward(dy, (np.full(winner.shape, kh * kw - 1), (kh, kw), *rest))


# --- ReLU ---


def mask_with_zero(dy, y):
    return np.where(y >= 0, dy, 0)


def mask_of_dy(dy, y):
    return np.maximum(dy, 0)


def only_the_slope(dy, y):
    return (y > 0).astype(float)


def times_y(dy, y):
    return dy * y


def wrong_way_round(dy, y):
    return np.where(y > 0, 0, dy)


# --- LRN ---


def sums(x, size):
    reach = size // 2
    image = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    y = np.zeros(x.shape)
    for p, q in np.ndindex(size, size):
        y += image[:, :, p : p + x.shape[2], q : q + x.shape[3]]
    return y


def plus_beta(x, size=3, alpha=5e-5, beta=0.75):
    return x * (1 + alpha / size**2 * sums(x**2, size)) ** beta


def over_size(x, size=3, alpha=5e-5, beta=0.75):
    return x / (1 + alpha / size * sums(x**2, size)) ** beta


def real_mean(x, size=3, alpha=5e-5, beta=0.75):
    inside = sums(np.ones_like(x), size)
    return x / (1 + alpha * sums(x**2, size) / inside) ** beta


def no_squares(x, size=3, alpha=5e-5, beta=0.75):
    return x / (1 + alpha / size**2 * sums(x, size)) ** beta


def factor_only(x, size=3, alpha=5e-5, beta=0.75):
    return (1 + alpha / size**2 * sums(x**2, size)) ** -beta


def own_part_only(dy, x, size=3, alpha=5e-5, beta=0.75):
    return dy * (1 + alpha / size**2 * sums(x**2, size)) ** -beta


def lrn_backward(dy, x, size, alpha, beta, *, two=2.0, sign=-1, more=1, outer=True):
    s = 1 + alpha / size**2 * sums(x**2, size)
    inner = sums(dy * x / s ** (beta + more), size)
    if outer:
        inner = inner * x
    return dy / s**beta + sign * two * alpha * beta * inner / size**2


def added(dy, x, size=3, alpha=5e-5, beta=0.75):
    return lrn_backward(dy, x, size, alpha, beta, sign=1)


def no_two(dy, x, size=3, alpha=5e-5, beta=0.75):
    return lrn_backward(dy, x, size, alpha, beta, two=1)


def power_beta(dy, x, size=3, alpha=5e-5, beta=0.75):
    return lrn_backward(dy, x, size, alpha, beta, more=0)


def no_outer_x(dy, x, size=3, alpha=5e-5, beta=0.75):
    return lrn_backward(dy, x, size, alpha, beta, outer=False)


WRONG = {
    "my_windows": [
        (floor, "Round up"),
        (one_sided_padding, "side + 2 * padding"),
        (no_first_window, "count the first window"),
        (never_dropped, "without any pixel of the image is dropped"),
        (greater, ">=, not >"),
        (start_in_image, "the image ends at side + padding"),
    ],
    "my_pool": [
        (padded_by_zeros, "Padding must never win"),
        (kernel_apart, "Windows are stride apart"),
        (smallest, "the smallest pixel"),
        (negative_slices, "A slice must not start below 0"),
        (always_floor, "round up"),
    ],
    "my_pool_backward": [
        (set_not_added, "A pixel may win several windows"),
        (no_stride, "Where is the stride?"),
        (no_padding, "Where is the padding?"),
        (rows_and_columns_swapped, "Places are counted row by row"),
        (to_the_last_pixel, "dx: at [0, 0, 0, 0] yours gives 0"),
    ],
    "my_relu_backward": [
        (mask_with_zero, "y >= 0 is true everywhere"),
        (mask_of_dy, "Mask by x, not by dy"),
        (only_the_slope, "multiply it by dy"),
        (times_y, "do not multiply it by x"),
        (wrong_way_round, "the wrong way round"),
    ],
    "my_lrn": [
        (plus_beta, "The power is -beta"),
        (over_size, "size squared"),
        (real_mean, "the zeros outside count"),
        (no_squares, "Sum the squares"),
        (factor_only, "multiply x by it"),
    ],
    "my_lrn_backward": [
        (own_part_only, "where is the sum?"),
        (added, "The second part is subtracted"),
        (no_two, "where is the 2?"),
        (power_beta, "-beta - 1"),
        (no_outer_x, "in front of the sum"),
    ],
}
