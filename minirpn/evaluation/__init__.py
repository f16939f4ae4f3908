"""How good proposals, detections and anchors are, in numbers."""

from minirpn.evaluation.anchor_fit import VGG16_GRID, AnchorFit, Grid, Scene, anchor_fit
from minirpn.evaluation.anchor_search import suggest_anchors
from minirpn.evaluation.ap_result import APResult
from minirpn.evaluation.average_precision import average_precision
from minirpn.evaluation.coco_files import (
    read_coco_detections,
    write_coco_detections,
    write_coco_ground_truth,
)
from minirpn.evaluation.precision_recall import (
    AVERAGES,
    Method,
    PrecisionRecall,
    area_under_curve,
    eleven_point,
    envelope,
    precision_recall,
)
from minirpn.evaluation.recall import COUNTS, IOU_THRESHOLDS, proposal_recall
from minirpn.evaluation.recall_result import Matching, RecallResult
from minirpn.evaluation.voc_results import read_voc_results, write_voc_results

__all__ = [
    "AVERAGES",
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
    "read_coco_detections",
    "read_voc_results",
    "suggest_anchors",
    "write_coco_detections",
    "write_coco_ground_truth",
    "write_voc_results",
]
