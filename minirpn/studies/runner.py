"""Run a study: train and measure each variant with each seed, and continue after a stop.

``OUT/VARIANT/seed-S/`` is the run folder of a training, which resumes by itself, to the bit.
``OUT/study.json`` holds the question and each outcome; an outcome in it is not computed again. So
the same command may be stopped or killed at any time, and continues when it is called again.
Several ranks (`minirpn.training.distributed`) take a training each at the same time.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from minirpn.accel.threads import set_threads, thread_count
from minirpn.data.synthetic import generate
from minirpn.errors import InputError
from minirpn.evaluation import COUNTS, IOU_THRESHOLDS
from minirpn.fields import Check, Fields, choice, list_of, read_json, shown
from minirpn.files import folder_lock, one_line_errors, replace_file, write_json
from minirpn.report import read_metrics
from minirpn.studies.study import NOTHING_MORE, Findings, Measured, Outcome, Study, Variant
from minirpn.training.build import build_pipeline, load_network, open_dataset
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import MAY_CHANGE_ON_RESUME, TrainConfig, load_config, override
from minirpn.training.diagnostics import NotFiniteError
from minirpn.training.distributed import ALONE, Ranks
from minirpn.training.evaluate import as_many_as, propose_all, recall_of
from minirpn.training.run_folder import open_run, start_run
from minirpn.training.stored import read_stored
from minirpn.training.tables import NONE, flat, to_table
from minirpn.training.terminal import Progress
from minirpn.training.train import train

JSON, TABLE, PICTURE = "study.json", "table.md", "study.png"
FORMAT, VERSION = "minirpn study", 1
# A training reads from its weights what pixels they expect; without weights it trains all stages.
# It writes both into its settings, where they say nothing else.
_SET_BY_TRAINING = ("model.preprocessing", "model.freeze")


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
    ranks: Ranks = ALONE,
) -> StudyResult:
    """Train and measure what is not done yet, and write the table and the picture.

    Parameters
    ----------
    study
        One of `minirpn.studies.STUDIES`.
    base
        The settings that all variants share. The recall on ``data.val_split`` is measured once,
        after the training; there is no validation during the training.
    out
        The study's folder.
    seeds
        How many seeds each variant is trained with: 0 to `seeds` - 1.
    limit
        Measure on the first so many images only.
    progress
        Show progress on stderr.
    ranks
        The processes that share the trainings, each of which one of them does alone; all call this
        function, within `Ranks.perform`.

    Returns
    -------
    StudyResult
        With `interrupted` set after SIGINT or SIGTERM; nothing is lost then.

    Raises
    ------
    InputError
        The settings make no sense for this study, or are not those it began with; data, weights or
        a file cannot be used; no training of the baseline finished.
    """
    _check(base, seeds, limit)
    variants = study.variants(base)
    question = {
        "format": FORMAT,
        "version": VERSION,
        "study": study.name,
        "limit": limit,
        "variants": {variant.name: dict(variant.settings) for variant in variants},
        "settings": flat(to_table(base)),
    }
    with contextlib.ExitStack() as stack:
        if ranks.is_first:
            with one_line_errors(out, "make the folder"):
                out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(folder_lock(out))
        ranks.exchange()  # nobody begins where another program is at work
        file = out / JSON
        # Written with the first outcome, so that a mistyped flag does not block the next try.
        more = study.more(base)
        outcomes = _stored_outcomes(file, question, more) if file.exists() else []
        done = {(outcome.variant, outcome.seed) for outcome in outcomes}
        # Seed by seed: a study that is stopped early has something on every variant.
        every = [(variant, seed) for seed in range(seeds) for variant in variants]
        left = [(variant, seed) for variant, seed in every if (variant.name, seed) not in done]
        data = base.data.voc
        if data is None:  # shapes, generated once for all trainings
            data = str(out / "shapes")
            if ranks.is_first and not (out / "shapes").exists():
                generate(data, base.synthetic)
            ranks.exchange()  # the others wait for them
        own: dict[str, Any] = {"data.voc": data, "run.pictures": False}
        if not ranks.is_alone:
            own["run.device"] = ranks.open_device(base.run.device).name
        began = perf_counter()
        for first in range(0, len(left), ranks.size):
            outcome, some = None, left[first : first + ranks.size]
            if progress:
                print(_outlook(some, first, left, every, began), file=sys.stderr, flush=True)
            if ranks.rank < len(some):
                variant, seed = some[ranks.rank]
                settings = {**own, "run.seed": seed, **variant.settings}
                config = override(base, settings, origins={})
                run = out / variant.name / f"seed-{seed}"
                outcome = _outcome(study, variant, run, config, limit=limit, progress=progress)
            new = ranks.exchange(outcome)[: len(some)]
            outcomes += [outcome for outcome in new if outcome is not None]
            if ranks.is_first and len(new) > new.count(None):
                write_json(file, question | {"outcomes": [o.to_dict() for o in outcomes]})
            if None in new:
                return StudyResult(Findings(study, base, variants, tuple(outcomes)), True)
        findings = Findings(study, base, variants, tuple(outcomes))
        if ranks.is_first:
            write_findings(findings, out)
    return StudyResult(findings, interrupted=False)


def _outlook(
    some: Sequence[tuple[Variant, int]],
    first: int,
    left: Sequence[tuple[Variant, int]],
    every: Sequence[tuple[Variant, int]],
    began: float,
) -> str:
    """Return which trainings begin now, and how long those that are left will take."""
    done = len(every) - len(left) + first
    numbers = f"{done + 1}" if len(some) == 1 else f"{done + 1} to {done + len(some)}"
    names = "; ".join(f"{variant.label}, seed {seed}" for variant, seed in some)
    words = f"training {numbers} of {len(every)}: {names}"
    if first:
        seconds = (perf_counter() - began) / first * (len(left) - first)
        words += f" (about {seconds / 60:.0f} min to go)"
    return words


def measure_run(
    study: Study,
    run: Path,
    out: Path,
    *,
    config: TrainConfig,
    limit: int | None = None,
    progress: bool = True,
) -> Findings:
    """Measure a run that is trained already, and write the table and the picture of a study.

    Parameters
    ----------
    study
        One that compares nothing.
    run
        The run's folder, or one of its checkpoints; see `minirpn.training.stored.read_stored`.
    out
        The study's folder; an earlier table and picture in it are replaced.
    config
        The run's settings, perhaps with another data set or split to measure on.
    limit, progress
        As for `run_study`.

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
    outcome = measure(study, variants[0], run, config, limit=limit, progress=progress)
    findings = Findings(study, config, variants, (outcome,))
    write_findings(findings, out)
    return findings


