"""The table: what is measured on the CPU and on a GPU, how fast it should be, how fast it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from minirpn.accel.threads import set_threads
from minirpn.bench import photo, work
from minirpn.bench.measure import NotMeasuredError, alternate, busy_share, peak_bytes
from minirpn.bench.peers import peer
from minirpn.devices import CPU, Device

UNITS = {"s": (1e3, "ms"), "MB": (1e-6, "MB"), "share": (100, "%")}  # as printed
UNIT_NAMES = {"s": "seconds", "MB": "bytes", "share": "share"}  # of the values, in JSON


class Row(NamedTuple):
    """One thing to measure.

    Usually minirpn over the fastest peer, a ratio, should be at most the aim. If `aim_is`
    ``"at most"`` or ``"at least"``, the aim is for minirpn's own number.
    """

    name: str  # for --only
    what: str  # the same in words
    aim: float | None  # None if there is none at this precision
    # By implementation; for other units than "s" the numbers themselves: bytes, or a share of 1.
    contenders: Callable[..., dict[str, Any]]  # called with peers=, returns the functions to time
    unit: Literal["s", "MB", "share"] = "s"
    aim_is: Literal["ratio", "at most", "at least"] = "ratio"
    device: Device = CPU  # where it is measured


def precision(device: Device) -> str:
    """Return how products of float32 are computed on a device, by minirpn and its peers."""
    return "TF32" if device.tf32 else "float32"


def rows(device: Device = CPU) -> tuple[Row, ...]:
    """Return all rows of a device, in the order in which they are printed."""
    label = "label 21,546 anchors, 40 objects"
    if device.is_host:
        forward, step = work.forward_contenders, work.step_contenders
        iou, some = work.iou_contenders, work.random_boxes
        squeezenet, memory = partial(step, "squeezenet"), partial(peak_bytes, "vgg16")
        return (
            Row("vgg16-forward", "VGG-16 + RPN, forward", 0.5, partial(forward, "vgg16")),
            Row("vgg16-step", "VGG-16 + RPN, training step", 0.45, partial(step, "vgg16")),
            Row("squeezenet-step", "SqueezeNet + RPN, training step", 0.6, squeezenet),
            Row("small-images", "two images of recipe `small`", 0.45, work.images_contenders),
            Row("vgg16-memory", "VGG-16 + RPN, peak of a step", 0.8, memory, "MB"),
            Row("label", label, 0.12, work.label_contenders),
            Row("iou-anchors", "IoU 21,546 x 40", 1.0, lambda **k: iou(work.grid(), some(40), **k)),
            Row(
                "iou-square", "IoU 2,000 x 2,000", 1.0, lambda **k: iou(some(2000), some(2000), **k)
            ),
            Row("propose", "propose; the peer: NMS alone", 0.2, work.propose_contenders),
            Row("photo-propose", "propose, a photograph, whole", 0.5, photo.propose_contenders),
            Row("photo-detect", "detect, a photograph, whole", 0.5, photo.detect_contenders),
        )
    how = precision(device)
    limit = 0.010 if device.tf32 else None  # the limit is meant for TF32
    step = partial(work.step_contenders, "vgg16")
    propose = partial(work.network_propose_contenders, "vgg16")
    share, nms = partial(busy_share, "vgg16"), work.nms_contenders
    all_rows = (
        Row("vgg16-step", f"VGG-16 training step, {how}", 1.0, step),
        Row("vgg16-propose", f"VGG-16, 300 proposals, {how}", limit, propose, aim_is="at most"),
        Row("nms", "NMS 12,000 boxes to 2,000", 1.0, nms),
        Row("label", label, 0.5, work.label_contenders),
        Row("kernel-share", f"busy in VGG-16's step, {how}", 0.90, share, "share", "at least"),
    )
    return tuple(
        row._replace(contenders=partial(row.contenders, device=device), device=device)
        for row in all_rows
    )


class RowResult(NamedTuple):
    """The measurement of one row."""

    row: Row  # what was measured
    values: dict[str, float]  # seconds, bytes or shares of 1 by implementation, minirpn's first
    cpu_seconds: dict[str, float]  # processor time by implementation, if it was timed
    not_measured: str | None = None  # why nothing was measured

    @property
    def best_peer(self) -> str | None:
        """The fastest peer, None without any."""
        others = [name for name in self.values if name != "minirpn"]
        return min(others, key=self.values.__getitem__) if others else None

    @property
    def ratio(self) -> float | None:
        """Minirpn's value over that of the best peer."""
        best = self.best_peer
        return self.values["minirpn"] / self.values[best] if best else None

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without an aim or without numbers to compare."""
        aim, kind = self.row.aim, self.row.aim_is
        value = self.ratio if kind == "ratio" else self.values.get("minirpn")
        if aim is None or value is None:
            return None
        return value >= aim if kind == "at least" else value <= aim

    def line(self) -> str:
        """Return the row as a line of a table."""
        row, best = self.row, self.best_peer
        if self.not_measured is not None:
            return f"{row.what:<34}not measured: {self.not_measured}"
        scale, unit = UNITS[row.unit]
        line = f"{row.what:<34}{self.values['minirpn'] * scale:>9.1f} {unit}"
        if best is not None:
            line += f"{self.values[best] * scale:>10.1f} {unit} {best:<12}{self.ratio:>6.2f}"
        if self.met is None or row.aim is None:
            return line
        limit = f"{row.aim_is} {row.aim * scale:g} {unit}"
        aim = f"aim {row.aim}" if row.aim_is == "ratio" else limit
        return f"{line} ({aim}){'' if self.met else '  missed'}"

    def to_record(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        row = self.row
        about = {"name": row.name, "what": row.what, "unit": UNIT_NAMES[row.unit]}
        numbers = {"values": self.values, "cpu_seconds": self.cpu_seconds}
        compared = {"best_peer": self.best_peer, "ratio": self.ratio}
        aim = {"aim": row.aim, "aim_is": row.aim_is, "met": self.met}
        return {**about, **numbers, **compared, **aim, "not_measured": self.not_measured}


def run_row(row: Row, *, rounds: int = 5, peers: bool = True) -> RowResult:
    """Measure one row.

    Parameters
    ----------
    row
        One of `minirpn.bench.rows`.
    rounds
        Calls of each contender, in turns; the median counts.
    peers
        False measures minirpn alone.
    """
    try:
        contenders = row.contenders(peers=peers)
    except NotMeasuredError as error:
        return RowResult(row, {}, {}, str(error))
    if row.unit != "s":
        return RowResult(row, {name: float(value) for name, value in contenders.items()}, {})
    # On a GPU the second call of a step is recorded.
    warm_up = 1 if row.device.is_host else 3
    timings = alternate(contenders, rounds, wait=row.device.wait, warm_up=warm_up)
    return RowResult(
        row,
        {name: timing.median for name, timing in timings.items()},
        {name: timing.cpu for name, timing in timings.items()},
    )


def use_threads(count: int) -> None:
    """Let minirpn and PyTorch compute with so many threads from now on."""
    set_threads(count)
    if torch := peer("torch"):
        torch.set_num_threads(count)
