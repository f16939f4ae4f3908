"""The training of a network, from its settings to the report."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from minirpn.data.download import DOWNLOADS
from minirpn.data.findings import summary
from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.devices import Device, open_device
from minirpn.errors import InputError
from minirpn.evaluation import APResult, RecallResult
from minirpn.files import replace_file, write_json
from minirpn.training.build import find_classes, rpn_of
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import (
    OptimizerConfig,
    TrainConfig,
    load_config,
    save_config,
    with_new_total,
)
from minirpn.training.crew import Crew
from minirpn.training.diagnostics import LastStep, examine, report_failure
from minirpn.training.distributed import Ranks
from minirpn.training.environment import describe_environment
from minirpn.training.evaluate import load_proposals, save_proposals
from minirpn.training.pictures import draw_final_pictures, draw_samples, moments_of
from minirpn.training.places import check_places, with_absolute_places
from minirpn.training.run_data import (
    check_same_data,
    check_same_settings,
    note_data,
    open_splits,
    shared_images,
    untrained_classes,
)
from minirpn.training.run_folder import (
    Records,
    RunFolder,
    require_tensorboard,
)
from minirpn.training.scaling import check_shareable
from minirpn.training.terminal import InterruptRequest, Progress
from minirpn.training.trainer import NotFiniteError, Trainer
from minirpn.training.under_way import (
    StoppedError,
    Training,
    keeping_what_is_done,
    leave_out_bad_images,
    measures_left,
    noting_mistakes,
    save_last,
    without_bad_images,
)

# What may change about the data of a run that is resumed.
_MOVED = ("voc", "year", "image_folder", "annotation_folder", "skip_bad")
# What stays of a run that was stopped before its first checkpoint; all else is made again.
_OF_ANY_START = ("config.toml", "env.json", "data.json", "log.txt")


class TrainResult(NamedTuple):
    """How a call of `train` ended."""

    steps: int  # done in all, those before a resume too
    interrupted: bool  # whether a signal stopped it before the last step
    recall: RecallResult | None  # on the validation split; None if interrupted or without a split
    precision: APResult | None  # on the same; None without a detector, too
    seconds: float  # wall time of this call


def train(
    config: TrainConfig,
    folder: RunFolder,
    *,
    device: Device | None = None,
    resume: bool = False,
    steps: int | None = None,
    progress: bool = True,
    ranks: Ranks | None = None,
) -> TrainResult:
    """Train a network and write everything about it to the run's folder.

    Parameters
    ----------
    config
        The run's settings.
    folder
        Made by `create_run`; with `resume`, opened by `open_run`.
    device
        Where to compute; None for the device of the settings.
    resume
        Continue from ``checkpoints/last.npz``, or from step 0 if the run was killed before there
        was one. The run then ends with the same numbers, bit for bit, as a run that never stopped;
        but not if ``data.skip_bad`` is new and leaves an image out, for the order is that of the
        images that are left.
    steps
        With `resume`: go on to so many steps in all, as `with_new_total` explains. Parameters
        and momentum are then those of a run that was planned so, bit for bit. A run
        that had ended was also measured at its old end, which counts for the best checkpoint and
        the patience. If it ended early, out of patience, it goes on with its patience anew.
    progress
        Show the progress on stderr.
    ranks
        The processes that train together, as the first of them sees them; None if there is only
        this one. The others call `minirpn.training.crew.together` meanwhile.

    Returns
    -------
    TrainResult
        With `interrupted` set after SIGINT, SIGTERM or SIGHUP; the state was saved after the
        current step.

    Raises
    ------
    InputError
        Data, weights, checkpoint or device cannot be used; there is nothing to learn from; data or
        settings are not those that a resumed run began with; so many `steps` are done; a loss or
        gradient stopped being finite; the memory does not suffice; the folder cannot be written to,
        or another process is training in it.
    StoppedError
        The same, after the first checkpoint: the line says how many steps are kept.
    """
    began, ranks = perf_counter(), ranks or Ranks()
    if config.run.tensorboard:
        require_tensorboard()
    with folder.lock(), noting_mistakes(folder, config):
        # Settings
        config, restored = with_absolute_places(config), None
        config = replace(config, run=replace(config.run, ranks=ranks.size))
        check_shareable(config, ranks.size)
        if resume:
            check_places(config, folder.path)
        if resume and folder.has_begun:
            restored = load_checkpoint(folder.last)
        else:
            folder.remove_beginning(but=_OF_ANY_START)
            folder.make_folders()
        typed = config
        if config.sharing.has_detector and config.data.classes is None:
            classes = find_classes(config, folder)
            config = replace(config, data=replace(config.data, classes=classes))
        if restored is not None:
            check_same_settings(config, folder, restored)
        if config != typed:
            save_config(folder.config, config)
        if resume and steps is not None:  # `go_on` writes it, when all else has succeeded
            stored, done = load_config(folder.config), 0 if restored is None else restored.step
            longer = with_new_total(stored, steps, done=done, source=str(folder.path))
            config = replace(config, optimizer=longer.optimizer)

        # Data
        splits = open_splits(config, folder)
        is_compared = resume and check_same_data(config, folder, splits, files=restored is not None)

        # Model
        device = device or open_device(config.run.device, tf32=config.run.tf32)
        trainer = Trainer(config, device, ranks)
        to_measure: list[str] = []
        if restored is not None:
            trainer.restore(restored, folder.last)
            to_measure = measures_left(restored, folder.last)
            folder.drop_records_after(trainer.step, to_measure)
            folder.log(f"resumed at step {trainer.step} on {device}")
        if not is_compared or restored is None:
            note_data(config, folder, splits)
        if not folder.environment.exists():  # killed even before that
            write_json(folder.environment, describe_environment(device, ranks))

        # Loop
        with closing(Records(folder, trainer.step, tensorboard=config.run.tensorboard)) as records:
            crew = Crew(trainer, folder, splits, progress=progress)
            run = Training(crew, records, progress, to_measure, trainer.step)
            if restored is None:
                begin(run)
            if resume:
                go_on(run, is_new=restored is None, is_longer=steps is not None)
                if restored is not None and not is_compared:
                    run.say(
                        f"warning: no {folder.data.name} before: the data could not be compared"
                    )
            with (
                InterruptRequest() as interrupt,
                ranks.stopping_when(lambda: interrupt.requested),
            ):
                crew.assemble()
                if restored is None:
                    without_bad_images(run, draw_samples_if_due)
                    save_last(run)
                with keeping_what_is_done(run):
                    interrupted = take_steps(run)
                    if interrupted:
                        save_last(run)
                        folder.log(f"stopped at step {trainer.step}, as asked")

            # Finish
            recall, precision = None, None
            if not interrupted:
                with keeping_what_is_done(run):
                    recall, precision = without_bad_images(run, finish_run)
    return TrainResult(trainer.step, interrupted, recall, precision, perf_counter() - began)


def take_steps(run: Training) -> bool:
    """Take the remaining steps of all phases; return whether a signal stopped it."""
    trainer = run.trainer
    first, trains_rpn = trainer.step, False
    while run.to_measure or not is_done(trainer):
        if trainer.step == trainer.phase.end and not run.to_measure:
            without_bad_images(run, begin_next_phase)
        trains_rpn |= trainer.phase.loss != "detector"
        if train_phase(run):
            return True
    if trains_rpn and trainer.step > first and not run.positives:
        run.say(
            f"warning: no anchor was positive in {trainer.step - first} steps, so the network has "
            "not seen an object; `minirpn anchors` tells which anchors fit them"
        )
    return False


def train_phase(run: Training) -> bool:
    """Take the remaining steps of the current phase; return whether a signal stopped it.

    If an image has gone bad and may be left out, return before the next step: the order of the
    others is a new one.
    """
    trainer, folder, config, phase = run.trainer, run.folder, run.trainer.config, run.trainer.phase
    crew, train_set = run.crew, run.train_set
    crew.gather()
    crew.ask(crew.open_loader)
    with (
        closing(crew),
        Progress(config.optimizer.steps, done=trainer.step, show=run.progress) as bar,
    ):
        if run.to_measure:
            measure(run, bar)
        while (
            trainer.step < phase.end and not trainer.out_of_patience and run.train_set is train_set
        ):
            if trainer.ranks.must_stop:
                return True

            # Step
            began, lr = perf_counter(), trainer.lr
            try:
                result, example, image_ids, waited = crew.ask(crew.take_step)
            except NotFiniteError as error:
                raise StoppedError(str(report_failure(error, trainer, folder))) from error
            except InputError:
                if leave_out_bad_images(run):
                    continue
                raise
            run.positives += result.counts.get("positives", 0)
            run.to_measure = measures_due(run)

            # Log and examine: no file is read for that
            record = {
                "kind": "train",
                "step": trainer.step,
                "phase": phase.name,
                "image": ", ".join(image_ids),
                **result.losses,
                **result.counts,
                "lr": lr,
                "step_seconds": perf_counter() - began,
                "data_wait_seconds": waited,
            }
            run.records.write(record)
            name, count = next(iter(result.counts.items()))
            bar.advance(f"loss {result.losses['loss']:.3f}, {count} {name}")
            if is_due(trainer, config.run.diagnose_every):
                record_health(run, example, LastStep.of(trainer, result, lr), bar)

            # Save, and only then validate and draw: a file that went bad ends the training there
            if run.to_measure or is_due(trainer, config.run.checkpoint_every):
                crew.gather()
                save_last(run)
            if run.to_measure:
                measure(run, bar)
    if trainer.out_of_patience:
        run.say(
            f"step {trainer.step}: stopped early: {trainer.since_best} validations have not "
            f"raised the best {run.measure}, {trainer.best:.3f}"
        )
    return False


def is_done(trainer: Trainer) -> bool:
    """Return whether all steps are taken, or the training ends early."""
    return trainer.step >= trainer.config.optimizer.steps or trainer.out_of_patience


def is_due(trainer: Trainer, every: int) -> bool:
    """Return whether the step just taken is a multiple of `every`, or the last of a phase."""
    return trainer.step % every == 0 or trainer.step == trainer.phase.end


# --- beginnings ----------------------------------------------------------------------------------


def begin(run: Training) -> None:
    """Load the first weights and proposals of a new run, and report what is odd about its data."""
    trainer, folder, sharing = run.trainer, run.folder, run.trainer.config.sharing
    load_start_weights(run)
    report_findings(run, trainer.config.data.split, run.train_set)
    report_findings(run, trainer.config.data.val_split, run.val_set)
    if shared := shared_images(run.splits):
        run.say(f"warning: {shared}")
    if sharing.has_detector and (untrained := untrained_classes(run.splits)):
        run.say(f"warning: {untrained}")
    if trainer.config.resize.also_at and sharing.has_detector:
        run.say("resize.also_at: not used; a model with a detector looks at an image once")
    if sharing.proposals is not None:
        path = folder.proposals(trainer.phase.name)
        copy_proposals(Path(sharing.proposals), path, run.train_set)
    if any(phase.reset_backbone for phase in trainer.phases):
        save_checkpoint(folder.start, trainer.checkpoint())


def load_start_weights(run: Training) -> None:
    """Load the weights that the settings name; without any, train the frozen stages, or warn."""
    trainer, model = run.trainer, run.trainer.config.model
    if model.weights is not None:
        for line in trainer.load_weights(model.weights).lines():
            run.say(f"{model.weights}: {line}")
        # The settings now have the preprocessing that the weights need.
        save_config(run.folder.config, trainer.config)
        return
    stages = ", ".join(trainer.frozen_stages)
    if not stages:
        return
    if model.freeze is None:
        trainer.unfreeze()
        save_config(run.folder.config, trainer.config)
        told = f"all stages of {model.backbone} learn from random numbers, {stages} too"
    else:
        told = f"{stages} of {model.backbone} stay frozen at random numbers"
    if model.backbone in DOWNLOADS:
        file = Path("data") / DOWNLOADS[model.backbone][0].name
        told += f"; for pretrained ones: minirpn download {model.backbone}, then --weights {file}"
    run.say(f"warning: no --weights: {told}")


def report_findings(run: Training, split: str | None, dataset: VOCDataset | None) -> None:
    """Say in one line how many problems a split has; the log names what is left out."""
    if dataset is None:
        return
    if dataset.note and dataset is run.train_set:
        run.say(f"splits: {dataset.note}")
    for reason in dataset.skipped:
        run.folder.log(f"left out: {reason}")
    if dataset.findings:
        run.say(f"split {split}: {summary(dataset.findings)}; `minirpn check` lists them")


def copy_proposals(given: Path, path: Path, train_set: VOCDataset) -> None:
    """Copy a file of proposals into the run; raise InputError if a training image has none."""
    saved = load_proposals(given)
    for image_id in train_set.image_ids:
        if image_id not in saved:
            raise InputError(f"{given}: no proposals for image {image_id!r}")
    path.parent.mkdir(exist_ok=True)
    content = given.read_bytes()
    replace_file(path, lambda file: file.write(content))


def go_on(run: Training, *, is_new: bool, is_longer: bool) -> None:
    """Tell what is new about a run that is resumed, in its ``config.toml`` too.

    If it goes on to a new total of steps and had ended early, its checkpoint gets the patience of a
    new one.
    """
    trainer, folder, before = run.trainer, run.folder, load_config(run.folder.config)
    data, optimizer = trainer.config.data, trainer.config.optimizer
    places = {name: getattr(data, name) for name in _MOVED}
    after = replace(before, data=replace(before.data, **places))
    after = replace(after, run=replace(before.run, ranks=trainer.ranks.size))
    if is_longer:
        after = replace(after, optimizer=optimizer)
    if after != before:
        save_config(folder.config, after)
    if is_new:
        run.say("it was stopped before its first checkpoint: it starts at step 0")
    placed = with_absolute_places(before)  # it may be from before they were stored so
    if replace(after.data, skip_bad=before.data.skip_bad) != placed.data:
        named = filter(None, (data.voc, data.image_folder, data.annotation_folder))
        run.say(f"its data set is now read from {', '.join(named)}")
    if after.run != before.run:
        now, then = (f"{one.run.ranks} rank{'s' * (one.run.ranks > 1)}" for one in (after, before))
        run.say(
            f"its steps are now taken by {now}, before by {then}: sums are added in another order, "
            "so last digits may differ"
        )
    for line in trainer.ranks.lines():
        folder.log(line)
    if after.data.skip_bad != before.data.skip_bad:
        run.say("bad images are left out from now on")
    if data.skip_bad and not is_new:
        report_findings(run, data.split, run.train_set)
        report_findings(run, data.val_split, run.val_set)
    if after.optimizer != before.optimizer:
        run.say(
            f"going on from step {trainer.step} to step {optimizer.steps}: the learning rate "
            f"{when_it_drops(optimizer, trainer.step)}"
        )
        if not is_new:
            save_last(run)  # with these settings, which the next start compares
    if is_longer and trainer.out_of_patience and trainer.step < optimizer.steps:
        trainer.since_best = 0
        save_last(run)
        run.say(f"it ended early at step {trainer.step}: patience begins anew")


def when_it_drops(optimizer: OptimizerConfig, done: int) -> str:
    """Say when the learning rate drops, for a run with `done` steps behind it."""
    drop = round(optimizer.drop_at * optimizer.steps)
    if drop == 0:
        return "is the lower one from the first step on"
    if drop < done:
        return f"dropped after step {drop} and stays there"
    return f"drops after step {drop}" if drop < optimizer.steps else "does not drop"


def begin_next_phase(run: Training) -> None:
    """Begin the next phase: make its proposals, reset the backbone, save the state.

    The proposals are on the disk before anything else changes. So a run that is killed in between
    resumes before this point, and makes the same proposals again.
    """
    trainer, folder = run.trainer, run.folder
    before, phase = trainer.phases[trainer.phase_index : trainer.phase_index + 2]
    run.say(f"step {trainer.step}: {before.name} is done, {phase.name} begins")
    if phase.needs_proposals:
        proposals = run.crew.ask(run.crew.propose)
        path = folder.proposals(phase.name)
        path.parent.mkdir(exist_ok=True)
        save_proposals(path, proposals)
    if phase.reset_backbone:
        trainer.reset_backbone(load_checkpoint(folder.start), folder.start)
    trainer.begin_phase(trainer.phase_index + 1)
    save_last(run)


# --- measures and pictures -----------------------------------------------------------------------


def measures_due(run: Training) -> list[str]:
    """Return the kinds of records that are made from other images after the step just taken."""
    trainer, config = run.trainer, run.trainer.config.run
    due = []
    if run.val_set is not None and trainer.phase.rpn_usable:
        due += ["validate"] * is_due(trainer, config.validate_every)
    return due + ["samples"] * samples_are_due(run)


def measure(run: Training, bar: Progress) -> None:
    """Make the records that are to be made, and save the state, which then says so."""
    while run.to_measure:
        if run.to_measure[0] == "validate":
            without_bad_images(run, partial(record_validation, bar=bar))
        else:
            without_bad_images(run, draw_samples_of)
        run.to_measure = run.to_measure[1:]
    save_last(run)


def record_health(run: Training, example: Example, last: LastStep, bar: Progress) -> None:
    """Record the health of the network, and warn of stages that are dying."""
    step = run.trainer.step
    with np.errstate(over="ignore", invalid="ignore"):  # the next loss or the record tells of it
        health = examine(run.trainer.network, example, last, run.trainer.config.proposals)
    run.records.write({"kind": "diagnose", "step": step, **health.to_record()})
    for warning in health.warnings():
        run.folder.warn(step, warning)
        run.folder.log(f"step {step}: {warning}")
        bar.say(f"warning: step {step}: {warning}")


def record_validation(run: Training, bar: Progress) -> None:
    """Measure the network on the validation split; in the last phase, keep the best checkpoint."""
    if run.val_set is None:
        return
    began, trainer, phase = perf_counter(), run.trainer, run.trainer.phase
    config = trainer.config
    try:
        result = run.crew.ask(run.crew.validate)
    except FloatingPointError as error:
        raise StoppedError(diverged(run, error)) from error
    recall = {str(count): result.recall.at(count) for count in result.recall.counts}
    record: dict[str, Any] = {
        "kind": "validate",
        "step": trainer.step,
        "phase": phase.name,
        # With a detector, "loss" is the name of the sum with the detector's loss.
        "rpn_loss" if config.sharing.has_detector else "loss": result.loss,
        "objectness_loss": result.objectness_loss,
        "box_loss": result.box_loss,
        "recall": recall,
        "images": result.images,
        "seconds": perf_counter() - began,
    }
    message = f"recall at IoU 0.5: {', '.join(f'{v:.3f} with {n}' for n, v in recall.items())}"
    measure = result.recall.at(result.recall.counts[-1])
    if result.precision is not None:
        record["mean_ap"] = measure = result.precision.mean_ap
        message = f"mAP {measure:.3f}; {message}"
    run.records.write(record)
    bar.say(f"step {trainer.step}: validation loss {result.loss:.3f}; {message}")
    if phase is not trainer.phases[-1]:
        return
    trainer.since_best = 0 if measure > trainer.best else trainer.since_best + 1
    if measure >= trainer.best:
        trainer.best = measure
        save_checkpoint(run.folder.best, trainer.checkpoint())


def diverged(run: Training, error: FloatingPointError) -> str:
    """Record that a validation is not finite; return the line with which the run stops."""
    folder, step = run.folder, run.trainer.step
    folder.warn(step + 1, f"stopped: {error}")
    folder.log(f"stopped after step {step}: {error}")
    best = f", from {folder.path}@best on" if folder.best.exists() else ""
    return f"{error} after step {step}: it has diverged; a new run with a lower --lr may help{best}"


def draw_samples_if_due(run: Training) -> None:
    """Draw the same few images again at some steps of the run."""
    if samples_are_due(run):
        draw_samples_of(run)


def samples_are_due(run: Training) -> bool:
    """Return whether pictures are drawn at this step."""
    trainer, config = run.trainer, run.trainer.config.run
    every = config.diagnose_every if run.val_set is None else config.validate_every
    return config.pictures and trainer.step in moments_of(trainer.phases, every)


def draw_samples_of(run: Training) -> None:
    """Draw the pictures of this step, and record which they are."""
    trainer, step = run.trainer, run.trainer.step
    pictures = draw_samples(
        trainer, run.folder, run.train_set if run.val_set is None else run.val_set
    )
    record = {
        "kind": "samples",
        "step": step,
        "phase": trainer.phase.name,
        "images": [picture.image_id for picture in pictures],
        "files": [picture.name for picture in pictures],
        "positives": [picture.positives for picture in pictures],
    }
    run.records.write(record)
    for picture in pictures:
        run.records.picture(f"samples/{picture.image_id}", picture.pixels, step)


def finish_run(run: Training) -> tuple[RecallResult | None, APResult | None]:
    """Draw what the network learned, write the report; return recall and precision on `val_set`.

    Both are None without a `val_set`, precision also without a detector.
    """
    from minirpn.report import write_report

    model, config, folder, val_set = run.trainer.model, run.trainer.config, run.folder, run.val_set
    result = None if val_set is None else run.crew.ask(run.crew.evaluate)
    if result is not None:
        split = {"split": config.data.val_split, "images": len(result.proposals)}
        write_json(folder.path / "recall.json", result.recall.to_dict() | split)
        if result.precision is not None:
            write_json(folder.path / "precision.json", result.precision.to_dict() | split)
    if config.run.pictures:
        draw_final_pictures(rpn_of(model), config, folder, run.train_set, val_set, result)
        write_report(folder.path)
    return (None, None) if result is None else (result.recall, result.precision)
