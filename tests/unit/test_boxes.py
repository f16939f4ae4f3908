"""Boxes: rows worked out by hand, ties, and what is refused."""

import math

import numpy as np
import pytest

from minirpn import boxes

SQUARE = [0.0, 0.0, 4.0, 4.0]


def test_area_by_hand():
    rows = np.array([SQUARE, [1, 2, 4, 4], [3, 3, 3, 9], [4, 0, 0, 4], [4, 4, 0, 0]], dtype=float)
    # 4*4, 3*2, no width, negative width, two negative sides
    assert boxes.area(rows).tolist() == [16, 6, 0, 0, 0]


def test_iou_by_hand():
    others = np.array(
        [
            SQUARE,
            [2, 0, 6, 4],  # shares 2*4 = 8 of 16 + 16 - 8 = 24
            [4, 0, 8, 4],  # touches
            [1, 1, 3, 3],  # nested: 4 of 16
            [-2, -2, 1, 1],  # shares 1 of 16 + 9 - 1 = 24
            [2, 2, 2, 2],  # has no area
            [4, 4, 0, 0],  # has negative sides
        ],
        dtype=float,
    )
    expected = [1, 8 / 24, 0, 4 / 16, 1 / 24, 0, 0]
    assert boxes.iou(np.array([SQUARE]), others)[0].tolist() == expected


def test_iou_of_boxes_without_area_is_zero_even_with_themselves():
    empty = np.array([[2.0, 2, 2, 2], [2, 2, 1, 5], [3, 3, 1, 1]])
    assert not boxes.iou(empty, empty).any()


def test_iou_of_boxes_too_small_for_the_dtype_is_zero():
    speck = np.array([[0, 0, 1e-30, 1e-30]], dtype=np.float32)
    assert boxes.iou(speck, speck).tolist() == [[0.0]]


def test_iou_of_mixed_precision_is_the_wider():
    a, b = np.array([SQUARE], np.float32), np.array([SQUARE])
    assert boxes.iou(a, a).dtype == np.float32
    assert boxes.iou(a, b).dtype == boxes.iou(b, a).dtype == np.float64


def test_clip_by_hand():
    rows = np.array([[-5.0, -1, 3, 2], [90, 40, 110, 60], [120, 70, 130, 80]])
    clipped = [[0, 0, 3, 2], [90, 40, 100, 50], [100, 50, 100, 50]]
    assert boxes.clip(rows, (50, 100)).tolist() == clipped


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_hides_no_nan_and_brings_the_infinite_to_the_border(dtype):
    clipped = boxes.clip(np.array([np.nan, -np.inf, np.inf, -0.0], dtype), (50, 100))
    assert clipped.dtype == dtype
    np.testing.assert_array_equal(clipped, np.array([np.nan, 0, 100, 0], dtype))
    assert np.signbit(clipped[3])  # nothing is done to what is inside, and -0 is


def test_the_border_of_the_image_is_inside():
    rows = np.array(
        [[0.0, 0, 100, 50], [-0.5, 0, 9, 9], [0, -0.5, 9, 9], [0, 0, 100.5, 9], [0, 0, 9, 50.5]]
    )
    assert boxes.is_inside(rows, (50, 100)).tolist() == [True, False, False, False, False]


def test_flip_by_hand():
    # [1, 4) in a row of 10 pixels becomes [6, 9).
    assert boxes.flip(np.array([1.0, 2, 4, 8]), 10).tolist() == [6, 2, 9, 8]


def test_encode_by_hand():
    anchor = np.array([0.0, 0, 10, 20])  # centre (5, 10)
    box = np.array([5.0, 5, 25, 15])  # centre (15, 10), 20 wide, 10 high
    expected = [(15 - 5) / 10, 0, math.log(20 / 10), math.log(10 / 20)]
    np.testing.assert_allclose(boxes.encode(anchor, box), expected)
    np.testing.assert_allclose(boxes.decode(anchor, np.array(expected)), box)


def test_decode_limits_the_log_scale_only_when_asked():
    anchor, deltas = np.array([0.0, 0, 16, 16]), np.array([0.0, 0, 6, 6])
    width = boxes.area(boxes.decode(anchor, deltas)) ** 0.5
    assert width == pytest.approx(16 * math.exp(6))
    limited = boxes.decode(anchor, deltas, max_log_scale=boxes.LOG_SCALE_CLAMP)
    np.testing.assert_allclose(limited, [8 - 500, 8 - 500, 8 + 500, 8 + 500])


def test_one_anchor_encodes_many_boxes():
    many = np.array([[0.0, 0, 4, 4], [4, 0, 8, 4]])
    assert boxes.encode(np.array(SQUARE), many).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


