"""A window that slides over an image: its place, its output, all windows as columns, animated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.nn.window import Pair, conv_output_size, pair
from minirpn.viz.animation import Animation, recorded
from minirpn.viz.diagrams import draw_numbers
from minirpn.viz.style import BLACK

Kernel: TypeAlias = "int | Pair | Array"

_CELL = 0.42  # inches
_MOST_FRAMES = 40
_OUTSIDE = "0.85"  # the grey of padding, which has no numbers


def draw_window(
    image: Array,
    output: Array,
    at: Pair,
    *,
    kernel: Kernel,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
) -> tuple[Axes, Axes]:
    """Return the axes of an image with one window framed, and of the outputs so far.

    Parameters
    ----------
    image
        (H, W). The padding and all else around it is grey.
    output
        (Ho, Wo): the output of each window. Those after `at`, row by row, are left empty.
    at
        (row, column) of the output whose window is framed.
    kernel
        An int, (height, width), or its weights (kh, kw), which are drawn in the middle.
    stride, padding
        An int, or (vertical, horizontal).

    Raises
    ------
    ValueError
        `image` or `output` is not a matrix, or `at` is outside `output`.
    """
    panels = Panels(image, output, kernel, stride, padding)
    panels.move(at)
    return panels.left, panels.right


def draw_columns(
    image: Array,
    at: Pair,
    *,
    kernel: int | Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
) -> tuple[Axes, Axes]:
    """Return the axes of an image with one window framed, and of all windows as columns.

    Parameters
    ----------
    image
        (H, W). The padding around it is grey; in the columns it is 0.
    at
        (row, column) of the window that is framed, in the image and as a column.
    kernel, stride, padding
        An int, or (vertical, horizontal).

    Raises
    ------
    ValueError
        `image` is not a matrix, or smaller than the kernel, or there is no window `at`.
    """
    image, windows = _matrix(image, "image"), Windows.of(kernel, stride, padding)
    Ho, Wo = conv_output_size(image.shape, *windows)
    _check_place(at, (Ho, Wo))
    (top, left), (down, right) = windows.padding, windows.stride
    surrounded = np.pad(image, ((top, top), (left, left)))
    taken = np.lib.stride_tricks.sliding_window_view(surrounded, windows.kernel)[::down, ::right]
    columns = taken.reshape(Ho * Wo, -1).T  # (Ho,Wo,kh,kw) -> (Ho Wo, kh kw) -> (kh kw, Ho Wo)
    _, (beside, table) = _side_by_side(image, windows.extent(image.shape, (Ho, Wo)), [columns])
    table.set(xlabel="window (row by row)", ylabel="place in the window (row by row)")
    table.set_title("columns", fontsize="medium")
    _frame(beside, windows.kernel).set_xy(windows.corner(*at))
    _frame(table, (len(columns), 1)).set_xy((at[0] * Wo + at[1], 0))
    return beside, table


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
    panels.figure.draw_without_rendering()  # finds the layout, the same for all pictures
    panels.figure.set_layout_engine("none")
    frames = FuncAnimation(
        panels.figure,
        panels.move,
        frames=list(np.ndindex(panels.output.shape)),
        interval=interval,
        cache_frame_data=False,
    )
    return recorded(frames, mode="loop")


class Windows(NamedTuple):
    """Where windows stand on an image, as pairs (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    padding: Pair

    @classmethod
    def of(cls, kernel: int | Pair, stride: int | Pair, padding: int | Pair) -> Windows:
        """Return windows from ints or pairs, checked."""
        return cls(
            pair(kernel, "kernel", least=1),
            pair(stride, "stride", least=1),
            pair(padding, "padding", least=0),
        )

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return (x, y) of the upper left corner of an output's window."""
        return column * self.stride[1] - self.padding[1], row * self.stride[0] - self.padding[0]

    def extent(self, size: Pair, output_size: Pair) -> tuple[int, int, int, int]:
        """Return the box around an image, its padding and all windows."""
        (H, W), (top, left) = size, self.padding
        x, y = self.corner(output_size[0] - 1, output_size[1] - 1)
        return -left, -top, max(W + left, x + self.kernel[1]), max(H + top, y + self.kernel[0])


class Panels:
    """An image, its kernel and its outputs side by side, and two frames that move over them."""

    def __init__(
        self,
        image: Array,
        output: Array,
        kernel: Kernel,
        stride: int | Pair,
        padding: int | Pair,
    ) -> None:
        image = _matrix(image, "image")
        self.output = _matrix(output, "output")
        weight = None if isinstance(kernel, int | tuple) else _matrix(kernel, "kernel")
        size = kernel if weight is None else weight.shape
        self.windows = Windows.of(size, stride, padding)
        extent = self.windows.extent(image.shape, self.output.shape)
        tables = [self.output] if weight is None else [weight, self.output]
        self.figure, (self.left, *middle, self.right) = _side_by_side(image, extent, tables)
        for ax in middle:
            ax.set_title("kernel", fontsize="medium")
        self.right.set_title("output", fontsize="medium")
        self.window = _frame(self.left, self.windows.kernel)
        self.cell = _frame(self.right, (1, 1))

    def move(self, at: Pair) -> None:
        """Frame the output `at` and its window, and hide later outputs."""
        _check_place(at, self.output.shape)
        (row, column), (Ho, Wo) = at, self.output.shape
        later = np.arange(Ho * Wo).reshape(Ho, Wo) > row * Wo + column
        self.right.images[0].set_data(np.ma.masked_where(later, self.output))
        for text in self.right.texts:
            x, y = text.get_position()
            text.set_visible(not later[int(y), int(x)])
        self.window.set_xy(self.windows.corner(row, column))
        self.cell.set_xy((column, row))


def _check_place(at: Pair, size: Pair) -> None:
    if not (0 <= at[0] < size[0] and 0 <= at[1] < size[1]):
        raise ValueError(f"at: expected a place in {size}, got {at}")


def _matrix(values: Array, name: str) -> np.ndarray:
    matrix = np.asarray(to_host(values), dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"{name}: expected a matrix, got the shape {matrix.shape}")
    return matrix


def _side_by_side(
    image: np.ndarray, extent: tuple[int, int, int, int], tables: Sequence[np.ndarray]
) -> tuple[Figure, list[Axes]]:
    """Return a new figure and its axes: the image with its padding, and tables."""
    x1, y1, x2, y2 = extent
    widths = [x2 - x1, *(table.shape[1] for table in tables)]
    height = max(y2 - y1, *(len(table) for table in tables))
    size = (_CELL * sum(widths) + 0.8 * len(widths), _CELL * height + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(1, len(widths), width_ratios=widths))
    draw_numbers(image, axes[0], title="image")
    axes[0].set(xlim=(x1, x2), ylim=(y2, y1), facecolor=_OUTSIDE)
    for table, ax in zip(tables, axes[1:], strict=True):
        draw_numbers(table, ax)
    return figure, axes


def _frame(ax: Axes, size: Pair) -> Rectangle:
    """Return a black frame around `size` (rows, columns) of cells, not yet in its place."""
    frame = Rectangle(
        (0, 0), size[1], size[0], fill=False, color=BLACK, linewidth=3.5, clip_on=False, zorder=3
    )
    ax.add_patch(frame)
    return frame
