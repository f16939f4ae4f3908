"""How good proposals, detections and anchors are, in numbers."""

from minirpn.evaluation.anchor_fit import VGG16_GRID, AnchorFit, Grid, Scene, anchor_fit
from minirpn.evaluation.anchor_search import suggest_anchors
from minirpn.evaluation.recall import COUNTS, IOU_THRESHOLDS, proposal_recall
from minirpn.evaluation.recall_result import Matching, RecallResult

__all__ = [
    "COUNTS",
    "IOU_THRESHOLDS",
    "VGG16_GRID",
    "AnchorFit",
    "Grid",
    "Matching",
    "RecallResult",
    "Scene",
    "anchor_fit",
    "proposal_recall",
    "suggest_anchors",
]
