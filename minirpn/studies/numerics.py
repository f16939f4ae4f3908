"""What rounding changes in a training, and what it must not: labels and sampled anchors."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.loader import training_order
from minirpn.devices import open_device
from minirpn.fields import MOST_NAME, Check, list_of, number, object_of, optional, text
from minirpn.report import read_metrics
from minirpn.rpn.targets import label_anchors, sample_minibatch
from minirpn.studies.study import Findings, Measured, Variant
from minirpn.studies.tables import HEADLINES, markdown, minutes, section, spread, values
from minirpn.training.build import build_pipeline, open_dataset
from minirpn.training.config import TrainConfig
from minirpn.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPLAYED = 10
"""Steps that are repeated, to see which anchors they label and sample."""
KEPT = 200
"""Steps whose losses are kept in ``study.json``."""


def first_steps(measured: Measured) -> dict[str, Any]:
    """Return the first losses of a run, and fingerprints of the anchors of its first steps.

    The first steps are repeated from the settings of the run, to look at the labels.

    Returns
    -------
    dict
        ``losses``: of the first 200 steps; ``labels``, ``sampled``: for each of the first 10 steps
        the SHA-256 of the labels of all anchors, before and after the mini-batch was drawn.
    """
    records = read_metrics(measured.folder.metrics)
    losses = [record.get("loss") for record in records if record["kind"] == "train"]
    config = measured.config
    trainer = Trainer(config, open_device(config.run.device))
    if config.model.weights is not None:
        trainer.load_weights(config.model.weights)
    dataset = open_dataset(config, measured.folder, config.data.split)
    order = training_order(len(dataset), seed=config.run.seed, augment=config.data.augment)
    first = itertools.islice(order, min(REPLAYED, len(losses)))
    labels: list[str] = []
    sampled: list[str] = []
    with build_pipeline(config, trainer.network).examples(dataset, first) as examples:
        for example in examples:
            anchors = trainer.network.anchors_for(example.image_size, like=example.image)
            gt_boxes = trainer.device.put(example.gt_boxes[config.data.learnt(example.difficult)])
            ignored = trainer.device.put(example.ignored)
            of_all = label_anchors(
                anchors, gt_boxes, example.image_size, config=config.labels, ignored=ignored
            ).labels
            drawn = sample_minibatch(of_all, rng=trainer.rng(), config=config.sampling)
            trainer.train_step([example])
            for prints, array in ((labels, of_all), (sampled, drawn)):
                prints.append(hashlib.sha256(backend.to_host(array).tobytes()).hexdigest())
    return {"losses": losses[:KEPT], "labels": labels, "sampled": sampled}


def stored_steps(config: TrainConfig) -> Check[Mapping[str, Any]]:
    """Return the check of what `first_steps` returned for these settings."""
    steps, prints = config.optimizer.steps, list_of(text(MOST_NAME))
    losses = list_of(optional(number()), min(steps, KEPT))
    return object_of(losses=losses, labels=prints, sampled=prints)


def relative_differences(one: Sequence[float | None], other: Sequence[float | None]) -> np.ndarray:
    """Return ``|a - b| / |b|`` of two sequences of losses, up to the end of the shorter.

    None stands for a loss that was not finite, and gives nan.
    """
    steps = min(len(one), len(other))
    a, b = (np.array(losses[:steps], np.float64) for losses in (one, other))
    return np.abs(a - b) / np.abs(b)


class _Pair(NamedTuple):
    """A variant compared with the baseline, at the same seed."""

    changes: np.ndarray  # relative differences of the losses, step by step
    same_anchors: bool


def _pairs(findings: Findings, variant: Variant) -> list[_Pair]:
    baseline = {outcome.seed: outcome.more for outcome in findings.finished(findings.baseline)}
    pairs = []
    for outcome in findings.finished(variant):
        if outcome.seed in baseline:
            ours, theirs = outcome.more, baseline[outcome.seed]
            same = all(ours[key] == theirs[key] for key in ("labels", "sampled"))
            pairs.append(_Pair(relative_differences(ours["losses"], theirs["losses"]), same))
    return pairs


def numerics_table(findings: Findings) -> str:
    """Return the section of the study of numerics."""
    head = [
        "variant",
        "loss of step 1",
        f"of steps 1 to {REPLAYED}, at most",
        f"labels and samples of steps 1 to {REPLAYED}",
        *HEADLINES,
        "minutes",
    ]
    rows, all_same = [], True
    for variant in findings.variants:
        pairs = _pairs(findings, variant)
        if variant is findings.baseline or not pairs:
            cells = ["(baseline)" if pairs else "-"] * 3
        else:
            same = all(pair.same_anchors for pair in pairs)
            all_same &= same
            largest = [max(pair.changes[:n].max() for pair in pairs) for n in (1, REPLAYED)]
            cells = ["0 (to the bit)" if value == 0 else f"{value:.0e}" for value in largest]
            cells.append("the same" if same else "DIFFER")
        outcomes = findings.finished(variant)
        recalls = [spread(values(outcomes, name)).text(4) for name in HEADLINES]
        rows.append([variant.label, *cells, *recalls, minutes(outcomes)])
    note = "Losses: the relative difference to the first row at the same seed. " + (
        "Labels and sampled anchors are the same in all variants, as they must be."
        if all_same
        else "LABELS OR SAMPLED ANCHORS DIFFER, which rounding must not do: a fault of minirpn."
    )
    return section(findings, markdown(head, rows), [note])


def draw_numerics(findings: Findings) -> Axes:
    """Return axes with the relative difference of the loss to the baseline's, step by step."""
    from minirpn import viz

    lines = {}
    for variant in findings.variants:
        changes = [pair.changes for pair in _pairs(findings, variant)]
        if variant is not findings.baseline and changes:
            steps = min(map(len, changes))
            # 0 has no place on a logarithmic axis; the legend says that losses are equal.
            worst = np.max([change[:steps] for change in changes], axis=0)
            name = variant.label if np.any(worst > 0) else f"{variant.label}: equal to the bit"
            lines[name] = np.where(worst > 0, worst, np.nan)
    steps = min(map(len, lines.values()), default=0)
    ax = viz.plot_lines(
        np.arange(1, steps + 1),
        {name: line[:steps] for name, line in lines.items()},
        x_label="step",
        y_label="relative difference of the loss",
        title=f"compared with {findings.baseline.label}",
    )
    ax.set_yscale("log")
    return ax
