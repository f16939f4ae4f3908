"""Fast R-CNN on features shared with the RPN (section 3.2 of the paper)."""

from minirpn.detector.head import DetectorHead, DetectorOutput, build_head
from minirpn.detector.loss import (
    DetectorLoss,
    DetectorLossGrads,
    detector_loss_backward,
    detector_loss_forward,
)
from minirpn.detector.network import FasterRCNN, FastRCNN, FastRCNNGrads
from minirpn.detector.postprocess import (
    DetectionConfig,
    Detections,
    class_probabilities,
    postprocess,
)
from minirpn.detector.targets import (
    BACKGROUND,
    RegionConfig,
    RegionLabels,
    decode_regions,
    label_regions,
    region_targets,
    sample_regions,
)

__all__ = [
    "BACKGROUND",
    "DetectionConfig",
    "Detections",
    "DetectorHead",
    "DetectorLoss",
    "DetectorLossGrads",
    "DetectorOutput",
    "FastRCNN",
    "FastRCNNGrads",
    "FasterRCNN",
    "RegionConfig",
    "RegionLabels",
    "build_head",
    "class_probabilities",
    "decode_regions",
    "detector_loss_backward",
    "detector_loss_forward",
    "label_regions",
    "postprocess",
    "region_targets",
    "sample_regions",
]
