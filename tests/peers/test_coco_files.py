"""COCO's own judge reads our files, and finds what we find."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn.data.samples import Annotation
from minirpn.detector import Detections
from minirpn.evaluation import (
    average_precision,
    envelope,
    write_coco_detections,
    write_coco_ground_truth,
)
from minirpn.training.evaluate import ImageDetections, ImageProposals, precision_of

pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra: peers)")

CLASSES = ("cat", "potted plant")
WHOLE, LEFT, PART = [0.0, 0, 100, 60], [0.0, 0, 50, 60], [10.0, 10, 20, 20]
FAR = [200.0, 200, 260, 300]


def annotated(index, objects, *, difficult=False):
    """Return the ground truth of an image from rows of class and box."""
    return Annotation(
        image_id=f"{index}",
        image_path=Path(f"{index}.jpg"),
        image_size=(400, 400),
        gt_boxes=np.array([row[1] for row in objects], dtype=np.float32).reshape(-1, 4),
        gt_classes=np.array([row[0] for row in objects], dtype=np.int64),
        difficult=np.full(len(objects), difficult),
    )


def detected(*rows):
    """Return detections from rows of class, score and box."""
    return Detections(
        np.array([row[2] for row in rows], dtype=np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], dtype=np.float32),
        np.array([row[0] for row in rows], dtype=np.int64),
    )


def coco_judges(folder, annotations, detections):
    """Return COCO's precision at 101 points of recall for each class, at IoU 0.5; -1 for none."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    write_coco_ground_truth(folder / "truth.json", annotations, CLASSES)
    write_coco_detections(folder / "detections.json", detections)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        judge = COCOeval(truth, truth.loadRes(str(folder / "detections.json")), "bbox")
        judge.evaluate()
        judge.accumulate()
    # (IoU, recall, class, size, detections an image): IoU 0.5, all sizes, 100
    return judge.eval["precision"][0, :, :, 0, -1].T


def ours_at_101_points(annotations, detections):
    result = average_precision(
        detections,
        [item.gt_boxes for item in annotations],
        [item.gt_classes for item in annotations],
        difficult=[item.difficult for item in annotations],
        classes=CLASSES,
    )
    return curves_at_101_points(result)


def curves_at_101_points(result):
    points = np.linspace(0, 1, 101)
    return [
        np.append(envelope(curve.precision), 0)[np.searchsorted(curve.recall, points)]
        if curve.positives
        else np.full(101, -1.0)
        for curve in result.curves
    ]


def test_a_small_case(tmp_path):
    annotations = [annotated(0, [(0, WHOLE), (1, FAR)]), annotated(1, [(0, FAR)]), annotated(2, [])]
    detections = [
        # LEFT reaches WHOLE with just 0.5
        detected((0, 0.9, LEFT), (0, 0.8, WHOLE), (1, 0.3, PART)),
        detected((0, 0.7, FAR)),
        detected((0, 0.75, FAR)),
    ]
    theirs = coco_judges(tmp_path, annotations, detections)
    np.testing.assert_allclose(theirs, ours_at_101_points(annotations, detections), rtol=1e-12)
    assert theirs[0].mean() == pytest.approx((51 * 1 + 50 * 2 / 4) / 101)


def test_many_boxes(tmp_path, rng):
    annotations, detections = [], []
    for index in range(8):
        # One to a cell of 130 pixels, so that no detection has two objects to choose from.
        corners = rng.permutation(9)[:5, None] // [1, 3] % 3 * 130.0
        boxes = np.concatenate([corners, corners + rng.uniform(40, 120, (5, 2))], axis=1)
        annotations.append(annotated(index, list(zip(rng.integers(0, 2, 5), boxes, strict=True))))
        shifted = np.concatenate([boxes, boxes]) + rng.normal(0, 9, (10, 4))
        scores = rng.random(10)
        detections.append(detected(*zip(rng.integers(0, 2, 10), scores, shifted, strict=True)))
    theirs = coco_judges(tmp_path, annotations, detections)
    np.testing.assert_allclose(theirs, ours_at_101_points(annotations, detections), rtol=1e-12)
    assert (theirs.mean(axis=1) > 0.1).all()
    assert (theirs.mean(axis=1) < 0.9).all()


def test_difficult_objects_are_neither_missed_nor_found(tmp_path):
    annotations = [annotated(0, [(0, FAR)]), annotated(1, [(0, WHOLE)], difficult=True)]
    detections = [detected((0, 0.5, FAR)), detected((0, 0.9, WHOLE), (0, 0.8, WHOLE))]
    theirs = coco_judges(tmp_path, annotations, detections)
    np.testing.assert_allclose(theirs, ours_at_101_points(annotations, detections), rtol=1e-12)
    assert theirs[0].min() > 1 - 1e-12
    assert theirs[1].mean() == -1


def test_ignored_regions_are_neither_missed_nor_found_by_any_class(tmp_path):
    objects = annotated(0, [(0, FAR), (1, FAR)])
    ignored = replace(annotated(1, []), ignored=np.array([WHOLE], np.float32))
    detections = [
        detected((0, 0.5, FAR), (1, 0.5, FAR)),
        detected((0, 0.9, WHOLE), (0, 0.8, WHOLE), (1, 0.7, WHOLE)),
    ]
    images = [
        ImageDetections(annotation, found, ImageProposals(annotation, found.boxes, found.scores))
        for annotation, found in zip([objects, ignored], detections, strict=True)
    ]
    theirs = coco_judges(tmp_path, [objects, ignored], detections)
    ours = curves_at_101_points(precision_of(images, CLASSES))
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)
    assert theirs.min() > 1 - 1e-12
    assert coco_judges(tmp_path, [objects, annotated(1, [])], detections).max() < 0.51


def test_coco_forgives_a_detection_within_a_difficult_object_and_voc_does_not(tmp_path):
    annotations = [annotated(0, [(0, FAR)]), annotated(1, [(0, WHOLE)], difficult=True)]
    detections = [detected((0, 0.5, FAR)), detected((0, 0.9, PART))]
    assert coco_judges(tmp_path, annotations, detections)[0].min() > 1 - 1e-12
    assert ours_at_101_points(annotations, detections)[0].mean() == pytest.approx(0.5)
