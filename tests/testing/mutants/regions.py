"""Wrong pooling and aligning of regions, right for four boxes, two channels, small bins."""

import numpy as np

# The right ones, for every dtype and layout.


def real(*arrays):
    return tuple(np.asarray(array, dtype=np.float64) for array in arrays)


def hand_back(dy, cache):
    shape, places = cache
    dx = np.zeros(shape)
    for place, cell in places.items():
        dx[cell] += dy[place]
    return dx


def regions(features, boxes, output_size, stride):
    features, boxes = real(features, boxes)
    C, (h, w) = len(features), output_size
    cells = (np.sign(boxes) * np.floor(np.abs(boxes) / stride + 0.5)).astype(int)
    y, places = np.zeros((len(boxes), C, h, w)), {}
    for r, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = cells[r]
        high, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        top, bottom = y1 + i * high // h, y1 - (-(i + 1) * high // h)
        left, right = x1 + j * wide // w, x1 - (-(j + 1) * wide // w)
        top, bottom, left, right = max(top, 0), max(bottom, 0), max(left, 0), max(right, 0)
        window = features[c, top:bottom, left:right]
        if window.size:
            k, m = np.unravel_index(window.argmax(), window.shape)
            places[r, c, i, j], y[r, c, i, j] = (c, top + k, left + m), window[k, m]
    return y, (features.shape, places)


def align_weights(first, last, count, size, stride, samples, aligned):
    """Return the weight of each cell in the mean of each bin: (R, count, size)."""
    length = (last - first) / stride
    length = length if aligned else np.maximum(length, 1)
    parts = (np.arange(count * samples) + 0.5) / (count * samples)
    at = (first / stride - 0.5 * aligned)[:, None] + length[:, None] * parts
    weights = 1 - np.abs(np.clip(at, 0, size - 1)[..., None] - np.arange(size))
    weights = np.maximum(weights, 0) * ((at >= -1) & (at <= size))[..., None]
    return weights.reshape(len(first), count, samples, size).mean(axis=2)


def align(features, boxes, output_size, stride, samples, aligned):
    features, boxes = real(features, boxes)
    h, w = output_size
    rest = (stride, samples, aligned)
    rows = align_weights(boxes[:, 1], boxes[:, 3], h, features.shape[1], *rest)
    columns = align_weights(boxes[:, 0], boxes[:, 2], w, features.shape[2], *rest)
    return np.einsum("rip,cpq,rjq->rcij", rows, features, columns), (rows, columns)


def align_backward(dy, cache):
    rows, columns = cache
    return np.einsum("rip,rcij,rjq->cpq", rows, np.asarray(dy, dtype=float), columns)


RIGHT = {
    "roi_pool": [(regions, hand_back)],
    "roi_align": [(align, align_backward)],
}


# Pooling.


def roi_of_four(features, boxes, output_size, stride):  # 5 boxes
    y, cache = regions(features, boxes, output_size, stride)
    y[4:] = 0
    return y, cache


def roi_two_channels(features, boxes, output_size, stride):  # 3 channels
    y, cache = regions(features, boxes, output_size, stride)
    y[:, 2:] = y[:, :1]
    return y, cache


def roi_8_bits(features, boxes, output_size, stride):  # boxes far to the right of the map
    cells = np.clip(np.asarray(boxes, dtype=float) / stride, -128, 127) * stride
    return regions(features, cells, output_size, stride)


def roi_from_minus_100(features, boxes, output_size, stride):  # features below -100
    y, cache = regions(features, boxes, output_size, stride)
    return np.maximum(y, -100), cache


def roi_whole_stride(features, boxes, output_size, stride):  # a stride of 2.5
    return regions(features, boxes, output_size, int(stride) or 1)


def roi_whole_boxes(features, boxes, output_size, stride):  # fractions near half a cell
    return regions(features, np.trunc(boxes), output_size, stride)


def roi_whole_features(features, boxes, output_size, stride):  # fractions
    return regions(np.round(features), boxes, output_size, stride)


def roi_up_to_three_bins(features, boxes, output_size, stride):  # 7 x 7 bins
    y, cache = regions(features, boxes, output_size, stride)
    y[:, :, 3:] = y[:, :, 2:3] if output_size[0] > 3 else 0
    return y, cache


