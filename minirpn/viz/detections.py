"""Detections on an image, by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.detector import Detections
from minirpn.viz.images import draw_boxes, draw_image
from minirpn.viz.style import CYCLE


def draw_detections(
    image: Array,
    detections: Detections,
    classes: Sequence[str],
    ax: Axes | None = None,
    *,
    score_threshold: float = 0.0,
) -> Axes:
    """Return axes with the image and each detection, with its class and its score.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    detections
        In pixels of the image.
    classes
        The names. A class keeps its colour from image to image; with more than eight, some share
        theirs.
    ax
        Where to draw; None makes a new figure.
    score_threshold
        Detections of a lower score are left out.
    """
    check_box_list(detections.boxes, "detections.boxes")
    D = detections.boxes.shape[0]
    check_shape(detections.scores, (D,), "detections.scores")
    check_shape(detections.classes, (D,), "detections.classes")
    boxes, scores, labels = map(to_host, detections)
    shown = np.flatnonzero(scores >= score_threshold)
    # The lowest score first, so that the highest lies on top.
    shown = shown[np.argsort(scores[shown], kind="stable")]
    found = f"{len(shown)} detection{'' if len(shown) == 1 else 's'}"
    least = f" of at least {score_threshold:g}" if score_threshold else ""
    ax = draw_image(image, ax, title=found + least)
    return draw_boxes(
        boxes[shown],
        ax,
        names=[classes[label] for label in labels[shown]],
        scores=scores[shown],
        colors=[CYCLE[label % len(CYCLE)] for label in labels[shown]],
        linewidth=2,
    )
