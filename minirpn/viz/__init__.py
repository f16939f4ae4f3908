"""Pictures: every function draws on given axes or new ones, returns them, and shows nothing."""

from minirpn.viz.anchor_fit import plot_best_iou, plot_box_shapes
from minirpn.viz.anchors import draw_anchors, draw_labels
from minirpn.viz.animation import animate_window
from minirpn.viz.animation_proposals import Moment, animate_boxes, animate_nms
from minirpn.viz.detections import draw_detections
from minirpn.viz.diagrams import draw_numbers, draw_pixels, plot_bars, plot_lines
from minirpn.viz.graph import draw_graph
from minirpn.viz.images import draw_boxes, draw_image
from minirpn.viz.objectness import plot_objectness
from minirpn.viz.phases import draw_phases
from minirpn.viz.player import Animation
from minirpn.viz.precision_recall import plot_precision_recall
from minirpn.viz.proposals import draw_proposals
from minirpn.viz.recall import plot_recall
from minirpn.viz.roofline import plot_roofline
from minirpn.viz.studies import plot_proposal_sizes, plot_variants
from minirpn.viz.style import save
from minirpn.viz.training import (
    plot_gradient_norm,
    plot_norms,
    plot_stages,
    plot_training,
    plot_validation_recall,
    plot_zero_share,
)
from minirpn.viz.windows import draw_columns, draw_window

__all__ = [
    "Animation",
    "Moment",
    "animate_boxes",
    "animate_nms",
    "animate_window",
    "draw_anchors",
    "draw_boxes",
    "draw_columns",
    "draw_detections",
    "draw_graph",
    "draw_image",
    "draw_labels",
    "draw_numbers",
    "draw_phases",
    "draw_pixels",
    "draw_proposals",
    "draw_window",
    "plot_bars",
    "plot_best_iou",
    "plot_box_shapes",
    "plot_gradient_norm",
    "plot_lines",
    "plot_norms",
    "plot_objectness",
    "plot_precision_recall",
    "plot_proposal_sizes",
    "plot_recall",
    "plot_roofline",
    "plot_stages",
    "plot_training",
    "plot_validation_recall",
    "plot_variants",
    "plot_zero_share",
    "save",
]
