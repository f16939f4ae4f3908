"""Options of the checks about boxes, what their messages say, and the oracle behind them."""

import math
import re

import numpy as np
import pytest

from minirpn import testing
from minirpn.testing import check_boxes, exact, strategies

pytestmark = pytest.mark.slow

ONE = np.array([0, 0, 1, 1])


def greedy(boxes, scores, iou_threshold, order, overlaps_of=exact.iou):
    overlaps, kept = overlaps_of(boxes, boxes), []
    for index in order(scores):
        if all(overlaps[other, index] <= iou_threshold for other in kept):
            kept.append(index)
    return kept


def last_first(scores):
    return np.argsort(scores, kind="stable")[::-1]


def last_first_nms(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold, last_first)


def forgetful_nms(boxes, scores, iou_threshold):
    """Behind a tie, one that stays too few."""
    kept = last_first_nms(boxes, scores, iou_threshold)
    return kept[:-1] if len(kept) > 1 and len(np.unique(scores)) < len(scores) else kept


def last_first_batched(boxes, scores, classes, iou_threshold):
    def overlaps(a, b):
        return np.where(classes[:, None] == classes, exact.iou(a, b), 0)

    return greedy(boxes, scores, iou_threshold, last_first, overlaps)


def test_another_order_of_equal_scores_is_accepted_if_it_is_meant():
    with pytest.raises(testing.CheckError, match='With ties="any" it is right'):
        testing.check_nms(last_first_nms)
    assert testing.check_nms(last_first_nms, ties="any")
    with pytest.raises(testing.CheckError, match='With ties="any" it is right'):
        testing.check_batched_nms(last_first_batched)
    assert testing.check_batched_nms(last_first_batched, ties="any")


def test_with_any_order_a_fault_behind_a_tie_is_found():
    with pytest.raises(testing.CheckError) as caught:
        testing.check_nms(forgetful_nms, ties="any")
    scores = caught.value.arguments["scores"]
    assert len(np.unique(scores)) < len(scores)


def inclusive_iou(a, b):
    return exact.iou(a + ONE, b + ONE)


def inclusive_pair(a, b):
    return inclusive_iou(a[None], b[None])[0, 0]


def inclusive_nms(boxes, scores, iou_threshold):
    return exact.nms(boxes + ONE, scores, iou_threshold)


def encode(anchors, boxes, one=0):
    (aw, ah), (w, h) = ((x[:, 2:] - x[:, :2] + one).T for x in (anchors, boxes))
    dx = boxes[:, 0] + w / 2 - anchors[:, 0] - aw / 2
    dy = boxes[:, 1] + h / 2 - anchors[:, 1] - ah / 2
    return np.stack([dx / aw, dy / ah, np.log(w / aw), np.log(h / ah)], axis=1)


def decode(anchors, deltas, one=0, end=0, limit=math.inf):
    sides = anchors[:, 2:] - anchors[:, :2] + one
    centers = anchors[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = sides * np.exp(np.minimum(deltas[:, 2:], limit)) / 2
    return np.concatenate([centers - half, centers + half - end], axis=1)


def decode_classes(boxes, deltas, **options):
    parts = [decode(boxes, deltas[:, k : k + 4], **options) for k in range(0, deltas.shape[1], 4)]
    return np.concatenate(parts, axis=1)


def with_options(function, **options):
    def changed(*question):
        return function(*question, **options)

    return changed


PLUS_ONE = [
    (testing.check_iou, {}, inclusive_iou),
    (testing.check_iou, {"pairwise": True}, inclusive_pair),
    (testing.check_nms, {}, inclusive_nms),
    (testing.check_encode, {}, with_options(encode, one=1)),
    (testing.check_decode, {}, with_options(decode, one=1)),
    (testing.check_decode, {}, with_options(decode, one=1, end=1)),
    (testing.check_bbox_transform_inv, {}, with_options(decode_classes, one=1)),
]


@pytest.mark.parametrize(("check", "options", "function"), PLUS_ONE)
def test_inclusive_boxes_are_accepted_if_they_are_meant(check, options, function):
    with pytest.raises(testing.CheckError, match="With plus_one=True it is right"):
        check(function, **options)
    assert check(function, **options, plus_one=True)


@pytest.mark.parametrize(
    ("check", "function"),
    [
        (testing.check_iou, exact.iou),
        (testing.check_nms, exact.nms),
        (testing.check_encode, encode),
        (testing.check_decode, decode),
    ],
)
def test_who_means_inclusive_boxes_and_forgets_the_1_is_told(check, function):
    with pytest.raises(testing.CheckError) as caught:
        check(function, plus_one=True)
    assert caught.value.hint == "Where is the + 1 of the sides?"


@pytest.mark.parametrize(
    ("check", "function"),
    [(testing.check_decode, decode), (testing.check_bbox_transform_inv, decode_classes)],
)
def test_a_limit_of_the_sides_is_accepted_if_it_is_meant(check, function):
    limited = with_options(function, limit=math.log(1000 / 16))
    with pytest.raises(testing.CheckError, match=r"With max_log_scale=4\.135166556742356 it is"):
        check(limited)
    assert check(limited, max_log_scale=4.135166556742356)
    inclusive = with_options(function, limit=math.log(1000 / 16), one=1)
    with pytest.raises(testing.CheckError, match=re.escape("With plus_one=True, max_log_scale=")):
        check(inclusive)


def test_both_directions_take_the_options_that_their_message_names():
    pair = with_options(encode, one=1), with_options(decode, one=1, limit=math.log(1000 / 16))
    with pytest.raises(testing.CheckError, match="With plus_one=True it is right"):
        testing.check_encode_decode(*pair)
    with pytest.raises(testing.CheckError, match=r"With max_log_scale=4\.135166556742356 it is"):
        testing.check_encode_decode(*pair, plus_one=True)
    assert testing.check_encode_decode(*pair, plus_one=True, max_log_scale=4.135166556742356)


def test_anchors_that_are_not_rounded_are_accepted_if_they_are_meant():
    def exact_areas(base_size, ratios, scales):
        widths, heights = base_size / np.sqrt(ratios), base_size * np.sqrt(ratios)
        half = np.stack([np.outer(side, scales).ravel() / 2 for side in (widths, heights)], axis=1)
        return np.concatenate([base_size / 2 - half, base_size / 2 + half], axis=1)

    with pytest.raises(testing.CheckError, match="With rounding=None it is right"):
        testing.check_base_anchors(exact_areas)
    assert testing.check_base_anchors(exact_areas, rounding=None)


@pytest.mark.parametrize("check", [testing.check_nms, testing.check_batched_nms])
def test_an_order_of_equal_scores_that_does_not_exist_is_refused(check):
    with pytest.raises(ValueError, match="ties: expected one of first, any, got 'last'"):
        check(exact.nms, ties="last")


def test_a_rounding_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="rounding: expected one of caffe, None, got 'up'"):
        testing.check_base_anchors(exact.nms, rounding="up")


