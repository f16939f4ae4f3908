"""The fate of each candidate: the kept ones are the proposals, the others have a reason."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minirpn import boxes
from minirpn.explain import KEPT, NOT_REACHED, rank_proposals
from minirpn.rpn import (
    AnchorConfig,
    ProposalConfig,
    base_anchors,
    candidates,
    grid_anchors,
    propose,
)

SIZE = (96, 128)
GRID = grid_anchors(base_anchors(AnchorConfig(base_size=8, scales=(2, 4))), (6, 8), 16)


def ranked(seed, scores, **values):
    rng = np.random.default_rng(seed)
    K = len(GRID)
    # Scores of few values tie often.
    outputs = rng.integers(-3, 4, (K, scores)).astype(float), rng.normal(scale=0.3, size=(K, 4))
    how = {"scale": 1.0, "config": ProposalConfig(**values)}
    return outputs, how, rank_proposals(GRID, *outputs, SIZE, **how)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2]),
    st.sampled_from([3, 50, 6000]),
    st.sampled_from([0.0, 0.5, 0.7, 1.0]),
)
def test_the_kept_are_the_proposals(seed, scores, post_nms, iou_threshold):
    outputs, how, ranking = ranked(seed, scores, post_nms=post_nms, iou_threshold=iou_threshold)
    found, _, anchors = candidates(GRID, *outputs, SIZE, **how)
    np.testing.assert_array_equal(ranking.anchors, anchors)
    kept = ranking.fates == KEPT
    np.testing.assert_array_equal(found[kept], propose(GRID, *outputs, SIZE, **how).boxes)
    for rank in np.flatnonzero(~kept):
        overlaps = boxes.iou(found[rank : rank + 1], found[:rank][kept[:rank]])[0]
        if ranking.fates[rank] == NOT_REACHED:
            assert kept.sum() == post_nms
            assert not (overlaps > iou_threshold).any()
        else:
            assert ranking.fates[rank] == np.flatnonzero(kept)[np.argmax(overlaps > iou_threshold)]
            assert (overlaps > iou_threshold).any()


def test_fates_by_hand():
    anchors = np.array([[0.0, 0, 40, 40], [0.0, 2, 40, 42], [50.0, 50, 90, 90], [0.0, 0, 5, 90]])
    logits = np.array([[1.0], [2.0], [0.0], [9.0]])
    how = {"scale": 1.0, "config": ProposalConfig(post_nms=1)}
    ranking = rank_proposals(anchors, logits, np.zeros((4, 4)), (100, 100), **how)
    # The last is too small. Of the others 1 is best and beats 0 (38/42 = 0.9); 2 comes too late.
    assert ranking.anchors.tolist() == [1, 0, 2]
    assert ranking.fates.tolist() == [KEPT, 0, NOT_REACHED]


def test_nothing_proposed():
    config = ProposalConfig(min_size=1000)
    K = len(GRID)
    ranking = rank_proposals(GRID, np.zeros((K, 2)), np.zeros((K, 4)), SIZE, scale=1, config=config)
    assert len(ranking.anchors) == len(ranking.fates) == 0
