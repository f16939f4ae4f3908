"""The training loop: steps, and between them what is measured, said and saved."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from minirpn.backbones import stage_of
from minirpn.data.findings import summary
from minirpn.data.loader import Loader, training_order
from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.evaluation import RecallResult
from minirpn.training.build import build_pipeline, open_dataset
from minirpn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minirpn.training.config import TrainConfig, save_config
from minirpn.training.evaluate import Validation, validate
from minirpn.training.finish import finish_run
from minirpn.training.health import examine
from minirpn.training.interrupt import InterruptRequest
from minirpn.training.log import Progress
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import StepResult
from minirpn.training.trainer import Trainer


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended.

    Parameters
    ----------
    steps
        Steps done in all, those before a resume too.
    interrupted
        Whether it was asked to stop before the last step.
    recall
        Of the proposals on the whole validation split; None when interrupted or without one.
    seconds
        Wall time of this call.
    """

    steps: int
    interrupted: bool
    recall: RecallResult | None
    seconds: float


def train(
    config: TrainConfig, folder: RunFolder, *, resume: bool = False, progress: bool = True
) -> TrainResult:
    """Train a Region Proposal Network and leave everything about it in the run's folder.

    Parameters
    ----------
    config
        The run's settings.
    folder
        Made by `create_run`; with `resume`, opened by `open_run`.
    resume
        Go on from ``checkpoints/last.npz``. The run then ends with the very numbers it would have
        had without the stop.
    progress
        Show on stderr how far it is.

    Returns
    -------
    TrainResult
        With `interrupted` set after SIGINT or SIGTERM; the state was saved after the step in hand.

    Raises
    ------
    InputError
        Data, weights or checkpoint cannot be used, or a loss stopped being finite.
    """
    began = perf_counter()
    run = _Run(config, folder, resume=resume, progress=progress)
    with InterruptRequest() as interrupt:
        run.take_steps(interrupt)
    recall = None
    if not run.interrupted:
        recall = finish_run(run.trainer.network, config, folder, run.train_set, run.val_set)
    return TrainResult(run.trainer.step, run.interrupted, recall, perf_counter() - began)


