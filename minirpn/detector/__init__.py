"""Fast R-CNN on features shared with the RPN (section 3.2 of the paper)."""

from minirpn.detector.detections import Detections

__all__ = ["Detections"]
