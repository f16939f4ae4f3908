"""Pictures: every function draws on given axes or new ones, returns them, and shows nothing."""

from minirpn.viz.animation import Animation, Moment, animate_boxes, animate_nms
from minirpn.viz.diagrams import (
    draw_graph,
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
from minirpn.viz.phases import draw_phases
from minirpn.viz.style import save
from minirpn.viz.training import (
    plot_gradient_norm,
    plot_norms,
    plot_stages,
    plot_training,
    plot_validation_recall,
    plot_zero_share,
)
from minirpn.viz.windows import animate_window, draw_columns, draw_window

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
