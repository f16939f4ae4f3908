"""Animations that a page carries along: proposals while a network learns, suppression by rounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minirpn import boxes as box_ops
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.viz.images import (
    draw_boxes,
    draw_image,
    draw_proposals,
    pixel_axes,
    plot_objectness,
)
from minirpn.viz.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, legend_below

_MOMENT = 500  # milliseconds for a picture of a network that learns
_ROUND = 1200  # milliseconds for a round of suppression, which has more to read
_DOTS_PER_INCH = 80
_MARGIN = 0.05  # around boxes without an image, as a share of what they cover


# matplotlib loads the symbols of its buttons from a web page; these are in every font.
_SYMBOLS = {
    "minus": "−",
    "fast-backward": "«",
    "step-backward": "‹",
    "play fa-flip-horizontal": "◂",
    "pause": "||",
    "play": "▸",
    "step-forward": "›",
    "fast-forward": "»",
    "plus": "+",
}


@dataclass(frozen=True)
class Animation:
    """Pictures one after the other, with buttons; a notebook shows it as it is.

    Parameters
    ----------
    html
        A piece of a page that loads nothing, and runs offline.
    """

    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html


def recorded(
    pictures: FuncAnimation,
    *,
    mode: Literal["loop", "once"],
    picture_format: Literal["png", "jpeg"] = "png",
) -> Animation:
    """Return an animation whose pictures are in the page itself.

    Parameters
    ----------
    pictures
        Drawn by matplotlib, each as large as its figure.
    mode
        Whether it starts again after the last picture.
    picture_format
        ``"png"`` is sharp; ``"jpeg"`` needs a third of the bytes for a photograph.
    """
    style = {
        "animation.frame_format": picture_format,
        "savefig.dpi": "figure",
        "savefig.facecolor": "white",
    }
    with matplotlib.rc_context(style):
        html = pictures.to_jshtml(default_mode=mode)
    # The buttons need no font from the web.
    html = re.sub(r"<link [^>]*>", "", html)
    html = re.sub(r'<i class="fa fa-([a-z -]+)"></i>', lambda icon: _SYMBOLS[icon.group(1)], html)
    # The first picture is there before, and without, the script. In JupyterLab an image that is
    # empty at first stays without size when the script fills it.
    first = re.findall(r'frames\[0\] = "([^"]*)"', html)[0].replace("\\\n", "")  # on one line
    return Animation(re.sub(r'(<img id="\w+")>', rf'\1 alt="animation" src="{first}">', html))


class Moment(NamedTuple):
    """The output of a network for an image, at one time of its training."""

    name: str  # such as "step 40, loss 0.031"
    objectness: Array  # (Hf, Wf) probabilities, or (Hf, Wf, A)
    proposals: Array  # (R, 4) half-open pixels of the image, the best first
    scores: Array  # (R,)


def animate_boxes(
    image: Array,
    moments: Sequence[Moment],
    gt_boxes: Array | None = None,
    *,
    stride: float = 16,
    top: int = 10,
) -> Animation:
    """Return an animation of the objectness map and the best proposals, moment after moment.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    moments
        In order of time, at least one.
    gt_boxes
        (M, 4) half-open pixels of the image; drawn solid if the proposals find them.
    stride
        Image pixels a cell of the objectness map covers.
    top
        How many proposals are drawn.

    See Also
    --------
    plot_objectness, draw_proposals : one picture each.
    """
    figure = Figure(figsize=(9.6, 3.9), dpi=_DOTS_PER_INCH, layout="constrained")
    pale = _pale(to_host(image))

    def draw(index: int) -> None:
        moment = moments[index]
        left, right = figure.subplots(1, 2)
        plot_objectness(moment.objectness, pale, left, stride=stride)
        draw_proposals(image, moment.proposals, moment.scores, gt_boxes, right, top=top)
        figure.suptitle(moment.name, fontsize="medium")

    return _played(figure, draw, len(moments), interval=_MOMENT)


def _played(figure: Figure, draw: Callable[[int], None], count: int, *, interval: int) -> Animation:
    """Return an animation that plays once, each picture drawn on the cleared figure."""
    if count < 1:
        raise ValueError("expected at least one picture to play")

    def draw_again(index: int) -> None:
        figure.clear()
        draw(index)

    pictures = FuncAnimation(figure, draw_again, frames=count, interval=interval)
    return recorded(pictures, mode="once", picture_format="jpeg")


def _pale(image: np.ndarray) -> np.ndarray:
    """Return the image in light grey, so that only a map over it has colours."""
    grey = (128 + image.mean(axis=2) / 2).astype(np.uint8)
    return np.stack([grey] * 3, axis=2)  # (H, W) -> (H, W, 3)


class Round(NamedTuple):
    """One round of greedy suppression; all are positions in the list of boxes, ascending."""

    best: int  # the highest score of those left: it stays
    struck: np.ndarray  # removed by it
    stayed: np.ndarray  # stayed in earlier rounds
    gone: np.ndarray  # removed in earlier rounds
    waiting: np.ndarray  # left for later rounds


def suppression_rounds(boxes: Array, scores: Array, iou_threshold: float) -> list[Round]:
    """Return the rounds of greedy suppression, one for each box that stays.

    Parameters
    ----------
    boxes, scores
        (N, 4) and (N,).
    iou_threshold
        A box goes when its IoU with a better one that stayed is above this.

    Notes
    -----
    The `best` of the rounds are, in order, what `minirpn.boxes.nms` returns.
    """
    check_box_list(boxes)
    check_shape(scores, (boxes.shape[0],), "scores")
    corners = to_host(boxes)
    overlaps = box_ops.iou(corners, corners)
    left = np.argsort(-to_host(scores), kind="stable")
    stayed, gone = left[:0], left[:0]
    rounds = []
    while len(left):
        best, others = left[0], left[1:]
        covered = overlaps[best, others] > iou_threshold
        struck, left = others[covered], others[~covered]
        rounds.append(Round(int(best), *map(np.sort, (struck, stayed, gone, left))))
        stayed, gone = np.append(stayed, best), np.concatenate([gone, struck])
    return rounds


def animate_nms(
    boxes: Array,
    scores: Array,
    *,
    iou_threshold: float,
    image: Array | None = None,
    names: Sequence[str] | None = None,
) -> Animation:
    """Return an animation of greedy suppression: all boxes, then a picture for each that stays.

    Parameters
    ----------
    boxes, scores
        (N, 4) half-open pixels and (N,), in any order, at least one.
    iou_threshold
        A box goes when its IoU with a better one that stayed is above this.
    image
        (H, W, 3) uint8, drawn below the boxes.
    names
        A word for each box, written at its upper left corner.
    """
    corners, host_scores = to_host(boxes), to_host(scores)
    rounds = suppression_rounds(corners, host_scores, iou_threshold)
    figure = Figure(figsize=(6.0, 5.6), dpi=_DOTS_PER_INCH)

    def draw(index: int) -> None:
        # The same place in all pictures: a layout for each one would let them jump.
        figure.subplots_adjust(left=0.12, right=0.97, top=0.94, bottom=0.27)
        ax = _axes_for(figure.add_subplot(), corners, image)
        draw_round(corners, host_scores, rounds[index - 1] if index else None, ax, names)

    return _played(figure, draw, 1 + len(rounds), interval=_ROUND)


def draw_round(
    boxes: np.ndarray,
    scores: np.ndarray,
    step: Round | None,
    ax: Axes,
    names: Sequence[str] | None = None,
) -> Axes:
    """Return axes with one round of suppression, or with all boxes waiting if there is none."""
    none = np.zeros(0, dtype=np.int64)
    if step is None:
        best, struck, stayed, gone, waiting = none, none, none, none, np.arange(len(boxes))
    else:
        best, (struck, stayed, gone, waiting) = np.array([step.best]), step[1:]
    for chosen, color, linestyle, linewidth, group in (
        (gone, GREY, ":", 1.2, "gone"),
        (waiting, ORANGE, "-", 1.2, "waiting"),
        (stayed, BLUE, "-", 2.0, "stayed"),
        (struck, VERMILLION, "--", 2.0, "struck out now"),
        (best, BLACK, "-", 3.0, "best of those left"),
    ):
        draw_boxes(
            boxes[chosen],
            ax,
            names=None if names is None else [names[int(k)] for k in chosen],
            scores=scores[chosen] if chosen is best else None,
            colors=color,
            linestyle=linestyle,
            linewidth=linewidth,
            label=f"{group} ({len(chosen)})",
        )
    title = f"{len(boxes)} boxes, none looked at yet"
    if step is not None:
        title = f"round {len(stayed) + 1}: {scores[step.best]:.2f} stays, {len(struck)} struck out"
    ax.set_title(title, fontsize="medium")
    legend_below(ax)
    return ax


def _axes_for(ax: Axes, boxes: np.ndarray, image: Array | None) -> Axes:
    """Return axes with the image, or empty ones with room for the boxes."""
    if image is not None:
        return draw_image(image, ax)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    room = _MARGIN * (high - low).max()
    return pixel_axes(ax, low - room, high + room)