def test_nms_keeps_equality_with_the_threshold():
    pair = np.array([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # IoU exactly 1/2
    scores = np.array([0.9, 0.8])
    assert boxes.nms(pair, scores, iou_threshold=0.5).tolist() == [0, 1]
    assert boxes.nms(pair, scores, iou_threshold=0.49).tolist() == [0]


def test_nms_keeps_equality_in_float32():
    pair = np.array([[0, 0, 10, 1], [0, 0, 3, 1]], dtype=np.float32)  # IoU float32(0.3) > 0.3
    assert boxes.nms(pair, np.array([1, 0.5]), iou_threshold=0.3).tolist() == [0, 1]


def test_nms_takes_the_lower_index_of_equal_scores():
    same = np.array([SQUARE] * 3)
    assert boxes.nms(same, np.array([0.5, 0.9, 0.9]), iou_threshold=0.7).tolist() == [1]
    apart = np.array([[10.0 * n, 0, 10 * n + 4, 4] for n in range(4)])
    kept = boxes.nms(apart, np.array([0.5, 0.9, 0.5, 0.9]), iou_threshold=0.7)
    assert kept.tolist() == [1, 3, 0, 2]


def test_a_suppressed_box_suppresses_nothing():
    # The second goes by the first; the third overlaps the second alone; the fourth goes by it.
    chain = np.array([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [4, 0, 8, 5]])
    kept = boxes.nms(chain, np.array([0.9, 0.8, 0.7, 0.6]), iou_threshold=0.3)
    assert kept.tolist() == [0, 2]


@pytest.mark.parametrize(("max_keep", "kept"), [(0, []), (1, [2]), (2, [2, 1]), (9, [2, 1, 0])])
def test_nms_stops_at_max_keep(max_keep, kept):
    apart = np.array([[10.0 * n, 0, 10 * n + 4, 4] for n in range(3)])
    scores = np.array([0.1, 0.2, 0.3])
    found = boxes.nms(apart, scores, iou_threshold=0.5, max_keep=max_keep)
    assert found.tolist() == kept
    assert found.dtype == np.int64


def test_empty_boxes_stay():
    empty = np.zeros((2, 4))
    assert boxes.nms(empty, np.array([0.1, 0.2]), iou_threshold=0.0).tolist() == [1, 0]


def test_infinite_scores_have_an_order():
    apart = np.array([[10.0 * n, 0, 10 * n + 4, 4] for n in range(3)])
    kept = boxes.nms(apart, np.array([-np.inf, 0, np.inf]), iou_threshold=0.5)
    assert kept.tolist() == [2, 1, 0]


def test_no_boxes_give_empty_results():
    none = np.zeros((0, 4), dtype=np.float32)
    assert boxes.area(none).shape == (0,)
    assert boxes.iou(none, np.array([SQUARE], np.float32)).shape == (0, 1)
    assert boxes.clip(none, (5, 5)).shape == boxes.flip(none, 5).shape == (0, 4)
    assert boxes.encode(none, none).shape == boxes.decode(none, none).shape == (0, 4)
    assert boxes.nms(none, none[:, 0], iou_threshold=0.5).shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b, s: boxes.area(b[:, :3]), ValueError, "boxes: expected shape"),
        (lambda b, s: boxes.iou(b, b[0]), ValueError, "b: expected shape"),
        (lambda b, s: boxes.iou(b.astype(int), b), TypeError, "a: expected a floating-point"),
        (lambda b, s: boxes.clip(b, (0, 5)), ValueError, "image_size"),
        (lambda b, s: boxes.encode(b, b[:, :2]), ValueError, "boxes: expected shape"),
        (lambda b, s: boxes.decode(b, b[:, :2]), ValueError, "deltas: expected shape"),
        (lambda b, s: boxes.nms(b, s[:1], iou_threshold=0.5), ValueError, "scores: expected"),
        (lambda b, s: boxes.nms(b, s > 0, iou_threshold=0.5), TypeError, "scores: expected"),
        (lambda b, s: boxes.nms(b, s, iou_threshold=1.5), ValueError, "iou_threshold"),
        (lambda b, s: boxes.nms(b, s, iou_threshold=math.nan), ValueError, "iou_threshold"),
        (lambda b, s: boxes.nms(b, s, iou_threshold=0.5, max_keep=-1), ValueError, "max_keep"),
        (lambda b, s: boxes.nms(b, s * np.nan, iou_threshold=0.5), ValueError, "scores: NaN"),
        (lambda b, s: boxes.area(b.tolist()), TypeError, "not a supported array"),
        (lambda b, s: boxes.is_inside(b.tolist(), (9, 9)), TypeError, "not a supported array"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(np.array([SQUARE, SQUARE]), np.array([0.5, 0.6]))
