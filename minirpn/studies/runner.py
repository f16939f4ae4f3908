"""Run a study: train and measure each variant with each seed, and go on where it was stopped.

``OUT/VARIANT/seed-S/`` is the run folder of a training, which resumes by itself, to the bit. What
is done and measured stands in ``OUT/study.json`` and is not done again. So the same command may be
stopped or killed at any time, and goes on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from minirpn.data.synthetic import generate
from minirpn.errors import InputError
from minirpn.files import alone_in, one_line_errors, replace_file
from minirpn.studies.store import StudyFile
from minirpn.studies.study import Findings, Study
from minirpn.studies.trainings import Plan, Task, measure, outcome_of
from minirpn.training.config import TrainConfig

JSON, TABLE, PICTURE = "study.json", "table.md", "study.png"


class StudyResult(NamedTuple):
    """How a call of `run_study` ended."""

    findings: Findings
    interrupted: bool  # asked to stop before all was done


def run_study(
    study: Study,
    base: TrainConfig,
    out: Path,
    *,
    seeds: int,
    limit: int | None = None,
    progress: bool = True,
) -> StudyResult:
    """Train and measure what is not done yet, and write the table and the picture.

    Parameters
    ----------
    study
        One of `minirpn.studies.STUDIES`.
    base
        The settings that all variants share. Measured is on ``data.val_split``, once, after the
        training; nothing is validated on the way.
    out
        The study's folder.
    seeds
        How many seeds each variant is trained with: 0 to `seeds` - 1.
    limit
        Measure on the first so many images alone.
    progress
        Show on stderr how far it is.

    Returns
    -------
    StudyResult
        With `interrupted` set after SIGINT or SIGTERM; nothing is lost then.

    Raises
    ------
    InputError
        The settings make no sense for this study, or are not those it was begun with; data,
        weights or a file cannot be used; no training of the baseline came to an end.
    """
    _check(base, seeds, limit)
    variants = study.variants(base)
    with one_line_errors(out, "make the folder"):
        out.mkdir(parents=True, exist_ok=True)
    plan = Plan(study, limit, progress)
    with alone_in(out):
        file = StudyFile(out / JSON, study, base, variants, limit)
        data = _data(base, out)
        # Seed by seed, so that a study that is stopped early has something on every variant.
        tasks = [Task(v, s) for s in range(seeds) for v in variants if not file.has(v, s)]
        pace = _Pace(len(variants) * seeds, len(tasks), show=progress)
        for task in tasks:
            pace.begin(task)
            outcome = outcome_of(task, base, data, out, plan)
            if outcome is None:
                return StudyResult(file.findings, interrupted=True)
            file.add(outcome)
            pace.end()
        write_findings(file.findings, out)
    return StudyResult(file.findings, interrupted=False)


def measure_run(
    study: Study,
    run: Path,
    out: Path,
    *,
    config: TrainConfig,
    limit: int | None = None,
    progress: bool = True,
) -> Findings:
    """Measure for a study a run that is trained already, and write the table and the picture.

    Parameters
    ----------
    study
        One that compares nothing.
    run
        The run's folder.
    out
        The study's folder; an earlier table and picture in it are replaced.
    config
        The run's settings, perhaps with another data set or split to be measured on.
    limit, progress
        As of `run_study`.

    Raises
    ------
    InputError
        The study compares variants; the run or the data cannot be used.
    """
    _check(config, 1, limit)
    variants = study.variants(config)
    if len(variants) > 1:
        raise InputError(f"--run {run}: {study.name} compares {len(variants)} trainings")
    with one_line_errors(out, "make the folder"):
        out.mkdir(parents=True, exist_ok=True)
    task = Task(variants[0], config.run.seed)
    outcome = measure(task, run, config, Plan(study, limit, progress))
    findings = Findings(study, config, variants, (outcome,))
    write_findings(findings, out)
    return findings


def write_findings(findings: Findings, out: Path) -> None:
    """Write ``table.md`` and ``study.png`` into a study's folder.

    Raises
    ------
    InputError
        There is nothing to compare with, or a file cannot be written.
    """
    from minirpn import viz

    for outcome in findings.failed(findings.baseline):
        if not findings.of(findings.baseline):
            raise InputError(f"{findings.baseline.label}: {outcome.failure}")
    text = findings.study.table(findings)
    replace_file(out / TABLE, lambda file: file.write(text.encode()))
    with one_line_errors(out, "write"):
        viz.save(findings.study.draw(findings), out / PICTURE)


def _check(base: TrainConfig, seeds: int, limit: int | None) -> None:
    if seeds < 1:
        raise InputError(f"--seeds: expected at least 1, got {seeds}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit: expected at least 1, got {limit}")
    if base.data.val_split is None:
        raise InputError("--val-split: needed, for a study measures on it")
    if base.sharing.has_detector:
        raise InputError(f"sharing.kind: studies train the RPN alone, not {base.sharing.kind}")


def _data(base: TrainConfig, out: Path) -> str:
    """Return where the data is; shapes are generated once for all trainings."""
    if base.data.voc is not None:
        return base.data.voc
    root = out / "shapes"
    if not root.exists():
        generate(root, base.synthetic)
    return str(root)


@dataclass
class _Pace:
    """Says which training comes next, and how long all that are left may take."""

    total: int
    left: int
    show: bool
    seconds: float = 0.0
    done: int = 0
    began: float = 0.0

    def begin(self, task: Task) -> None:
        self.began = perf_counter()
        number = self.total - self.left + self.done + 1
        words = f"training {number} of {self.total}: {task.variant.label}, seed {task.seed}"
        if self.done:
            rest = (self.left - self.done) * self.seconds / self.done
            words += f" (about {rest / 60:.0f} min to go)"
        if self.show:
            print(words, file=sys.stderr, flush=True)

    def end(self) -> None:
        self.seconds += perf_counter() - self.began
        self.done += 1
