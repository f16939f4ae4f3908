"""Proposals on an image, by score, and which objects they find."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from minirpn import boxes
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.viz.images import draw_boxes, draw_image
from minirpn.viz.style import BLACK, SEQUENTIAL, VERMILLION, legend_below


def draw_proposals(
    image: Array,
    proposals: Array,
    scores: Array,
    gt_boxes: Array | None = None,
    ax: Axes | None = None,
    *,
    top: int = 50,
    iou_threshold: float = 0.5,
) -> Axes:
    """Return axes with the first proposals, coloured by score, and the objects found and missed.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    proposals, scores
        (R, 4) half-open pixels of the image and (R,) from 0 to 1, the best first.
    gt_boxes
        (M, 4) in the same pixels. Found ones (any of the drawn proposals reaches `iou_threshold`)
        are drawn solid, missed ones dashed.
    ax
        Where to draw; None makes a new figure.
    top
        How many proposals are drawn.
    iou_threshold
        From which IoU on an object counts as found.
    """
    check_box_list(proposals, "proposals")
    check_shape(scores, (proposals.shape[0],), "scores")
    # The worst first, so that the best lie on top.
    first, score = to_host(proposals)[:top][::-1], to_host(scores)[:top][::-1]
    ax = draw_image(image, ax)
    scale = ScalarMappable(Normalize(0, 1), colormaps[SEQUENTIAL])
    draw_boxes(first, ax, colors=scale.to_rgba(score), linewidth=1.2)
    ax.figure.colorbar(scale, ax=ax, label="score (probability of an object)", shrink=0.8)
    title = f"the {len(first)} best proposals"
    if gt_boxes is not None:
        objects = to_host(gt_boxes)
        found = (boxes.iou(first, objects) >= iou_threshold).any(axis=0)
        _draw_objects(ax, objects, found)
        title += f" find {found.sum()} of {len(found)} objects at IoU ≥ {iou_threshold:g}"
    ax.set_title(title, fontsize="medium")
    return ax


def _draw_objects(ax: Axes, gt_boxes: np.ndarray, found: np.ndarray) -> None:
    """Draw found objects solid and missed ones dashed, in colours that no score has.

    The white edge shows on any ground.
    """
    draw_boxes(gt_boxes, ax, colors="white", linewidth=4)
    draw_boxes(gt_boxes[found], ax, colors=BLACK, linewidth=2.5, label="object, found")
    draw_boxes(
        gt_boxes[~found],
        ax,
        colors=VERMILLION,
        linewidth=2.5,
        linestyle="--",
        label="object, missed",
    )
    legend_below(ax)
