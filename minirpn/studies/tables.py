"""How a study is shown: the rule for differences, tables in Markdown, and pictures.

The rule: two variants differ if the ranges of their seeds lie apart, so that the worst run of one
is better than the best run of the other. If the ranges touch or overlap, the difference is *none*,
whatever the means are. A single run of each tells nothing.

The rule assumes nothing about how values are distributed, and its error is known: of n and m values
from one distribution, all n lie on one side of all m by chance in 2 / C(n + m, n) of the cases: 1
in 3 for two seeds each, 1 in 10 for three, 1 in 126 for five.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from minirpn.evaluation import RecallResult
from minirpn.report.html import duration
from minirpn.studies.study import Findings, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEST_COUNT = 300
"""Proposals that the paper's detector looks at (section 3.3), and the tables here."""
FEW = 100
HEADLINES = (f"recall, {TEST_COUNT}", f"AR, {TEST_COUNT}")
"""What variants are compared by: what a detector can find at all, and how tight the boxes are."""

_ROW, _PANEL, _LABELS = 0.42, 3.1, 1.6  # inches


class Spread(NamedTuple):
    """Mean and range of a quantity over the seeds; nan without seeds."""

    mean: float
    low: float
    high: float
    seeds: int

    def text(self, digits: int = 3) -> str:
        """Return mean and range, such as ``0.812 (0.801 to 0.823)``; of one seed its value."""
        if math.isnan(self.mean):
            return "-"
        mean, low, high = (f"{value:.{digits}f}" for value in self[:3])
        return mean if self.seeds == 1 else f"{mean} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """Return mean and range of the values of several seeds.

    Examples
    --------
    >>> spread([0.5, 0.7]).text(1)
    '0.6 (0.5 to 0.7)'
    """
    if not len(values):
        return Spread(math.nan, math.nan, math.nan, 0)
    return Spread(float(np.mean(values)), min(values), max(values), len(values))


class Difference(NamedTuple):
    """The comparison of two variants."""

    verdict: Literal["apart", "none", "unknown"]  # unknown without two seeds of each
    means: float  # mean of the first minus mean of the second

    def text(self) -> str:
        """Return the difference of the means if there is one, else ``none`` or ``not known``."""
        texts = {"apart": f"{self.means:+.3f}", "none": "none", "unknown": "not known"}
        return texts[self.verdict]


def difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Return whether the values of two variants differ by more than chance, and by how much.

    The rule stands at the top of this module. Ties: ranges that touch in one value overlap.

    Examples
    --------
    >>> difference([0.5, 0.6], [0.7, 0.8]).verdict, difference([0.5, 0.7], [0.7, 0.8]).verdict
    ('apart', 'none')
    """
    a, b = spread(one), spread(other)
    means = a.mean - b.mean
    if min(a.seeds, b.seeds) < 2 or math.isnan(means):
        return Difference("unknown", means)
    apart = a.low > b.high or b.low > a.high
    return Difference("apart" if apart else "none", means)


def chance_apart(one: int, other: int) -> float:
    """Return how often the ranges of two equal variants of so many seeds lie apart by chance.

    Examples
    --------
    >>> chance_apart(3, 3)
    0.1
    """
    return 2 / math.comb(one + other, one)


def values(outcomes: Sequence[Outcome], name: str) -> list[float]:
    """Return a quantity of each outcome that has a measurement.

    It is ``"recall, N"``, the recall with N proposals at IoU 0.5, or ``"AR, N"``, the mean recall
    over IoU 0.5 to 0.95.
    """
    kind, count = name.split(", ")
    recalls = [outcome.recall for outcome in outcomes if outcome.recall is not None]
    if kind == "recall":
        return [recall.at(int(count), 0.5) for recall in recalls]
    return [float(recall.average_recall[recall.counts.index(int(count))]) for recall in recalls]


