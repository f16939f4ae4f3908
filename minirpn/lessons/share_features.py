"""The checks of chapter 13: regions of a feature map, and what a detector learns from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minirpn import detector, nn
from minirpn.loops import bin_cells
from minirpn.testing import Verdict, check_equal, check_roi_pool


def _bin(
    first: int,
    last: int,
    k: int,
    n: int,
    size: int,
    *,
    starts: str = "down",
    ends: str = "up",
    more: int = 1,
    least: int = 1,
    base: int | None = None,
    behind: int = 0,
    low: int | None = 0,
    high: int | None = 0,
) -> tuple[int, int]:
    """Return where a bin begins and ends; each option spoils one part of it."""
    cells = max(last - first + more, least)

    def part(count: int, way: str) -> int:
        return count * cells // n if way == "down" else -(-count * cells // n)

    def cut(cell: int) -> int:
        cell = cell if low is None else max(cell, 0)
        return cell if high is None else min(cell, size + high)

    start = first if base is None else base
    return cut(start + part(k, starts)), cut(start + part(k + 1, ends) + behind)


def _check_bin(f: Callable[..., Any]) -> Verdict:
    def right(first: int, last: int, k: int, n: int, size: int) -> tuple[int, int]:
        return bin_cells(first, last, k, n, size)

    def of_cut_region(first: int, last: int, *rest: int) -> tuple[int, int]:
        size = rest[-1]
        return _bin(min(max(first, 0), size - 1), min(max(last, 0), size - 1), *rest)

    spoiled = partial(partial, _bin)
    mistakes: dict[str, Callable[..., Any]] = {
        "Round the end up, with -(-a // b): no cell may be left out.": spoiled(ends="down"),
        "Round the start down: both bins have the cell in the middle.": spoiled(starts="up"),
        "You have swapped them: the start is rounded down, the end up.": spoiled(
            starts="up", ends="down"
        ),
        "The last cell belongs to the region: c = last - first + 1.": spoiled(more=0),
        "The second number is the first cell behind the bin, as in range.": spoiled(behind=-1),
        "The end is one too far: last has its + 1 in c already.": spoiled(behind=1),
        "The bins begin with the region: add first to both ends.": spoiled(base=0),
        "A region has at least one cell, also where last < first.": spoiled(least=-99),
        "Where last < first, c is 1, not 0.": spoiled(least=0),
        "Cut both ends to the map: below 0 becomes 0, above size becomes size.": spoiled(
            low=None, high=None
        ),
        "A number below 0 becomes 0.": spoiled(low=None),
        "A number above size becomes size.": spoiled(high=None),
        "An end may be size itself: that is the cell behind the last one.": spoiled(high=-1),
        "Make the bins of the whole region first, then cut each of them.": of_cut_region,
    }
    ordinary = [(1, 6, 0, 3, 8), (1, 5, 0, 2, 6), (1, 5, 1, 2, 6), (2, 3, 3, 7, 8), (0, 6, 2, 3, 7)]
    over_the_border = [(-3, 4, 0, 2, 6), (4, 9, 1, 2, 6), (-4, -2, 0, 1, 6), (7, 8, 0, 1, 6)]
    calls = [*ordinary, *over_the_border, (5, 2, 0, 1, 6)]
    return check_equal(f, right, *calls, mistakes=mistakes)


def _roi_pool_backward(
    dy: np.ndarray,
    cache: tuple[np.ndarray, tuple[int, int]],
    *,
    adds: bool = True,
    least: int = 0,
    columns: int = 1,
    one_channel: bool = False,
    of: Callable[[Any], Any] = lambda slope: slope,
) -> np.ndarray:
    """Return dfeatures, output by output; each option spoils one part of it."""
    winner, size = cache
    dfeatures = np.zeros((dy.shape[1], *size))
    for r, c, i, j in np.ndindex(dy.shape):
        cell = winner[r, c, i, j]
        if cell >= least:
            at = 0 if one_channel else c, cell // size[columns], cell % size[columns]
            dfeatures[at] = of(dy[r, c, i, j]) + (dfeatures[at] if adds else 0)
    return dfeatures


def _check_roi_pool_backward(f: Callable[..., Any]) -> Verdict:
    def right(dy: np.ndarray, cache: tuple[np.ndarray, tuple[int, int]]) -> np.ndarray:
        winner, size = cache
        return nn.roi_pool_backward(dy, nn.RoIPoolCache(winner, size))

    spoiled = partial(partial, _roi_pool_backward)
    mistakes: dict[str, Callable[..., Any]] = {
        "A cell may win several bins: add up their slopes (+=).": spoiled(adds=False),
        "-1 means that the bin had no cell: its slope goes nowhere.": spoiled(least=-1),
        "Cell 0 is a cell, too: only -1 is none.": spoiled(least=1),
        "Divide by Wf, the width: winner is row * Wf + column.": spoiled(columns=0),
        "Each channel has a map of its own: the slope goes to dfeatures[channel].": spoiled(
            one_channel=True
        ),
        "Add up dy, not 1: each output has a slope of its own.": spoiled(of=lambda slope: 1),
        "Both signs go back: dy may be below 0.": spoiled(of=lambda slope: max(slope, 0)),
    }

    def asked(slopes: Any, winners: Any, size: tuple[int, int]) -> tuple[Any, Any]:
        return np.array(slopes, dtype=np.float64), (np.array(winners), size)

    one_region = asked([[[[2, -3]]]], [[[[2, 3]]]], (2, 3))
    two_regions = asked([[[[2, 5]]], [[[-1, 4]]]], [[[[3, 3]]], [[[3, 0]]]], (2, 3))
    outside = asked([[[[2, 5]]]], [[[[-1, 2]]]], (2, 3))
    two_channels = asked([[[[2]], [[5]]]], [[[[5]], [[1]]]], (2, 3))
    return check_equal(f, right, one_region, two_regions, outside, two_channels, mistakes=mistakes)


_SHARES = np.array([1, 3, 5, 7]) / 8
"""Where RoI align takes its samples if it makes four bins of one sample each."""


def _corner_slopes(
    row: np.ndarray,
    x1: float,
    x2: float,
    s: float,
    *,
    factors: Callable[[float], tuple[float, float]] = lambda s: (1 - s, s),
    stride: float = 16,
    sign: float = 1,
    left_of: Callable[[float], int] = int,
    takes: str = "slope",
) -> np.ndarray:
    """Return a sample's slopes by x1 and x2; each option spoils one part of it."""
    x = x1 / 16 + s * (x2 - x1) / 16 - 0.5
    q = left_of(x)
    value = (q + 1 - x) * row[q] + (x - q) * row[q + 1]
    slope = {"slope": row[q + 1] - row[q], "value": value, "nothing": 1}[takes]
    return sign * slope * np.array(factors(s)) / stride


