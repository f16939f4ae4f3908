"""What a study says in words and tables: Markdown that goes into a page as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minirpn.evaluation import RecallResult
from minirpn.report.html import duration
from minirpn.studies.seeds import chance_apart, difference, spread
from minirpn.studies.study import Findings, Outcome, Variant

TEST_COUNT = 300
"""Proposals that the paper's detector looks at (section 3.3), and the comparisons are made at."""

_FEW = 100

Quantity = Callable[[RecallResult], float]
"""One number of a measurement."""


def found(count: int, iou_threshold: float = 0.5) -> Quantity:
    """Return the quantity recall with so many proposals at an IoU."""
    return lambda recall: recall.at(count, iou_threshold)


def average(count: int) -> Quantity:
    """Return the quantity AR: mean recall over IoU 0.5 to 0.95 with so many proposals."""
    return lambda recall: float(recall.average_recall[recall.counts.index(count)])


# What variants are compared by: what a detector can find at all, and how tight the boxes are.
HEADLINES = {
    f"recall, {TEST_COUNT}": found(TEST_COUNT),
    f"AR, {TEST_COUNT}": average(TEST_COUNT),
}


def values(outcomes: Sequence[Outcome], quantity: Quantity) -> list[float]:
    """Return a quantity of each outcome that has a measurement."""
    return [quantity(outcome.recall) for outcome in outcomes if outcome.recall is not None]


