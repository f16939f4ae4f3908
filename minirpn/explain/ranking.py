"""Proposals before and after NMS, and which box ended each that went."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minirpn import boxes as box_ops
from minirpn._typing import ImageSize
from minirpn.rpn.proposals import ProposalConfig, candidates

KEPT = -1
"""Fate of a candidate that NMS keeps."""
NOT_REACHED = -2
"""Fate of a candidate that NMS never came to, for enough were kept before."""


class Ranking(NamedTuple):
    """The R candidates that entered NMS, highest score first, and how each fared."""

    anchors: np.ndarray  # (R,) int32: whose prediction it is
    fates: np.ndarray  # (R,) int32: KEPT, NOT_REACHED, or the position of the one that beat it


def rank_proposals(
    anchors: np.ndarray,
    objectness: np.ndarray,
    deltas: np.ndarray,
    image_size: ImageSize,
    *,
    scale: float,
    config: ProposalConfig,
) -> Ranking:
    """Return the candidates of `minirpn.rpn.propose` with their fates.

    Parameters are those of `minirpn.rpn.propose`, on the host.

    Returns
    -------
    Ranking
        The kept ones, in their order, are the proposals. Another was beaten by the best-scored
        proposal before it whose IoU with it is above the threshold. It is `NOT_REACHED` if there
        is none because `post_nms` proposals were found first.
    """
    boxes, scores, best = candidates(
        anchors, objectness, deltas, image_size, scale=scale, config=config
    )
    kept = box_ops.nms(boxes, scores, iou_threshold=config.iou_threshold, max_keep=config.post_nms)
    fates = np.full(len(best), NOT_REACHED, dtype=np.int32)
    if len(kept):
        # The first kept box above the threshold is the one NMS met first: later ones are worse.
        beats = box_ops.iou(boxes, boxes[kept]) > config.iou_threshold  # (R, kept)
        beaten = beats.any(axis=1)
        fates[beaten] = kept[beats.argmax(axis=1)[beaten]]
    fates[kept] = KEPT
    return Ranking(best.astype(np.int32), fates)
