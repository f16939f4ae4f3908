"""A training under way: its parts, and how nothing that it has learned is lost.

A run may take days, and a file may go bad or a disk fill up in the middle of it. So the state is
saved before anything that may fail, and an error says how many steps are kept and how to go on.
"""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from minirpn.console import say
from minirpn.data.findings import BadFileError
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError, reason_of
from minirpn.fields import shown
from minirpn.files import append_text
from minirpn.text import MOST_BEFORE_COMMANDS, MOST_WITH_COMMANDS, message, printable
from minirpn.training.checkpoint import Checkpoint, save_checkpoint
from minirpn.training.config import TrainConfig
from minirpn.training.crew import Crew
from minirpn.training.run_data import Splits, check_same_data, note_damage, open_splits
from minirpn.training.run_folder import Records, RunFolder
from minirpn.training.trainer import Trainer

_TO_MEASURE = "to_measure"  # in the metrics of a checkpoint that was saved before it was measured
_MEASURES = ("validate", "samples")
_Done = TypeVar("_Done")


@dataclass
class Training:
    """What the parts of a training work with."""

    crew: Crew  # this rank's part in the work that all ranks do
    records: Records
    progress: bool  # whether it is shown on stderr
    to_measure: list[str]  # kinds of records that are due after the last step, and not yet written
    saved_step: int  # of ``last.npz``
    positives: int = 0  # anchors that were positive in the steps of this start

    @property
    def trainer(self) -> Trainer:
        """The state of the training."""
        return self.crew.trainer

    @property
    def folder(self) -> RunFolder:
        """Where all about it is written."""
        return self.crew.folder

    @property
    def splits(self) -> Splits:
        """Its images."""
        return self.crew.splits

    @property
    def train_set(self) -> VOCDataset:
        """What it learns from."""
        return self.splits.train

    @property
    def val_set(self) -> VOCDataset | None:
        """What it is measured on."""
        return self.splits.val

    @property
    def measure(self) -> str:
        """What the best checkpoint is the best by."""
        return "mAP" if self.trainer.config.sharing.has_detector else "recall"

    def say(self, message: str) -> None:
        """Log a message, and show it."""
        self.folder.log(message)
        if self.progress:
            say(message)


# --- the state to resume from ----------------------------------------------------------------


def save_last(run: Training) -> None:
    """Save the state to resume from, with what is still to be measured at this step."""
    checkpoint = run.trainer.checkpoint()
    if run.to_measure:
        metrics = {**checkpoint.metrics, _TO_MEASURE: list(run.to_measure)}
        checkpoint = replace(checkpoint, metrics=metrics)
    save_checkpoint(run.folder.last, checkpoint)
    run.saved_step = run.trainer.step


def measures_left(checkpoint: Checkpoint, path: Path) -> list[str]:
    """Return which records of its last step are still to be written, of a checkpoint at `path`."""
    kinds = checkpoint.metrics.get(_TO_MEASURE, [])
    if not isinstance(kinds, list) or not all(kind in _MEASURES for kind in kinds):
        raise InputError(f"{path}: not a whole checkpoint: {_TO_MEASURE} is {shown(kinds)}")
    return kinds


# --- an error ends it ------------------------------------------------------------------------


class StoppedError(InputError):
    """A training that had begun had to stop; the line says what is kept, and how to go on."""


