"""How good proposals and detections are, in numbers."""

from minirpn.evaluation.recall import COUNTS, IOU_THRESHOLDS, proposal_recall
from minirpn.evaluation.recall_result import Matching, RecallResult

__all__ = ["COUNTS", "IOU_THRESHOLDS", "Matching", "RecallResult", "proposal_recall"]