def _check_corner_slopes(f: Callable[..., Any]) -> Verdict:
    def right(row: np.ndarray, x1: float, x2: float, s: float) -> np.ndarray:
        features = np.tile(row, (1, 2, 1))  # a map of two equal rows
        region = np.array([[x1, 8, x2, 24]])
        _, cache = nn.roi_align_forward(features, region, output_size=(1, 4), samples=1)
        dy = np.equal(_SHARES, s).astype(np.float64).reshape(1, 1, 1, 4)
        dboxes = nn.roi_align_backward(dy, cache).dboxes
        assert dboxes is not None
        return dboxes[0, [0, 2]]

    spoiled = partial(partial, _corner_slopes)
    mistakes: dict[str, Callable[..., Any]] = {
        "x is in cells and the corners are in pixels: one factor is 1 / 16.": spoiled(stride=1),
        "Divide by 16, do not multiply: a pixel moves x by a part of a cell.": spoiled(
            stride=1 / 16
        ),
        "The slope of the value by x is missing: by how much do the two cells differ?": spoiled(
            takes="nothing"
        ),
        "Take the slope of the value by x, not the value itself.": spoiled(takes="value"),
        "The slope of the value by x has the other sign: the cell q + 1 minus the cell q.": (
            spoiled(sign=-1)
        ),
        "The other way round: a sample with s = 0 moves with x1.": spoiled(
            factors=lambda s: (s, 1 - s)
        ),
        "x1 is in x twice: alone, and in x2 - x1.": spoiled(factors=lambda s: (-s, s)),
        "x1 is also in x2 - x1: there it has the factor -s.": spoiled(factors=lambda s: (1, s)),
        "q is x rounded down, not to the nearest.": spoiled(left_of=round),
        "q is x rounded down: the sample is between the cells q and q + 1.": spoiled(
            left_of=lambda x: int(x) + 1
        ),
        "q is x rounded down: yours is one too small.": spoiled(left_of=lambda x: int(x) - 1),
    }
    row = np.array([5.0, 0, 2, 9, 3, 4])
    calls = [(row, 16.0, 48.0, s) for s in _SHARES[1:3]] + [(row, 8.0, 72.0, _SHARES[3])]
    return check_equal(f, right, *calls, mistakes=mistakes)


