"""RoI pooling as people first write it, each wrong in one way; see `mistakes_boxes`.

A pair of forward and backward is one function here: it returns ``y`` and ``dfeatures``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirpn.testing.pairs import Answers

Span = tuple[int, int]
"""First cell, and the one behind the last."""


def away_from_zero(position: np.ndarray) -> np.ndarray:
    """Return whole numbers, halves away from zero; positions are whole or half numbers."""
    return np.trunc(position + np.copysign(0.5, position))


def bin_of(first: int, last: int, k: int, count: int, size: int) -> Span:
    """Return the cells of bin `k`, which may reach off the map of `size`."""
    length = max(last - first + 1, 1)
    return first + k * length // count, first - (-(k + 1) * length // count)


def cut(span: Span, size: int) -> slice:
    """Return the cells that are on the map."""
    return slice(max(span[0], 0), max(span[1], 0))


def roi_pool(
    features: np.ndarray,
    boxes: np.ndarray,
    dy: np.ndarray,
    output_size: tuple[int, int],
    stride: float,
    *,
    rounded: Callable[[np.ndarray], np.ndarray] = away_from_zero,
    bin_of: Callable[[int, int, int, int, int], Span] = bin_of,
    cut: Callable[[Span, int], slice] = cut,
    largest: Callable[[np.ndarray], Any] = np.max,
    empty: float = 0.0,
    to_ties: str = "first",
    overwrites: bool = False,
) -> Answers:
    """Return y and dfeatures as they should be (by default), bin by bin."""
    (C, Hf, Wf), (h, w) = features.shape, output_size
    y, dfeatures = np.full((len(boxes), C, h, w), empty), np.zeros(features.shape)
    cells = rounded(boxes / stride).astype(int)
    for r, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = cells[r]
        rows, columns = bin_of(y1, y2, i, h, Hf), bin_of(x1, x2, j, w, Wf)
        window = (c, cut(rows, Hf), cut(columns, Wf))
        pixels = features[window]
        if pixels.size == 0:
            continue
        y[r, c, i, j] = largest(pixels)
        wins = pixels == pixels.max()
        if to_ties != "all":
            order = wins.ravel().cumsum().reshape(wins.shape)
            wins &= order == (1 if to_ties == "first" else wins.sum())
        given = dy[r, c, i, j] * wins
        kept = np.where(wins, 0, dfeatures[window]) if overwrites else dfeatures[window]
        dfeatures[window] = kept + given
    return {"y": y, "dfeatures": dfeatures}


def roi_x_for_y(*question: Any) -> Answers:
    """Did you swap x and y? A box is (x1, y1, x2, y2): its columns are from x1 to x2."""
    features, boxes, *rest = question
    return roi_pool(features, boxes[:, [1, 0, 3, 2]], *rest)


def roi_half_to_even(*question: Any) -> Answers:
    """Python and NumPy round halves to even numbers; here they are rounded away from zero."""
    return roi_pool(*question, rounded=np.round)


def roi_half_up(*question: Any) -> Answers:
    """Halves are rounded away from zero, so -0.5 to -1."""
    return roi_pool(*question, rounded=lambda position: np.floor(position + 0.5))


def roi_rounded_down(*question: Any) -> Answers:
    """Did you round corners down? They go to the nearest cell, halves away from zero."""
    return roi_pool(*question, rounded=np.floor)


def roi_rounded_outward(*question: Any) -> Answers:
    """Did you round x2, y2 up? All corners go to the nearest cell, halves away from zero."""

    def outward(position: np.ndarray) -> np.ndarray:
        return np.concatenate([np.floor(position[:, :2]), np.ceil(position[:, 2:])], axis=1)

    return roi_pool(*question, rounded=outward)


def roi_end_excluded(*question: Any) -> Answers:
    """The cell that x2, y2 round to is in the box, too: it is end - start + 1 cells wide."""

    def without_end(first: int, last: int, *rest: int) -> Span:
        return bin_of(first, last - 1, *rest)

    return roi_pool(*question, bin_of=without_end)


def roi_no_stride(*question: Any) -> Answers:
    """Boxes are in pixels of the image: divide them by the stride."""
    features, boxes, dy, output_size, _ = question
    return roi_pool(features, boxes, dy, output_size, 1.0)


def roi_multiplied(*question: Any) -> Answers:
    """Did you multiply by the stride? A cell is many pixels: divide by it."""
    features, boxes, dy, output_size, stride = question
    return roi_pool(features, boxes, dy, output_size, 1 / stride)


def roi_mean(*question: Any) -> Answers:
    """This is the mean of each bin; it should be the largest."""
    return roi_pool(*question, largest=np.mean)


def roi_empty_is_infinite(*question: Any) -> Answers:
    """A bin off the map has no cell: it gives 0, not minus infinity."""
    return roi_pool(*question, empty=-np.inf)


def roi_bins_apart(*question: Any) -> Answers:
    """Bins overlap: they start at floor(k length / count), and end before ceil((k + 1) ...)."""

    def apart(first: int, last: int, k: int, count: int, size: int) -> Span:
        length = max(last - first + 1, 1)
        return first + k * length // count, first + (k + 1) * length // count

    return roi_pool(*question, bin_of=apart)


def roi_bins_of_whole_cells(*question: Any) -> Answers:
    """Are your bins length // count cells wide? Divide exactly, then round each bin's ends."""

    def whole(first: int, last: int, k: int, count: int, size: int) -> Span:
        width = max((last - first + 1) // count, 1)
        return first + k * width, first + (k + 1) * width

    return roi_pool(*question, bin_of=whole)


def roi_box_cut(*question: Any) -> Answers:
    """Did you cut the box off at the border? Make the bins of the whole box, then cut each."""

    def of_cut(first: int, last: int, k: int, count: int, size: int) -> Span:
        limits = np.clip([first, max(last, first)], 0, size - 1)
        return bin_of(int(limits[0]), int(limits[1]), k, count, size)

    return roi_pool(*question, bin_of=of_cut)


def roi_negative_slices(*question: Any) -> Answers:
    """Left of or above the map, a bin's start is negative: NumPy then counts from the far end."""
    return roi_pool(*question, cut=lambda span, size: slice(*span))


def roi_inverted_is_empty(*question: Any) -> Answers:
    """A box is at least one cell wide and high, even where x2 < x1: max(end - start + 1, 1)."""

    def bare(first: int, last: int, *rest: int) -> Span:
        return (0, 0) if last < first else bin_of(first, last, *rest)

    return roi_pool(*question, bin_of=bare)


def roi_all_ties(*question: Any) -> Answers:
    """Where cells tie, only the first one (row by row) gets the gradient."""
    return roi_pool(*question, to_ties="all")


def roi_last_tie(*question: Any) -> Answers:
    """Where cells tie, the first one (row by row) gets the gradient, not the last."""
    return roi_pool(*question, to_ties="last")


def roi_overwritten(*question: Any) -> Answers:
    """A cell may win several bins, of one box or of many: add up what they give back."""
    return roi_pool(*question, overwrites=True)


ROI_POOL = (
    roi_x_for_y,
    roi_half_to_even,
    roi_half_up,
    roi_rounded_down,
    roi_rounded_outward,
    roi_end_excluded,
    roi_no_stride,
    roi_multiplied,
    roi_mean,
    roi_empty_is_infinite,
    roi_bins_apart,
    roi_bins_of_whole_cells,
    roi_box_cut,
    roi_negative_slices,
    roi_inverted_is_empty,
    roi_all_ties,
    roi_last_tie,
    roi_overwritten,
)
