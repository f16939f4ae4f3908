"""Pictures that play in a notebook or on any page, offline too."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import matplotlib
from matplotlib.animation import FuncAnimation

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


def recorded(
    pictures: FuncAnimation,
    *,
    mode: Literal["loop", "once"],
    picture_format: Literal["png", "jpeg"] = "png",
) -> Animation:
    """Return an animation whose pictures lie in the page.

    Parameters
    ----------
    pictures
        Drawn by matplotlib, each as large as its figure.
    mode
        Whether it begins anew after the last picture.
    picture_format
        ``"png"`` is sharp; ``"jpeg"`` has a third of the bytes where there is a photograph.
    """
    style = {
        "animation.frame_format": picture_format,
        "savefig.dpi": "figure",
        "savefig.facecolor": "white",
    }
    with matplotlib.rc_context(style):
        html = pictures.to_jshtml(default_mode=mode)
    return Animation(_with_first_picture(_offline(html)))


def _offline(html: str) -> str:
    """Return a player of matplotlib's whose buttons need no font from the web."""
    html = re.sub(r"<link [^>]*>", "", html)
    return re.sub(r'<i class="fa fa-([a-z -]+)"></i>', lambda found: _SYMBOLS[found.group(1)], html)


def _with_first_picture(html: str) -> str:
    """Return a player that shows its first picture before, and without, its script.

    In JupyterLab an image that is empty at first stays without size when the script fills it.
    """
    first = re.findall(r'frames\[0\] = "([^"]*)"', html)[0].replace("\\\n", "")  # on one line
    return re.sub(r'(<img id="\w+")>', rf'\1 alt="animation" src="{first}">', html)