def _detector_loss(
    scores: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    *,
    parts: str = "both",
    sign: float = 1,
    shift: bool = True,
    as_shares: bool = False,
    picks: Callable[[int], int] = lambda u: u,
    background_moves: bool = False,
    of_error: Callable[[np.ndarray], np.ndarray] = lambda x: nn.smooth_l1_forward(x)[0],
    over_deltas: Callable[..., Any] = np.sum,
    divides: str = "both by regions",
) -> Any:
    """Return the loss, region by region; each option spoils one part of it."""
    of_class, of_box = [], [0.0]
    for z, t, u, target in zip(scores, deltas, labels, targets, strict=True):
        z = z - z.max() if shift else z
        if as_shares:
            of_class.append(-np.log(np.exp(z)[u] / np.exp(z).sum()))
        else:
            of_class.append(np.log(np.exp(z).sum()) - sign * z[u])
        if u >= 1 or background_moves:
            of_box.append(over_deltas(of_error(t[picks(u)] - target)))
    regions, objects = len(labels), np.float64(np.count_nonzero(labels))
    by_class, by_box = {
        "both by regions": (regions, regions),
        "boxes by objects": (regions, max(objects, 1)),
        "boxes by objects, though none": (regions, objects),
        "nothing": (1, 1),
        "boxes by nothing": (regions, 1),
    }[divides]
    first = sum(of_class) / by_class if parts != "boxes" else 0.0
    return first + (sum(of_box) / by_box if parts != "classes" else 0.0)


def _check_detector_loss(f: Callable[..., Any]) -> Verdict:
    def right(scores: Any, deltas: Any, labels: Any, targets: Any) -> Any:
        return detector.detector_loss_forward(scores, deltas, labels, targets)[0].total

    spoiled = partial(partial, _detector_loss)
    mistakes: dict[str, Callable[..., Any]] = {
        "Background has no box to learn: only regions with u >= 1 have the second part.": spoiled(
            background_moves=True
        ),
        "Take the deltas of the region's class: deltas[i, u].": spoiled(picks=lambda u: 0),
        "Background is class 0 of the deltas, too: take deltas[i, u], not u - 1.": spoiled(
            picks=lambda u: u - 1
        ),
        "Add up the four deltas: this is their mean.": spoiled(over_deltas=np.mean),
        "Divide both parts by the number of regions, not the second one by the objects.": spoiled(
            divides="boxes by objects"
        ),
        "Divide by the number of regions: there may be no object.": spoiled(
            divides="boxes by objects, though none"
        ),
        "Divide by the number of regions.": spoiled(divides="nothing"),
        "Divide the second part, too, by the number of regions.": spoiled(
            divides="boxes by nothing"
        ),
        "The second part is missing: smooth L1 of the deltas.": spoiled(parts="classes"),
        "The first part is missing: minus the logarithm of p_u.": spoiled(parts="boxes"),
        "Smooth L1 has a straight part: these are squares.": spoiled(of_error=lambda x: x**2 / 2),
        "Smooth L1 is a parabola near 0: these are absolute values.": spoiled(of_error=np.abs),
        "Subtract the largest score of each row first: exp(1000) is infinite.": spoiled(
            shift=False
        ),
        "exp(1000) is infinite: subtract the largest score of each row first.": spoiled(
            shift=False, as_shares=True
        ),
        "-log p_u is log(sum of exp z) minus z_u: is a sign wrong?": spoiled(sign=-1),
    }

    def asked(scores: Any, deltas: Any, labels: list[int], targets: Any) -> tuple[Any, ...]:
        numbers = (np.array(part, dtype=np.float64) for part in (scores, deltas, targets))
        scores, deltas, targets = numbers
        return scores, deltas, np.array(labels), targets

    box, other = [3, 1, 0, 0.5], [0, 2, 0, 1]
    background = asked([[1, 0]], [[box, other]], [0], [[0, 0, 0, 0]])
    thing = asked([[1, 0]], [[other, box]], [1], [[0, 0, 0, 0]])
    two = asked([[0, 1], [1, 0]], [[other, box]] * 2, [1, 0], [[1, 0, 0, 0]] * 2)
    classes = asked([[0, 1, 3]], [[other, box, other]], [2], [[1, 0, 0, 0]])
    large = asked([[1000, 0]], [[box, other]], [0], [[0, 0, 0, 0]])
    return check_equal(f, right, thing, background, two, classes, large, mistakes=mistakes)


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_bin": _check_bin,
    "my_roi_pool": check_roi_pool,
    "my_roi_pool_backward": _check_roi_pool_backward,
    "my_corner_slopes": _check_corner_slopes,
    "my_detector_loss": _check_detector_loss,
}
