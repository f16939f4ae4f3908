"""Average precision on hand-made cases, its JSON and its table."""

import json
import math

import numpy as np
import pytest

from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.evaluation import (
    APResult,
    area_under_curve,
    average_precision,
    eleven_point,
    envelope,
    precision_recall,
)
from minirpn.evaluation.average_precision import FALSE_POSITIVE, HIT, IGNORED, match_detections

# Heights of 10 and widths that overlap: the IoU of two boxes from x = 0 is the ratio of the widths.
WIDE, HALF, NARROW = [0.0, 0, 20, 10], [0.0, 0, 10, 10], [0.0, 0, 8, 10]
FAR = [100.0, 100, 120, 110]


def boxes(*rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def detect(*rows):
    """Return detections from rows of box, score and perhaps class."""
    classes = [row[2] if len(row) > 2 else 0 for row in rows]
    return Detections(
        boxes(*(row[0] for row in rows)),
        np.array([row[1] for row in rows], dtype=np.float64),
        np.array(classes, dtype=np.int64),
    )


def measure(detections, objects, labels=None, *, classes=("cat",), **options):
    """Measure one image; every object is a cat unless said otherwise."""
    labels = np.array([0] * len(objects) if labels is None else labels, dtype=np.int64)
    return average_precision([detections], [objects], [labels], classes=classes, **options)


def curve_of(hits, positives):
    """Return the curve of answers in the order of their scores."""
    scores = np.linspace(1, 0, len(hits))
    return precision_recall(scores, np.array(hits, dtype=bool), positives)


def test_a_curve_by_hand():
    curve = curve_of([1, 0, 1, 0, 0], 4)
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 2 / 4, 2 / 4, 2 / 4])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5])
    np.testing.assert_allclose(envelope(curve.precision), [1, 2 / 3, 2 / 3, 2 / 4, 2 / 5])
    # recalls 0, 0.1, 0.2 have precision 1; 0.3, 0.4, 0.5 have 2/3; the other five are not reached
    assert eleven_point(curve) == pytest.approx((3 * 1 + 3 * 2 / 3) / 11, rel=1e-15)
    # a quarter of the objects at 1, a quarter at 2/3
    assert area_under_curve(curve) == pytest.approx((1 + 2 / 3) / 4, rel=1e-15)
    assert (curve.found, curve.wrong) == (2, 3)


def test_three_of_ten_objects_reach_a_recall_of_three_tenths():
    # A running sum of 0.1 is more than 0.3, 0.6 and 0.7 by a rounding: the peers miss these.
    assert sum([0.1] * 3) > 0.3
    assert eleven_point(curve_of([1] * 3, 10)) == pytest.approx(4 / 11, rel=1e-15)
    for found in range(11):
        assert eleven_point(curve_of([1] * found, 10)) == pytest.approx(
            (found + 1) / 11 if found else 0, rel=1e-15
        )


def test_equal_scores_are_one_point():
    scores = np.array([0.5, 0.9, 0.5, 0.5])
    hits = np.array([True, True, False, False])
    curve = precision_recall(scores, hits, 2)
    assert curve.scores.tolist() == [0.9, 0.5]
    assert curve.hits.tolist() == [1, 2]
    assert curve.false_positives.tolist() == [0, 2]
    # the second object at a precision of 2/4, wherever it stands among its equals
    assert area_under_curve(curve) == (1 + 1 / 2) / 2


def test_no_answers_and_no_objects():
    nothing = curve_of([], 3)
    assert nothing.recall.shape == nothing.precision.shape == (0,)
    assert eleven_point(nothing) == area_under_curve(nothing) == 0
    no_object = curve_of([0, 0], 0)
    assert np.isnan(no_object.recall).all()
    assert math.isnan(eleven_point(no_object))
    assert math.isnan(area_under_curve(no_object))


def test_an_iou_equal_to_the_threshold_finds():
    assert measure(detect((HALF, 0.9)), boxes(WIDE)).mean_ap == 1
    assert measure(detect((NARROW, 0.9)), boxes(WIDE)).mean_ap == 0
    assert measure(detect((NARROW, 0.9)), boxes(WIDE), iou_threshold=0.4).mean_ap == 1


def test_only_the_best_of_several_detections_finds():
    curve = measure(detect((HALF, 0.8), (WIDE, 0.9), (WIDE, 0.7)), boxes(WIDE)).curves[0]
    assert curve.scores.tolist() == [0.9, 0.8, 0.7]
    assert curve.hits.tolist() == [1, 1, 1]
    assert curve.false_positives.tolist() == [0, 1, 2]


def test_a_detection_asks_only_for_the_object_it_overlaps_most():
    # Both overlap NARROW by 0.8 and WIDE by 0.5: COCO would give WIDE to the second.
    curve = measure(detect((HALF, 0.9), (HALF, 0.8)), boxes(WIDE, NARROW)).curves[0]
    assert (curve.found, curve.wrong) == (1, 1)


