"""The objectness map over the image it was computed from."""

from __future__ import annotations

from matplotlib.axes import Axes

from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.viz.images import draw_image
from minirpn.viz.style import SEQUENTIAL


def plot_objectness(
    objectness: Array, image: Array, ax: Axes | None = None, *, stride: float = 16
) -> Axes:
    """Return axes with the image and, over it, each cell's probability of an object.

    Parameters
    ----------
    objectness
        (Hf, Wf) probabilities, or (Hf, Wf, A), of which each cell shows its largest.
    image
        (H, W, 3) uint8.
    ax
        Where to draw; None makes a new figure.
    stride
        Image pixels a cell covers.

    Raises
    ------
    ValueError
        `objectness` has neither two nor three axes.
    """
    cells = to_host(objectness)
    if cells.ndim not in (2, 3):
        raise ValueError(f"objectness: expected (Hf, Wf) or (Hf, Wf, A), got {cells.shape}")
    if cells.ndim == 3:
        cells = cells.max(axis=2)  # (Hf, Wf, A) -> (Hf, Wf)
    ax = draw_image(image, ax, title="objectness of each cell")
    limits = ax.get_xlim(), ax.get_ylim()
    Hf, Wf = cells.shape
    heat = ax.imshow(
        cells,
        extent=(0, Wf * stride, Hf * stride, 0),
        interpolation="nearest",
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=1,
        alpha=0.6,
    )
    ax.set(xlim=limits[0], ylim=limits[1])  # the last cells may cover more than the image
    ax.figure.colorbar(heat, ax=ax, label="probability of an object", shrink=0.8)
    return ax
