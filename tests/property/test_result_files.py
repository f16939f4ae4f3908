"""Result files give back what was written, bit for bit where it was float32."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.detector import Detections
from minirpn.evaluation import (
    read_coco_detections,
    read_voc_results,
    write_coco_detections,
    write_voc_results,
)

CLASSES = ("cat", "potted plant", "Kuh")
IDS = ("000005", "2008_000007", "ß-\udcff")
# Any float32 but those so small that even a float64 loses them when VOC's one pixel is added.
PIXELS = st.floats(0, 1e4, width=32).map(lambda x: x if x > 1e-8 else 0.0)
SCORES = st.floats(0, 1, width=32)


@st.composite
def found_in_an_image(draw, coordinates=PIXELS, scores=SCORES, dtype=np.float32):
    """Draw detections in the order in which files give them back."""
    corner = st.tuples(*[coordinates] * 4).map(
        lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
    )
    rows = draw(st.lists(st.tuples(scores, st.integers(0, 2), corner), max_size=6))
    rows.sort(key=lambda row: (-row[0], row[1]))
    return Detections(
        np.array([row[2] for row in rows], dtype=dtype).reshape(-1, 4),
        np.array([row[0] for row in rows], dtype=dtype),
        np.array([row[1] for row in rows], dtype=np.int64),
    )


def three(**options):
    return st.lists(found_in_an_image(**options), min_size=3, max_size=3)


def there_and_back(kind, detections):
    with tempfile.TemporaryDirectory() as folder:
        if kind == "voc":
            write_voc_results(Path(folder), detections, IDS, CLASSES)
            return read_voc_results(Path(folder), IDS, CLASSES)
        path = Path(folder) / "detections.json"
        write_coco_detections(path, detections)
        return read_coco_detections(path, 3, 3)


@pytest.mark.parametrize("kind", ["voc", "coco"])
@given(detections=three())
def test_float32_comes_back_exactly(kind, detections):
    for before, after in zip(detections, there_and_back(kind, detections), strict=True):
        np.testing.assert_array_equal(after.boxes.astype(np.float32), before.boxes)
        np.testing.assert_array_equal(after.scores.astype(np.float32), before.scores)
        np.testing.assert_array_equal(after.classes, before.classes)


@pytest.mark.parametrize("kind", ["voc", "coco"])
@given(detections=three(coordinates=st.floats(-1e4, 1e4), scores=st.floats(0, 1), dtype=np.float64))
def test_float64_comes_back_up_to_rounding(kind, detections):
    for before, after in zip(detections, there_and_back(kind, detections), strict=True):
        np.testing.assert_allclose(after.boxes, before.boxes, rtol=0, atol=1e-11)
        np.testing.assert_array_equal(after.scores, before.scores)
        np.testing.assert_array_equal(after.classes, before.classes)
