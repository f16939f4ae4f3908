"""The steps of a sliding window as an animation that a page carries along."""

from __future__ import annotations

import numpy as np
from matplotlib.animation import FuncAnimation

from minirpn._typing import Array
from minirpn.kernels.window import Pair
from minirpn.viz.player import Animation, recorded
from minirpn.viz.windows import Kernel, Panels

_MOST_FRAMES = 40


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
    return recorded(frames, mode="loop")
