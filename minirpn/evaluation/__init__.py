"""How good proposals, detections and anchors are, in numbers."""

from minirpn.evaluation.anchor_fit import (
    VGG16_GRID,
    AnchorFit,
    Grid,
    Scene,
    anchor_fit,
    suggest_anchors,
)
from minirpn.evaluation.average_precision import (
    AVERAGES,
    APResult,
    Method,
    PrecisionRecall,
    area_under_curve,
    average_precision,
    eleven_point,
    envelope,
    precision_recall,
)
from minirpn.evaluation.recall import (
    COUNTS,
    IOU_THRESHOLDS,
    Matching,
    RecallResult,
    proposal_recall,
)
from minirpn.evaluation.result_files import (
    read_coco_detections,
    read_voc_results,
    write_coco_detections,
    write_coco_ground_truth,
    write_voc_results,
)

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
