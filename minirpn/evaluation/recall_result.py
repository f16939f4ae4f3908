"""What a measurement of proposals found: recall by count, by IoU and by size; tables and JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Matching = Literal["one-to-one", "any"]
"""Whether a proposal finds one object at most, or any number of them."""

# Columns of the printed table, where they were measured.
_SHOWN_THRESHOLDS = (0.5, 0.7, 0.9)


@dataclass(frozen=True, eq=False)
class RecallResult:
    """Recall by number of proposals, by IoU threshold and by size of the object.

    Parameters
    ----------
    counts
        The numbers of proposals an image, ascending.
    iou_thresholds
        The IoU from which on an object counts as found, ascending.
    recall
        (counts, thresholds), from 0 to 1; nan where there was no object to find.
    gt_count
        How many objects there were to find.
    recall_by_size
        The same as `recall` for ``"small"``, ``"medium"`` and ``"large"`` objects alone.
    gt_count_by_size
        How many objects of each size there were.
    matching
        What counts as found; see `proposal_recall`.
    """

    counts: tuple[int, ...]
    iou_thresholds: tuple[float, ...]
    recall: np.ndarray
    gt_count: int
    recall_by_size: dict[str, np.ndarray] = field(default_factory=dict)
    gt_count_by_size: dict[str, int] = field(default_factory=dict)
    matching: Matching = "one-to-one"

    @property
    def average_recall(self) -> np.ndarray:
        """Mean recall over the IoU thresholds, (counts,)."""
        return self.recall.mean(axis=1)

    @property
    def average_recall_by_size(self) -> dict[str, np.ndarray]:
        """Mean recall over the IoU thresholds for each size, (counts,)."""
        return {size: recall.mean(axis=1) for size, recall in self.recall_by_size.items()}

    def at(self, count: int, iou_threshold: float = 0.5) -> float:
        """Return the recall of the first `count` proposals at one IoU threshold.

        Raises
        ------
        ValueError
            It was not measured for this count or threshold.
        """
        if count not in self.counts or iou_threshold not in self.iou_thresholds:
            raise ValueError(
                f"no recall of {count} proposals at IoU {iou_threshold:g} was measured"
            )
        row, column = self.counts.index(count), self.iou_thresholds.index(iou_threshold)
        return float(self.recall[row, column])

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON, nan as None; `from_dict` undoes it."""
        return {
            "matching": self.matching,
            "counts": list(self.counts),
            "iou_thresholds": list(self.iou_thresholds),
            "recall": _plain(self.recall),
            "average_recall": _plain(self.average_recall),
            "gt_count": self.gt_count,
            "recall_by_size": {size: _plain(r) for size, r in self.recall_by_size.items()},
            "gt_count_by_size": dict(self.gt_count_by_size),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> RecallResult:
        """Return the result `to_dict` was made from; other keys are left alone.

        Raises
        ------
        KeyError
            A key that `to_dict` writes is missing.
        """
        sizes = plain["recall_by_size"]
        return cls(
            counts=tuple(plain["counts"]),
            iou_thresholds=tuple(plain["iou_thresholds"]),
            recall=np.array(plain["recall"], dtype=np.float64),  # None becomes nan
            gt_count=plain["gt_count"],
            recall_by_size={size: np.array(r, dtype=np.float64) for size, r in sizes.items()},
            gt_count_by_size=dict(plain["gt_count_by_size"]),
            matching=plain["matching"],
        )

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns of a summary table: heading -> one number for each count."""
        shown = [t for t in _SHOWN_THRESHOLDS if t in self.iou_thresholds] or self.iou_thresholds
        columns = {f"IoU {t:g}": self.recall[:, self.iou_thresholds.index(t)] for t in shown}
        columns["AR"] = self.average_recall
        return columns | {f"AR {size}": r for size, r in self.average_recall_by_size.items()}

    def table(self) -> str:
        """Return a table for the terminal: a row for each count, "-" for what cannot be known."""
        columns = self.columns()
        lines = ["".join([f"{'proposals':>9}", *(f"{heading:>11}" for heading in columns)])]
        for row, count in enumerate(self.counts):
            cells = (f"{number(values[row]):>11}" for values in columns.values())
            lines.append("".join([f"{count:>9}", *cells]))
        sizes = ", ".join(f"{n} {size}" for size, n in self.gt_count_by_size.items())
        lines.append(f"Recall of {self.gt_count} objects ({sizes}), matched {self.matching}.")
        return "\n".join(lines)


def number(value: float) -> str:
    """Return a share in three digits, or "-" for nan."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _plain(values: np.ndarray) -> Any:
    """Return nested lists with None for nan, which JSON has no word for."""
    if values.ndim:
        return [_plain(row) for row in values]
    return None if np.isnan(values) else float(values)
