"""Wrong answers to the exercises of chapter 06, as learners wrote them, and what must be said."""

import numpy as np


def surround(x, padding):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


# --- a row ---


def by_np_convolve(x, weight):
    return np.convolve(x, weight, mode="valid")


def mean_of_row(x, weight):
    n = len(weight)
    return [np.mean(x[i : i + n] * weight) for i in range(len(x) - n + 1)]


def one_window_short(x, weight):
    n = len(weight)
    return [np.sum(x[i : i + n] * weight) for i in range(len(x) - n)]


def padded_row(x, weight):
    return np.correlate(x, weight, mode="same")


def kernel_of_three(x, weight):
    return [x[i] * weight[0] + x[i + 1] * weight[1] + x[i + 2] * weight[2] for i in range(2)]


def three_at_a_time(x, weight):
    return [sum(x[i : i + 3] * weight) for i in range(len(x) - 3 + 1)]


def not_added(x, weight):
    n = len(weight)
    return np.array([x[i : i + n] * weight for i in range(len(x) - n + 1)])


# --- an image ---


def windows_of(x, weight):
    kh, kw = weight.shape
    for i in range(x.shape[0] - kh + 1):
        yield [x[i : i + kh, j : j + kw] for j in range(x.shape[1] - kw + 1)]


def turned(x, weight):
    return [[np.sum(np.flip(weight) * window) for window in row] for row in windows_of(x, weight)]


def averaged(x, weight):
    return [[(weight * window).mean() for window in row] for row in windows_of(x, weight)]


def matrix_product(x, weight):
    kh, kw = weight.shape
    y = np.zeros((len(x) - kh + 1, x.shape[1] - kw + 1))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(x[i : i + kh, j : j + kw] @ weight)
    return y


def one_row_short(x, weight):
    kh, kw = weight.shape
    y = np.zeros((x.shape[0] - kh, x.shape[1] - kw))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(x[i : i + kh, j : j + kw] * weight)
    return y


def columns_first(x, weight):
    kh, kw = weight.shape
    y = np.zeros((x.shape[1] - kw + 1, x.shape[0] - kh + 1))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(x[i : i + kh, j : j + kw] * weight)
    return y


def square_kernels(x, weight):
    k = weight.shape[0]
    y = np.zeros((x.shape[0] - k + 1, x.shape[1] - k + 1))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(x[i : i + k, j : j + k] * weight)
    return y


# --- all letters ---


def conv(
    x,
    weight,
    bias,
    stride=1,
    padding=0,
    *,
    step=None,
    pad=surround,
    add=np.sum,
    channels=slice(None),
    with_bias=True,
):
    step = step or stride
    kh, kw = weight.shape[2:]
    image = pad(x, padding)
    Ho = (x.shape[2] + 2 * padding - kh) // stride + 1
    Wo = (x.shape[3] + 2 * padding - kw) // stride + 1
    y = np.zeros((len(x), len(weight), Ho, Wo))
    for n, o, i, j in np.ndindex(y.shape):
        window = image[n, :, i * step : i * step + kh, j * step : j * step + kw]
        y[n, o, i, j] = add((window * weight[o])[channels]) + with_bias * bias[o]
    return y


def stride_forgotten(x, weight, bias, stride=1, padding=0):
    return conv(x, weight, bias, stride, padding, step=1)


def mean_of_windows(x, weight, bias, stride=1, padding=0):
    return conv(x, weight, bias, stride, padding, add=np.mean)


def no_bias(x, weight, bias, stride=1, padding=0):
    return conv(x, weight, bias, stride, padding, with_bias=False)


def kernel_flipped(x, weight, bias, stride=1, padding=0):
    return conv(x, np.flip(weight, (2, 3)), bias, stride, padding)


def first_channel_only(x, weight, bias, stride=1, padding=0):
    return conv(x, weight, bias, stride, padding, channels=0)


