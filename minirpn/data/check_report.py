"""What a check of a data set found, as a table and as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from minirpn.data.findings import Finding, Severity, errors_of, summary

# How many classes the head of the table names.
_SHOWN_CLASSES = 8


@dataclass(frozen=True)
class CheckReport:
    """Everything that is wrong with a data set.

    Parameters
    ----------
    root
        Its folder.
    images
        How many ids were looked at.
    splits
        Number of images by split; empty where there are none.
    classes
        Number of sound objects by class, the most frequent first.
    findings
        The worst first, those of a kind together.
    """

    root: Path
    images: int
    splits: dict[str, int]
    classes: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a training."""
        return errors_of(self.findings)

    def table(self, first: int = 3) -> str:
        """Return a table for the terminal: the kinds, how many of each, and the `first` of them."""
        lines = [self._head(), *self._rows(first)]
        if self.errors:
            lines.append("Errors stop a training; with --skip-bad it leaves out what they name.")
        return "\n".join(lines)

    def _head(self) -> str:
        objects, classes = sum(self.classes.values()), len(self.classes)
        lines = [f"{self.root}: images {self.images:,}, objects {objects:,}, classes {classes}"]
        if self.splits:
            sizes = ", ".join(f"{name} {size:,}" for name, size in self.splits.items())
            lines.append(f"splits: {sizes}")
        if self.classes:
            counts = [f"{name} {count:,}" for name, count in self.classes.items()]
            more = ["..."] if len(counts) > _SHOWN_CLASSES else []
            lines.append(f"classes: {', '.join(counts[:_SHOWN_CLASSES] + more)}")
        lines.append(summary(self.findings) or "Nothing is wrong.")
        return "\n".join(lines)

    def _rows(self, first: int) -> list[str]:
        lines = []
        for (severity, kind), group in groupby(self.findings, lambda f: (f.severity, f.kind)):
            found = list(group)
            lines.append(f"\n{severity:<9} {kind.label:<32} {len(found):>6,}")
            lines += [f"  {self._shortly(one)}" for one in found[:first]]
            if len(found) > first > 0:
                lines.append(f"  ... and {len(found) - first:,} more")
        return [*lines, ""] if lines else []

    def _shortly(self, found: Finding) -> str:
        """Return a finding with its path as seen from the data set's folder."""
        path = found.path
        if path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        return str(found._replace(path=path))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, every finding included."""
        return {
            "root": str(self.root),
            "images": self.images,
            "splits": self.splits,
            "classes": self.classes,
            "counts": self._counts(),
            "findings": [
                {
                    "severity": str(found.severity),
                    "kind": found.kind.label,
                    "file": str(found.path),
                    "object": found.part,
                    "reason": found.reason,
                }
                for found in self.findings
            ],
        }

    def _counts(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {str(severity): {} for severity in Severity}
        for found in self.findings:
            of_severity = counts[found.severity]
            of_severity[found.kind.label] = of_severity.get(found.kind.label, 0) + 1
        return counts