def test_of_objects_overlapped_equally_the_first_is_asked_for():
    # A overlaps both objects by 1/2, B covers the left one.
    a, left, right = WIDE, [0.0, 0, 10, 10], [10.0, 0, 20, 10]
    detections = detect((a, 0.9), (left, 0.8))
    assert measure(detections, boxes(left, right)).curves[0].found == 1
    assert measure(detections, boxes(right, left)).curves[0].found == 2


def test_difficult_objects_count_neither_way():
    hard = [np.array([False, True])]
    result = measure(detect((FAR, 0.9), (FAR, 0.8), (WIDE, 0.7)), boxes(WIDE, FAR), difficult=hard)
    assert result.mean_ap == 1
    assert result.ignored == (2,)
    assert result.curves[0].positives == 1
    left_out = "2 detections on difficult objects or ignored regions count neither way."
    assert left_out in result.table()


def test_a_difficult_object_that_is_overlapped_more_is_asked_for():
    hard = [np.array([False, True])]
    result = measure(detect((HALF, 0.9)), boxes(WIDE, NARROW), difficult=hard)
    assert result.ignored == (1,)
    assert result.curves[0].found == 0


def test_the_outcomes_of_an_image():
    iou = np.array([[0.6, 0.0], [0.9, 0.2], [0.3, 0.7], [0.4, 0.4]])
    outcomes = match_detections(iou, np.array([0.9, 0.5, 0.8, 0.7]), np.array([False, True]))
    assert outcomes.tolist() == [HIT, FALSE_POSITIVE, IGNORED, FALSE_POSITIVE]
    assert match_detections(np.zeros((2, 0)), np.ones(2), np.zeros(0, bool)).tolist() == [0, 0]


def test_classes_are_kept_apart():
    classes = ("cat", "dog", "cow")
    detections = detect((WIDE, 0.9, 1), (WIDE, 0.8, 0), (FAR, 0.7, 1))
    result = measure(detections, boxes(WIDE, FAR), [0, 1], classes=classes)
    np.testing.assert_array_equal(result.ap, [1, 0.5, np.nan])
    assert result.mean_ap == 0.75
    assert result.without_objects == ("cow",)


def test_images_are_kept_apart():
    found, nothing = detect((WIDE, 0.9)), detect()
    labels = [np.zeros(1, dtype=np.int64)] * 2
    apart = average_precision([nothing, found], [boxes(WIDE), boxes(FAR)], labels, classes=["cat"])
    assert apart.mean_ap == 0
    at_home = average_precision([nothing, found], [boxes(FAR), boxes(WIDE)], labels, classes=["a"])
    assert at_home.ap_by("area").tolist() == [0.5]
    assert at_home.ap_by("voc07").tolist() == [6 / 11]


def test_both_methods_are_there_whichever_is_asked_for():
    detections = detect((WIDE, 0.9), (HALF, 0.8), (FAR, 0.7))
    by_eleven, by_area = (
        measure(detections, boxes(WIDE, FAR), method=method) for method in ("voc07", "area")
    )
    assert by_eleven.mean_ap == by_area.mean_by("voc07") == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert by_area.mean_ap == by_eleven.mean_by("area") == pytest.approx((1 + 2 / 3) / 2)
    assert (by_eleven.ap.item(), by_area.ap.item()) == (by_eleven.mean_ap, by_area.mean_ap)


def test_nothing_at_all():
    result = average_precision([], [], [], classes=("cat",))
    assert np.isnan(result.ap).all()
    assert math.isnan(result.mean_ap)
    assert "left out of the mean: cat." in result.table()


def test_every_world_gives_the_same_numbers(world, rng):
    corners = rng.uniform(0, 60, (4, 30, 2))
    found = np.concatenate([corners, corners + rng.uniform(5, 60, (4, 30, 2))], axis=-1)
    scores, classes = rng.random((4, 30)), rng.integers(0, 3, (4, 30))
    objects, labels, difficult = found[:, :6] + 3, classes[:, :6], rng.random((4, 6)) < 0.3

    def measured(real, whole, truth):
        return average_precision(
            [
                Detections(real(found[i]), real(scores[i]), whole(classes[i]))
                for i in range(len(found))
            ],
            [real(image) for image in objects],
            [whole(image) for image in labels],
            difficult=[truth(image) for image in difficult],
            classes="abc",
        )

    expected = measured(np.asarray, np.asarray, np.asarray)
    here = measured(
        world.array, lambda a: world.array(a, dtype=np.int64), lambda a: world.array(a, dtype=bool)
    )
    np.testing.assert_array_equal(here.ap, expected.ap)
    assert 0 < expected.mean_ap < 1


def example():
    detections = detect((WIDE, 0.9), (FAR, 0.25, 1), (HALF, 0.1, 0))
    return measure(detections, boxes(WIDE, FAR), [0, 0], classes=("cat", "potted plant"))


