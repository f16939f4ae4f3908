"""Average precision against the matching written out as loops, and what must hold of any."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from minirpn.boxes import iou
from minirpn.detector import Detections
from minirpn.evaluation import average_precision

CLASSES = ("cat", "dog")
METHODS = ("voc07", "area")


@st.composite
def scenes(draw):
    """Draw an image: detections, and objects of small whole numbers, so that ties are common."""
    edge, side = st.integers(0, 5), st.integers(1, 4)
    corner = st.tuples(edge, edge, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    found = draw(st.lists(st.tuples(corner, st.integers(1, 4), st.integers(0, 1)), max_size=8))
    objects = draw(st.lists(st.tuples(corner, st.booleans(), st.integers(0, 1)), max_size=4))
    detections = Detections(
        np.array([row[0] for row in found], dtype=np.float64).reshape(-1, 4),
        np.array([row[1] for row in found]) / 8,
        np.array([row[2] for row in found], dtype=np.int64),
    )
    return (
        detections,
        np.array([row[0] for row in objects], dtype=np.float64).reshape(-1, 4),
        np.array([row[2] for row in objects], dtype=np.int64),
        np.array([row[1] for row in objects], dtype=bool),
    )


IMAGES = st.lists(scenes(), min_size=1, max_size=3)


def measure(images, **options):
    detections, gt_boxes, gt_classes, difficult = zip(*images, strict=True)
    return average_precision(
        detections, gt_boxes, gt_classes, difficult=difficult, classes=CLASSES, **options
    )


def with_scores(images, change):
    return [
        (found._replace(scores=change(found.scores)), *ground_truth)
        for found, *ground_truth in images
    ]


def by_the_book(images, label, threshold=0.5):
    """Return recall and precision at each different score, by VOC's loop over all detections."""
    positives, rows = 0, []
    for found, gt_boxes, gt_classes, difficult in images:
        mine = np.flatnonzero(gt_classes == label)
        positives += int((~difficult[mine]).sum())
        overlap = iou(found.boxes, gt_boxes)
        taken = set()
        for d in np.argsort(-found.scores, kind="stable"):
            if found.classes[d] != label:
                continue
            best, best_iou = None, 0.0
            for m in mine:
                if overlap[d, m] > best_iou:
                    best, best_iou = m, overlap[d, m]
            if best is None or best_iou < threshold:
                rows.append((found.scores[d], 0))
            elif not difficult[best]:
                rows.append((found.scores[d], int(best not in taken)))
                taken.add(best)
    points = []
    for score in sorted({score for score, _ in rows}, reverse=True):
        hits = [hit for of_row, hit in rows if of_row >= score]
        points.append((sum(hits) / positives if positives else np.nan, sum(hits) / len(hits)))
    return np.array(points).reshape(-1, 2).T, positives


@given(IMAGES)
def test_the_curve_is_that_of_the_loops(images):
    result = measure(images)
    for label, curve in enumerate(result.curves):
        (recall, precision), positives = by_the_book(images, label)
        assert curve.positives == positives
        np.testing.assert_allclose(curve.recall, recall, rtol=1e-12)
        np.testing.assert_allclose(curve.precision, precision, rtol=1e-12)


@given(IMAGES)
def test_every_average_is_a_share_and_lies_below_the_last_recall(images):
    result = measure(images)
    recall = np.array([c.found / c.positives if c.positives else np.nan for c in result.curves])
    known = ~np.isnan(recall)
    for method in METHODS:
        ap = result.ap_by(method)
        np.testing.assert_array_equal(np.isnan(ap), ~known)
        assert ((ap[known] >= 0) & (ap[known] <= 1)).all()
    assert (result.ap_by("area")[known] <= recall[known]).all()


@given(IMAGES, st.sampled_from([np.sqrt, np.exp, lambda s: 5 * s - 3]))
def test_only_the_order_of_the_scores_matters(images, change):
    before, after = measure(images), measure(with_scores(images, change))
    for method in METHODS:
        np.testing.assert_array_equal(after.ap_by(method), before.ap_by(method))


@given(IMAGES, st.randoms(use_true_random=False))
def test_neither_the_order_of_images_nor_of_detections_matters(images, random):
    shuffled = []
    for found, *ground_truth in images:
        order = random.sample(range(len(found.scores)), len(found.scores))
        shuffled.append((Detections(*(part[order] for part in found)), *ground_truth))
    random.shuffle(shuffled)
    before, after = measure(images), measure(shuffled)
    for one, other in zip(before.curves, after.curves, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.hits, other.hits)
        np.testing.assert_array_equal(one.false_positives, other.false_positives)
    assert before.ignored == after.ignored


@given(IMAGES)
def test_detections_that_are_the_objects_are_perfect(images):
    perfect = []
    for _, gt_boxes, gt_classes, difficult in images:
        # Two objects of one class in one place cannot both be asked for.
        rows = {(*box, label) for box, label in zip(gt_boxes.tolist(), gt_classes, strict=True)}
        assume(len(rows) == len(gt_boxes))
        found = Detections(gt_boxes, np.full(len(gt_boxes), 0.5), gt_classes)
        perfect.append((found, gt_boxes, gt_classes, difficult))
    result = measure(perfect, iou_threshold=1.0)
    for method in METHODS:
        ap = result.ap_by(method)
        assert (ap[~np.isnan(ap)] == 1).all()


@given(IMAGES, st.integers(0, 1))
def test_one_more_false_positive_below_all_others_never_helps(images, label):
    nowhere = Detections(
        np.array([[50.0, 50, 60, 60]]), np.array([0.01]), np.array([label], dtype=np.int64)
    )
    found, *ground_truth = images[0]
    more = Detections(*map(np.concatenate, zip(found, nowhere, strict=True)))
    before, after = measure(images), measure([(more, *ground_truth), *images[1:]])
    for method in METHODS:
        np.testing.assert_array_equal(after.ap_by(method), before.ap_by(method))


@given(IMAGES, st.integers(0, 1), st.integers(1, 4))
def test_one_more_false_positive_anywhere_never_helps(images, label, score):
    nowhere = Detections(
        np.array([[50.0, 50, 60, 60]]), np.array([score / 8]), np.array([label], dtype=np.int64)
    )
    found, *ground_truth = images[0]
    more = Detections(*map(np.concatenate, zip(found, nowhere, strict=True)))
    before, after = measure(images), measure([(more, *ground_truth), *images[1:]])
    for method in METHODS:
        known = ~np.isnan(before.ap)
        assert (after.ap_by(method)[known] <= before.ap_by(method)[known]).all()


@given(IMAGES)
def test_a_detection_of_every_object_above_all_others_makes_recall_1(images):
    more = []
    for found, gt_boxes, gt_classes, difficult in images:
        sure = Detections(gt_boxes, np.full(len(gt_boxes), 0.99), gt_classes)
        both = Detections(*map(np.concatenate, zip(found, sure, strict=True)))
        rows = {(*box, label) for box, label in zip(gt_boxes.tolist(), gt_classes, strict=True)}
        assume(len(rows) == len(gt_boxes))
        more.append((both, gt_boxes, gt_classes, difficult))
    result = measure(more)
    assert all(curve.found == curve.positives for curve in result.curves)
    assert all((ap == 1) | np.isnan(ap) for ap in result.ap)
