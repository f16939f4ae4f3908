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
_LEAST_MARGIN = 1  # pixel
_MARGIN = 0.05  # of the longer side of what is drawn


def draw_boxes_of(question: dict[str, Any]) -> Any:
    """Return axes with all boxes of a question, named in the legend and numbered.

    Each list is drawn thinner than the one before, so that equal boxes are both seen. A cross marks
    the center of a box without area: of a point or a line there would be little to see, and a box
    whose end lies before its start looks like any other.
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
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        label, color = _NAMES[name], CYCLE[k]
        outlines: Any = {"colors": color, "linewidth": 5 - 2 * k}
        if not (len(boxes) and empty.all()):
            outlines["label"] = label
        draw_boxes(boxes, ax, names=numbers, **outlines)
        if empty.any():
            x, y = (boxes[empty, :2] + boxes[empty, 2:]).T / 2
            cross: Any = {"color": color, "markersize": 20 - 6 * k, "markeredgewidth": 5 - 2 * k}
            ax.plot(x, y, "x", label=f"{label} without area", **cross)
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    corners = everything.reshape(-1, 2)  # (R, 4) -> (2 R, 2), of a box inside out too
    low, high = corners.min(axis=0, initial=np.inf), corners.max(axis=0, initial=-np.inf)
    if not len(corners):
        low, high = np.zeros(2), np.ones(2)
    margin = max(_LEAST_MARGIN, _MARGIN * float((high - low).max()))
    return pixel_axes(ax, low - margin, high + margin)
