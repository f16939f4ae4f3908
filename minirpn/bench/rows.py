"""The table: what is measured, and how fast it is meant to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from minirpn.bench import boxes, networks
from minirpn.bench.memory import peak_bytes


@dataclass(frozen=True)
class Row:
    """One thing to measure.

    Parameters
    ----------
    name
        What ``--only`` calls it.
    what
        The same in words.
    aim
        The ratio to the fastest peer that minirpn should stay under.
    contenders
        Called with ``peers=``; gives what to time, by implementation. For the unit ``"MB"`` it
        gives bytes at once.
    unit
        ``"s"`` or ``"MB"``.
    """

    name: str
    what: str
    aim: float
    contenders: Callable[..., dict[str, Any]]
    unit: str = "s"


def rows() -> tuple[Row, ...]:
    """Return all rows, in the order in which they are printed."""
    forward, step = networks.forward_contenders, networks.step_contenders
    return (
        Row("vgg16-forward", "VGG-16 + RPN, forward", 0.65, partial(forward, "vgg16")),
        Row("vgg16-step", "VGG-16 + RPN, training step", 0.75, partial(step, "vgg16")),
        Row("squeezenet-step", "SqueezeNet + RPN, training step", 0.8, partial(step, "squeezenet")),
        Row(
            "vgg16-memory", "VGG-16 + RPN, peak of a step", 1.0, partial(peak_bytes, "vgg16"), "MB"
        ),
        Row("label", "label 21,546 anchors, 40 objects", 0.3, boxes.label_contenders),
        Row("iou-anchors", "IoU 21,546 x 40", 1.0, partial(_iou, 21_546, 40)),
        Row("iou-square", "IoU 2,000 x 2,000", 1.0, partial(_iou, 2_000, 2_000)),
        Row("propose", "propose; the peer: NMS alone", 0.2, boxes.propose_contenders),
    )


def _iou(N: int, M: int, *, peers: bool) -> dict[str, Any]:
    a = boxes.anchors_of() if N == 21_546 else boxes.random_boxes(N)
    return boxes.iou_contenders(a, boxes.random_boxes(M), peers=peers)
