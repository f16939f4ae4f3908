"""How good proposals, detections and anchors are, in numbers."""

from minirpn.evaluation.anchor_fit import VGG16_GRID, AnchorFit, Grid, Scene, anchor_fit
from minirpn.evaluation.anchor_search import suggest_anchors
from minirpn.evaluation.ap_result import APResult
from minirpn.evaluation.average_precision import average_precision
from minirpn.evaluation.precision_recall import (
    Method,
    PrecisionRecall,
    area_under_curve,
    eleven_point,
    envelope,
    precision_recall,
)
from minirpn.evaluation.recall import COUNTS, IOU_THRESHOLDS, proposal_recall
from minirpn.evaluation.recall_result import Matching, RecallResult

__all__ = [
    "COUNTS",
    "IOU_THRESHOLDS",
    "VGG16_GRID",
    "APResult",
    "AnchorFit",
    "Grid",
    "Matching",
    "Method",
    "PrecisionRecall",
    "RecallResult",
    "Scene",
    "anchor_fit",
    "area_under_curve",
    "average_precision",
    "eleven_point",
    "envelope",
    "precision_recall",
    "proposal_recall",
    "suggest_anchors",
]
