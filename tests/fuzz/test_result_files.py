"""Damaged result files: detections come back, or one clear line; never anything else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minirpn.detector import Detections
from minirpn.evaluation import (
    average_precision,
    read_coco_detections,
    read_voc_results,
    write_coco_detections,
    write_voc_results,
)

TRIALS = 3000
CLASSES = ("cat", "dog")
IDS = ("000005", "2008_000007")
ODD_VALUES = (
    None, True, 0, -1, 3, 10**400, 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "1", [], [[]],
    [0, 0, 1, 1], [1e308] * 4, [0, 0, -1, 1], [True] * 4, {}, {"image_id": 1},
)  # fmt: skip


@pytest.fixture
def detections() -> list[Detections]:
    """Some in each image."""
    boxes = np.array([[0, 0, 353, 500], [47, 239, 195.5, 371], [0.25, 1e-3, 20, 30]])
    scores = np.array([0.9, 0.5, 1e-5])
    return [Detections(boxes, scores, np.array(labels)) for labels in ((0, 1, 0), (1, 1, 0))]


@pytest.fixture
def judge():
    """Measure detections; what was read must not make that fail, nor warn."""
    objects = [np.array([[0.0, 0, 353, 500]])] * 2
    labels = [np.zeros(1, dtype=np.int64)] * 2

    def measure(found: list[Detections]) -> None:
        assert all((d.boxes[:, 2:] >= d.boxes[:, :2]).all() for d in found)
        assert 0 <= average_precision(found, objects, labels, classes=CLASSES).ap[0] <= 1

    return measure


@pytest.mark.slow
def test_damaged_voc_files(tmp_path, detections, judge, mutate, times, one_line):
    path, _ = write_voc_results(tmp_path, detections, IDS, CLASSES)
    content = path.read_bytes()
    taken = 0
    for _ in range(times(TRIALS)):
        path.write_bytes(mutate(content))
        taken += one_line(lambda: judge(read_voc_results(tmp_path, IDS, CLASSES)), f"{path}: line ")
    assert 0.05 * times(TRIALS) < taken < 0.5 * times(TRIALS)


@pytest.mark.slow
def test_damaged_coco_files(tmp_path, detections, judge, mutate, times, one_line):
    path = tmp_path / "detections.json"
    write_coco_detections(path, detections)
    content = path.read_bytes()
    taken = 0
    for _ in range(times(TRIALS)):
        path.write_bytes(mutate(content))
        taken += one_line(lambda: judge(read_coco_detections(path, 2, 2)), f"{path}: ")
    assert 0.02 * times(TRIALS) < taken < 0.5 * times(TRIALS)


@pytest.mark.slow
def test_coco_values_of_any_kind(tmp_path, detections, judge, times, one_line, rng):
    path = tmp_path / "detections.json"
    write_coco_detections(path, detections)
    rows = json.loads(path.read_text())
    taken = 0
    for _ in range(times(TRIALS)):
        changed = json.loads(json.dumps(rows))
        row = changed[int(rng.integers(len(changed)))]
        key, value = (list(part)[int(rng.integers(len(part)))] for part in (row, ODD_VALUES))
        if key == "bbox" and rng.random() < 0.5:
            row["bbox"][int(rng.integers(4))] = value
        else:
            row[key] = value
        path.write_text(json.dumps(changed))
        taken += one_line(lambda: judge(read_coco_detections(path, 2, 2)), f"{path}: detection ")
    assert 0.02 * times(TRIALS) < taken < 0.5 * times(TRIALS)