def test_json_and_back():
    result = example()
    text = json.dumps(result.to_dict() | {"split": "test"}, allow_nan=False)
    again = APResult.from_dict(json.loads(text))
    assert again.to_dict() == result.to_dict()
    np.testing.assert_array_equal(again.ap, result.ap)
    assert np.isnan(again.ap[1])
    assert again.curves[0].precision.tolist() == result.curves[0].precision.tolist()
    assert again.table() == result.table()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scores": [0.9]}, "scores, hits, false_positives: expected as many of each"),
        ({"scores": [0.1, 0.9]}, "scores, hits, false_positives: expected falling scores"),
        ({"scores": [0.9, float("inf")]}, "scores: 2: expected a number"),
        ({"hits": [1, 0]}, "scores, hits, false_positives: expected falling scores, rising"),
        ({"hits": [0, 1]}, "scores, hits, false_positives: expected falling scores, rising"),
        ({"hits": [1, 10**400]}, "hits: 2: expected a whole number"),
        ({"hits": [3, 3]}, "hits: expected at most the 2 objects, got 3"),
        ({"objects": None}, "objects: expected a whole number"),
        ({"ignored": "0"}, "ignored: expected a whole number"),
        ({"name": 3}, "name: expected a text"),
    ],
)
def test_json_of_no_curve_is_refused(change, reason):
    plain = example().to_dict()
    assert plain["classes"][0] | {"ap": None} == {"name": "cat", "ap": None, "objects": 2} | {
        **{"ignored": 0, "scores": [0.9, 0.1], "hits": [1, 1], "false_positives": [0, 1]}
    }
    plain["classes"][0] |= change
    with pytest.raises(InputError) as caught:
        APResult.from_dict(plain, "precision.json")
    assert str(caught.value).startswith(f"precision.json: classes: 1: {reason}")


def test_json_of_too_many_classes_is_refused():
    plain = example().to_dict()
    with pytest.raises(InputError, match="classes: expected at most 2000 values, got 2001"):
        APResult.from_dict(plain | {"classes": plain["classes"][:1] * 2001})
    with pytest.raises(InputError, match="method: expected 'voc07' or 'area', got 'mean'"):
        APResult.from_dict(plain | {"method": "mean"})


def test_the_table_has_a_row_for_each_class():
    head, cat, plant, mean, *notes = example().table().splitlines()
    assert " ".join(head.split()) == "class objects found false AP voc07 AP area"
    assert cat.split() == ["cat", "2", "1", "1", "0.545", "0.500"]
    assert plant.split() == ["potted", "plant", "0", "0", "1", "-", "-"]
    assert mean.split() == ["mean", "0.545", "0.500"]
    assert len({len(line) for line in (head, cat, plant, mean)}) == 1
    assert notes == [
        "2 objects; a detection finds one at an IoU of 0.5.",
        "No objects, so left out of the mean: potted plant.",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detections": []}, "detections of 0 images, gt_boxes of 1"),
        ({"gt_classes": []}, "detections of 1 images, gt_classes of 0"),
        ({"difficult": []}, "detections of 1 images, difficult of 0"),
        ({"gt_boxes": [np.zeros(4)]}, r"gt_boxes\[0\]: expected shape \(N, 4\)"),
        ({"gt_classes": [np.zeros(2, int)]}, r"gt_classes\[0\]: expected shape \(1\)"),
        ({"gt_classes": [np.array([1])]}, r"gt_classes\[0\]: expected positions in 1 classes"),
        ({"gt_classes": [np.array([-1])]}, r"gt_classes\[0\]: expected positions in 1 classes"),
        ({"difficult": [np.zeros(2, bool)]}, r"difficult\[0\]: expected shape \(1\)"),
        ({"detections": [detect((HALF, math.nan))]}, r"detections\[0\].scores: not all are finite"),
        ({"detections": [detect((HALF, 0.5, 1))]}, r"detections\[0\].classes: expected positions"),
        ({"iou_threshold": 0.0}, "iou_threshold: expected one in"),
        ({"iou_threshold": 50}, "iou_threshold: expected one in"),
        ({"method": "coco"}, "method: expected voc07 or area, got 'coco'"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "detections": [detect((HALF, 0.5))],
        "gt_boxes": [boxes(HALF)],
        "gt_classes": [np.zeros(1, dtype=np.int64)],
        "classes": ("cat",),
    } | change
    positional = [arguments.pop(name) for name in ("detections", "gt_boxes", "gt_classes")]
    with pytest.raises(ValueError, match=message):
        average_precision(*positional, **arguments)


def test_wrong_dtypes_are_refused():
    found, label = detect((HALF, 0.5)), [np.zeros(1, dtype=np.int64)]
    with pytest.raises(TypeError, match=r"gt_boxes\[0\]"):
        average_precision([found], [np.zeros((1, 4), dtype=np.uint16)], label, classes=["cat"])
    with pytest.raises(TypeError, match=r"gt_classes\[0\]: expected whole numbers, got float64"):
        average_precision([found], [boxes(HALF)], [np.zeros(1)], classes=["cat"])
