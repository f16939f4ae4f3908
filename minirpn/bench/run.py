"""Measure a row, and say what was found as a line or as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minirpn.bench.busy import NotMeasuredError
from minirpn.bench.peers import peer
from minirpn.bench.rows import Row
from minirpn.bench.timing import alternate
from minirpn.kernels.threads import set_threads

UNITS = {"s": (1e3, "ms"), "MB": (1e-6, "MB"), "share": (100, "%")}
UNIT_NAMES = {"s": "seconds", "MB": "bytes", "share": "share"}


@dataclass(frozen=True)
class RowResult:
    """What was measured of one row.

    Parameters
    ----------
    row
        The row.
    values
        Seconds, bytes or a share of 1 by implementation, minirpn's first; empty if nothing could
        be measured.
    cpu_seconds
        Processor time by implementation, where it was timed.
    not_measured
        Why not; None if it was.
    """

    row: Row
    values: dict[str, float]
    cpu_seconds: dict[str, float]
    not_measured: str | None = None

    @property
    def best_peer(self) -> str | None:
        """The fastest of the others, None without any."""
        others = [name for name in self.values if name != "minirpn"]
        return min(others, key=self.values.__getitem__) if others else None

    @property
    def ratio(self) -> float | None:
        """Minirpn's value over that of the best peer."""
        best = self.best_peer
        return self.values["minirpn"] / self.values[best] if best else None

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None where there is nothing to tell it by."""
        aim, kind = self.row.aim, self.row.aim_is
        judged = self.ratio if kind == "ratio" else self.values.get("minirpn")
        if aim is None or judged is None:
            return None
        return judged >= aim if kind == "at least" else judged <= aim

    def line(self) -> str:
        """Return the row as a line of a table."""
        if self.not_measured is not None:
            return f"{self.row.what:<34}not measured: {self.not_measured}"
        scale, unit = UNITS[self.row.unit]
        shown = f"{self.row.what:<34}{self.values['minirpn'] * scale:>9.1f} {unit}"
        if self.ratio is not None:
            best = self.best_peer or ""
            shown += f"{self.values[best] * scale:>10.1f} {unit} {best:<12}{self.ratio:>6.2f}"
        if self.met is None:
            return shown
        return f"{shown} ({self._aim()}){'' if self.met else '  missed'}"

    def to_record(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "name": self.row.name,
            "what": self.row.what,
            "unit": UNIT_NAMES[self.row.unit],
            "values": self.values,
            "cpu_seconds": self.cpu_seconds,
            "best_peer": self.best_peer,
            "ratio": self.ratio,
            "aim": self.row.aim,
            "aim_is": self.row.aim_is,
            "met": self.met,
            "not_measured": self.not_measured,
        }

    def _aim(self) -> str:
        if self.row.aim_is == "ratio":
            return f"aim {self.row.aim}"
        scale, unit = UNITS[self.row.unit]
        return f"{self.row.aim_is} {(self.row.aim or 0.0) * scale:g} {unit}"


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
