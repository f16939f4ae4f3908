"""Boxes against the recorded results of other implementations."""

import numpy as np
import pytest

from minirpn import boxes

THRESHOLDS = (0.3, 0.5, 0.7)


def half_open(inclusive):
    """Return boxes of inclusive corners as half-open ones."""
    return inclusive + np.array([0.0, 0.0, 1.0, 1.0])


@pytest.fixture
def inputs(oracle):
    return oracle("inputs")


@pytest.mark.parametrize("peer", ["chainercv", "torchvision"])
def test_iou(oracle, inputs, close, peer):
    recorded = oracle(peer)
    close(boxes.iou(inputs["iou_a"], inputs["iou_b"]), recorded["iou"])
    close(boxes.iou(inputs["iou_ai"], inputs["iou_bi"]), recorded["ioui"])


def test_iou_of_inclusive_corners(oracle, inputs, close):
    recorded = oracle("pyfrcnn")
    for a, b, expected in (("iou_a", "iou_b", "iou"), ("iou_ai", "iou_bi", "ioui")):
        close(boxes.iou(half_open(inputs[a]), half_open(inputs[b])), recorded[expected])


def test_iou_of_edge_cases(oracle, inputs, close):
    a, b = inputs["iou_edge_a"], inputs["iou_edge_b"]
    ours = boxes.iou(a, b)
    close(ours, oracle("mmdet")["iou_edge"])
    for peer in ("chainercv", "torchvision"):  # nan for two empty boxes; ours is 0
        close(ours, np.nan_to_num(oracle(peer)["iou_edge"], nan=0.0))
    close(boxes.iou(half_open(a), half_open(b)), oracle("pyfrcnn")["iou_edge"])


@pytest.mark.parametrize("peer", ["chainercv", "torchvision"])
def test_encode(oracle, inputs, close, peer):
    close(boxes.encode(inputs["enc_src"], inputs["enc_dst"]), oracle(peer)["encode"])


def test_encode_of_inclusive_corners(oracle, inputs, close):
    anchors, targets = half_open(inputs["enc_src"]), half_open(inputs["enc_dst"])
    close(boxes.encode(anchors, targets), oracle("pyfrcnn")["encode"])


def test_decode_without_limit(oracle, inputs, close):
    source, deltas = inputs["dec_src"], inputs["dec_deltas"]
    # The boxes are up to 1e6 wide, and their corners differences of such numbers.
    close(boxes.decode(source, deltas), oracle("chainercv")["decode"], atol=1e-9)
    # py-faster-rcnn gives x2, y2 as if they were half-open already.
    close(boxes.decode(half_open(source), deltas), oracle("pyfrcnn")["decode"], atol=1e-9)


def test_decode_with_the_limit_and_clip(oracle, inputs, close):
    limited = boxes.decode(
        inputs["dec_src"], inputs["dec_deltas"], max_log_scale=boxes.LOG_SCALE_CLAMP
    )
    close(limited, oracle("torchvision")["decode"], atol=1e-9)
    close(boxes.clip(limited, (600, 1000)), oracle("torchvision")["decode_clip"], atol=1e-9)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_nms(oracle, inputs, threshold):
    candidates, scores = inputs["nms_boxes"], inputs["nms_scores"]
    kept = boxes.nms(candidates, scores, iou_threshold=threshold)
    for peer in ("chainercv", "torchvision"):
        np.testing.assert_array_equal(kept, oracle(peer)[f"nms_{threshold}"])
    kept = boxes.nms(half_open(candidates), scores, iou_threshold=threshold)
    for version in ("py", "cython"):
        np.testing.assert_array_equal(kept, oracle("pyfrcnn")[f"nms_{version}_{threshold}"])


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_nms_with_tied_scores(oracle, inputs, threshold):
    candidates, scores = inputs["nms_boxes"], inputs["nms_tied_scores"]
    kept = boxes.nms(candidates, scores, iou_threshold=threshold)
    np.testing.assert_array_equal(kept, oracle("torchvision")[f"nms_tied_{threshold}"])


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_chainercv_breaks_ties_in_another_order(oracle, inputs, threshold):
    """Its answer is greedy as well: no two kept overlap, and a better box covers each dropped."""
    candidates, scores = inputs["nms_boxes"], inputs["nms_tied_scores"]
    theirs = oracle("chainercv")[f"nms_tied_{threshold}"]
    assert (np.diff(scores[theirs]) <= 0).all()
    overlaps = boxes.iou(candidates, candidates[theirs])
    suppresses = (overlaps >= threshold) & (scores[theirs][None, :] >= scores[:, None])
    dropped = np.setdiff1d(np.arange(len(candidates)), theirs)
    assert suppresses[dropped].any(axis=1).all()
    assert (suppresses[theirs].sum(axis=1) == 1).all()  # itself alone
