"""The detector's targets, loss, head and detections, on numbers one can follow by hand."""

import numpy as np
import pytest

from minirpn.detector import (
    BACKGROUND,
    DetectionConfig,
    RegionConfig,
    build_head,
    decode_regions,
    detector_loss_forward,
    label_regions,
    postprocess,
    region_targets,
    sample_regions,
)
from minirpn.rpn import IGNORE

GT = np.array([[0.0, 0, 10, 10], [20.0, 0, 30, 10]])
CLASSES = np.array([4, 2])
NO_GT = np.empty((0, 4)), np.empty(0, np.int64)


def test_labels_by_iou():
    regions = np.array(
        [
            [0.0, 0, 10, 10],  # IoU 1 with the first
            [20.0, 0, 30, 5],  # 50 / 100 = 0.5 with the second: just enough
            [20.0, 0, 30, 4.9],  # 0.49
            [0.0, 0, 1, 10],  # 10 / 100 = 0.1 with the first: just enough for background
            [0.0, 0, 0.9, 10],  # 0.09
            [50.0, 50, 60, 60],  # 0
        ]
    )
    stepwise = label_regions(regions, GT, CLASSES, RegionConfig(background_iou=0.1))
    assert stepwise.labels.tolist() == [5, 3, BACKGROUND, BACKGROUND, IGNORE, IGNORE]
    assert stepwise.matched_gt.tolist() == [0, 1, 1, 0, 0, 0]
    joint = label_regions(regions, GT, CLASSES, RegionConfig(background_iou=0.0))
    assert joint.labels.tolist() == [5, 3, *[BACKGROUND] * 4]
    np.testing.assert_allclose(joint.max_iou, [1, 0.5, 0.49, 0.1, 0.09, 0])


def test_a_region_on_an_ignored_one_is_no_background():
    ignored = np.array([[50.0, 50, 60, 60], [0.0, 0, 10, 10]])
    regions = np.array(
        [
            [0.0, 0, 10, 10],  # an object stays an object
            [50.0, 50, 60, 60],  # the ignored region itself
            [50.0, 50, 60, 55],  # 0.5 with it: just enough
            [50.0, 50, 60, 54.9],  # 0.49
            [70.0, 70, 80, 80],
        ]
    )
    found = label_regions(regions, GT, CLASSES, ignored=ignored)
    assert found.labels.tolist() == [5, IGNORE, IGNORE, BACKGROUND, BACKGROUND]
    assert found.labels.dtype == np.int64
    alone = label_regions(regions, GT, CLASSES)
    np.testing.assert_array_equal(found.matched_gt, alone.matched_gt)
    np.testing.assert_array_equal(found.max_iou, alone.max_iou)
    none = label_regions(regions, GT, CLASSES, ignored=ignored[:0])
    np.testing.assert_array_equal(none.labels, alone.labels)
    without_truth = label_regions(regions, *NO_GT, ignored=ignored).labels
    assert without_truth.tolist() == [IGNORE] * 3 + [BACKGROUND] * 2
    with pytest.raises(ValueError, match=r"^ignored: "):
        label_regions(regions, GT, CLASSES, ignored=np.zeros((2, 3)))


def test_without_ground_truth_there_is_only_background():
    regions = np.array([[0.0, 0, 10, 10]])
    found = label_regions(regions, *NO_GT)
    assert (found.labels.tolist(), found.matched_gt.tolist()) == ([BACKGROUND], [-1])
    assert label_regions(regions, *NO_GT, RegionConfig(background_iou=0.1)).labels == [IGNORE]
    assert not region_targets(regions, NO_GT[0], found.matched_gt, found.labels).any()


def test_a_sample_has_objects_first_and_never_too_many(rng):
    labels = np.array([BACKGROUND] * 300 + [7] * 50 + [IGNORE] * 20)
    chosen = sample_regions(labels, rng=rng)
    assert len(chosen) == len(set(chosen.tolist())) == 128
    assert (labels[chosen] == 7).tolist() == [True] * 32 + [False] * 96
    few = sample_regions(np.array([3, BACKGROUND, IGNORE, 1]), rng=rng)
    assert few.tolist() == [0, 3, 1]
    assert sample_regions(np.array([IGNORE]), rng=rng).tolist() == []


