"""The Region Proposal Network: anchors, training targets, head, loss, proposals."""

from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.head import HeadOutput, RPNHead, anchor_map, anchor_rows
from minirpn.rpn.loss import (
    LossConfig,
    RPNLoss,
    RPNLossCache,
    RPNLossGrads,
    rpn_loss_backward,
    rpn_loss_forward,
)
from minirpn.rpn.network import RPN, RPNCache, RPNOutput
from minirpn.rpn.proposals import (
    ProposalConfig,
    Proposals,
    TracedProposals,
    candidates,
    object_scores,
    propose,
    propose_among,
    trace_proposals,
)
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
    "RPN",
    "AnchorConfig",
    "AnchorLabels",
    "HeadOutput",
    "LabelConfig",
    "LossConfig",
    "ProposalConfig",
    "Proposals",
    "RPNCache",
    "RPNHead",
    "RPNLoss",
    "RPNLossCache",
    "RPNLossGrads",
    "RPNOutput",
    "SamplingConfig",
    "TracedProposals",
    "anchor_map",
    "anchor_rows",
    "anchor_targets",
    "base_anchors",
    "candidates",
    "grid_anchors",
    "label_anchors",
    "object_scores",
    "propose",
    "propose_among",
    "rpn_loss_backward",
    "rpn_loss_forward",
    "sample_minibatch",
    "trace_proposals",
]