class _Run:
    """What the loop needs at hand; the state that is saved is the trainer's alone."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, *, resume: bool, progress: bool
    ) -> None:
        self.config = config
        self.folder = folder
        self.progress = progress
        self.interrupted = False
        self.trainer = Trainer(config)
        self.best_recall = -1.0
        if not resume and config.model.weights is not None:
            self._load_weights(config.model.weights)
        self.train_set = open_dataset(config, folder, config.data.split)
        self.val_set: VOCDataset | None = None
        if config.data.val_split is not None:
            self.val_set = open_dataset(config, folder, config.data.val_split)
        self.pipeline = build_pipeline(config, self.trainer.network)
        if resume:
            self._restore()
        else:
            self._start()

    def _load_weights(self, path: str) -> None:
        """Start from pretrained weights; from now on the settings say what pixels they want."""
        for line in self.trainer.load_weights(path).lines():
            self._say(f"{path}: {line}")
        self.config = self.trainer.config
        save_config(self.folder.config, self.config)

    def _warn_of_frozen_noise(self) -> None:
        parameters = self.trainer.network.backbone.parameters()
        frozen = {stage_of(parameter.name) for parameter in parameters if not parameter.trainable}
        if frozen:
            self._say(
                f"warning: no --weights: {', '.join(sorted(frozen))} of "
                f"{self.config.model.backbone} stay frozen at random numbers"
            )

    def _start(self) -> None:
        """Save step 0, so that there is a checkpoint from the start."""
        if self.config.model.weights is None:
            self._warn_of_frozen_noise()
        self._say_what_was_found(self.config.data.split, self.train_set)
        if self.val_set is not None:
            self._say_what_was_found(self.config.data.val_split, self.val_set)
        self._save()

    def _say_what_was_found(self, split: str | None, dataset: VOCDataset) -> None:
        """Say in one line how many things are odd about a split; the log names what is left out."""
        for reason in dataset.skipped:
            self.folder.log(f"left out: {reason}")
        if dataset.findings:
            self._say(f"split {split}: {summary(dataset.findings)}; `minirpn check` lists them")

    def _say(self, message: str) -> None:
        """Write a line to the log, and show it to whoever watches."""
        self.folder.log(message)
        if self.progress:
            print(message, file=sys.stderr, flush=True)

    def _restore(self) -> None:
        """Take up the last checkpoint, and forget records of steps that will be taken again."""
        checkpoint = load_checkpoint(self.folder.last)
        self.trainer.restore(checkpoint, self.folder.last)
        self.best_recall = best_recall(checkpoint, self.folder.last)
        self.folder.drop_records_after(self.trainer.step)
        self.folder.log(f"resumed at step {self.trainer.step}")

    def take_steps(self, interrupt: InterruptRequest) -> None:
        """Take the steps that are left, until the last one or until asked to stop."""
        steps = self.config.optimizer.steps
        draws = training_order(
            len(self.train_set),
            seed=self.config.run.seed,
            flip=self.config.data.flip,
            start=self.trainer.step,
        )
        with (
            self.pipeline.examples(self.train_set, draws) as examples,
            Progress(steps, done=self.trainer.step, show=self.progress) as shown,
        ):
            while self.trainer.step < steps and not interrupt.requested:
                self._one_step(examples, shown)
        if self.trainer.step < steps:
            self.interrupted = True
            self._save()
            self.folder.log(f"stopped at step {self.trainer.step}, as asked")

    def _one_step(self, examples: Loader, shown: Progress) -> None:
        began, waited = perf_counter(), examples.wait_seconds
        example = next(examples)
        lr = self.trainer.lr
        result = self.trainer.take(example)
        self.folder.record(
            {
                "kind": "train",
                "step": self.trainer.step,
                "image": example.image_id,
                **_losses(result.loss),
                "positives": result.positives,
                "negatives": result.negatives,
                "lr": lr,
                "step_seconds": perf_counter() - began,
                "data_wait_seconds": examples.wait_seconds - waited,
            }
        )
        shown.advance(f"loss {float(result.loss.total):.3f}, {result.positives} positives")
        self._between_steps(example, result, shown)

    def _between_steps(self, example: Example, result: StepResult, shown: Progress) -> None:
        """Measure and save when it is time to; after the last step, all of it."""
        run = self.config.run
        if self._due(run.diagnose_every):
            self._examine(example, result, shown)
        if self._due(run.validate_every) and self.val_set is not None:
            self._validate(self.val_set, shown)
        if self._due(run.checkpoint_every):
            self._save()

    def _due(self, every: int) -> bool:
        return self.trainer.step % every == 0 or self.trainer.step == self.config.optimizer.steps

    def _examine(self, example: Example, result: StepResult, shown: Progress) -> None:
        health = examine(self.trainer.network, example, result.grads, self.config.proposals)
        step = self.trainer.step
        self.folder.record({"kind": "diagnose", "step": step, **health.to_record()})
        for warning in health.warnings():
            self.folder.record({"kind": "warning", "step": step, "message": warning})
            self.folder.log(f"step {step}: {warning}")
            shown.say(f"warning: step {step}: {warning}")

    def _validate(self, val_set: VOCDataset, shown: Progress) -> None:
        found = validate(
            self.trainer.network,
            val_set,
            self.pipeline,
            self.trainer.objective,
            self.config.proposals,
            seed=self.config.run.seed,
            limit=self.config.run.validation_images,
        )
        step, recall = self.trainer.step, _recall_at_half(found)
        self.folder.record(
            {
                "kind": "validate",
                "step": step,
                "loss": found.loss,
                "objectness_loss": found.objectness_loss,
                "box_loss": found.box_loss,
                "recall": recall,
                "images": found.images,
            }
        )
        words = ", ".join(f"{value:.3f} with {count}" for count, value in recall.items())
        shown.say(f"step {step}: validation loss {found.loss:.3f}; recall at IoU 0.5: {words}")
        last = list(recall.values())[-1]
        if last >= self.best_recall:
            self.best_recall = last
            save_checkpoint(self.folder.best, self.trainer.checkpoint(self._metrics()))

    def _metrics(self) -> dict[str, Any]:
        return {"best_recall": self.best_recall}

    def _save(self) -> None:
        save_checkpoint(self.folder.last, self.trainer.checkpoint(self._metrics()))


def _losses(loss: Any) -> dict[str, float]:
    return {
        "loss": float(loss.total),
        "objectness_loss": float(loss.objectness),
        "box_loss": float(loss.box),
    }


def _recall_at_half(found: Validation) -> dict[str, float]:
    """Return recall at IoU 0.5 by number of proposals."""
    return {str(count): found.recall.at(count) for count in found.recall.counts}


def best_recall(checkpoint: Checkpoint, path: Path) -> float:
    """Return the best recall measured before a checkpoint was saved.

    Raises
    ------
    InputError
        It is not in there.
    """
    value = checkpoint.metrics.get("best_recall")
    if not isinstance(value, float | int):
        raise InputError(f"{path}: not a whole checkpoint: its best recall is {value!r}")
    return float(value)
