"""By which rule of section 3.1.2 an anchor got its label."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from minirpn.rpn.targets import NEGATIVE, POSITIVE, AnchorLabels, LabelConfig


class Rule(IntEnum):
    """Why an anchor is positive, negative or ignored."""

    NEGATIVE = 0  # IoU < 0.3 with all ground truths
    BY_IOU = 1  # positive by rule (ii) alone: IoU >= 0.7 with a ground truth
    BY_BEST = 2  # positive by rule (i) alone: a best anchor of a ground truth
    BY_BOTH = 3  # positive by both
    BETWEEN = 4  # ignored: neither positive nor negative
    OUTSIDE = 5  # ignored: it crosses the border of the image (section 3.3)


def rules_of(assigned: AnchorLabels, inside: np.ndarray, config: LabelConfig) -> np.ndarray:
    """Return the rule behind each label.

    Parameters
    ----------
    assigned
        K anchors as `minirpn.rpn.label_anchors` labels them, on the host.
    inside
        (K,) bool: the anchors that lie wholly inside the image.
    config
        What they were labelled with.

    Returns
    -------
    ndarray
        (K,) int8, of `Rule`.
    """
    positive = assigned.labels == POSITIVE
    by_iou = positive & (assigned.max_iou >= config.positive_iou)
    by_best = positive & assigned.by_best
    rules = np.full(assigned.labels.shape, Rule.BETWEEN, dtype=np.int8)
    rules[assigned.labels == NEGATIVE] = Rule.NEGATIVE
    rules[by_iou] = Rule.BY_IOU
    rules[by_best] = Rule.BY_BEST
    rules[by_iou & by_best] = Rule.BY_BOTH
    if config.inside_only:
        rules[~inside] = Rule.OUTSIDE
    return rules
