"""One style for all pictures: colours that colour-blind readers can tell apart, axes, saving.

Pictures use matplotlib's objects, never `pyplot`: no figure stays open, threads do not disturb each
other, and no window system is needed.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from minirpn.errors import InputError
from minirpn.files import one_line_errors, replace_file

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
"""The colour map of a quantity: its lightness grows evenly, so that it can be printed in grey."""

DIVERGING = LinearSegmentedColormap.from_list("blue to orange", (BLUE, "white", ORANGE))
"""The colour map of a quantity with a sign: white at zero."""

INCHES = (6.4, 4.0)


def new_axes(size: tuple[float, float] = INCHES) -> Axes:
    """Return the axes of a new figure of `size` (width, height) in inches."""
    return Figure(figsize=size, layout="constrained").add_subplot()


def style_axes(ax: Axes, *, x: str, y: str, title: str = "") -> Axes:
    """Label the axes of a diagram, and remove needless lines."""
    ax.set(xlabel=x, ylabel=y)
    if title:
        ax.set_title(title, fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def power_of_two_ticks(ax: Axes) -> None:
    """Put ticks on logarithmic axes at powers of two, written as plain numbers."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(2))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def legend_below(ax: Axes) -> None:
    """Put the legend of an image under its axis label, where it covers nothing."""
    # borderaxespad counts in letters of the legend, so the size of the image does not matter.
    ax.legend(
        fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=5, ncols=2
    )


def save(picture: Axes | Figure, path: Path | str, *, dpi: int = 120) -> Path:
    """Write the figure, or the figure the axes are in, to a file and return its path.

    The file is written whole or not at all; a link at its place is replaced. It is as large as the
    drawing: empty margins are cut off, legends are not.

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
    InputError
        The suffix tells no format, or the file or its folder cannot be written.
    ValueError
        The axes no longer belong to a figure.
    """
    path = Path(path)
    figure = figure_of(picture)
    if figure is None:
        raise ValueError("picture: these axes were taken out of their figure")
    kind = path.suffix.lower().removeprefix(".")
    if kind not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: expected a name that ends in .png, .svg or .pdf")
    with one_line_errors(path.parent, "make the folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, rendered(figure, kind, dpi=dpi), durable=False)
    return path


def figure_of(picture: Axes | Figure) -> Figure | None:
    """Return the figure the axes are in, not a part of one; None if they are in none."""
    # `get_figure(root=True)` says the same from Matplotlib 3.10 on.
    figure = picture.figure  # a figure, or a part of one, whose figure is the whole
    return None if figure is None else figure.figure


def rendered(figure: Figure, kind: str, *, dpi: float | None = None) -> bytes:
    """Return the content of a file of a figure, of a kind such as ``"png"``.

    A letter that the font lacks is drawn as a box, and no warning tells so. Without `dpi`, it is
    that of Matplotlib's settings.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format=kind, dpi=dpi, facecolor="white", bbox_inches="tight")
    return buffer.getvalue()
