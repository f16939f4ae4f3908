"""What a measurement of detections found: a curve for each class, its averages, tables and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirpn.evaluation.precision_recall import AVERAGES, Method, PrecisionRecall
from minirpn.evaluation.recall_result import number


@dataclass(frozen=True, eq=False)
class APResult:
    """Precision and recall of detections, class by class.

    Parameters
    ----------
    classes
        The names, in the order of their numbers; L of them.
    curves
        The precision-recall curve of each class. Detections on difficult objects are in none.
    ignored
        For each class, how many detections were on difficult objects.
    iou_threshold
        The IoU from which on a detection finds an object.
    method
        What `ap` and `mean_ap` are; the other average is there as well.
    """

    classes: tuple[str, ...]
    curves: tuple[PrecisionRecall, ...]
    ignored: tuple[int, ...]
    iou_threshold: float
    method: Method

    @property
    def ap(self) -> np.ndarray:
        """Average precision of each class by `method`, (L,); nan for a class without objects."""
        return self.ap_by(self.method)

    @property
    def mean_ap(self) -> float:
        """Mean average precision (mAP) by `method`; see `mean_by`."""
        return self.mean_by(self.method)

    def ap_by(self, method: Method) -> np.ndarray:
        """Return the average precision of each class, (L,); nan for a class without objects."""
        return np.array([AVERAGES[method](curve) for curve in self.curves])

    def mean_by(self, method: Method) -> float:
        """Return the mean over the classes that have objects; nan if none has."""
        ap = self.ap_by(method)
        known = ap[~np.isnan(ap)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def without_objects(self) -> tuple[str, ...]:
        """The classes of which there was nothing to find: left out of the mean."""
        pairs = zip(self.classes, self.curves, strict=True)
        return tuple(name for name, curve in pairs if not curve.positives)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON, nan as None; `from_dict` undoes it."""
        averages = {method: self.ap_by(method).tolist() for method in AVERAGES}
        return {
            "method": self.method,
            "iou_threshold": self.iou_threshold,
            "mean_ap": {method: _known(self.mean_by(method)) for method in AVERAGES},
            "classes": [
                {
                    "name": name,
                    "ap": {method: _known(ap[index]) for method, ap in averages.items()},
                    "objects": self.curves[index].positives,
                    "ignored": self.ignored[index],
                    "scores": self.curves[index].scores.tolist(),
                    "hits": self.curves[index].hits.tolist(),
                    "false_positives": self.curves[index].false_positives.tolist(),
                }
                for index, name in enumerate(self.classes)
            ],
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> APResult:
        """Return the result `to_dict` was made from; other keys are left alone.

        Raises
        ------
        KeyError
            A key that `to_dict` writes is missing.
        """
        rows = plain["classes"]
        return cls(
            classes=tuple(row["name"] for row in rows),
            curves=tuple(
                PrecisionRecall(
                    np.array(row["scores"], dtype=np.float64),
                    np.array(row["hits"], dtype=np.int64),
                    np.array(row["false_positives"], dtype=np.int64),
                    row["objects"],
                )
                for row in rows
            ),
            ignored=tuple(row["ignored"] for row in rows),
            iou_threshold=plain["iou_threshold"],
            method=plain["method"],
        )

    def table(self) -> str:
        """Return a table for the terminal: a row for each class, "-" for what cannot be known."""
        wide = max(map(len, ("class", *self.classes)))
        headings = ("objects", "found", "false", *(f"AP {method}" for method in AVERAGES))
        lines = [_row("class", headings, wide)]
        averages = [self.ap_by(method) for method in AVERAGES]
        for index, (name, curve) in enumerate(zip(self.classes, self.curves, strict=True)):
            counts = (curve.positives, curve.found, curve.wrong)
            lines.append(_row(name, (*counts, *(number(ap[index]) for ap in averages)), wide))
        means = (number(self.mean_by(method)) for method in AVERAGES)
        lines.append(_row("mean", ("", "", "", *means), wide))
        return "\n".join([*lines, *self._notes()])

    def _notes(self) -> list[str]:
        """Return what stands below the table."""
        objects = sum(curve.positives for curve in self.curves)
        notes = [f"{objects} objects; a detection finds one at an IoU of {self.iou_threshold:g}."]
        if ignored := sum(self.ignored):
            notes.append(f"{ignored} detections on difficult objects count neither way.")
        if without := self.without_objects:
            notes.append(f"No objects, so left out of the mean: {', '.join(without)}.")
        return notes


def _row(name: str, cells: tuple[Any, ...], wide: int) -> str:
    return f"{name:<{wide}}" + "".join(f"{cell:>10}" for cell in cells)


def _known(value: float) -> float | None:
    """Return the value, or None for nan, which JSON has no word for."""
    return None if np.isnan(value) else value
