"""Wrong answers to the exercises of chapter 13, as learners wrote them, and what must be said."""

import math

import numpy as np

from minirpn.loops import bin_cells, rounded


def bin_with_integer_division(first, last, k, n, size):
    length = max(last - first + 1, 1)
    start = first + k * length // n
    end = first + (k + 1) * length // n
    return max(0, min(start, size)), max(0, min(end, size))


def bin_swapped(first, last, k, n, size):
    length = max(last - first + 1, 1)
    start = first + math.ceil(k * length / n)
    end = first + math.floor((k + 1) * length / n)
    return int(np.clip(start, 0, size)), int(np.clip(end, 0, size))


def bin_without_plus_one(first, last, k, n, size):
    length = max(last - first, 1)
    ends = first + k * length // n, first + math.ceil((k + 1) * length / n)
    return tuple(min(max(end, 0), size) for end in ends)


def bin_end_inside(first, last, k, n, size):
    start, end = bin_cells(first, last, k, n, size)
    return start, end - 1


def bin_without_start(first, last, k, n, size):
    length = max(last - first + 1, 1)
    return k * length // n, min(math.ceil((k + 1) * length / n), size)


def bin_uncut(first, last, k, n, size):
    length = max(last - first + 1, 1)
    return first + k * length // n, first + math.ceil((k + 1) * length / n)


def bin_only_cut_above(first, last, k, n, size):
    return tuple(min(end, size) for end in bin_uncut(first, last, k, n, size))


def bin_to_last_cell(first, last, k, n, size):
    return tuple(max(0, min(end, size - 1)) for end in bin_uncut(first, last, k, n, size))


def bin_of_inverted(first, last, k, n, size):
    length = last - first + 1
    ends = first + k * length // n, first + math.ceil((k + 1) * length / n)
    return tuple(min(max(end, 0), size) for end in ends)


def bin_of_region_on_map(first, last, k, n, size):
    first, last = max(first, 0), min(last, size - 1)
    return bin_uncut(first, last, k, n, size)


def pooled(features, boxes, output_size, stride, spans, biggest=np.max):
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y = np.zeros((len(boxes), C, h, w))
    for r, i, j in np.ndindex(len(boxes), h, w):
        (top, below), (left, right) = spans(boxes[r] / stride, i, j, h, w, Hf, Wf)
        cells = features[:, top:below, left:right]
        if cells.size:
            y[r, :, i, j] = biggest(cells, axis=(1, 2))
    return y


def of_bins(corners, i, j, h, w, Hf, Wf):
    x1, y1, x2, y2 = map(rounded, corners)
    return bin_cells(y1, y2, i, h, Hf), bin_cells(x1, x2, j, w, Wf)


def pool_without_stride(features, boxes, output_size, stride):
    return pooled(features, boxes, output_size, 1, of_bins)


def pool_mean(features, boxes, output_size, stride):
    return pooled(features, boxes, output_size, stride, of_bins, np.mean)


def pool_swapped(features, boxes, output_size, stride):
    def spans(corners, i, j, h, w, Hf, Wf):
        x1, y1, x2, y2 = map(rounded, corners)
        return bin_cells(x1, x2, i, h, Hf), bin_cells(y1, y2, j, w, Wf)

    return pooled(features, boxes, output_size, stride, spans)


def pool_with_floor(features, boxes, output_size, stride):
    def spans(corners, i, j, h, w, Hf, Wf):
        x1, y1, x2, y2 = np.floor(corners).astype(int).tolist()
        return bin_cells(y1, y2, i, h, Hf), bin_cells(x1, x2, j, w, Wf)

    return pooled(features, boxes, output_size, stride, spans)


def pool_cut_first(features, boxes, output_size, stride):
    def spans(corners, i, j, h, w, Hf, Wf):
        x1, x2 = (min(max(rounded(x), 0), Wf - 1) for x in corners[[0, 2]])
        y1, y2 = (min(max(rounded(y), 0), Hf - 1) for y in corners[[1, 3]])
        return bin_cells(y1, y2, i, h, Hf), bin_cells(x1, x2, j, w, Wf)

    return pooled(features, boxes, output_size, stride, spans)