def write_findings(findings: Findings, out: Path) -> None:
    """Write ``table.md`` and ``study.png`` into a study's folder.

    Raises
    ------
    InputError
        No training of the baseline finished, or a file cannot be written.
    """
    from minirpn import viz

    failed = findings.failed(findings.baseline)
    if failed and not findings.finished(findings.baseline):
        raise InputError(f"{findings.baseline.label}: {failed[0].failure}")
    replace_file(out / TABLE, findings.study.table(findings).encode(errors="backslashreplace"))
    with one_line_errors(out, "write"):
        viz.save(findings.study.draw(findings), out / PICTURE)


def _check(base: TrainConfig, seeds: int, limit: int | None) -> None:
    if seeds < 1:
        raise InputError(f"--seeds: expected at least 1, got {seeds}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit: expected at least 1, got {limit}")
    if base.data.val_split is None:
        raise InputError("--val-split: needed, because a study measures on it")
    if base.run.patience is not None:
        raise InputError("run.patience: studies train all steps, and measure afterwards")
    if base.sharing.has_detector:
        raise InputError(f"sharing.kind: studies train the RPN alone, not {base.sharing.kind}")


def _outcome(
    study: Study,
    variant: Variant,
    run: Path,
    config: TrainConfig,
    *,
    limit: int | None,
    progress: bool,
) -> Outcome | None:
    """Train and measure with the threads of the settings; None if it was stopped."""
    threads = thread_count()
    set_threads(config.run.threads or threads)
    try:
        if not _train(config, run, progress=progress):
            return None
        return measure(study, variant, run, config, limit=limit, progress=progress)
    except InputError as error:
        # A training that diverges is an outcome too, and the others go on.
        cause = error.__cause__
        if not isinstance(cause, NotFiniteError):
            raise
        failure = f"step {cause.step}, image {cause.example.image_id}: {cause.quantity}"
        return Outcome(variant.name, config.run.seed, None, failure=failure)
    finally:
        set_threads(threads)


