"""What rounding changes in a training, and what it must not: labels and sampled anchors."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minirpn import backend
from minirpn._typing import Array
from minirpn.data.loader import training_order
from minirpn.data.samples import Example
from minirpn.devices import open_device
from minirpn.report import read_metrics
from minirpn.rpn.targets import label_anchors, sample_minibatch
from minirpn.studies.seeds import spread
from minirpn.studies.study import Findings, Measured, Outcome, Variant
from minirpn.studies.tables import TEST_COUNT, average, found, markdown, minutes, section, values
from minirpn.training.build import build_pipeline, open_dataset
from minirpn.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPLAYED = 10
"""Steps that are taken once more, to see which anchors they label and sample."""
KEPT = 200
"""Steps whose losses are kept in ``study.json``."""


def first_steps(measured: Measured) -> dict[str, Any]:
    """Return the first losses of a run, and fingerprints of the anchors its first steps are about.

    Parameters
    ----------
    measured
        A run of an RPN without a detector. Its first steps are taken once more, from its settings,
        with the labels looked at on the way.

    Returns
    -------
    dict
        ``losses``: of the first 200 steps; ``labels``, ``sampled``: for each of the first 10 steps
        the SHA-256 of the labels of all anchors, before and after the mini-batch was drawn.

    Raises
    ------
    RuntimeError
        The draw that was looked at is not the one that the training made.
    """
    records = read_metrics(measured.folder.metrics)
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    labels, sampled = _replayed(measured, min(REPLAYED, len(losses)))
    return {"losses": losses[:KEPT], "labels": labels, "sampled": sampled}


def _replayed(measured: Measured, steps: int) -> tuple[list[str], list[str]]:
    config = measured.config
    trainer = Trainer(config, open_device(config.run.device))
    if config.model.weights is not None:
        trainer.load_weights(config.model.weights)
    dataset = open_dataset(config, measured.folder, config.data.split)
    order = training_order(len(dataset), seed=config.run.seed, augment=config.data.augment)
    pipeline = build_pipeline(config, trainer.network)
    labels, sampled = [], []
    with pipeline.examples(dataset, itertools.islice(order, steps)) as examples:
        for example in examples:
            # A copy draws what the step is going to draw.
            rng = copy.deepcopy(trainer.rng)
            all_labels, drawn = _labels(trainer, example, rng)
            trainer.take(example)
            if trainer.rng.bit_generator.state != rng.bit_generator.state:
                raise RuntimeError("the anchors looked at are not those of the training")
            labels.append(_fingerprint(all_labels))
            sampled.append(_fingerprint(drawn))
    return labels, sampled


def _labels(trainer: Trainer, example: Example, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the labels (K,) of all anchors of an image, and those of a mini-batch from `rng`."""
    config = trainer.config
    keep = config.data.learnt(example.difficult)
    anchors = trainer.network.anchors_for(example.image_size, like=example.image)
    objects = trainer.device.put(example.gt_boxes[keep])
    all_labels = label_anchors(anchors, objects, example.image_size, config=config.labels).labels
    return all_labels, sample_minibatch(all_labels, rng=rng, config=config.sampling)


def _fingerprint(labels: Array) -> str:
    return hashlib.sha256(backend.to_host(labels).tobytes()).hexdigest()


def relative_differences(one: Sequence[float | None], other: Sequence[float | None]) -> np.ndarray:
    """Return ``|a - b| / |b|`` of two sequences of losses, step by step, as far as both go.

    Parameters
    ----------
    one, other
        Losses; None, which stands for one that was not finite, gives nan.
    """
    steps = min(len(one), len(other))
    a, b = (np.array(losses[:steps], np.float64) for losses in (one, other))
    return np.abs(a - b) / np.abs(b)


def numerics_table(findings: Findings) -> str:
    """Return the section of the study of numerics."""
    head = [
        "variant",
        "loss of step 1",
        f"of steps 1 to {REPLAYED}, at most",
        f"labels and samples of steps 1 to {REPLAYED}",
        f"recall, {TEST_COUNT}",
        f"AR, {TEST_COUNT}",
        "minutes",
    ]
    rows = [_row(findings, variant) for variant in findings.variants]
    same = all("DIFFER" not in cell for row in rows for cell in row)
    notes = [
        "Losses: the relative difference to the first row at the same seed. "
        + (
            "Labels and sampled anchors are the same in all variants, as they must be."
            if same
            else "LABELS OR SAMPLED ANCHORS DIFFER, which rounding must not do: a fault of minirpn."
        )
    ]
    return section(findings, markdown(head, rows), notes)


def _row(findings: Findings, variant: Variant) -> list[str]:
    outcomes = findings.of(variant)
    pairs = _pairs(findings, variant)
    cells = [variant.label]
    if variant is findings.baseline or not pairs:
        cells += ["(baseline)"] * 3 if pairs else ["-"] * 3
    else:
        changes = [relative_differences(a.more["losses"], b.more["losses"]) for a, b in pairs]
        cells.append(_relative(max(change[0] for change in changes)))
        cells.append(_relative(max(change[:REPLAYED].max() for change in changes)))
        same = all(a.more[key] == b.more[key] for a, b in pairs for key in ("labels", "sampled"))
        cells.append("the same" if same else "DIFFER")
    cells += [spread(values(outcomes, q)).text(4) for q in (found(TEST_COUNT), average(TEST_COUNT))]
    return [*cells, minutes(outcomes)]


def _pairs(findings: Findings, variant: Variant) -> list[tuple[Outcome, Outcome]]:
    """Return the outcomes of a variant, each with that of the baseline at the same seed."""
    other = {outcome.seed: outcome for outcome in findings.of(findings.baseline)}
    return [(one, other[one.seed]) for one in findings.of(variant) if one.seed in other]


def _relative(value: float) -> str:
    return "0 (to the bit)" if value == 0 else f"{value:.0e}"


def draw_numerics(findings: Findings) -> Axes:
    """Return axes with the relative difference of the loss to the baseline's, step by step."""
    from minirpn import viz

    lines = {}
    for variant in findings.variants:
        pairs = _pairs(findings, variant)
        if variant is not findings.baseline and pairs:
            changes = [relative_differences(a.more["losses"], b.more["losses"]) for a, b in pairs]
            steps = min(map(len, changes))
            # 0 has no place on a logarithmic axis, and equality is said in the table.
            worst = np.max([change[:steps] for change in changes], axis=0)
            name = variant.label if np.any(worst > 0) else f"{variant.label}: equal to the bit"
            lines[name] = np.where(worst > 0, worst, np.nan)
    steps = min(map(len, lines.values()), default=0)
    ax = viz.plot_lines(
        np.arange(1, steps + 1),
        {name: line[:steps] for name, line in lines.items()},
        x_label="step",
        y_label="relative difference of the loss",
        title=f"beside {findings.baseline.label}",
    )
    ax.set_yscale("log")
    return ax
