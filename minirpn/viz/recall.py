"""Recall over IoU, the paper's figure 4."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes

from minirpn.evaluation import RecallResult
from minirpn.viz.style import CYCLE, dress, new_axes


def plot_recall(result: RecallResult, ax: Axes | None = None) -> Axes:
    """Return axes with recall over the IoU threshold, a line for each number of proposals.

    Parameters
    ----------
    result
        What `minirpn.evaluation.proposal_recall` measured. The legend gives the average recall.
    ax
        Where to draw; None makes a new figure.
    """
    ax = new_axes() if ax is None else ax
    # Counts beyond the number of proposals there are give the same line: one name for all of them.
    rows_of_line: dict[bytes, list[int]] = {}
    for row, recall in enumerate(result.recall):
        rows_of_line.setdefault(recall.tobytes(), []).append(row)
    for rows, color in zip(rows_of_line.values(), itertools.cycle(CYCLE), strict=False):
        counts = " or ".join(f"{result.counts[row]:,}" for row in rows)
        ax.plot(
            result.iou_thresholds,
            result.recall[rows[0]],
            "o-",
            markersize=3.5,
            color=color,
            label=f"{counts} (AR {result.average_recall[rows[0]]:.3f})",
        )
    ax.set(ylim=(0, 1.02))
    ax.legend(title="proposals an image", fontsize="small")
    return dress(
        ax,
        x="IoU that counts as found",
        y="recall (share of objects)",
        title=f"recall of {result.gt_count:,} objects",
    )
