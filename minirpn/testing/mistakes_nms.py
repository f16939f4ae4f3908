"""Suppression as people first write it, each time wrong in one way; see `mistakes_boxes`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirpn.testing import exact


def _greedy(
    boxes: np.ndarray,
    order: list[int],
    suppresses: Callable[[float], bool],
    last_only: bool = False,
) -> list[int]:
    kept: list[int] = []
    for candidate in order:
        rivals = kept[-1:] if last_only else kept
        overlaps = [float(exact.pair_iou(boxes[rival], boxes[candidate])) for rival in rivals]
        if not any(map(suppresses, overlaps)):
            kept.append(candidate)
    return kept


def _by_score(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def nms_at_least(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """An IoU equal to the threshold does not suppress: > it is, not >=."""
    return _greedy(boxes, _by_score(scores), lambda overlap: overlap >= iou_threshold)


def nms_lowest_first(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """Did you begin with the lowest score?"""
    return exact.nms(boxes, -scores, iou_threshold)


def nms_ties_last(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """Of equal scores the lower index comes first."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], -index))
    return _greedy(boxes, order, lambda overlap: overlap > iou_threshold)


def nms_by_index(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """Give the indices by score, the highest first."""
    return sorted(exact.nms(boxes, scores, iou_threshold))


def nms_gone_suppress(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """A box that is gone suppresses nothing any more."""
    order, kept = _by_score(scores), []
    for place, candidate in enumerate(order):
        overlaps = [
            float(exact.pair_iou(boxes[rival], boxes[candidate])) for rival in order[:place]
        ]
        if not any(overlap > iou_threshold for overlap in overlaps):
            kept.append(candidate)
    return kept


def nms_last_only(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """Compare with every box that stayed, not with the last one only."""
    return _greedy(
        boxes, _by_score(scores), lambda overlap: overlap > iou_threshold, last_only=True
    )


def nms_sorted_places(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """These are places in the sorted list: say places in the input."""
    order = _by_score(scores)
    return [order.index(kept) for kept in exact.nms(boxes, scores, iou_threshold)]


def nms_inverted(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    """Did you keep what should go?"""
    kept = exact.nms(boxes, scores, iou_threshold)
    return [index for index in _by_score(scores) if index not in kept]


NMS = (
    nms_at_least,
    nms_lowest_first,
    nms_ties_last,
    nms_by_index,
    nms_gone_suppress,
    nms_last_only,
    nms_sorted_places,
    nms_inverted,
)
