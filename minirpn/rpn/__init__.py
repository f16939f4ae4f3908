"""The Region Proposal Network: anchors, and what the network should answer at each of them."""

from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.targets import (
    IGNORE,
    NEGATIVE,
    POSITIVE,
    AnchorLabels,
    LabelConfig,
    SamplingConfig,
    anchor_targets,
    label_anchors,
    sample_minibatch,
)

__all__ = [
    "IGNORE",
    "NEGATIVE",
    "POSITIVE",
    "AnchorConfig",
    "AnchorLabels",
    "LabelConfig",
    "SamplingConfig",
    "anchor_targets",
    "base_anchors",
    "grid_anchors",
    "label_anchors",
    "sample_minibatch",
]
