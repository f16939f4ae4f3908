"""Recall against the matching written out as loops, and what must hold of any recall."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minirpn.boxes import iou
from minirpn.evaluation import proposal_recall

COUNTS, THRESHOLDS = (1, 2, 4, 100), (0.25, 0.5, 0.75)


def box_lists(largest):
    """Draw small whole-number boxes, so that ties, touching and equal boxes are common."""
    edge, side = st.integers(0, 5), st.integers(1, 4)
    corner = st.tuples(edge, edge, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(corner, max_size=largest).map(
        lambda rows: np.array(rows, dtype=np.float64).reshape(-1, 4)
    )


IMAGES = st.lists(st.tuples(box_lists(8), box_lists(4)), min_size=1, max_size=3)


def greedy_by_the_book(proposals, gt_boxes, threshold):
    """Count found objects: each proposal in order looks for its best free object, last of ties."""
    free = set(range(len(gt_boxes)))
    overlap = iou(proposals, gt_boxes)
    for proposal in range(len(proposals)):
        best, best_iou = None, threshold
        for gt in sorted(free):
            if overlap[proposal, gt] >= best_iou:
                best, best_iou = gt, overlap[proposal, gt]
        free -= {best}
    return len(gt_boxes) - len(free)


def measure(images, **options):
    proposals, gt_boxes = zip(*images, strict=True)
    return proposal_recall(proposals, gt_boxes, counts=COUNTS, iou_thresholds=THRESHOLDS, **options)


@given(IMAGES)
def test_one_to_one_is_the_greedy_matching(images):
    result = measure(images)
    for row, count in enumerate(COUNTS):
        for column, threshold in enumerate(THRESHOLDS):
            found = sum(greedy_by_the_book(p[:count], gt, threshold) for p, gt in images)
            expected = found / result.gt_count if result.gt_count else np.nan
            np.testing.assert_allclose(result.recall[row, column], expected, rtol=1e-12)


@given(IMAGES)
def test_any_is_the_share_covered(images):
    result = measure(images, matching="any")
    for row, count in enumerate(COUNTS):
        for column, threshold in enumerate(THRESHOLDS):
            found = sum((iou(p[:count], gt) >= threshold).any(axis=0).sum() for p, gt in images)
            expected = found / result.gt_count if result.gt_count else np.nan
            np.testing.assert_allclose(result.recall[row, column], expected, rtol=1e-12)


@given(IMAGES)
def test_recall_grows_with_the_count_and_shrinks_with_the_threshold_for_any(images):
    recall = measure(images, matching="any").recall
    if not np.isnan(recall).any():
        assert (np.diff(recall, axis=0) >= 0).all()
        assert (np.diff(recall, axis=1) <= 0).all()


@given(IMAGES)
def test_one_to_one_grows_with_the_count_and_never_beats_any(images):
    one_to_one, any_of_them = measure(images), measure(images, matching="any")
    if one_to_one.gt_count:
        assert (np.diff(one_to_one.recall, axis=0) >= 0).all()
        assert (one_to_one.recall <= any_of_them.recall).all()


@given(IMAGES)
def test_objects_find_themselves(images):
    itself = [(gt, gt) for _, gt in images]
    result = measure(itself)
    if result.gt_count:
        assert (result.recall[-1] == 1).all()


@given(IMAGES, st.integers(-40, 40), st.sampled_from([0.5, 2.0, 8.0]))
def test_recall_does_not_change_when_all_boxes_move_or_scale(images, shift, scale):
    moved = [((p + shift) * scale, (gt + shift) * scale) for p, gt in images]
    np.testing.assert_array_equal(measure(moved).recall, measure(images).recall)