def mean_recall(outcomes: Sequence[Outcome]) -> RecallResult:
    """Return the mean over the seeds, measured on the same objects, as one measurement.

    Raises
    ------
    ValueError
        There is none.
    """
    results = [outcome.recall for outcome in outcomes if outcome.recall is not None]
    if not results:
        raise ValueError("outcomes: none with a measurement")
    first = results[0]
    return RecallResult(
        counts=first.counts,
        iou_thresholds=first.iou_thresholds,
        recall=np.mean([result.recall for result in results], axis=0),
        gt_count=first.gt_count,
        recall_by_size={
            size: np.mean([result.recall_by_size[size] for result in results], axis=0)
            for size in first.recall_by_size
        },
        gt_count_by_size=first.gt_count_by_size,
        matching=first.matching,
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns stand under each other in a terminal, too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(f'{cell:<{width}}' for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def comparison(findings: Findings) -> str:
    """Return the section of a study that compares variants by the recall of their proposals."""
    columns = {f"recall, {_FEW}": found(_FEW)}
    for name, quantity in HEADLINES.items():
        columns |= {name: quantity}
    head = ["variant"]
    for name in columns:
        head += [name, "difference"] if name in HEADLINES else [name]
    published = findings.study.published
    head += ([f"mAP, {published.source}"] if published else []) + ["minutes"]
    rows = [_row(findings, variant, columns) for variant in findings.variants]
    return section(findings, markdown(head, rows), [rule(findings), *_about_published(findings)])


def _row(findings: Findings, variant: Variant, columns: dict[str, Quantity]) -> list[str]:
    outcomes, other = findings.of(variant), findings.of(findings.baseline)
    cells = [variant.label]
    for name, quantity in columns.items():
        numbers = values(outcomes, quantity)
        cells.append(spread(numbers).text())
        if name in HEADLINES:
            compared = difference(numbers, values(other, quantity)).text()
            cells.append("(baseline)" if variant is findings.baseline else compared)
    published = findings.study.published
    if published:
        value = published.values.get(variant.name)
        cells.append("" if value is None else f"{value:.1f}")
    return [*cells, minutes(outcomes)]


def minutes(outcomes: Sequence[Outcome]) -> str:
    """Return the mean time of a training and its measuring."""
    if not outcomes:
        return "-"
    return f"{np.mean([o.train_seconds + o.measure_seconds for o in outcomes]) / 60:.1f}"


def section(findings: Findings, table: str, notes: Sequence[str]) -> str:
    """Return heading, question, table and notes of a study."""
    study = findings.study
    parts = [f"## {study.title} ({study.source})", study.question, table]
    remark = "" if study.remark is None else study.remark(findings)
    parts += [setup(findings), *filter(None, [*notes, remark]), study.reading, *_failures(findings)]
    return "\n\n".join(parts) + "\n"


def setup(findings: Findings) -> str:
    """Return one paragraph on what was trained and measured, and how long it took in all."""
    base = findings.base
    weights = Path(base.model.weights).name if base.model.weights else None
    seconds = sum(o.train_seconds + o.measure_seconds for o in findings.outcomes)
    measured = next((o for o in findings.outcomes if o.recall is not None), None)
    objects = ""
    if measured is not None and measured.recall is not None:
        objects = f" ({measured.images} images, {measured.recall.gt_count:,} objects)"
    seeds = f"{findings.seeds} seed{'s' if findings.seeds != 1 else ''}"
    return (
        f"Ours: {base.model.backbone} {f'from {weights}' if weights else 'from random weights'}, "
        f"{base.optimizer.steps:,} steps of one image, shorter side {base.resize.short_side}, "
        f"learning rate {base.optimizer.lr:g}, {seeds}; trained on split {base.data.split}"
        f"{' of generated shapes' if base.data.voc is None else ''}, measured on split "
        f"{base.data.val_split}{objects}; {duration(seconds)} in all. Recall: the share of "
        "objects found at IoU 0.5 with so many proposals; AR: the mean over IoU 0.5 to 0.95."
    )


def rule(findings: Findings) -> str:
    """Return how differences were told from chance, and how often that errs."""
    if findings.seeds < 2:
        return (
            "One seed each: whether the variants differ is not known. `--seeds 3` adds to what is "
            "here."
        )
    chance = chance_apart(findings.seeds, findings.seeds)
    return (
        f"In parentheses the range of {findings.seeds} seeds. A difference to "
        f"`{findings.baseline.label}` counts where the ranges lie apart, and is called none where "
        f"they touch or overlap; two like variants lie apart by chance in 1 of {1 / chance:.0f} "
        "comparisons."
    )


def _about_published(findings: Findings) -> list[str]:
    """Return how far the means lie apart, here and in the paper."""
    published = findings.study.published
    if published is None:
        return []
    quantity = HEADLINES[f"recall, {TEST_COUNT}"]
    spreads = [spread(values(findings.of(v), quantity)) for v in findings.variants]
    means, theirs = [s.mean for s in spreads if s.seeds], published.values.values()
    if not means:
        return []
    words = (
        f"Theirs ({published.source}): {published.what}. From the worst to the best variant it is "
        f"{max(theirs) - min(theirs):.1f} points of mAP there, and "
        f"{100 * (max(means) - min(means)):.1f} points of recall with {TEST_COUNT} proposals here"
    )
    if findings.seeds > 1:
        widest = max(s.high - s.low for s in spreads if s.seeds)
        words += f", where the seeds of one variant lie up to {100 * widest:.1f} points apart"
    return [f"{words}. The two are no measure of each other: compare order and direction."]


def _failures(findings: Findings) -> list[str]:
    return [
        f"{variant.label}, seed {outcome.seed}, came to no end: {outcome.failure}. The row shows "
        "the seeds that are left, which lie apart from others the more easily."
        for variant in findings.variants
        for outcome in findings.failed(variant)
    ]


def recall_by_iou(findings: Findings) -> str:
    """Return the section of figure 4: recall by number of proposals and by IoU."""
    outcomes = findings.of(findings.baseline)
    recall = mean_recall(outcomes)
    head = ["proposals", *(f"IoU {iou:g}" for iou in recall.iou_thresholds), "AR"]
    rows = [
        [f"{count:,}", *(f"{value:.3f}" for value in recall.recall[row]), f"{mean:.3f}"]
        for row, (count, mean) in enumerate(zip(recall.counts, recall.average_recall, strict=True))
    ]
    seeds = f"Means of {len(outcomes)} seeds. " if len(outcomes) > 1 else ""
    losses = ", ".join(
        f"{100 * (recall.at(recall.counts[-1], iou) - recall.at(TEST_COUNT, iou)):.1f} points at "
        f"IoU {iou:g}"
        for iou in (0.5, 0.7)
    )
    drop = f"{seeds}With {TEST_COUNT} proposals instead of {recall.counts[-1]:,} recall falls by "
    return section(findings, markdown(head, rows), [f"{drop}{losses}."])
