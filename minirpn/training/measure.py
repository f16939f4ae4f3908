"""What is measured while a training goes on: every step, the network's health, the validation."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.training.board import Board
from minirpn.training.build import build_pipeline
from minirpn.training.checkpoint import Checkpoint, save_checkpoint
from minirpn.training.evaluate import Validation, validate
from minirpn.training.health import LastStep, examine
from minirpn.training.log import Progress
from minirpn.training.run_folder import RunFolder
from minirpn.training.samples import Samples
from minirpn.training.step import StepResult
from minirpn.training.trainer import Trainer


class Measurements:
    """Writes what it finds to the run's folder, and keeps the best checkpoint there.

    Parameters
    ----------
    trainer, folder
        Of the run.
    train_set, val_set
        Learned from, and validated on; None for no validation.

    Attributes
    ----------
    best : float
        The best that was measured so far: mean average precision at IoU 0.5 with a detector, else
        recall of the proposals; -1 before the first time.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: RunFolder,
        train_set: VOCDataset,
        val_set: VOCDataset | None,
    ) -> None:
        self.trainer = trainer
        self.folder = folder
        self.val_set = val_set
        self.best = -1.0
        run = trainer.config.run
        every = run.diagnose_every if val_set is None else run.validate_every
        self._samples = Samples(trainer, folder, train_set if val_set is None else val_set, every)
        self._board: Board | None = None

    def open(self) -> None:
        """Open what is written to for TensorBoard, if asked to; `close` closes it."""
        if self.trainer.config.run.tensorboard:
            self._board = Board(self.folder.tensorboard, self.trainer.step)

    def close(self) -> None:
        """Close what `open` has opened."""
        if self._board is not None:
            self._board.close()

    def _record(self, record: Mapping[str, Any]) -> None:
        self.folder.record(record)
        if self._board is not None:
            self._board.record(record)

    def record_step(self, example: Example, result: StepResult, **numbers: float) -> str:
        """Record a step, with more numbers about it, and return a few words on it."""
        self._record(
            {
                "kind": "train",
                "step": self.trainer.step,
                "phase": self.trainer.phase.name,
                "image": example.image_id,
                **result.losses,
                **result.counts,
                **numbers,
            }
        )
        name, count = next(iter(result.counts.items()))
        return f"loss {result.losses['loss']:.3f}, {count} {name}"

    def between_steps(
        self, example: Example, result: StepResult, lr: float, shown: Progress
    ) -> None:
        """Measure what it is time to measure; after the last step, and that of a phase, all."""
        run = self.trainer.config.run
        if self._due(run.diagnose_every):
            self._examine(example, self._last_step(result, lr), shown)
        measured_on = self.val_set if self.trainer.phase.measures_rpn else None
        if measured_on is not None and self._due(run.validate_every):
            self._validate(measured_on, shown)
        self.draw_samples()

    def draw_samples(self) -> None:
        """Draw the same few images as ever if it is time to, and record which they are."""
        if not (self.trainer.config.run.pictures and self._samples.due):
            return
        step, pictures = self.trainer.step, self._samples.draw()
        self._record(
            {
                "kind": "samples",
                "step": step,
                "phase": self.trainer.phase.name,
                "images": [picture.image_id for picture in pictures],
                "files": [picture.name for picture in pictures],
                "positives": [picture.positives for picture in pictures],
            }
        )
        if self._board is not None:
            for picture in pictures:
                self._board.picture(f"samples/{picture.image_id}", picture.pixels, step)

    def checkpoint(self) -> Checkpoint:
        """Return the state as it is now, with the best that was measured."""
        return self.trainer.checkpoint({"best": self.best})

    def _due(self, every: int) -> bool:
        return is_due(self.trainer, every)

    def _last_step(self, result: StepResult, lr: float) -> LastStep:
        optimizer = self.trainer.optimizer
        changes = {p.name: optimizer.last_step(p, lr=lr) for p in optimizer.parameters}
        weights = {p.name: p.value for p in self.trainer.model.parameters()}
        return LastStep(result.grads, changes, weights)

    def _examine(self, example: Example, last: LastStep, shown: Progress) -> None:
        trainer = self.trainer
        health = examine(trainer.network, example, last, trainer.config.proposals)
        step = trainer.step
        self._record({"kind": "diagnose", "step": step, **health.to_record()})
        for warning in health.warnings():
            self._record({"kind": "warning", "step": step, "message": warning})
            self.folder.log(f"step {step}: {warning}")
            shown.say(f"warning: step {step}: {warning}")

    def _validate(self, val_set: VOCDataset, shown: Progress) -> None:
        trainer, began = self.trainer, perf_counter()
        config, phase = trainer.config, trainer.phase
        found = validate(
            trainer.model,
            val_set,
            build_pipeline(config, trainer.network),
            trainer.objective,
            config.proposals,
            detections=config.detections if phase.measures_detector else None,
            seed=config.run.seed,
            limit=config.run.validation_images,
        )
        recall = {str(count): found.recall.at(count) for count in found.recall.counts}
        record: dict[str, Any] = {
            "kind": "validate",
            "step": trainer.step,
            "phase": phase.name,
            # With a detector, the loss of a step holds the detector's as well.
            "rpn_loss" if trainer.config.sharing.has_detector else "loss": found.loss,
            "objectness_loss": found.objectness_loss,
            "box_loss": found.box_loss,
            "recall": recall,
            "images": found.images,
            "seconds": perf_counter() - began,
        }
        words = f"recall at IoU 0.5: {', '.join(f'{v:.3f} with {n}' for n, v in recall.items())}"
        if found.precision is not None:
            record["mean_ap"] = found.precision.mean_ap
            words = f"mAP {found.precision.mean_ap:.3f}; {words}"
        self._record(record)
        shown.say(f"step {trainer.step}: validation loss {found.loss:.3f}; {words}")
        self._keep_the_best(found)

    def _keep_the_best(self, found: Validation) -> None:
        """Save a checkpoint if what the training is for was never better."""
        if self.trainer.phase is not self.trainer.phases[-1]:
            return
        value = found.recall.at(found.recall.counts[-1])
        if found.precision is not None:
            value = found.precision.mean_ap
        if value >= self.best:
            self.best = value
            save_checkpoint(self.folder.best, self.checkpoint())


def is_due(trainer: Trainer, every: int) -> bool:
    """Tell whether the step just taken is one of every so many, or the last of a phase."""
    return trainer.step % every == 0 or trainer.step == trainer.phase.end


def best_of(checkpoint: Checkpoint, path: Any) -> float:
    """Return the best that was measured before a checkpoint was saved.

    Raises
    ------
    InputError
        It is not in there.
    """
    value = checkpoint.metrics.get("best")
    if not isinstance(value, float | int):
        raise InputError(f"{path}: not a whole checkpoint: the best so far is {value!r}")
    return float(value)
