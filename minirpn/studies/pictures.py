"""The pictures of the studies, from their findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirpn.studies.study import Findings
from minirpn.studies.tables import HEADLINES, mean_recall, values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _PANEL, _LABELS = 0.42, 3.1, 1.6  # inches


def draw_comparison(findings: Findings) -> Figure:
    """Return a figure with a dot for each run, a row for each variant, the paper's beside them."""
    from matplotlib.figure import Figure

    from minirpn import viz

    published = findings.study.published
    panels = len(HEADLINES) + (published is not None)
    height = 1.5 + _ROW * len(findings.variants)
    figure = Figure(figsize=(_LABELS + _PANEL * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for ax, (name, quantity) in zip(axes, HEADLINES.items(), strict=False):
        shown = {v.label: values(findings.of(v), quantity) for v in findings.variants}
        baseline = findings.baseline.label
        viz.plot_variants(shown, ax, x_label=f"{name} proposals", baseline=baseline, title="ours")
    if published is not None:
        theirs = {
            v.label: [published.values[v.name]] if v.name in published.values else []
            for v in findings.variants
        }
        title = f"the paper's {published.source}"
        viz.plot_variants(theirs, axes[-1], x_label="mAP (%) of a detector", title=title)
    figure.suptitle(f"{findings.study.title} ({findings.study.source})", fontsize="medium")
    return figure


def draw_recall(findings: Findings) -> Axes:
    """Return axes with recall over IoU, as figure 4, of the mean over the seeds."""
    from minirpn import viz

    return viz.plot_recall(mean_recall(findings.of(findings.baseline)))
