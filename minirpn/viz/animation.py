"""The steps of a sliding window as an animation that a page carries along."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from matplotlib.animation import FuncAnimation

from minirpn._typing import Array
from minirpn.kernels.window import Pair
from minirpn.viz.windows import Kernel, Panels

_MOST_FRAMES = 40
# matplotlib takes the symbols of its buttons from a web page; these are in every font.
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
        A piece of a page that needs nothing from elsewhere, and runs offline.
    """

    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html


def animate_window(
    image: Array,
    output: Array,
    *,
    kernel: Kernel,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    interval: int = 600,
) -> Animation:
    """Return an animation of `draw_window`, one picture for each output, row by row.

    Parameters
    ----------
    image, output, kernel, stride, padding
        As for `draw_window`; at most 40 outputs.
    interval
        Time of a picture in milliseconds.

    Raises
    ------
    ValueError
        As `draw_window`, or there are too many outputs.
    """
    panels = Panels(image, output, kernel, stride, padding)
    if panels.output.size > _MOST_FRAMES:
        raise ValueError(
            f"output: expected at most {_MOST_FRAMES} numbers, got {panels.output.size}"
        )
    panels.figure.set_dpi(72)
    panels.figure.draw_without_rendering()  # finds the layout, which is then the same for all
    panels.figure.set_layout_engine("none")
    frames = FuncAnimation(
        panels.figure,
        panels.move,
        frames=list(np.ndindex(panels.output.shape)),
        interval=interval,
        cache_frame_data=False,
    )
    return Animation(_offline(frames.to_jshtml(default_mode="loop")))


def _offline(html: str) -> str:
    """Return a player of matplotlib's whose buttons need no font from the web."""
    html = re.sub(r"<link [^>]*>", "", html)
    return re.sub(r'<i class="fa fa-([a-z -]+)"></i>', lambda found: _SYMBOLS[found.group(1)], html)