@contextmanager
def keeping_what_is_done(run: Training) -> Iterator[None]:
    """On an error in the block, save the state reached, and say how many steps are kept.

    An error that the user can repair becomes a `StoppedError`, also one of too little memory; any
    other is raised as it is.
    A run that goes on from there has the same numbers as one which never failed. An error while
    the parameters change may come from anywhere in it: then the last checkpoint is what is kept.
    """
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:
        reason, trainer, folder = reason_of(error), run.trainer, run.folder
        if isinstance(error, MemoryError):
            reason = _too_little(error, trainer.config)
        reason = message(reason, MOST_BEFORE_COMMANDS)
        # On a full disk, too, the first error is the one to tell.
        with suppress(InputError, MemoryError):
            if trainer.step > run.saved_step and not trainer.is_updating:
                save_last(run)
        with suppress(InputError):
            if isinstance(error, BadFileError):
                note_damage(folder, error.finding.path, run.splits)
            folder.log(f"stopped after step {trainer.step}: {reason}")
            # It is about the next step, so that a resumed run drops it.
            folder.warn(trainer.step + 1, f"stopped: {reason}")
        if not isinstance(error, InputError | OSError | MemoryError) or not folder.last.exists():
            raise
        raise StoppedError(f"{reason}; {_ways_on(run, error)}", most=MOST_WITH_COMMANDS) from error


@contextmanager
def noting_mistakes(folder: RunFolder, config: TrainConfig) -> Iterator[None]:
    """Append the traceback of an error that is minirpn's own to the log of the run.

    After days the console may be gone, and what it showed; the report needs the traceback. An error
    of too little memory becomes an `InputError` that says what can be smaller.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except MemoryError as error:
        raise InputError(_too_little(error, config)) from error
    except Exception as error:
        lines = "".join(traceback.format_exception(error)).splitlines()
        with suppress(InputError):
            append_text(folder.text, "".join(f"{printable(line)}\n" for line in lines))
        raise


def _too_little(error: MemoryError, config: TrainConfig) -> str:
    """Return a line about too little memory, with the settings that it depends on most."""
    resize, each = config.resize, config.optimizer.images_per_step
    fewer = f"; optimizer.images_per_step is {each}" if each > 1 else ""
    return (
        f"not enough memory: {reason_of(error)}; smaller images need less: in the settings, "
        f"resize.short_side is {resize.short_side} and resize.max_side {resize.max_side}{fewer}"
    )


def _ways_on(run: Training, error: Exception) -> str:
    """Return how many steps are kept, and the commands that go on from there."""
    data, kept, done = run.trainer.config.data, run.saved_step, run.trainer.step
    steps = f"all {done} steps are kept" if kept == done else f"{kept} of {done} steps are kept"
    if done <= 1:
        steps = "the first step is kept" if kept else "no step is done yet"
    resume = f"minirpn train --resume {shlex.quote(str(run.folder.path))}"
    told = f"{steps} in {run.folder.path}; once this is mended, go on with: {resume}"
    if isinstance(error, BadFileError):
        if data.voc is None:
            told += f" (shapes are drawn again if {run.folder.path / 'shapes'} is gone)"
        elif not data.skip_bad:
            told += f"; or without the bad image: {resume} --skip-bad"
    return told


# --- images that have gone bad ---------------------------------------------------------------


def without_bad_images(run: Training, work: Callable[[Training], _Done]) -> _Done:
    """Return what `work` returns; with ``data.skip_bad``, begin it again without bad images."""
    while True:
        try:
            return work(run)
        except InputError:
            if not leave_out_bad_images(run):
                raise


def leave_out_bad_images(run: Training) -> bool:
    """With ``data.skip_bad``, leave out the images that have gone bad; tell whether there are any.

    All images are read once more, as at the start, so that the run goes on as one that was stopped
    here and resumed: the order of the images is that of a split without the bad ones.
    """
    trainer, folder, before = run.trainer, run.folder, run.splits
    if not trainer.config.data.skip_bad:
        return False
    found = open_splits(trainer.config, folder)
    if found.image_ids == before.image_ids:
        return False
    check_same_data(trainer.config, folder, found)
    run.crew.change_splits(found)
    for reason in [line for line in found.skipped if line not in before.skipped]:
        told = f"left out from step {trainer.step} on: {reason}"
        run.say(f"warning: {told}")
        folder.warn(trainer.step, told)
    train, val = map(len, found.image_ids)
    run.say(f"{train} training and {val} validation images are left")
    if folder.last.exists():
        save_last(run)
    return True