def mean_recall(outcomes: Sequence[Outcome]) -> RecallResult:
    """Return the mean recall over seeds that were measured on the same objects."""
    results = [outcome.recall for outcome in outcomes if outcome.recall is not None]
    return replace(
        results[0],
        recall=np.mean([result.recall for result in results], axis=0),
        recall_by_size={
            size: np.mean([result.recall_by_size[size] for result in results], axis=0)
            for size in results[0].recall_by_size
        },
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns also line up in a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(f'{cell:<{width}}' for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def comparison(findings: Findings) -> str:
    """Return the section of a study that compares variants by the recall of their proposals."""
    published, baseline = findings.study.published, findings.baseline
    head = ["variant", f"recall, {FEW}"]
    for name in HEADLINES:
        head += [name, "difference"]
    head += ([f"mAP, {published.source}"] if published else []) + ["minutes"]
    rows = []
    for variant in findings.variants:
        outcomes = findings.finished(variant)
        cells = [variant.label, spread(values(outcomes, f"recall, {FEW}")).text()]
        for name in HEADLINES:
            ours = values(outcomes, name)
            compared = difference(ours, values(findings.finished(baseline), name)).text()
            cells += [spread(ours).text(), "(baseline)" if variant is baseline else compared]
        if published:
            theirs = published.values.get(variant.name)
            cells.append("" if theirs is None else f"{theirs:.1f}")
        rows.append([*cells, minutes(outcomes)])
    return section(findings, markdown(head, rows), [_rule(findings), _about_published(findings)])


def minutes(outcomes: Sequence[Outcome]) -> str:
    """Return the mean time of a training and its measurement, in minutes."""
    if not outcomes:
        return "-"
    return f"{np.mean([o.train_seconds + o.measure_seconds for o in outcomes]) / 60:.1f}"


def section(findings: Findings, table: str, notes: Sequence[str]) -> str:
    """Return heading, question, table and notes of a study; empty notes are left out."""
    study = findings.study
    remark = "" if study.remark is None else study.remark(findings)
    failures = [
        f"{variant.label}, seed {outcome.seed}, did not finish: {outcome.failure}. The row shows "
        "the seeds that are left; fewer seeds lie apart from others more easily."
        for variant in findings.variants
        for outcome in findings.failed(variant)
    ]
    heading = f"## {study.title} ({study.source})"
    notes = [_setup(findings), *notes, remark, study.reading, *failures]
    return "\n\n".join([heading, study.question, table, *filter(None, notes)]) + "\n"


def _setup(findings: Findings) -> str:
    """Return one paragraph: what was trained and measured, and how long it took."""
    base = findings.base
    weights = Path(base.model.weights).name if base.model.weights else "random weights"
    seconds = sum(o.train_seconds + o.measure_seconds for o in findings.outcomes)
    objects = next(
        (
            f" ({outcome.images} images, {outcome.recall.gt_count:,} objects)"
            for outcome in findings.outcomes
            if outcome.recall is not None
        ),
        "",
    )
    each = base.optimizer.images_per_step
    of_images = "of one image" if each == 1 else f"of {each} images"
    return (
        f"Ours: {base.model.backbone} from {weights}, "
        f"{base.optimizer.steps:,} steps {of_images}, shorter side {base.resize.short_side}, "
        f"learning rate {base.optimizer.lr:g}, "
        f"{findings.seeds} seed{'s' if findings.seeds != 1 else ''}; "
        f"trained on split {base.data.split}"
        f"{' of generated shapes' if base.data.voc is None else ''}, measured on split "
        f"{base.data.val_split}{objects}; {duration(seconds)} in all. Recall: the share of "
        "objects found at IoU 0.5 with so many proposals; AR: the mean over IoU 0.5 to 0.95."
    )


def _rule(findings: Findings) -> str:
    """Return how differences are separated from chance, and how often that is wrong."""
    if findings.seeds < 2:
        return (
            "One seed each: whether the variants differ is not known. `--seeds 3` adds to what is "
            "here."
        )
    chance = chance_apart(findings.seeds, findings.seeds)
    return (
        f"In parentheses the range of {findings.seeds} seeds. A difference to "
        f"`{findings.baseline.label}` counts where the ranges lie apart, and is called none where "
        f"they touch or overlap; two equal variants lie apart by chance in 1 of "
        f"{1 / chance:.0f} comparisons."
    )


def _about_published(findings: Findings) -> str:
    """Return how far the means lie apart, here and in the paper; "" without numbers of both."""
    published = findings.study.published
    spreads = [spread(values(findings.finished(v), HEADLINES[0])) for v in findings.variants]
    spreads = [s for s in spreads if s.seeds]
    if published is None or not spreads:
        return ""
    means, theirs = [s.mean for s in spreads], published.values.values()
    words = (
        f"Theirs ({published.source}): {published.what}. From the worst to the best variant it is "
        f"{max(theirs) - min(theirs):.1f} points of mAP there, and "
        f"{100 * (max(means) - min(means)):.1f} points of recall with {TEST_COUNT} proposals here"
    )
    if findings.seeds > 1:
        widest = max(s.high - s.low for s in spreads)
        words += f", where the seeds of one variant lie up to {100 * widest:.1f} points apart"
    return f"{words}. The two are no measure of each other: compare order and direction."


def recall_by_iou(findings: Findings) -> str:
    """Return the section on figure 4: recall by number of proposals and by IoU."""
    outcomes = findings.finished(findings.baseline)
    recall = mean_recall(outcomes)
    head = ["proposals", *(f"IoU {iou:g}" for iou in recall.iou_thresholds), "AR"]
    rows = [
        [f"{count:,}", *(f"{value:.3f}" for value in row), f"{mean:.3f}"]
        for count, row, mean in zip(
            recall.counts, recall.recall, recall.average_recall, strict=True
        )
    ]
    most = recall.counts[-1]
    losses = (
        f"{100 * (recall.at(most, iou) - recall.at(TEST_COUNT, iou)):.1f} points at IoU {iou:g}"
        for iou in (0.5, 0.7)
    )
    note = (
        f"{f'Means of {len(outcomes)} seeds. ' if len(outcomes) > 1 else ''}With {TEST_COUNT} "
        f"proposals instead of {most:,} recall falls by {', '.join(losses)}."
    )
    return section(findings, markdown(head, rows), [note])


def draw_comparison(findings: Findings) -> Figure:
    """Return a figure with a row for each variant, a dot for each run, and the paper's numbers."""
    from matplotlib.figure import Figure

    from minirpn import viz

    published, variants = findings.study.published, findings.variants
    panels = len(HEADLINES) + (published is not None)
    size = (_LABELS + _PANEL * panels, 1.5 + _ROW * len(variants))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, HEADLINES, strict=False):
        ours = {v.label: values(findings.finished(v), name) for v in variants}
        baseline = findings.baseline.label
        viz.plot_variants(ours, ax, x_label=f"{name} proposals", baseline=baseline, title="ours")
    if published is not None:
        theirs = {
            v.label: [published.values[v.name]] if v.name in published.values else []
            for v in variants
        }
        title = f"the paper's {published.source}"
        viz.plot_variants(theirs, axes[-1], x_label="mAP (%) of a detector", title=title)
    figure.suptitle(f"{findings.study.title} ({findings.study.source})", fontsize="medium")
    return figure


def draw_recall(findings: Findings) -> Axes:
    """Return axes with the mean recall over IoU, as in figure 4."""
    from minirpn import viz

    return viz.plot_recall(mean_recall(findings.finished(findings.baseline)))