def _train(config: TrainConfig, run: Path, *, progress: bool) -> bool:
    """Start a training, resume it, or leave it if it is done; return whether it is done."""
    # It is measured afterwards, so it needs no validation.
    config = override(config, {"data.val_split": None}, origins={})
    if not (run / "config.toml").is_file():
        with start_run(run, config) as folder:
            return not train(config, folder, progress=progress).interrupted
    folder = open_run(run)
    stored, wanted = load_config(folder.config), flat(to_table(config))
    left_open = [key for key in _SET_BY_TRAINING if wanted.get(key) == NONE]
    _check_same(folder.config, flat(to_table(stored)), wanted, ignore=left_open)
    if folder.last.exists() and load_checkpoint(folder.last).step >= config.optimizer.steps:
        return True
    now = override(stored, {key: wanted[key] for key in MAY_CHANGE_ON_RESUME}, origins={})
    return not train(now, folder, resume=True, progress=progress).interrupted


def measure(
    study: Study,
    variant: Variant,
    run: Path,
    config: TrainConfig,
    *,
    limit: int | None,
    progress: bool,
) -> Outcome:
    """Return the outcome of a training that is done: the recall of up to 2,000 proposals an image.

    `config` has the data set and the split to measure on.
    """
    began = perf_counter()
    model = read_stored(run)
    if model.folder is None:
        raise InputError(f"{run}: a study measures a run, and this model is in none")
    folder, (network, stored) = model.folder, load_network(model)
    config = replace(config, model=stored.model)
    assert config.data.val_split is not None
    dataset = open_dataset(config, folder, config.data.val_split)
    images = len(dataset) if limit is None else min(limit, len(dataset))
    pipeline, most = build_pipeline(config, network), as_many_as(config.proposals, COUNTS[-1])
    results = []
    with Progress(images, unit="image", show=progress) as bar:
        for result in propose_all(network, dataset, pipeline, most, limit=limit):
            results.append(result)
            bar.advance("measuring")
    recall = recall_of(results, counts=COUNTS)
    measured = Measured(folder, config, network, dataset, limit)
    more = {} if study.measure is None else study.measure(measured)
    records = read_metrics(folder.metrics)
    trained_for = sum(r.get("step_seconds", 0) for r in records if r["kind"] == "train")
    seconds = trained_for, perf_counter() - began
    return Outcome(variant.name, config.run.seed, recall, len(results), *seconds, more)


def _stored_outcomes(
    file: Path, question: Mapping[str, Any], more: Check[Mapping[str, Any]] = NOTHING_MORE
) -> list[Outcome]:
    """Return the outcomes in ``study.json``; InputError if it answers another question."""
    stored = Fields(read_json(file), str(file))
    stored.get("format", choice(FORMAT))
    stored.get("version", choice(VERSION))
    for name in ("study", "limit", "variants"):
        was = stored.get(name, _as_it_is)
        if was != question[name]:
            raise _contradiction(file, name, was, question[name])
    # The seed belongs to each training, not to the study.
    settings = stored.get("settings", Fields).plain
    # A study from before there was a setting has its default.
    settings = flat(to_table(TrainConfig())) | settings
    _check_same(file, settings, question["settings"], ignore=("run.seed",))

    def stored_outcome(plain: Any, where: str) -> Outcome:
        outcome = Outcome.from_dict(plain, where, more)
        recall = outcome.recall
        if recall and (recall.counts, recall.iou_thresholds) != (COUNTS, IOU_THRESHOLDS):
            raise InputError(
                f"{where}: recall: of other counts or thresholds than a study measures"
            )
        return outcome

    outcomes = stored.get("outcomes", list_of(stored_outcome))
    if len({(one.variant, one.seed) for one in outcomes}) < len(outcomes):
        raise stored.wrong("outcomes: expected one for each variant and seed")
    return outcomes


def _as_it_is(value: Any, where: str) -> Any:
    return value


def _check_same(
    file: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any], *, ignore: Collection[str]
) -> None:
    """Raise InputError at the first setting, by dotted key, that makes another training."""
    for key in sorted(set(stored) | set(wanted)):
        if key in MAY_CHANGE_ON_RESUME or any(f"{key}.".startswith(f"{k}.") for k in ignore):
            continue
        was, now = stored.get(key, NONE), wanted.get(key, NONE)
        if was != now:
            raise _contradiction(file, key, was, now)


def _contradiction(file: Path, key: str, was: Any, now: Any) -> InputError:
    return InputError(
        f"{file}: {key}: is {shown(was)}, but {shown(now)} is asked for: "
        "ask for the same, or use --out"
    )
