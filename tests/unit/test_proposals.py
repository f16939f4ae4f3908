"""From head outputs to proposals: each step by hand, in every array library."""

import numpy as np
import pytest

from minirpn.rpn.proposals import ProposalConfig, candidates, object_scores, propose

ANCHORS = np.array(
    [
        [10.0, 10, 50, 50],
        [12.0, 10, 52, 50],  # IoU 38/42 = 0.905 with the first
        [60.0, 60, 90, 90],
        [0.0, 0, 8, 80],  # 8 wide: too small
        [80.0, 80, 120, 120],  # crosses the border of a 100 x 100 image
    ]
)
SIZE = (100, 100)


def outputs(scores, deltas=None):
    """Return softmax objectness with these object scores minus background scores, and deltas."""
    scores = np.asarray(scores, dtype=np.float64)
    objectness = np.stack([np.zeros_like(scores), scores], axis=1)
    return objectness, np.zeros((len(scores), 4)) if deltas is None else deltas


def test_steps_by_hand(world):
    objectness, deltas = outputs([1.0, 2.0, 0.0, 9.0, -1.0])
    proposals, scores = propose(
        world.array(ANCHORS), world.array(objectness), world.array(deltas), SIZE
    )
    # 3 is too small; 1 beats 0; the last is clipped to (80, 80, 100, 100), side 20 >= 16.
    np.testing.assert_array_equal(
        world.check(proposals), [[12, 10, 52, 50], [60, 60, 90, 90], [80, 80, 100, 100]]
    )
    np.testing.assert_allclose(world.check(scores), 1 / (1 + np.exp([-2.0, 0, 1])), rtol=1e-15)


def test_deltas_are_decoded_before_clipping():
    # t = (0.5, 0, log 2, 0): 20 right, twice as wide: (10..50) -> centre 50, width 80.
    objectness, deltas = outputs([0.0], np.array([[0.5, 0.0, np.log(2), 0.0]]))
    proposals, _ = propose(ANCHORS[:1], objectness, deltas, SIZE)
    np.testing.assert_allclose(proposals, [[10, 10, 90, 50]])
    proposals, _ = propose(ANCHORS[:1], objectness, deltas, (100, 60))
    np.testing.assert_allclose(proposals, [[10, 10, 60, 50]])


def test_a_wild_delta_reaches_the_border_and_no_warning():
    objectness, deltas = outputs([0.0], np.array([[0.0, 0.0, 2000.0, 0.0]]))
    proposals, _ = propose(ANCHORS[:1], objectness, deltas, SIZE)
    np.testing.assert_allclose(proposals, [[0, 10, 100, 50]])


def test_min_size_is_in_original_pixels():
    objectness, deltas = outputs([0.0] * 5)
    at = {scale: candidates(ANCHORS, objectness, deltas, SIZE, scale=scale) for scale in (0.5, 2.0)}
    assert [len(at[scale].boxes) for scale in (0.5, 2.0)] == [5, 2]  # 8 >= 16/2; 32: only 40s


def test_a_side_of_exactly_the_minimum_stays():
    objectness, deltas = outputs([0.0])
    anchor = np.array([[0.0, 0, 16, 40]])
    assert len(propose(anchor, objectness, deltas, SIZE).boxes) == 1


def test_counts_before_and_after_nms():
    objectness, deltas = outputs([1.0, 2.0, 0.0, 9.0, -1.0])
    few = propose(ANCHORS, objectness, deltas, SIZE, config=ProposalConfig(post_nms=1))
    assert few.boxes.tolist() == [[12, 10, 52, 50]]
    # With two boxes let into NMS, the better of the two overlapping ones is all that is left.
    few = propose(ANCHORS, objectness, deltas, SIZE, config=ProposalConfig(pre_nms=2))
    assert few.boxes.tolist() == [[12, 10, 52, 50]]


def test_inside_only_leaves_out_anchors_across_the_border():
    objectness, deltas = outputs([0.0] * 5)
    config = ProposalConfig(inside_only=True)
    boxes = candidates(ANCHORS, objectness, deltas, SIZE, config=config).boxes
    np.testing.assert_array_equal(boxes, ANCHORS[:3])


def test_equal_scores_keep_the_order_of_the_anchors():
    objectness, deltas = outputs([0.0] * 5)
    boxes = propose(ANCHORS, objectness, deltas, SIZE).boxes
    np.testing.assert_array_equal(boxes[:2], ANCHORS[[0, 2]])


def test_nothing_large_enough_gives_no_proposals(world):
    objectness, deltas = outputs([0.0])
    proposals, scores = propose(
        world.array([[0.0, 0, 4, 4]]), world.array(objectness), world.array(deltas), SIZE
    )
    assert world.check(proposals).shape == (0, 4)
    assert world.check(scores).shape == (0,)


def test_scores_do_not_overflow():
    logits = np.array([[-1000.0], [0.0], [1000.0]])
    np.testing.assert_array_equal(object_scores(logits), [0.0, 0.5, 1.0])
    pairs = np.concatenate([np.zeros_like(logits), logits], axis=1)
    np.testing.assert_array_equal(object_scores(pairs), [0.0, 0.5, 1.0])


def test_scores_that_are_not_numbers_are_refused():
    objectness, deltas = outputs([np.nan, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="NaN"):
        propose(ANCHORS, objectness, deltas, SIZE)


@pytest.mark.parametrize(
    "wrong", [{"pre_nms": 0}, {"post_nms": 0}, {"iou_threshold": 1.5}, {"min_size": float("nan")}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProposalConfig(**wrong)
