"""What the strategies promise: bounds, prefixes, and that the difficult cases do come up."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import strategies
from minirpn.testing.storage import storage


def found(strategy, condition):
    """Return whether one of a few hundred draws meets a condition."""

    @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def never(value):
        assert not condition(value)

    try:
        never()
    except AssertionError:
        return True
    return False


def strictly_nested(boxes):
    inner = (boxes[:, None, :2] > boxes[None, :, :2]) & (boxes[:, None, 2:] < boxes[None, :, 2:])
    sides = boxes[:, 2:] - boxes[:, :2]
    return bool((inner.all(axis=2) & (sides > 0).all(axis=1)[:, None]).any())


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (strategies.boxes(), strictly_nested),
        (strategies.boxes(extent=10_000), lambda boxes: np.any(boxes > 9_000)),
        (strategies.boxes(min_side=0), lambda boxes: np.any(boxes[:, 2] < boxes[:, 0])),
        (strategies.scores(4, negative=True), lambda scores: np.any(scores < 0)),
        (strategies.scores(4, negative=True), lambda scores: len(set(scores)) < 4),
        (strategies.thresholds(), lambda threshold: threshold == 0),
        (strategies.thresholds(), lambda threshold: threshold == 1),
        (strategies.logits(2, 3), lambda logits: np.any(logits == 100)),
        (strategies.errors(3), lambda errors: np.any(np.abs(errors) > 1000)),
        (strategies.conv_shapes(max_kernel=7), lambda shape: 7 in shape.kernel),
        (strategies.conv_shapes(max_batch=5), lambda shape: shape.N > 2),
        (strategies.conv_shapes(max_padding=3), lambda shape: 3 in shape.padding),
    ],
)
def test_the_difficult_case_comes_up(strategy, condition):
    assert found(strategy, condition)


@st.composite
def _matrices(draw: DrawFn):
    rows = draw(st.integers(2, 3))
    return {"x": np.arange(4.0 * rows).reshape(rows, 4), "y": np.full((2, 2), 0.5)}


@pytest.mark.parametrize(
    "words", ["float32", "column by column", "with gaps", "reversed in memory", "read-only"]
)
def test_arrays_are_held_in_every_way(words):
    assert found(strategies.stored(_matrices(), ("x",)), lambda asked: words in storage(asked["x"]))


def test_fractions_are_never_held_as_whole_numbers():
    both = strategies.stored(_matrices(), ("x", "y"), dtypes=(np.float64, np.int32))
    assert not found(both, lambda asked: asked["y"].dtype == np.int32)
    one = strategies.stored(_matrices(), ("x",), dtypes=(np.float64, np.int32))
    assert found(one, lambda asked: asked["x"].dtype == np.int32)


@given(st.integers(0, 2**32 - 1), st.sampled_from(strategies.COUNTS), st.booleans())
def test_a_small_crowd_is_the_beginning_of_a_large_one(seed, count, whole):
    large = strategies.crowd(np.random.default_rng(seed), 200, extent=100, whole=whole)
    small = strategies.crowd(np.random.default_rng(seed), count, extent=100, whole=whole)
    np.testing.assert_array_equal(small, large[:count])
    sides = large[:, 2:] - large[:, :2]
    assert sides.min() >= 1
    assert sides.max() <= 25
    assert not whole or np.array_equal(large, np.trunc(large))


@given(st.data())
def test_distinct_scores_have_no_ties(data):
    scores = data.draw(strategies.scores(5, negative=True, distinct=True))
    assert len(set(scores)) == 5
    assert np.all(np.abs(scores) <= 1)
