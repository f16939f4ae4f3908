"""The reckoning of many-machines.md, on examples that can be worked out by hand."""

import json

import pytest

from docs.figures import many_machines as reckoning
from docs.figures.many_machines import (
    Link,
    allreduce,
    allreduce_of_machines,
    efficiency,
    slowest,
    with_buckets,
)

LINK = Link(latency=1.0, bandwidth=10.0)


@pytest.mark.parametrize(
    ("ranks", "seconds"),
    [
        (1, 0.0),
        (2, 2 + 2 * 1 / 2 * 40 / 10),  # a message each way, half of the bytes in each
        (4, 4 + 2 * 3 / 4 * 40 / 10),
        (5, 6 + 2 * 4 / 5 * 40 / 10),  # three rounds, as 8 ranks have
    ],
)
def test_a_sum_takes_its_messages_and_its_bytes(ranks, seconds):
    assert allreduce(ranks, 40, LINK) == pytest.approx(seconds)


def test_machines_of_eight_first_sum_inside():
    slow = Link(100.0, 1.0)
    assert allreduce_of_machines(8, 40, LINK, slow) == allreduce(8, 40, LINK)
    expected = allreduce(8, 40, LINK) + allreduce(2, 40, slow)
    assert allreduce_of_machines(16, 40, LINK, slow) == expected


def test_the_slowest_of_some_draws():
    assert slowest([3.0, 1.0], 1) == 2.0
    # Of four pairs of draws from 1 and 3 only one has no 3.
    assert slowest([3.0, 1.0], 2) == 2.5
    assert slowest([3.0, 1.0], 10_000) == pytest.approx(3.0)


def test_efficiency_is_the_share_of_a_step_in_which_a_rank_computes():
    assert efficiency([3.0, 1.0], 2, 1.5) == 2.0 / 4.0


def test_buckets_hide_what_fits_into_the_backward_pass():
    # The backward pass begins after 4 of 10 seconds.
    assert with_buckets(10, 4, sum_seconds=5, last=0.2) == 10 + 1
    assert with_buckets(10, 4, sum_seconds=20, last=0.2) == 4 + 16 + 4


def test_what_was_measured_is_kept_whole():
    found = json.loads(reckoning.MEASURED.read_text())
    for ranks, one in found.items():
        assert len(one["step_seconds"]) * int(ranks) == reckoning.IMAGES
    assert len(found["1"]["cpu_seconds"]) == reckoning.IMAGES
    assert sum(found["1"]["shares"].values()) == pytest.approx(1)
