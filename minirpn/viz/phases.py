"""A training in phases: what learns in each, what stands still, and what passes between them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from minirpn.viz.style import BLACK, BLUE, GREY, VERMILLION, new_axes

_NAMES = {"backbone": "backbone", "rpn": "RPN", "detector": "detector"}

_Place = tuple[float, float]


class PhaseLike(Protocol):
    """What is drawn of a `minirpn.training.phases.Phase`; trainings draw, so none is imported."""

    @property
    def name(self) -> str:
        """Such as ``"rpn-1"``."""

    @property
    def learns(self) -> Set[str]:
        """The parts whose parameters change: ``"backbone"``, ``"rpn"``, ``"detector"``."""

    @property
    def steps(self) -> int:
        """How many."""

    @property
    def backbone_afresh(self) -> bool:
        """Whether the backbone begins as the training began with it."""

    @property
    def proposes(self) -> bool:
        """Whether it learns from proposals made before it."""


def draw_phases(phases: Sequence[PhaseLike], ax: Axes | None = None, *, title: str = "") -> Axes:
    """Return axes with a training from left to right: a column a phase, a row a part.

    A part that learns in a phase is blue there; one that is only used is white; one that is not
    even used has no box. Grey arrows lead from the parameters that a part begins with, orange ones
    from the RPN that makes the proposals of a phase.

    Parameters
    ----------
    phases
        Of `minirpn.training.phases.phases_of`.
    ax
        Where to draw; None makes a new figure.
    title
        A line above.
    """
    parts = [part for part in _NAMES if any(part in _used(phase) for phase in phases)]
    if ax is None:
        ax = new_axes((1.4 + 1.5 * len(phases), 1.3 + 0.75 * len(parts)))
    drawing = _Drawing(ax)
    for row, part in enumerate(parts):
        _draw_part(drawing, part, row, phases)
    for column, phase in enumerate(phases, start=1):
        # Above the first row, and the arrow that bows over it.
        heading = f"{phase.name}\n{phase.steps:,} steps"
        ax.text(column, -1.1, heading, ha="center", va="center", fontsize="small")
        if phase.proposes:
            _draw_proposals(drawing, column, parts)
    ax.set(xlim=(-0.5, len(phases) + 0.5), ylim=(len(parts) - 0.5, -1.5))
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize="medium")
    return ax


def _used(phase: PhaseLike) -> Set[str]:
    """Return the parts that a phase computes with: those that learn, on the backbone's features."""
    return phase.learns | {"backbone"}


def _draw_part(drawing: _Drawing, part: str, row: int, phases: Sequence[PhaseLike]) -> None:
    """Draw the life of a part: where it begins, and what each phase does with it."""
    start = last = (0.0, float(row))
    drawing.box(start, _NAMES[part], face="white", edge=GREY)
    for column, phase in enumerate(phases, start=1):
        if part not in _used(phase):
            continue
        here, learns = (float(column), float(row)), part in phase.learns
        drawing.box(
            here, "learns" if learns else "fixed", face=BLUE if learns else "white", edge=BLUE
        )
        afresh = phase.backbone_afresh and part == "backbone"
        if afresh and last != start:
            drawing.arrow(start, here, color="0.4", bow=-0.3)
        else:
            drawing.arrow(last, here, color="0.4")
        last = here


def _draw_proposals(drawing: _Drawing, column: int, parts: Sequence[str]) -> None:
    """Draw where the proposals of a phase come from: the RPN of the one before, or a file."""
    rpn, detector = float(parts.index("rpn")), float(parts.index("detector"))
    source, target = (column - 1.0, rpn), (float(column), detector)
    if column == 1:
        source = (0.4, (rpn + detector) / 2)
        drawing.box(source, "proposals of a file", face="white", edge=GREY)
    else:
        # Below the arrow, which comes from the upper left.
        at = (column - 0.56, detector - 0.36)
        drawing.ax.text(*at, "proposals", color=VERMILLION, ha="right", fontsize="small")
    drawing.arrow(source, target, color=VERMILLION)


class _Drawing:
    """Axes, and the frames on them that arrows begin and end at."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self.frames: dict[_Place, FancyBboxPatch] = {}

    def box(self, place: _Place, text: str, *, face: str, edge: str) -> None:
        """Draw a word in a frame around a place (x, y)."""
        frame = {"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": edge}
        color = BLACK if face == "white" else "white"
        label = self.ax.text(
            *place, text, ha="center", va="center", fontsize="small", color=color, bbox=frame
        )
        patch = label.get_bbox_patch()
        assert patch is not None
        self.frames[place] = patch

    def arrow(self, source: _Place, target: _Place, *, color: str, bow: float = 0.0) -> None:
        """Draw an arrow between the frames at two places; `bow` bends it."""
        style = {
            "arrowstyle": "->",
            "color": color,
            "shrinkA": 1,
            "shrinkB": 1,
            "patchA": self.frames[source],
            "patchB": self.frames[target],
            "connectionstyle": f"arc3,rad={bow}",
        }
        self.ax.annotate("", target, source, arrowprops=style, zorder=4)
