"""Measure a row, and say what was found as a line or as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minirpn.bench.peers import peer
from minirpn.bench.rows import Row
from minirpn.bench.timing import alternate
from minirpn.kernels.threads import set_threads

UNITS = {"s": (1e3, "ms"), "MB": (1e-6, "MB")}


@dataclass(frozen=True)
class RowResult:
    """What was measured of one row: seconds or bytes by implementation, minirpn's first."""

    row: Row
    values: dict[str, float]
    cpu_seconds: dict[str, float]

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

    def line(self) -> str:
        """Return the row as a line of a table."""
        scale, unit = UNITS[self.row.unit]
        shown = f"{self.row.what:<34}{self.values['minirpn'] * scale:>9.1f} {unit}"
        if self.ratio is None:
            return shown
        best = self.best_peer or ""
        verdict = "" if self.ratio <= self.row.aim else "  missed"
        return (
            f"{shown}{self.values[best] * scale:>10.1f} {unit} {best:<12}"
            f"{self.ratio:>6.2f} (aim {self.row.aim}){verdict}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "name": self.row.name,
            "what": self.row.what,
            "unit": "seconds" if self.row.unit == "s" else "bytes",
            "values": self.values,
            "cpu_seconds": self.cpu_seconds,
            "best_peer": self.best_peer,
            "ratio": self.ratio,
            "aim": self.row.aim,
        }


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
    contenders = row.contenders(peers=peers)
    if row.unit == "MB":
        return RowResult(row, {name: float(value) for name, value in contenders.items()}, {})
    timings = alternate(contenders, rounds)
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
