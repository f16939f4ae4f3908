"""The training loop: steps, phases of them, and what is said and saved between."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from minirpn.backbones import stage_of
from minirpn.data.findings import summary
from minirpn.data.loader import Loader, training_order
from minirpn.data.voc import VOCDataset
from minirpn.devices import Device, open_device
from minirpn.evaluation import APResult, RecallResult
from minirpn.files import alone_in
from minirpn.training.anomaly import NotFiniteError
from minirpn.training.board import require_tensorboard
from minirpn.training.build import build_pipeline, find_classes, open_dataset
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import TrainConfig, save_config
from minirpn.training.failure import report_failure
from minirpn.training.finish import finish_run
from minirpn.training.interrupt import InterruptRequest
from minirpn.training.log import Progress
from minirpn.training.measure import Measurements, best_of, is_due
from minirpn.training.phase_proposals import PhaseProposals
from minirpn.training.run_folder import RunFolder
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
    precision
        Of the detections on it; None without a detector, too.
    seconds
        Wall time of this call.
    """

    steps: int
    interrupted: bool
    recall: RecallResult | None
    precision: APResult | None
    seconds: float


def train(
    config: TrainConfig,
    folder: RunFolder,
    *,
    device: Device | None = None,
    resume: bool = False,
    progress: bool = True,
) -> TrainResult:
    """Train a network and leave everything about it in the run's folder.

    Parameters
    ----------
    config
        The run's settings.
    folder
        Made by `create_run`; with `resume`, opened by `open_run`.
    device
        Where it is computed; None for what the settings ask for.
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
        Data, weights, checkpoint or device cannot be used; a loss or gradient stopped being finite;
        the folder cannot be written to, or another process is training in it.
    """
    began = perf_counter()
    if config.run.tensorboard:
        require_tensorboard()
    with alone_in(folder.path):
        where = device or open_device(config.run.device, tf32=config.run.tf32)
        run = _Run(config, folder, where, resume=resume, progress=progress)
        with InterruptRequest() as interrupt, closing(run.measurements):
            run.take_steps(interrupt)
        recall, precision = None, None
        if not run.interrupted:
            trainer = run.trainer
            recall, precision = finish_run(
                trainer.model, trainer.config, folder, run.train_set, run.val_set
            )
    return TrainResult(run.trainer.step, run.interrupted, recall, precision, perf_counter() - began)


class _Run:
    """What the loop needs at hand; the state that is saved is the trainer's alone."""

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        device: Device,
        *,
        resume: bool,
        progress: bool,
    ) -> None:
        self.folder = folder
        self.progress = progress
        self.interrupted = False
        if config.sharing.has_detector and config.data.classes is None:
            config = replace(
                config, data=replace(config.data, classes=find_classes(config, folder))
            )
            save_config(folder.config, config)
        self.train_set = open_dataset(config, folder, config.data.split)
        self.val_set: VOCDataset | None = None
        if config.data.val_split is not None:
            self.val_set = open_dataset(config, folder, config.data.val_split)
        self.trainer = Trainer(config, device)
        if not resume and config.model.weights is not None:
            self._load_weights(config.model.weights)
        self.pipeline = build_pipeline(config, self.trainer.network)
        self.measurements = Measurements(self.trainer, folder, self.train_set, self.val_set)
        self.proposals = PhaseProposals(folder, self.train_set)
        if resume:
            self._restore()
        else:
            self._start()

    @property
    def config(self) -> TrainConfig:
        """The settings, with what has been found out about them."""
        return self.trainer.config

    def _load_weights(self, path: str) -> None:
        """Start from pretrained weights; from now on the settings say what pixels they want."""
        for line in self.trainer.load_weights(path).lines():
            self._say(f"{path}: {line}")
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
        if self.config.sharing.proposals is not None:
            self.proposals.take(self.trainer.phase, Path(self.config.sharing.proposals))
        if any(phase.backbone_afresh for phase in self.trainer.phases):
            save_checkpoint(self.folder.start, self.measurements.checkpoint())
        self.measurements.open()
        self.folder.drop_records_after(-1)  # of a start that was killed before it saved
        self.measurements.draw_samples()
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
        self.measurements.best = best_of(checkpoint, self.folder.last)
        self.folder.drop_records_after(self.trainer.step)
        self.folder.log(f"resumed at step {self.trainer.step} on {self.trainer.device}")
        if self.trainer.phase.proposes:
            self.proposals.load(self.trainer.phase)
        self.measurements.open()

    def take_steps(self, interrupt: InterruptRequest) -> None:
        """Take the steps that are left, until the last one or until asked to stop."""
        steps = self.config.optimizer.steps
        asked_to_stop = False
        while self.trainer.step < steps and not asked_to_stop:
            if self.trainer.phase_is_over:
                self._next_phase()
            asked_to_stop = self._take_phase(interrupt)
        if asked_to_stop:
            self.interrupted = True
            self._save()
            self.folder.log(f"stopped at step {self.trainer.step}, as asked")

    def _take_phase(self, interrupt: InterruptRequest) -> bool:
        """Take the steps that are left of the phase; return whether asked to stop before."""
        draws = training_order(
            len(self.train_set),
            seed=self.config.run.seed,
            augment=self.config.data.augment,
            start=self.trainer.step,
        )
        steps, phase = self.config.optimizer.steps, self.trainer.phase
        with (
            self.pipeline.examples(self.train_set, draws, finish=self.trainer.ahead()) as examples,
            Progress(steps, done=self.trainer.step, show=self.progress) as shown,
        ):
            while self.trainer.step < phase.end:
                if interrupt.requested:
                    return True
                self._one_step(examples, shown)
        return False

    def _one_step(self, examples: Loader, shown: Progress) -> None:
        began, waited = perf_counter(), examples.wait_seconds
        example = next(examples)
        lr = self.trainer.lr
        proposals = self.proposals.of(example) if self.trainer.phase.proposes else None
        try:
            result = self.trainer.take(example, proposals)
        except NotFiniteError as error:
            raise report_failure(error, self.trainer, self.folder, proposals) from error
        words = self.measurements.record_step(
            example,
            result,
            lr=lr,
            step_seconds=perf_counter() - began,
            data_wait_seconds=examples.wait_seconds - waited,
        )
        shown.advance(words)
        self.measurements.between_steps(example, result, lr, shown)
        if is_due(self.trainer, self.config.run.checkpoint_every):
            self._save()

    def _next_phase(self) -> None:
        """Begin the next phase: make its proposals, set the backbone back, save where we are.

        The proposals are on the disk before anything else changes. A run that dies on the way
        resumes from before, and makes the same ones again.
        """
        trainer = self.trainer
        following = trainer.phases[trainer.phase_index + 1]
        self._say(f"step {trainer.step}: {trainer.phase.name} is done, {following.name} begins")
        if following.proposes:
            self.proposals.make(following, trainer, progress=self.progress)
        if following.backbone_afresh:
            trainer.restore_backbone(load_checkpoint(self.folder.start), self.folder.start)
        trainer.begin(trainer.phase_index + 1)
        self._save()

    def _save(self) -> None:
        save_checkpoint(self.folder.last, self.measurements.checkpoint())
