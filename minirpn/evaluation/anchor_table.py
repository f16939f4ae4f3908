"""The fit of several anchor settings, side by side for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minirpn.evaluation.anchor_fit import IOU_THRESHOLDS, AnchorFit


def fit_table(fits: Mapping[str, AnchorFit]) -> str:
    """Return a table with a column for each fit, under its name."""
    columns = [_cells(fit) for fit in fits.values()]
    wide = max(map(len, columns[0]))
    widths = [
        max(len(name), *map(len, cells.values())) + 3
        for name, cells in zip(fits, columns, strict=True)
    ]
    lines = [" " * wide + "".join(f"{n:>{w}}" for n, w in zip(fits, widths, strict=True))]
    for label in columns[0]:
        cells = "".join(f"{c[label]:>{w}}" for c, w in zip(columns, widths, strict=True))
        lines.append(f"{label:<{wide}}{cells}")
    return "\n".join(lines)


def _cells(fit: AnchorFit) -> dict[str, str]:
    """Return the cells of one column by the label of their row."""
    cells = {"scales": _list(fit.anchors.scales), "ratios": _list(fit.anchors.ratios)}
    for where, inside in (("any anchor", False), ("anchors used in training", True)):
        for iou in IOU_THRESHOLDS:
            label = f"objects with IoU >= {iou:g}, {where}"
            cells[label] = _percent(fit.share(iou, inside=inside))
    cells["mean of the best IoU, any anchor"] = _number(fit.best_iou, 3)
    for way, count in fit.reached().items():
        cells[f"objects that training reaches {way}"] = f"{count:,}"
    cells["positives an image, by IoU"] = _number(fit.positives_by_iou, 1)
    cells["positives an image, only as the best there is"] = _number(fit.positives_as_best, 1)
    without = (fit.positives_by_iou + fit.positives_as_best) == 0
    cells["images without a positive"] = f"{int(without.sum()):,}"
    cells["negatives an image"] = _number(fit.negatives, 0)
    return cells


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _number(values: np.ndarray, digits: int) -> str:
    return f"{values.mean():,.{digits}f}" if values.size else "-"