def test_targets_are_normalised_deltas():
    # From (0, 0, 10, 10) to (1, 0, 11, 20): tx = 1/10, ty = 5/10, tw = 0, th = log 2.
    targets = region_targets(
        np.array([[0.0, 0, 10, 10]]), np.array([[1.0, 0, 11, 20]]), np.array([0]), np.array([1])
    )
    np.testing.assert_allclose(targets, [[1, 5, 0, np.log(2) / 0.2]])
    np.testing.assert_allclose(
        decode_regions(np.array([[0.0, 0, 10, 10]]), targets), [[1, 0, 11, 20]]
    )


def test_loss_of_two_regions():
    scores = np.zeros((2, 3))  # each class has probability 1/3
    deltas = np.zeros((2, 3, 4))
    deltas[0, 2] = [0.5, 0, 0, 3]  # of the class of the first region
    deltas[0, 1] = deltas[1] = 99  # of other classes, and of a region that shows background
    labels, targets = np.array([2, BACKGROUND]), np.zeros((2, 4))
    loss, _ = detector_loss_forward(scores, deltas, labels, targets)
    assert loss.classes == pytest.approx(np.log(3))
    # (0.5 0.5^2 + 3 - 0.5) / 2 regions
    assert loss.boxes == pytest.approx((0.125 + 2.5) / 2)
    assert loss.total == loss.classes + loss.boxes


def test_no_region_costs_nothing():
    loss, _ = detector_loss_forward(
        np.zeros((0, 3)), np.zeros((0, 3, 4)), np.zeros(0, np.int64), np.zeros((0, 4))
    )
    assert loss.total == 0


def test_detections_are_above_the_threshold_apart_and_best_first():
    regions = np.array([[0.0, 0, 10, 10], [0.0, 0, 10, 9], [50.0, 50, 80, 80]])
    # log probabilities of background, cat, dog
    scores = np.log(np.array([[0.2, 0.7, 0.1], [0.3, 0.66, 0.04], [0.04, 0.06, 0.9]]))
    found = postprocess(regions, scores, np.zeros((3, 3, 4)), (100, 70))
    # Of the cats the second overlaps the first by 0.9; dog 0.04 is below the threshold; the border
    # at 70 cuts the third.
    assert found.classes.tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.1, 0.06])
    cut = [50, 50, 70, 80]
    np.testing.assert_allclose(found.boxes, [cut, regions[0], regions[0], cut])
    best = postprocess(
        regions, scores, np.zeros((3, 3, 4)), (100, 70), config=DetectionConfig(max_detections=1)
    )
    np.testing.assert_allclose(best.scores, [0.9])


def test_no_region_gives_no_detection():
    found = postprocess(np.zeros((0, 4)), np.zeros((0, 3)), np.zeros((0, 3, 4)), (10, 10))
    assert [len(part) for part in found] == [0, 0, 0]


def test_a_score_that_is_no_number_is_refused():
    scores = np.array([[0.0, np.nan]])
    with pytest.raises(ValueError, match="NaN"):
        postprocess(np.ones((1, 4)), scores, np.zeros((1, 2, 4)), (10, 10))


@pytest.mark.parametrize(
    ("backbone", "channels", "layers"),
    [
        ("tiny", 128, ["detector.reduce", "detector.hidden"]),
        ("squeezenet", 512, ["detector.reduce", "detector.hidden"]),
        ("zf", 256, ["fc6", "fc7"]),
    ],
)
def test_heads(backbone, channels, layers, rng):
    head, size = build_head(backbone, channels, 20, rng=rng)
    names = [*layers, "detector.scores", "detector.deltas"]
    expected = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    assert [parameter.name for parameter in head.parameters()] == expected
    output, _ = head.forward(rng.normal(size=(3, channels, *size)).astype(np.float32))
    assert (output.logits.shape, output.deltas.shape) == ((3, 21), (3, 21, 4))
    assert np.std(head.logits.weight.value) == pytest.approx(0.01, rel=0.05)
    assert np.std(head.deltas.weight.value) == pytest.approx(0.001, rel=0.05)


def test_dropout_only_where_there_is_an_rng(rng):
    head, size = build_head("zf", 2, 1, rng=rng)
    pooled = rng.normal(size=(2, 2, *size)).astype(np.float32)
    plain, again = (head.forward(pooled)[0].logits for _ in range(2))
    np.testing.assert_array_equal(plain, again)
    assert np.any(head.forward(pooled, rng=rng)[0].logits != plain)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"positive_fraction": 1.5},
        {"positive_iou": 0},
        {"background_iou": 0.5},
    ],
)
def test_senseless_regions_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RegionConfig(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"score_threshold": -0.1}, {"iou_threshold": 1.1}, {"max_detections": 0}]
)
def test_senseless_detections_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DetectionConfig(**wrong)
