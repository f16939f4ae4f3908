"""The length of a union of intervals, held to counting moments one by one."""

from hypothesis import given
from hypothesis import strategies as st

from minirpn.bench.measure import covered

MOMENTS = range(30)
INTERVALS = st.lists(
    st.tuples(st.sampled_from(MOMENTS), st.sampled_from(MOMENTS)).map(
        lambda ends: (float(min(ends)), float(max(ends)))
    )
)


@given(INTERVALS)
def test_a_union_is_as_long_as_the_moments_in_it(intervals):
    inside = [any(start <= moment < end for start, end in intervals) for moment in MOMENTS]
    assert covered(intervals) == sum(inside)


@given(INTERVALS, st.randoms(use_true_random=False))
def test_a_union_depends_on_no_order_and_counts_nothing_twice(intervals, random):
    shuffled = intervals * 2
    random.shuffle(shuffled)
    assert covered(shuffled) == covered(intervals)
    assert covered(intervals) <= sum(end - start for start, end in intervals)
