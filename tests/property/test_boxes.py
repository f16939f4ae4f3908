"""What holds for any boxes: inverses, invariants, and agreement with a plain count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, boxes
from minirpn.accel.implementation import numba_available
from minirpn.testing import exact, strategies

IMPLEMENTATIONS = pytest.mark.parametrize(
    "implementation",
    [
        "loops",
        "array",
        pytest.param("numba", marks=pytest.mark.skipif(not numba_available(), reason="no numba")),
    ],
)
DTYPES = st.sampled_from([np.float32, np.float64])
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0])


def pixels(box):
    """Return the set of pixels of a whole-number box, on and off the image."""
    x1, y1, x2, y2 = (int(side) for side in box)
    return {(row, column) for row in range(y1, y2) for column in range(x1, x2)}


@IMPLEMENTATIONS
@given(a=strategies.boxes(max_count=4, extent=12, whole=True), data=st.data())
def test_iou_is_a_count_of_pixels(implementation, a, data):
    b = data.draw(strategies.boxes(max_count=4, extent=12, whole=True))
    with accel.use(implementation, "iou"):
        overlaps = boxes.iou(a, b)
    assert overlaps.shape == (len(a), len(b))
    for n, m in np.ndindex(overlaps.shape):
        shared, covered = pixels(a[n]) & pixels(b[m]), pixels(a[n]) | pixels(b[m])
        assert overlaps[n, m] == (len(shared) / len(covered) if covered else 0)


@IMPLEMENTATIONS
@given(a=strategies.boxes(min_count=1), b=strategies.boxes(), data=st.data())
def test_a_box_with_a_nan_shares_nothing(implementation, a, b, data):
    row, side = data.draw(st.integers(0, len(a) - 1)), data.draw(st.integers(0, 3))
    with accel.use(implementation, "iou"):
        expected = boxes.iou(a, b)
        expected[row] = 0
        a[row, side] = np.nan
        np.testing.assert_array_equal(boxes.iou(a, b), expected)
        np.testing.assert_array_equal(boxes.iou(b, a), expected.T)


@IMPLEMENTATIONS
@given(b=strategies.boxes())
def test_a_box_of_infinite_area_shares_nothing(implementation, b):
    far = np.array([[0, 0, np.inf, np.inf], [-np.inf, 0, 4, 4]])
    with accel.use(implementation, "iou"), np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(boxes.iou(far, far), np.zeros((2, 2)))
        np.testing.assert_array_equal(boxes.iou(far, b), np.zeros((2, len(b))))


@given(strategies.boxes(), strategies.boxes(), DTYPES)
def test_iou_is_symmetric_and_in_the_unit_interval(a, b, dtype):
    overlaps = boxes.iou(a.astype(dtype), b.astype(dtype))
    np.testing.assert_array_equal(overlaps, boxes.iou(b.astype(dtype), a.astype(dtype)).T)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()


@given(strategies.boxes())
def test_iou_with_itself_is_one_unless_it_has_no_area(drawn):
    np.testing.assert_array_equal(np.diag(boxes.iou(drawn, drawn)), boxes.area(drawn) > 0)


@given(
    strategies.boxes(),
    strategies.boxes(),
    st.integers(-50, 50),
    st.sampled_from([0.25, 2.0, 8.0]),
)
def test_iou_ignores_where_and_how_large(a, b, shift, scale):
    expected = boxes.iou(a, b)
    np.testing.assert_array_equal(boxes.iou(a + shift, b + shift), expected)
    np.testing.assert_array_equal(boxes.iou(a * scale, b * scale), expected)
    np.testing.assert_array_equal(boxes.iou(boxes.flip(a, 64), boxes.flip(b, 64)), expected)


@given(strategies.boxes(), strategies.image_sizes(max_side=64))
def test_clip_is_idempotent_and_leaves_what_is_inside(drawn, image_size):
    clipped = boxes.clip(drawn, image_size)
    np.testing.assert_array_equal(boxes.clip(clipped, image_size), clipped)
    assert boxes.is_inside(clipped, image_size).all()
    proper = (boxes.area(drawn) > 0) & boxes.is_inside(drawn, image_size)
    np.testing.assert_array_equal(clipped[proper], drawn[proper])


@given(strategies.boxes(), strategies.image_sizes(max_side=64))
def test_flip_is_its_own_inverse_and_keeps_what_is_inside(drawn, image_size):
    flipped = boxes.flip(drawn, image_size[1])
    np.testing.assert_array_equal(boxes.flip(flipped, image_size[1]), drawn)
    np.testing.assert_array_equal(boxes.area(flipped), boxes.area(drawn))
    proper = drawn[:, 2] >= drawn[:, 0]
    np.testing.assert_array_equal(
        boxes.is_inside(flipped, image_size)[proper], boxes.is_inside(drawn, image_size)[proper]
    )


@st.composite
def two_lists_of_boxes(draw):
    """Draw anchors and boxes independently of each other, as many of each."""
    count = draw(st.integers(1, 6))
    drawn = strategies.boxes(min_count=count, max_count=count, min_side=1)
    return draw(drawn), draw(drawn)


@given(two_lists_of_boxes())
def test_decode_is_the_inverse_of_encode(close, pair):
    anchors, targets = pair
    # A corner may be the small difference of a centre and half a side, each up to 160.
    close(boxes.decode(anchors, boxes.encode(anchors, targets)), targets, atol=1e-11)


@given(strategies.boxes(min_side=1), st.data())
def test_encode_is_the_inverse_of_decode(close, anchors, data):
    deltas = data.draw(strategies.deltas(len(anchors)))
    # The sides differ from the centres by a factor of up to a thousand.
    close(boxes.encode(anchors, boxes.decode(anchors, deltas)), deltas, atol=1e-10)


@given(strategies.boxes(min_side=1), st.data())
def test_flipping_negates_tx_alone(close, anchors, data):
    deltas = data.draw(strategies.deltas(len(anchors)))
    flipped = boxes.decode(boxes.flip(anchors, 64), deltas * [-1, 1, 1, 1])
    close(flipped, boxes.flip(boxes.decode(anchors, deltas), 64), atol=1e-11)


@st.composite
def scored_boxes(draw, *, dtype=np.float64):
    """Draw crowded whole-number boxes and scores with ties."""
    drawn = draw(strategies.boxes(max_count=12, extent=12, whole=True, dtype=dtype))
    return drawn, draw(strategies.scores(len(drawn), dtype=dtype))


@IMPLEMENTATIONS
@given(scored=scored_boxes(), threshold=THRESHOLDS, max_keep=st.none() | st.integers(0, 12))
def test_nms_is_greedy_with_ties_to_the_lower_index(implementation, scored, threshold, max_keep):
    with accel.use(implementation, "nms"):
        kept = boxes.nms(*scored, iou_threshold=threshold, max_keep=max_keep)
    assert kept.tolist() == exact.nms(*scored, threshold)[:max_keep]


@given(scored_boxes(dtype=np.float32), THRESHOLDS)
def test_what_nms_keeps_it_keeps_again(scored, threshold):
    candidates, scores = scored
    kept = boxes.nms(candidates, scores, iou_threshold=threshold)
    assert len(set(kept.tolist())) == len(kept)
    assert (np.diff(scores[kept]) <= 0).all()
    again = boxes.nms(candidates[kept], scores[kept], iou_threshold=threshold)
    np.testing.assert_array_equal(again, np.arange(len(kept)))


@IMPLEMENTATIONS
@given(scored=scored_boxes(), data=st.data())
def test_the_layout_in_memory_does_not_matter(implementation, scored, data):
    candidates, scores = scored
    laid_out = data.draw(strategies.layouts(candidates))
    scores_laid_out = data.draw(strategies.layouts(scores))
    with accel.use(implementation):
        np.testing.assert_array_equal(
            boxes.iou(laid_out, laid_out), boxes.iou(candidates, candidates)
        )
        np.testing.assert_array_equal(
            boxes.nms(laid_out, scores_laid_out, iou_threshold=0.5),
            boxes.nms(candidates, scores, iou_threshold=0.5),
        )
    np.testing.assert_array_equal(laid_out, candidates)


@given(
    strategies.boxes(min_side=1),
    st.data(),
    st.sampled_from([0.0, 0.5, 1.0, boxes.LOG_SCALE_CLAMP]),
    st.sampled_from([1.0, 30.0]),
)
def test_a_largest_log_scale_cuts_from_above_alone(anchors, data, largest, factor):
    deltas = data.draw(strategies.deltas(len(anchors))) * [1, 1, factor, factor]
    found = boxes.decode(anchors, deltas, max_log_scale=largest)
    cut = np.concatenate([deltas[:, :2], np.minimum(deltas[:, 2:], largest)], axis=1)
    np.testing.assert_array_equal(found, boxes.decode(anchors, cut))
    unlimited = boxes.decode(anchors, deltas)
    short = (deltas[:, 2:] <= largest).all(axis=1)  # however small: an empty box in the end
    np.testing.assert_array_equal(found[short], unlimited[short])


def test_the_largest_log_scale_makes_1000_pixels_of_16(close):
    anchor, deltas = np.array([0.0, 0, 16, 16]), np.array([0, 0, 9.0, 9.0])
    box = boxes.decode(anchor, deltas, max_log_scale=boxes.LOG_SCALE_CLAMP)
    close(box[2:] - box[:2], np.array([1000.0, 1000]))