def padded_above(x, weight, bias, stride=1, padding=0):
    def pad(x, padding):
        return np.pad(x, ((0, 0), (0, 0), (padding, 0), (padding, 0)))

    kh, kw = weight.shape[2:]
    image = pad(x, padding)
    Ho, Wo = (image.shape[2] - kh) // stride + 1, (image.shape[3] - kw) // stride + 1
    y = np.zeros((len(x), len(weight), Ho, Wo))
    for i, j in np.ndindex(Ho, Wo):
        window = image[:, None, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
        y[:, :, i, j] = (window * weight).sum(axis=(2, 3, 4)) + bias
    return y


def stride_forgotten_and_no_bias(x, weight, bias, stride=1, padding=0):
    return conv(x, weight, bias, stride, padding, step=1, with_bias=False)


# --- columns ---


def stacked(x, kernel, stride, padding, *, axis=2, swap=False, step=None, pad=surround):
    image, (kh, kw) = pad(x, padding), kernel
    Ho = (x.shape[2] + 2 * padding - kh) // stride + 1
    Wo = (x.shape[3] + 2 * padding - kw) // stride + 1
    step = step or stride
    taps = [(p, q) for p in range(kh) for q in range(kw)]
    if swap:
        taps = [(p, q) for q in range(kw) for p in range(kh)]
    slices = [image[:, :, p : p + step * Ho : step, q : q + step * Wo : step] for p, q in taps]
    return np.stack(slices, axis=axis).reshape(len(x), -1, Ho * Wo)


def windows_as_rows(x, kernel, stride=1, padding=0):
    return np.swapaxes(stacked(x, kernel, stride, padding), 1, 2)


def column_by_column(x, kernel, stride=1, padding=0):
    return stacked(x, kernel, stride, padding, swap=True)


def places_before_channels(x, kernel, stride=1, padding=0):
    return stacked(x, kernel, stride, padding, axis=1)


def no_step(x, kernel, stride=1, padding=0):
    return stacked(x, kernel, stride, padding, step=1)


def out_of_x(x, kernel, stride=1, padding=0):
    return stacked(x, kernel, stride, 0)


# --- one product ---


def product_without_bias(x, weight, bias, stride=1, padding=0):
    columns = stacked(x, weight.shape[2:], stride, padding)
    Ho = (x.shape[2] + 2 * padding - weight.shape[2]) // stride + 1
    return (weight.reshape(len(weight), -1) @ columns).reshape(len(x), len(weight), Ho, -1)


def product_not_reshaped(x, weight, bias, stride=1, padding=0):
    columns = stacked(x, weight.shape[2:], stride, padding)
    return weight.reshape(len(weight), -1) @ columns + bias[:, None]


def product_averaged(x, weight, bias, stride=1, padding=0):
    y = product_without_bias(x, weight, bias, stride, padding) / weight[0].size
    return y + bias[:, None, None]


# --- backwards ---


def backward(dy, cache, *, cut=None, add_dx=True, add_dweight=True, step=None, turn=False):
    x, weight, stride, padding = cache
    step = step or stride
    (kh, kw), (H, W), image = weight.shape[2:], x.shape[2:], surround(x, padding)
    dimage, dweight, dbias = np.zeros(image.shape), np.zeros(weight.shape), np.zeros(len(weight))
    for n, o, i, j in np.ndindex(dy.shape):
        rows, places = slice(i * step, i * step + kh), slice(j * step, j * step + kw)
        given = dy[n, o, i, j] * (weight[o, :, ::-1, ::-1] if turn else weight[o])
        dimage[n, :, rows, places] = given + (dimage[n, :, rows, places] if add_dx else 0)
        dweight[o] = dy[n, o, i, j] * image[n, :, rows, places] + (dweight[o] if add_dweight else 0)
        dbias[o] += dy[n, o, i, j]
    cut = cut or (lambda dimage: dimage[:, :, padding : padding + H, padding : padding + W])
    return cut(dimage), dweight, dbias


def dx_set(dy, cache):
    return backward(dy, cache, add_dx=False)


def dweight_set(dy, cache):
    return backward(dy, cache, add_dweight=False)


def minus_padding(dy, cache):
    padding = cache[3]
    return backward(dy, cache, cut=lambda d: d[:, :, padding:-padding, padding:-padding])


def uncut(dy, cache):
    return backward(dy, cache, cut=lambda dimage: dimage)


def backward_without_stride(dy, cache):
    return backward(dy, cache, step=1)


def backward_turned(dy, cache):
    return backward(dy, cache, turn=True)


def dweight_of_an_average_image(dy, cache):
    dx, dweight, dbias = backward(dy, cache)
    return dx, dweight / len(dy), dbias


def dweight_of_image_0(dy, cache):
    x, weight, stride, padding = cache
    dx, _, dbias = backward(dy, cache)
    _, dweight, _ = backward(dy[:1], (x[:1], weight, stride, padding))
    return dx, dweight, dbias


def dbias_by_mean(dy, cache):
    dx, dweight, _ = backward(dy, cache)
    return dx, dweight, np.mean(dy, axis=(0, 2, 3))


# --- dx by places ---


def by_places(
    dy,
    weight,
    size,
    stride=1,
    padding=0,
    *,
    add=True,
    step=None,
    start=lambda p, q: (p, q),
    table=lambda weight, p, q: weight[:, :, p, q].T,
):
    (N, _, Ho, Wo), (C, kh, kw), (H, W) = dy.shape, weight.shape[1:], size
    dimage = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    step = step or stride
    for p in range(kh):
        for q in range(kw):
            given = table(weight, p, q) @ dy.reshape(N, -1, Ho * Wo)
            top, left = start(p, q)
            rows = slice(top, top + step * Ho, step)
            columns = slice(left, left + step * Wo, step)
            before = dimage[:, :, rows, columns] if add else 0
            dimage[:, :, rows, columns] = given.reshape(N, C, Ho, Wo) + before
    return dimage


def cut(dimage, size, padding):
    return dimage[:, :, padding : padding + size[0], padding : padding + size[1]]


def places_set(dy, weight, size, stride=1, padding=0):
    return cut(by_places(dy, weight, size, stride, padding, add=False), size, padding)


def places_uncut(dy, weight, size, stride=1, padding=0):
    return by_places(dy, weight, size, stride, padding)


def places_minus_padding(dy, weight, size, stride=1, padding=0):
    return by_places(dy, weight, size, stride, padding)[:, :, padding:-padding, padding:-padding]


def places_without_stride(dy, weight, size, stride=1, padding=0):
    return cut(by_places(dy, weight, size, stride, padding, step=1), size, padding)


def places_turned(dy, weight, size, stride=1, padding=0):
    return places_uncut(dy, weight[:, :, ::-1, ::-1], size, stride, padding)


def table_not_transposed(dy, weight, size, stride=1, padding=0):
    dimage = by_places(
        dy, weight, size, stride, padding, table=lambda weight, p, q: weight[:, :, p, q]
    )
    return cut(dimage, size, padding)


def all_at_the_corner(dy, weight, size, stride=1, padding=0):
    dimage = by_places(dy, weight, size, stride, padding, start=lambda p, q: (0, 0))
    return cut(dimage, size, padding)


WRONG = {
    "my_conv_1d": [
        (by_np_convolve, "Did you turn the kernel round?"),
        (mean_of_row, "do not average"),
        (one_window_short, "The last window is missing"),
        (padded_row, "Only whole windows count"),
        (three_at_a_time, "take len(weight), not 3"),
        (kernel_of_three, "expected"),
        (not_added, "yours has the shape (2, 3), expected (2,)"),
    ],
    "my_conv_2d": [
        (turned, "Did you turn the kernel round?"),
        (averaged, "do not average"),
        (matrix_product, "Multiply number by number"),
        (one_row_short, "The last row and the last column"),
        (columns_first, "Rows come first"),
        (square_kernels, "a height and a width"),
    ],
    "my_conv": [
        (stride_forgotten, "Where is the stride?"),
        (mean_of_windows, "do not average"),
        (no_bias, "Where is the bias?"),
        (kernel_flipped, "Did you turn the kernel round?"),
        (first_channel_only, "Sum over all channels"),
        (padded_above, "Padding goes on all four sides"),
        (stride_forgotten_and_no_bias, "expected"),
    ],
    "my_columns": [
        (windows_as_rows, "the other way round"),
        (column_by_column, "row by row: p in the outer loop"),
        (places_before_channels, "stack along axis 2"),
        (no_step, "Take every stride-th pixel"),
        (out_of_x, "Where is the padding?"),
    ],
    "my_conv_matmul": [
        (product_without_bias, "Where is the bias?"),
        (product_not_reshaped, "yours has the shape"),
        (product_averaged, "do not average"),
    ],
    "my_backward": [
        (dx_set, "do not overwrite"),
        (dweight_set, "add to dweight (+=)"),
        (minus_padding, "padding:-padding is empty"),
        (uncut, "cut the padding off"),
        (backward_without_stride, "The backward needs the stride, too"),
        (backward_turned, "the wrong way round in dx"),
        (dweight_of_an_average_image, "Sum dweight over the images"),
        (dweight_of_image_0, "A kernel sees all images"),
        (dbias_by_mean, "a sum, not a mean"),
    ],
    "my_dx": [
        (places_set, "add (+=)"),
        (places_uncut, "Cut the padding off"),
        (places_minus_padding, "padding:-padding is empty"),
        (places_without_stride, "a slice has a step"),
        (places_turned, "Do not turn the kernel here"),
        (table_not_transposed, "transpose the table"),
        (all_at_the_corner, "a slice of its own"),
    ],
}