def pool_of_nothing(features, boxes, output_size, stride):
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y = np.full((len(boxes), C, h, w), -np.inf)
    for r, i, j in np.ndindex(len(boxes), h, w):
        rows, columns = of_bins(boxes[r] / stride, i, j, h, w, Hf, Wf)
        for row in range(*rows):
            for column in range(*columns):
                y[r, :, i, j] = np.maximum(y[r, :, i, j], features[:, row, column])
    return y


def back_assigned(dy, cache):
    winner, (Hf, Wf) = cache
    dfeatures = np.zeros((dy.shape[1], Hf * Wf))
    for r in range(dy.shape[0]):
        for c in range(dy.shape[1]):
            cells = winner[r, c].ravel()
            dfeatures[c, cells[cells >= 0]] = dy[r, c].ravel()[cells >= 0]
    return dfeatures.reshape(-1, Hf, Wf)


def back_with_plus_on_lists(dy, cache):
    winner, (Hf, Wf) = cache
    dfeatures = np.zeros((dy.shape[1], Hf * Wf))
    for c in range(dy.shape[1]):
        np.add.at(dfeatures[c], winner[:, c].ravel(), dy[:, c].ravel())  # -1 is the last cell
    return dfeatures.reshape(-1, Hf, Wf)


def back_by_height(dy, cache):
    winner, (Hf, Wf) = cache
    dfeatures = np.zeros((dy.shape[1], Hf, Wf))
    for r, c, i, j in np.ndindex(dy.shape):
        if winner[r, c, i, j] != -1:
            dfeatures[c, winner[r, c, i, j] // Hf, winner[r, c, i, j] % Hf] += dy[r, c, i, j]
    return dfeatures


def back_counts(dy, cache):
    winner, (Hf, Wf) = cache
    dfeatures = np.zeros((dy.shape[1], Hf, Wf))
    for r, c, i, j in np.ndindex(dy.shape):
        if winner[r, c, i, j] >= 0:
            dfeatures[c, winner[r, c, i, j] // Wf, winner[r, c, i, j] % Wf] += 1
    return dfeatures


def back_above_zero(dy, cache):
    winner, (Hf, Wf) = cache
    dfeatures = np.zeros((dy.shape[1], Hf, Wf))
    for r, c, i, j in np.ndindex(dy.shape):
        if winner[r, c, i, j] > 0:
            dfeatures[c, winner[r, c, i, j] // Wf, winner[r, c, i, j] % Wf] += dy[r, c, i, j]
    return dfeatures


def slopes_in_cells(row, x1, x2, s):
    q = int(x1 / 16 + s * (x2 - x1) / 16 - 0.5)
    return (row[q + 1] - row[q]) * np.array([1 - s, s])


def slopes_turned(row, x1, x2, s):
    q = int(np.floor(x1 / 16 + s * (x2 - x1) / 16 - 0.5))
    slope = (row[q + 1] - row[q]) / 16
    return np.array([s * slope, (1 - s) * slope])


def slopes_without_first(row, x1, x2, s):
    q = int(np.floor(x1 / 16 + s * (x2 - x1) / 16 - 0.5))
    slope = (row[q + 1] - row[q]) / 16
    return np.array([-s * slope, s * slope])


def slopes_of_positions(row, x1, x2, s):
    return np.array([(1 - s) / 16, s / 16])


def slopes_with_wrong_sign(row, x1, x2, s):
    q = int(np.floor(x1 / 16 + s * (x2 - x1) / 16 - 0.5))
    return (row[q] - row[q + 1]) * np.array([(1 - s) / 16, s / 16])


def slopes_times_value(row, x1, x2, s):
    x = x1 / 16 + s * (x2 - x1) / 16 - 0.5
    q = int(x)
    return ((q + 1 - x) * row[q] + (x - q) * row[q + 1]) * np.array([1 - s, s]) / 16


def log_p(scores, labels):
    p = np.exp(scores - scores.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    return np.log(p[np.arange(len(labels)), labels])


def huber(x):
    x = np.abs(x)
    return np.where(x < 1, x * x / 2, x - 0.5)


def loss_of_all_boxes(scores, deltas, labels, targets):
    own = deltas[np.arange(len(labels)), labels]
    return (-log_p(scores, labels).sum() + huber(own - targets).sum()) / len(labels)


def loss_of_first_deltas(scores, deltas, labels, targets):
    x = deltas[labels > 0, 0] - targets[labels > 0]
    return (-log_p(scores, labels).sum() + huber(x).sum()) / len(labels)


def loss_by_class_number(scores, deltas, labels, targets):
    total = 0.0
    for i, u in enumerate(labels):
        total -= log_p(scores[i : i + 1], labels[i : i + 1])[0]
        if u > 0:
            total += huber(deltas[i, u - 1] - targets[i]).sum()
    return total / len(labels)


def loss_in_two_means(scores, deltas, labels, targets):
    has = labels > 0
    x = deltas[has, labels[has]] - targets[has]
    return -log_p(scores, labels).mean() + huber(x).sum() / max(has.sum(), 1)


def loss_with_mean_of_deltas(scores, deltas, labels, targets):
    has = labels > 0
    x = deltas[has, labels[has]] - targets[has]
    return (-log_p(scores, labels).sum() + huber(x).mean(axis=1).sum()) / len(labels)


def loss_summed(scores, deltas, labels, targets):
    has = labels > 0
    x = deltas[has, labels[has]] - targets[has]
    return -log_p(scores, labels).sum() + huber(x).sum()


def loss_with_plain_softmax(scores, deltas, labels, targets):
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    has = labels > 0
    x = deltas[has, labels[has]] - targets[has]
    return (-np.log(p[np.arange(len(labels)), labels]).sum() + huber(x).sum()) / len(labels)


def loss_with_plain_logarithm(scores, deltas, labels, targets):
    of_classes = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]
    has = labels > 0
    x = deltas[has, labels[has]] - targets[has]
    return (of_classes.sum() + huber(x).sum()) / len(labels)


WRONG = {
    "my_bin": [
        (bin_with_integer_division, "Round the end up"),
        (bin_swapped, "start is rounded down, the end up"),
        (bin_without_plus_one, "c = last - first + 1"),
        (bin_end_inside, "as in range"),
        (bin_without_start, "add first to both ends"),
        (bin_uncut, "Cut both ends to the map"),
        (bin_only_cut_above, "A number below 0 becomes 0"),
        (bin_to_last_cell, "An end may be size itself"),
        (bin_of_inverted, "at least one cell"),
        (bin_of_region_on_map, "then cut each of them"),
    ],
    "my_roi_pool": [
        (pool_without_stride, "divide them by the stride"),
        (pool_mean, "it should be the largest"),
        (pool_swapped, "Did you swap x and y"),
        (pool_with_floor, "Did you round corners down"),
        (pool_cut_first, "then cut each one off"),
        (pool_of_nothing, "it gives 0, not minus infinity"),
    ],
    "my_roi_pool_backward": [
        (back_assigned, "add up their slopes"),
        (back_with_plus_on_lists, "-1 means that the bin had no cell"),
        (back_by_height, "Divide by Wf"),
        (back_counts, "Add up dy, not 1"),
        (back_above_zero, "Cell 0 is a cell, too"),
    ],
    "my_corner_slopes": [
        (slopes_in_cells, "one factor is 1 / 16"),
        (slopes_turned, "The other way round"),
        (slopes_without_first, "x1 is in x twice"),
        (slopes_of_positions, "slope of the value by x is missing"),
        (slopes_with_wrong_sign, "the other sign"),
        (slopes_times_value, "not the value itself"),
    ],
    "my_detector_loss": [
        (loss_of_all_boxes, "Background has no box to learn"),
        (loss_of_first_deltas, "deltas[i, u]"),
        (loss_by_class_number, "not u - 1"),
        (loss_in_two_means, "not the second one by the objects"),
        (loss_with_mean_of_deltas, "this is their mean"),
        (loss_summed, "Divide by the number of regions"),
        (loss_with_plain_softmax, "exp(1000) is infinite"),
        (loss_with_plain_logarithm, "exp(1000) is infinite"),
    ],
}
