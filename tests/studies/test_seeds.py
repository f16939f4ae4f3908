"""The rule that says whether variants differ."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.studies import chance_apart, difference, spread

VALUES = st.lists(st.integers(0, 10).map(lambda n: n / 10), min_size=2, max_size=5)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ([0.5, 0.6], [0.7, 0.8], "-0.200"),
        ([0.7, 0.9], [0.4, 0.6], "+0.300"),
        ([0.5, 0.7], [0.7, 0.9], "none"),  # touching in 0.7
        ([0.1, 0.9], [0.5, 0.5], "none"),  # one inside the other
        ([0.5], [0.9], "not known"),
        ([0.5, 0.6], [0.9], "not known"),
        ([], [0.1, 0.2], "not known"),
        ([np.nan, np.nan], [0.1, 0.2], "not known"),
    ],
)
def test_the_rule_by_hand(one, other, said):
    assert difference(one, other).text() == said


@given(VALUES, VALUES)
def test_it_is_the_same_seen_from_the_other_side(one, other):
    there, back = difference(one, other), difference(other, one)
    assert there.verdict == back.verdict
    assert there.means == pytest.approx(-back.means)


@given(VALUES, VALUES)
def test_apart_is_when_every_pair_agrees_who_is_better(one, other):
    pairs = [(a > b) - (a < b) for a, b in itertools.product(one, other)]
    agreed = set(pairs) in ({1}, {-1})
    assert (difference(one, other).verdict == "apart") == agreed


@pytest.mark.parametrize(("one", "other"), [(2, 2), (3, 3), (2, 3), (1, 4)])
def test_the_chance_is_a_count_of_orders(one, other):
    """Of all ways to deal ranks to two like variants, how many part them."""
    ranks = range(one + other)
    deals = list(itertools.combinations(ranks, one))
    parted = [d for d in deals if max(d) == one - 1 or min(d) == other]
    assert chance_apart(one, other) == pytest.approx(len(parted) / len(deals))


def test_a_spread_in_words():
    assert spread([0.8125, 0.5]).text() == "0.656 (0.500 to 0.812)"
    assert spread([0.25]).text(2) == "0.25"
    assert spread([]).text() == "-"
