"""What several seeds allow to say: mean, range, and whether two variants differ at all.

The rule of all studies: two variants differ where the ranges of their seeds lie apart, so that the
worst run of one is better than the best run of the other. Where the ranges touch or overlap the
difference is *none*, whatever the means say; from a single run of each nothing is known.

The rule has no opinion on how values are distributed, and says itself how often it errs: of n and
m values from one and the same distribution, all n lie on one side of all m by chance in
2 / C(n + m, n) of the cases: 1 in 3 for two seeds each, 1 in 10 for three, 1 in 126 for five.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Verdict = Literal["apart", "none", "unknown"]
"""Whether ranges lie apart, or overlap, or are no ranges but single values."""


class Spread(NamedTuple):
    """Mean and range of a quantity over the seeds; nan without any."""

    mean: float
    low: float
    high: float
    seeds: int

    def text(self, digits: int = 3) -> str:
        """Return mean and range, such as ``0.812 (0.801 to 0.823)``; the mean alone of one seed."""
        if math.isnan(self.mean):
            return "-"
        mean, low, high = (f"{value:.{digits}f}" for value in self[:3])
        return mean if self.seeds == 1 else f"{mean} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """Return mean and range of the values of several seeds.

    Examples
    --------
    >>> spread([0.5, 0.7]).text(1)
    '0.6 (0.5 to 0.7)'
    """
    if not len(values):
        return Spread(math.nan, math.nan, math.nan, 0)
    return Spread(float(np.mean(values)), min(values), max(values), len(values))


class Difference(NamedTuple):
    """What can be said of two variants."""

    verdict: Verdict
    means: float  # the mean of the one less that of the other

    def text(self, digits: int = 3) -> str:
        """Return the difference of the means if there is one, else ``none`` or ``not known``."""
        if self.verdict == "apart":
            return f"{self.means:+.{digits}f}"
        return "none" if self.verdict == "none" else "not known"


def difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Return whether `one` differs from `other` beyond the seeds, and by how much.

    Parameters
    ----------
    one, other
        The values of the seeds of two variants.

    Notes
    -----
    The rule is the module's: apart, or none. Ties: ranges that touch in one value overlap.

    Examples
    --------
    >>> difference([0.5, 0.6], [0.7, 0.8]).verdict, difference([0.5, 0.7], [0.7, 0.8]).verdict
    ('apart', 'none')
    """
    a, b = spread(one), spread(other)
    means = a.mean - b.mean
    if min(a.seeds, b.seeds) < 2 or math.isnan(means):
        return Difference("unknown", means)
    apart = a.low > b.high or b.low > a.high
    return Difference("apart" if apart else "none", means)


def chance_apart(one: int, other: int) -> float:
    """Return how often the ranges of two like variants lie apart by chance alone.

    Parameters
    ----------
    one, other
        How many seeds each has.

    Examples
    --------
    >>> chance_apart(3, 3)
    0.1
    """
    return 2 / math.comb(one + other, one)
