"""One training of a study: begun, gone on with, or left as it is; then measured."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from minirpn.errors import InputError
from minirpn.evaluation import COUNTS, RecallResult
from minirpn.kernels.threads import set_threads, thread_count
from minirpn.report import read_metrics
from minirpn.studies.store import check_same
from minirpn.studies.study import Measured, Outcome, Study, Variant
from minirpn.training.anomaly import NotFiniteError
from minirpn.training.build import build_pipeline, load_network, open_dataset
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import MAY_CHANGE_ON_RESUME, TrainConfig, load_config, override
from minirpn.training.evaluate import recall_of
from minirpn.training.inference import as_many_as, propose_all
from minirpn.training.log import Progress
from minirpn.training.loop import train
from minirpn.training.run_folder import create_run, discarded_unless_begun, open_run
from minirpn.training.tables import flat, to_table

# What a training finds out about its weights, and then writes into its settings.
_FOUND_OUT = ("model.preprocessing",)


class Task(NamedTuple):
    """A training that is to be done."""

    variant: Variant
    seed: int


class Plan(NamedTuple):
    """What is done with each training."""

    study: Study
    limit: int | None  # images measured on
    progress: bool  # shown


def outcome_of(task: Task, base: TrainConfig, data: str, out: Path, plan: Plan) -> Outcome | None:
    """Train and measure; None if asked to stop before the training was done.

    Parameters
    ----------
    task
        Which variant, with which seed.
    base
        The settings that the variants share, with the split to measure on.
    data
        Where the data set is.
    out
        The study's folder.
    plan
        What is measured.

    Raises
    ------
    InputError
        Data, weights or a run's folder cannot be used.
    """
    run = out / task.variant.name / f"seed-{task.seed}"
    own = {"data.voc": data, "run.seed": task.seed, "run.pictures": False}
    config = override(base, {**own, **task.variant.settings}, origins={})
    with _threads(config.run.threads):
        try:
            if not _train(config, run, progress=plan.progress):
                return None
        except InputError as error:
            # A training that diverges is an answer, too, and must not keep the others from theirs.
            cause = error.__cause__
            if not isinstance(cause, NotFiniteError):
                raise
            failure = f"step {cause.step}, image {cause.example.image_id}: {cause.quantity}"
            return Outcome(task.variant.name, task.seed, None, failure=failure)
        return measure(task, run, config, plan)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads, if a number is given, and afterwards with as many as before."""
    before = thread_count()
    if count is not None:
        set_threads(count)
    try:
        yield
    finally:
        set_threads(before)


def _train(measured: TrainConfig, run: Path, *, progress: bool) -> bool:
    """Begin a training, go on with it, or leave it as it is; return whether it is done.

    It validates nothing on the way, for it is measured afterwards.
    """
    config = override(measured, {"data.val_split": None}, origins={})
    if not (run / "config.toml").is_file():
        _clear_unbegun(run)
        folder = create_run(run, config)
        with discarded_unless_begun(folder):
            return not train(config, folder, progress=progress).interrupted
    folder = open_run(run)
    stored = load_config(folder.config)
    asked = flat(to_table(config))
    check_same(folder.config, flat(to_table(stored)), asked, besides=_FOUND_OUT)
    resume = folder.last.exists()
    if resume and load_checkpoint(folder.last).step >= config.optimizer.steps:
        return True
    now = override(stored, {key: asked[key] for key in MAY_CHANGE_ON_RESUME}, origins={})
    return not train(now, folder, resume=resume, progress=progress).interrupted


def _clear_unbegun(run: Path) -> None:
    """Take away the empty folders of a run that was killed before its settings were written."""
    files = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".tmp"]
    if run.is_dir() and not files:
        shutil.rmtree(run)


def measure(task: Task, run: Path, config: TrainConfig, plan: Plan) -> Outcome:
    """Return what came of a training that is done.

    Parameters
    ----------
    task
        Which variant, with which seed.
    run
        Its folder.
    config
        Its settings, with the data set and the split to measure on.
    plan
        What is measured.

    Raises
    ------
    InputError
        The run or the data cannot be used.
    """
    began = perf_counter()
    folder, (network, stored) = open_run(run), load_network(run)
    # What pixels the weights want was found out in training.
    preprocessing = to_table(stored.model)["preprocessing"]
    config = override(config, {"model.preprocessing": preprocessing}, origins={})
    assert config.data.val_split is not None
    measured = Measured(
        folder, config, network, open_dataset(config, folder, config.data.val_split), plan.limit
    )
    recall, images = _recall(measured, progress=plan.progress)
    more = {} if plan.study.measure is None else plan.study.measure(measured)
    records = read_metrics(folder.metrics)
    return Outcome(
        task.variant.name,
        task.seed,
        recall,
        images=images,
        train_seconds=sum(r["step_seconds"] for r in records if r["kind"] == "train"),
        measure_seconds=perf_counter() - began,
        more=more,
    )


def _recall(measured: Measured, *, progress: bool) -> tuple[RecallResult, int]:
    """Return the recall of up to 2,000 proposals an image, and the number of images."""
    network, dataset, limit = measured.network, measured.dataset, measured.limit
    pipeline = build_pipeline(measured.config, network)
    asked = as_many_as(measured.config.proposals, COUNTS[-1])
    images = len(dataset) if limit is None else min(limit, len(dataset))
    found = []
    with Progress(images, unit="image", show=progress) as shown:
        for item in propose_all(network, dataset, pipeline, asked, limit=limit):
            found.append(item)
            shown.advance("measuring")
    return recall_of(found, counts=COUNTS), len(found)
