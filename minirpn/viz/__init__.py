"""Pictures: every function draws on given axes or new ones, returns them, and shows nothing."""

from minirpn.viz.diagrams import (
    draw_numbers,
    draw_pixels,
    plot_bars,
    plot_lines,
    plot_roofline,
)
from minirpn.viz.evaluation import (
    plot_best_iou,
    plot_box_shapes,
    plot_precision_recall,
    plot_proposal_sizes,
    plot_recall,
    plot_variants,
)
from minirpn.viz.images import (
    draw_anchors,
    draw_boxes,
    draw_detections,
    draw_image,
    draw_labels,
    draw_proposals,
    plot_objectness,
)
from minirpn.viz.style import save
from minirpn.viz.training import (
    plot_gradient_norm,
    plot_norms,
    plot_stages,
    plot_training,
    plot_validation_recall,
    plot_zero_share,
)

__all__ = [
    "draw_anchors",
    "draw_boxes",
    "draw_detections",
    "draw_image",
    "draw_labels",
    "draw_numbers",
    "draw_pixels",
    "draw_proposals",
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
