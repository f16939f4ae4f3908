"""The picture of a counterexample that is about boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

_NAMES = {
    "a": "a",
    "b": "b",
    "anchors": "anchor",
    "box": "box",
    "boxes": "box",
    "gt_boxes": "object",
}
_MARGIN = 1  # pixel


def draw_boxes_of(question: dict[str, Any]) -> Any:
    """Return axes with all boxes of a question, named in the legend and numbered.

    Each list is drawn thinner than the one before, so that equal boxes are both seen.
    """
    from minirpn.viz.images import draw_boxes, pixel_axes
    from minirpn.viz.style import CYCLE, GREY, new_axes

    ax = new_axes((4.5, 4.5))
    lists = {name: np.atleast_2d(question[name]) for name in _NAMES if name in question}
    everything = np.concatenate(list(lists.values()))
    if "image_size" in question:
        height, width = question["image_size"]
        image = np.array([[0.0, 0, width, height]])
        draw_boxes(image, ax, colors=GREY, linestyle="--", label="image")
        everything = np.concatenate([everything, image])
    for k, (name, boxes) in enumerate(lists.items()):
        numbers = [str(n) for n in range(len(boxes))] if len(boxes) > 1 else None
        draw_boxes(
            boxes, ax, names=numbers, colors=CYCLE[k], linewidth=5 - 2 * k, label=_NAMES[name]
        )
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    low, high = everything[:, :2].min(axis=0), everything[:, 2:].max(axis=0)
    return pixel_axes(ax, low - _MARGIN, high + _MARGIN)
