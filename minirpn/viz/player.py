"""A sequence of pictures with a play button, as a notebook or a browser shows it, offline too."""

from __future__ import annotations

import re
from collections.abc import Callable

import matplotlib
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure

# matplotlib writes the buttons' symbols in a font that it fetches from the network.
_SYMBOLS = {
    "minus": "−",
    "fast-backward": "|◀◀",
    "step-backward": "|◀",
    "play fa-flip-horizontal": "◀",
    "pause": "‖",
    "play": "▶",
    "step-forward": "▶|",
    "fast-forward": "▶▶|",
    "plus": "+",
}
_ICON = re.compile(r'<i class="fa fa-([a-z -]+)"></i>')
_STYLESHEET = re.compile(r"<link\b[^>]*>")


class Player:
    """Pictures that play once, with buttons and a slider; a notebook shows it as a cell's value.

    Parameters
    ----------
    html
        Pictures and program, for any page.
    frames
        How many pictures.
    """

    def __init__(self, html: str, frames: int) -> None:
        self.html = html
        self.frames = frames

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"<a player of {self.frames} pictures, {len(self.html) / 1e6:.1f} MB>"


def play(figure: Figure, draw: Callable[[int], object], count: int, *, seconds: float) -> Player:
    """Return a player of the pictures that ``draw(0)`` to ``draw(count - 1)`` make of a figure.

    Parameters
    ----------
    figure
        Cleared before each picture. Its size and its dots per inch are those of all.
    draw
        Draws a picture on it.
    count
        How many, at least 1.
    seconds
        How long each is seen.

    Raises
    ------
    ValueError
        There is no picture.

    Notes
    -----
    The pictures are in the page, as JPEG: a third of the bytes of PNG for an image with a textured
    ground. Nothing is fetched.
    """
    if count < 1:
        raise ValueError("play: expected at least one picture")

    def draw_anew(index: int) -> None:
        figure.clear()
        draw(index)

    style = {
        "animation.frame_format": "jpeg",
        "savefig.dpi": "figure",
        "savefig.facecolor": "white",
    }
    with matplotlib.rc_context(style):
        animation = FuncAnimation(figure, draw_anew, frames=count, interval=1000 * seconds)
        html = animation.to_jshtml(default_mode="once")
    html = _ICON.sub(lambda icon: _SYMBOLS[icon[1]], _STYLESHEET.sub("", html))
    return Player(html, count)
