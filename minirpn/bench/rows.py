"""The tables: what is measured on the CPU and on a GPU, and how fast it is meant to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from minirpn.bench import boxes, networks
from minirpn.bench.busy import busy_share
from minirpn.bench.memory import peak_bytes
from minirpn.devices import CPU, Device


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
        What `aim_is` should be compared with; None if there is none at this precision.
    contenders
        Called with ``peers=``; gives what to time, by implementation. For other units than
        ``"s"`` it gives numbers at once: bytes, or a share of 1.
    unit
        ``"s"``, ``"MB"`` or ``"share"``.
    aim_is
        ``"ratio"``: minirpn over the fastest peer should stay under the aim. ``"at most"``,
        ``"at least"``: its own number should, in seconds, bytes or as a share of 1.
    device
        Where it is measured.
    """

    name: str
    what: str
    aim: float | None
    contenders: Callable[..., dict[str, Any]]
    unit: Literal["s", "MB", "share"] = "s"
    aim_is: Literal["ratio", "at most", "at least"] = "ratio"
    device: Device = CPU


def rows(device: Device = CPU) -> tuple[Row, ...]:
    """Return all rows of a device, in the order in which they are printed."""
    return _host_rows() if device.is_host else _device_rows(device)


def precision(device: Device) -> str:
    """Return how products of float32 are computed on a device, by minirpn and its peers."""
    return "TF32" if device.tf32 else "float32"


def _host_rows() -> tuple[Row, ...]:
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


def _device_rows(device: Device) -> tuple[Row, ...]:
    how = precision(device)
    return (
        Row(
            "vgg16-step",
            f"VGG-16 training step, {how}",
            1.0,
            partial(networks.step_contenders, "vgg16", device=device),
            device=device,
        ),
        Row(
            "vgg16-propose",
            f"VGG-16, 300 proposals, {how}",
            0.010 if device.tf32 else None,  # the limit is meant with TF32
            partial(networks.propose_contenders, "vgg16", device=device),
            aim_is="at most",
            device=device,
        ),
        Row(
            "nms",
            "NMS 12,000 boxes to 2,000",
            1.0,
            partial(boxes.nms_contenders, device=device),
            device=device,
        ),
        Row(
            "label",
            "label 21,546 anchors, 40 objects",
            0.5,
            partial(boxes.label_contenders, device=device),
            device=device,
        ),
        Row(
            "kernel-share",
            f"busy in VGG-16's step, {how}",
            0.90,
            partial(busy_share, "vgg16", device=device),
            "share",
            "at least",
            device,
        ),
    )


def _iou(N: int, M: int, *, peers: bool) -> dict[str, Any]:
    a = boxes.anchors_of() if N == 21_546 else boxes.random_boxes(N)
    return boxes.iou_contenders(a, boxes.random_boxes(M), peers=peers)
