"""Arguments for the operations of boxes: operation -> function that draws (args, kwargs)."""

import numpy as np
from hypothesis import strategies as st

from minirpn.testing import strategies

DTYPES = st.sampled_from([np.float32, np.float64])


def iou(draw):
    dtype, whole = draw(DTYPES), draw(st.booleans())
    a, b = (draw(strategies.boxes(whole=whole, dtype=dtype)) for _ in range(2))
    return (a, b), {}


def nms(draw):
    boxes = draw(strategies.boxes(whole=True, max_count=16, extent=16, dtype=draw(DTYPES)))
    iou_threshold = draw(st.sampled_from([0.0, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0]))
    return (boxes, iou_threshold, draw(st.integers(0, 16))), {}


def assign(draw):
    anchors, gt_boxes, _ = draw(strategies.scenes(max_cells=3))
    count = len(anchors)
    eligible = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool)
    if draw(st.integers(0, 9)) == 0:
        anchors, eligible = anchors[:0], eligible[:0]
    return (anchors, gt_boxes, eligible, draw(st.sampled_from([0.0, 0.05, 1.0]))), {}


def label(draw):
    anchors, gt_boxes, image_size = draw(strategies.scenes(max_cells=3))
    dtype = draw(DTYPES)
    if draw(st.integers(0, 9)) == 0:
        anchors = anchors[:0]
    thresholds = draw(st.sampled_from([(0.7, 0.3), (0.5, 0.5), (1.0, 0.1)]))
    ties = draw(st.sampled_from([0.0, 0.05]))
    boxes = anchors.astype(dtype), gt_boxes.astype(dtype)
    return (*boxes, image_size, *thresholds, ties, draw(st.booleans())), {}


def candidates(draw):
    anchors, _, image_size = draw(strategies.scenes(max_cells=3))
    dtype, rng = draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    anchors = anchors[: draw(st.integers(0, len(anchors)))].astype(dtype)
    count = len(anchors)
    deltas = rng.normal(scale=draw(st.sampled_from([0.0, 0.5, 200.0])), size=(count, 4))
    values = draw(st.sampled_from([1, 2]))
    objectness = rng.normal(scale=draw(st.sampled_from([0.0, 3.0, 300.0])), size=(count, values))
    # Deltas of 0 leave anchors as they are: some sides are just as long as they have to be.
    arrays = anchors, objectness.astype(dtype), deltas.astype(dtype)
    arrays = tuple(draw(strategies.layouts(array)) for array in arrays)
    return (*arrays, image_size, draw(st.sampled_from([0, 1.0, 5.3, 16]))), {}


CASES = {"candidates": candidates, "iou": iou, "nms": nms, "assign": assign, "label": label}