def test_a_small_epsilon_is_accepted_and_a_larger_one_is_seen_and_named():
    def with_epsilon(epsilon):
        return with_options(check_boxes.spoiled_iou, epsilon=epsilon)

    assert testing.check_iou(with_epsilon(1e-9))
    with pytest.raises(
        testing.CheckError, match=r"Did you add 1e-06 .* yours gives 0\.999999, expected 1$"
    ):
        testing.check_iou(with_epsilon(1e-6))


def test_0_over_0_is_recognised_in_a_function_of_float32():
    def single(a, b):
        return check_boxes.unguarded_iou(a.astype(np.float32), b.astype(np.float32))

    with pytest.raises(testing.CheckError, match="0/0: boxes without area"):
        testing.check_iou(single)


def test_a_small_counterexample_of_many_boxes_is_found():
    def of_64(boxes, min_size):
        return exact_min_size(boxes[:64], min_size)

    def exact_min_size(boxes, min_size):
        return np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= min_size)

    assert testing.check_min_size(exact_min_size)
    with pytest.raises(testing.CheckError) as caught:
        testing.check_min_size(of_64)
    assert len(caught.value.arguments["boxes"]) == 65


class OnADevice:
    """Numbers that NumPy can read only once they are detached and on the host, as a tensor's."""

    def __init__(self, values, attached=True, device=True):
        self.values, self.attached, self.device = values, attached, device

    def detach(self):
        return OnADevice(self.values, False, self.device)

    def cpu(self):
        return OnADevice(self.values, self.attached, False)

    def numpy(self):
        if self.attached or self.device:
            raise TypeError("not on the host")
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


def test_indices_and_masks_on_a_device_are_read():
    def mask(boxes, min_size):
        return (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= min_size

    def indices(boxes, min_size):
        return (OnADevice(np.flatnonzero(mask(boxes, min_size))),)

    assert testing.check_min_size(lambda *question: OnADevice(mask(*question)))
    assert testing.check_min_size(indices)


def test_on_the_grid_and_off_it_the_exact_iou_is_the_nearest_number():
    on_grid = strategies.crowd(np.random.default_rng(0), 12, extent=5000)
    for boxes in (on_grid, check_boxes.fine_boxes(0), np.zeros((0, 4)), on_grid[:, [2, 1, 0, 3]]):
        pairs = [[float(exact.pair_iou(one, two)) for two in boxes] for one in boxes]
        np.testing.assert_array_equal(
            exact.iou(boxes, boxes), np.reshape(pairs, (len(boxes), len(boxes)))
        )


def test_exact_suppression_of_classes_by_hand():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 10, 10.0]])
    kept = exact.batched_nms(boxes, np.array([0.5, 0.9, 0.5, 0.5]), np.array([0, 0, 7, 7]), 0.5)
    assert kept == [1, 2, 3]
