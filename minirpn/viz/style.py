"""One style for all pictures: colours that colour-blind readers can tell apart, plain axes, saving.

Pictures are made with matplotlib's objects, never with `pyplot`: no figure stays open behind the
caller's back, threads do not disturb each other, and no window system is needed.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008).
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8A8A8A"

CYCLE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
"""Colours of lines, in the order in which they are used."""

SEQUENTIAL = "viridis"
"""The colour map of a quantity: even in lightness, so that it survives grey print."""

DIVERGING = LinearSegmentedColormap.from_list("blue to orange", (BLUE, "white", ORANGE))
"""The colour map of a quantity with a sign: white at zero."""

INCHES = (6.4, 4.0)


def new_axes(size: tuple[float, float] = INCHES) -> Axes:
    """Return the axes of a new figure of `size` (width, height) in inches."""
    return Figure(figsize=size, layout="constrained").add_subplot()


def dress(ax: Axes, *, x: str, y: str, title: str = "") -> Axes:
    """Label the axes of a diagram and take away what tells nothing."""
    ax.set(xlabel=x, ylabel=y)
    if title:
        ax.set_title(title, fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def legend_below(ax: Axes) -> None:
    """Put the legend of an image under its axis label, where it hides nothing."""
    # borderaxespad counts in letters of the legend: a distance that no size of the image changes.
    ax.legend(
        fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=5, ncols=2
    )


def save(picture: Axes | Figure, path: Path | str, *, dpi: int = 120) -> Path:
    """Write the figure, or the figure the axes are in, to a file and return its path.

    The file is as large as what is drawn: empty margins are cut off, and no legend is.

    Parameters
    ----------
    picture
        What the functions of this package return.
    path
        The suffix tells the format: ``.png``, ``.svg``, ``.pdf``. Missing folders are made.
    dpi
        Dots per inch.

    Raises
    ------
    ValueError
        The axes belong to no figure any more.
    """
    path = Path(path)
    figure = picture if isinstance(picture, Figure) else picture.get_figure(root=True)
    if figure is None:
        raise ValueError("picture: these axes were taken out of their figure")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, facecolor="white", bbox_inches="tight")
    return path
