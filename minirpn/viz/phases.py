"""A training in phases: which parts learn in each, which are fixed, what passes between them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from matplotlib.axes import Axes

from minirpn.viz.diagrams import Flow
from minirpn.viz.style import BLUE, GREY, VERMILLION, new_axes

_NAMES = {"backbone": "backbone", "rpn": "RPN", "detector": "detector"}


class PhaseLike(Protocol):
    """The part of `minirpn.training.phases.Phase` that is drawn; `training` imports `viz`."""

    @property
    def name(self) -> str:
        """Such as ``"rpn-1"``."""

    @property
    def trainable_parts(self) -> Set[str]:
        """The parts whose parameters change: ``"backbone"``, ``"rpn"``, ``"detector"``."""

    @property
    def steps(self) -> int:
        """How many."""

    @property
    def reset_backbone(self) -> bool:
        """Whether the backbone is set back to its values at the start."""

    @property
    def needs_proposals(self) -> bool:
        """Whether it learns from proposals made before it."""


def draw_phases(phases: Sequence[PhaseLike], ax: Axes | None = None, *, title: str = "") -> Axes:
    """Return axes with a training from left to right: a column a phase, a row a part.

    A part that learns in a phase is blue, one that is only used is white, one that is not used has
    no box. Grey arrows show where the parameters of a part come from, orange arrows which RPN makes
    the proposals of a phase.

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
    flow = Flow(ax)
    for row, part in enumerate(parts):
        _draw_part(flow, part, row, phases)
    for column, phase in enumerate(phases, start=1):
        # Above the first row and the arrow that bends over it.
        heading = f"{phase.name}\n{phase.steps:,} steps"
        ax.text(column, -1.1, heading, ha="center", va="center", fontsize="small")
        if phase.needs_proposals:
            _draw_proposals(flow, column, parts)
    ax.set(xlim=(-0.5, len(phases) + 0.5), ylim=(len(parts) - 0.5, -1.5))
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize="medium")
    return ax


def _used(phase: PhaseLike) -> Set[str]:
    """Return the parts that a phase computes with: those that learn, on the backbone's features."""
    return phase.trainable_parts | {"backbone"}


def _draw_part(flow: Flow, part: str, row: int, phases: Sequence[PhaseLike]) -> None:
    """Draw a row: where a part begins, and what each phase does with it."""
    start = last = (0.0, float(row))
    flow.box(start, _NAMES[part], face="white", edge=GREY)
    for column, phase in enumerate(phases, start=1):
        if part not in _used(phase):
            continue
        here, learns = (float(column), float(row)), part in phase.trainable_parts
        flow.box(here, "learns" if learns else "fixed", face=BLUE if learns else "white", edge=BLUE)
        afresh = phase.reset_backbone and part == "backbone"
        if afresh and last != start:
            flow.arrow(start, here, color="0.4", bow=-0.3)
        else:
            flow.arrow(last, here, color="0.4")
        last = here


def _draw_proposals(flow: Flow, column: int, parts: Sequence[str]) -> None:
    """Draw where the proposals of a phase come from: the RPN of the one before, or a file."""
    rpn, detector = float(parts.index("rpn")), float(parts.index("detector"))
    source, target = (column - 1.0, rpn), (float(column), detector)
    if column == 1:
        source = (0.4, (rpn + detector) / 2)
        flow.box(source, "proposals of a file", face="white", edge=GREY)
    else:
        # Below the arrow from the upper left.
        at = (column - 0.56, detector - 0.36)
        flow.ax.text(*at, "proposals", color=VERMILLION, ha="right", fontsize="small")
    flow.arrow(source, target, color=VERMILLION)