def roi_memory_order(features, boxes, output_size, stride):  # columns in memory
    return regions(features.ravel("K").reshape(features.shape), boxes, output_size, stride)


def roi_boxes_memory_order(features, boxes, output_size, stride):  # columns in memory
    return regions(features, boxes.ravel("K").reshape(-1, 4), output_size, stride)


def roi_gradient_of_four(dy, cache):  # 5 boxes
    return hand_back(dy * (np.arange(len(dy)) < 4)[:, None, None, None], cache)


def roi_large_map(features, boxes, output_size, stride):  # maps of more than 8 columns
    return regions(features[:, :, :8], boxes, output_size, stride)[0]


# Aligning.


def align_two_samples(features, boxes, output_size, stride, samples, aligned):  # 3 samples
    return align(features, boxes, output_size, stride, min(samples, 2), aligned)


def align_short_boxes(features, boxes, output_size, stride, samples, aligned):  # inverted boxes
    ends = np.maximum(boxes[:, 2:], boxes[:, :2])
    return align(features, np.hstack([boxes[:, :2], ends]), output_size, stride, samples, aligned)


def align_unaligned_empty(features, boxes, output_size, stride, samples, aligned):
    """Narrow boxes with ``aligned=False``: they are not made one cell wide."""
    shifted = boxes if aligned else boxes + stride / 2
    return align(features, shifted, output_size, stride, samples, True)


def align_all_at_border(features, boxes, output_size, stride, samples, aligned):
    """Samples more than a cell off the map have the value at the border."""
    size = np.array([features.shape[2], features.shape[1]] * 2) * stride
    return align(features, np.clip(boxes, -stride / 2, size), output_size, stride, samples, aligned)


def align_whole_boxes(features, boxes, output_size, stride, samples, aligned):  # fractions
    return align(features, np.round(boxes), output_size, stride, samples, aligned)


def align_of_four(features, boxes, output_size, stride, samples, aligned):  # 5 boxes
    y, cache = align(features, boxes, output_size, stride, samples, aligned)
    y[4:] = y[3:4]
    return y, cache


def align_gradient_of_mean(dy, cache):  # more than 2 boxes
    return align_backward(dy, cache) * min(1, 2 / max(len(dy), 1))


# State.


_last = {}


def regions_in_one_place(features, boxes, output_size, stride):
    y, _last["regions"] = regions(features, boxes, output_size, stride)
    return y, None


def regions_of_last(dy, cache):  # two caches alive at once
    return hand_back(dy, _last["regions"])


def regions_with_sum(features, boxes, output_size, stride):
    y, cache = regions(features, boxes, output_size, stride)
    return y, (cache, np.zeros(features.shape))


def regions_adding(dy, cache):  # the second backward
    cache[1][...] += hand_back(dy, cache[0])
    return cache[1].copy()


def align_in_one_place(features, boxes, output_size, stride, samples, aligned):
    y, _last["align"] = align(features, boxes, output_size, stride, samples, aligned)
    return y, None


def align_of_last(dy, cache):  # two caches alive at once, of other boxes
    return align_backward(dy, _last["align"])


def align_with_sum(features, boxes, output_size, stride, samples, aligned):
    y, cache = align(features, boxes, output_size, stride, samples, aligned)
    return y, (cache, np.zeros(features.shape))


def align_adding(dy, cache):  # the second backward
    cache[1][...] += align_backward(dy, cache[0])
    return cache[1].copy()


LISTED = {}


OWN = {
    "roi_pool": [
        roi_of_four,
        (roi_two_channels, hand_back),
        roi_8_bits,
        roi_from_minus_100,
        roi_whole_stride,
        roi_whole_boxes,
        roi_whole_features,
        roi_up_to_three_bins,
        roi_memory_order,
        roi_boxes_memory_order,
        (regions, roi_gradient_of_four),
        roi_large_map,
        (regions_in_one_place, regions_of_last),
        (regions_with_sum, regions_adding),
    ],
    "roi_align": [
        align_two_samples,
        align_short_boxes,
        align_unaligned_empty,
        align_all_at_border,
        align_whole_boxes,
        align_of_four,
        (align, align_gradient_of_mean),
        (align_in_one_place, align_of_last),
        (align_with_sum, align_adding),
    ],
}
