"""The part of a training that every rank has: what it computes when the first rank asks for it.

The first rank runs the training (`minirpn.training.train`) as if it were alone. For a step, for a
validation, for proposals it asks the crew: `Crew.ask` tells the other ranks which method of `Crew`
to call, and all call it at the same time. The others do nothing else. So decisions are made in one
place, and one process writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from minirpn.data.loader import Draw, Loader, training_order
from minirpn.data.samples import Example
from minirpn.devices import Device
from minirpn.errors import InputError
from minirpn.training.build import build_pipeline, training_proposals
from minirpn.training.checkpoint import Checkpoint
from minirpn.training.config import TrainConfig
from minirpn.training.distributed import Ranks, told
from minirpn.training.evaluate import (
    ImageProposals,
    SavedProposals,
    SplitResult,
    Validation,
    evaluate_split,
    load_proposals,
    proposals_for,
    propose_all,
    validate,
)
from minirpn.training.run_data import Splits, open_splits
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import StepResult
from minirpn.training.terminal import InterruptRequest, Progress
from minirpn.training.trainer import Trainer

_Result = TypeVar("_Result")
# What the first rank says besides the names of methods of `Crew`.
_JOIN, _END = "join", "end"


class Taken(NamedTuple):
    """A step that all ranks have taken together."""

    result: StepResult  # of all images
    example: Example  # the first one of this rank
    image_ids: list[str]  # of all images
    wait_seconds: float  # how long this rank has waited for its images


class Crew:
    """A rank's trainer and data, and what it does with them together with the other ranks.

    Parameters
    ----------
    trainer, folder, splits
        Those of the training. The trainer knows the ranks.
    progress
        Show the progress on stderr.
    """

    def __init__(
        self, trainer: Trainer, folder: RunFolder, splits: Splits, *, progress: bool = False
    ) -> None:
        self.trainer, self.folder, self.splits = trainer, folder, splits
        self.ranks, self._progress = trainer.ranks, progress
        self._loader: Loader | None = None
        self._image_ids: Iterator[list[str]] = iter(())
        self._proposals: dict[str, SavedProposals] | None = None

    # --- on the first rank ---------------------------------------------------------------------

    def ask(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call a method of this object on all ranks at the same time; return this rank's result.

        If it fails on one of them, the error is raised here, and says which rank it was.
        """
        self.ranks.tell((work.__name__, arguments))
        return self.ranks.perform(lambda: work(*arguments))

    def assemble(self) -> None:
        """Let the other ranks open the run, as it is now."""
        config, folder = self.trainer.config, self.folder.path.absolute()
        self.ranks.tell((_JOIN, (config, folder, self.splits.image_ids)))
        self.ranks.perform(lambda: None)
        self.gather()

    def gather(self) -> None:
        """Give all ranks the state of the first one.

        They have the same anyway, but for the last digits of machines of different kinds.
        """
        if not self.ranks.is_alone:
            trainer = self.trainer
            measured = {"best": trainer.best, "since_best": trainer.since_best}
            self.ask(self.take_state, trainer.phase_index, trainer.step, measured)

    def change_splits(self, splits: Splits) -> None:
        """Go on with other splits, because images have gone bad."""
        self.splits = splits
        self.ask(self.open_same_splits, splits.image_ids)

    # --- on every rank -------------------------------------------------------------------------

    def take_state(self, phase_index: int, step: int, measured: Mapping[str, Any]) -> None:
        """Take over phase, step, parameters and momentum of the first rank."""
        trainer = self.trainer
        if trainer.phase_index != phase_index:
            trainer.begin_phase(phase_index)
        mine = trainer.checkpoint()
        parameters = self.ranks.copies_of_first(mine.parameters)
        velocity = self.ranks.copies_of_first(mine.velocity)
        squares = self.ranks.copies_of_first(mine.squares)
        if not self.ranks.is_first:
            state = Checkpoint(
                parameters, velocity, squares, step, phase_index, mine.config, measured
            )
            trainer.restore(state, self.folder.last)

    def open_same_splits(self, image_ids: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
        """Open the splits, if these are not the ids of their images: all ranks have the same."""
        if self.splits.image_ids != image_ids:
            self.splits = open_splits(self.trainer.config, self.folder)
        check_same_images(self.splits, image_ids, self.trainer.config)

    def open_loader(self) -> None:
        """Prepare this rank's images of the next steps ahead of time."""
        self.close()
        trainer, config = self.trainer, self.trainer.config
        phase = trainer.phase
        path = self.folder.proposals(phase.name)
        self._proposals = load_proposals(path) if phase.needs_proposals else None
        ids, mine = self.splits.train.image_ids, slice(trainer.images.start, trainer.images.stop)
        self._image_ids = ([ids[draw.index] for draw in step] for step in self._draws())
        draws = (draw for step in self._draws() for draw in step[mine])
        self._loader = build_pipeline(config, trainer.network).examples(
            self.splits.train, draws, finish=trainer.work_ahead(), each=len(trainer.images)
        )

    def _draws(self) -> Iterator[list[Draw]]:
        """Yield the draws of all ranks, step by step, from the next step on."""
        config = self.trainer.config
        each = config.optimizer.images_per_step
        draws = training_order(
            len(self.splits.train),
            seed=config.run.seed,
            augment=config.data.augment,
            start=self.trainer.step * each,
        )
        return iter(lambda: list(islice(draws, each)), None)  # without end

    def take_step(self) -> Taken:
        """Take the next step."""
        trainer, loader, proposals = self.trainer, self._loader, None
        assert loader is not None
        waited = loader.wait_seconds
        examples = list(islice(loader, len(trainer.images)))
        if self._proposals is not None:
            path = self.folder.proposals(trainer.phase.name)
            proposals = [proposals_for(one, self._proposals, path) for one in examples]
        result = trainer.train_step(examples, proposals)
        ids = next(self._image_ids)
        return Taken(result, examples[0], ids, loader.wait_seconds - waited)

    def validate(self) -> Validation:
        """Measure the network on the validation split."""
        trainer, config = self.trainer, self.trainer.config
        assert self.splits.val is not None
        return validate(
            trainer.model,
            self.splits.val,
            build_pipeline(config, trainer.network),
            trainer.objective,
            config.proposals,
            detections=config.detections if trainer.phase.detector_usable else None,
            seed=config.run.seed,
            limit=config.run.validation_images,
            ranks=self.ranks,
        )

    def propose(self) -> list[ImageProposals]:
        """Return the proposals for the training images that a detector learns from."""
        trainer, images = self.trainer, self.splits.train
        pipeline, config = build_pipeline(trainer.config, trainer.network), trainer.config
        proposals = []
        with Progress(len(images), unit="image", show=self._progress) as bar:
            for item in propose_all(
                trainer.network, images, pipeline, training_proposals(config), ranks=self.ranks
            ):
                proposals.append(item)
                bar.advance("proposals for training")
        return proposals

    def evaluate(self) -> SplitResult:
        """Measure the network on the whole validation split."""
        trainer = self.trainer
        assert self.splits.val is not None
        return evaluate_split(trainer.model, trainer.config, self.splits.val, ranks=self.ranks)

    def close(self) -> None:
        """End the threads that prepare images."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None


def check_same_images(
    splits: Splits, image_ids: tuple[tuple[str, ...], tuple[str, ...]], config: TrainConfig
) -> None:
    """Raise InputError if a rank does not see the images that the first rank sees."""
    if splits.image_ids != image_ids:
        where = config.data.voc or "generated shapes"
        raise InputError(f"{where}: not the images that rank 0 sees; all ranks need the same")


def join(
    ranks: Ranks,
    device: Device,
    config: TrainConfig,
    path: Path,
    image_ids: tuple[tuple[str, ...], tuple[str, ...]],
) -> Crew:
    """Return the part that a rank which follows has in a run."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise InputError(f"{path}: no run folder; all ranks must see the one that rank 0 writes to")
    splits = open_splits(config, folder)
    check_same_images(splits, image_ids, config)
    return Crew(Trainer(config, device, ranks), folder, splits)


def together(ranks: Ranks, device: Device, work: Callable[[], _Result]) -> _Result | None:
    """Do `work` on the first rank, with the others at its service; return its result on all.

    An error is raised on the first rank alone. The others then return None. Ctrl-C for the second
    time ends all of them.
    """
    with ranks.ending_all():
        if not ranks.is_first:
            result: _Result | None = _follow(ranks, device)
            return result
        try:
            result = work()
        except Exception as error:
            ranks.tell((_END, None))
            told(error)
            raise
        ranks.tell((_END, result))
        return result


def _follow(ranks: Ranks, device: Device) -> Any:
    """Do what the first rank asks for, until it ends; return its result."""
    crew: Crew | None = None
    with (
        InterruptRequest(quiet=True) as interrupt,
        ranks.stopping_when(lambda: interrupt.requested),
    ):
        while True:
            name, arguments = ranks.tell()
            if name == _END:
                if crew is not None:
                    crew.close()
                return arguments
            # Errors are the first rank's business: it tells of them, and decides how it goes on.
            with suppress(Exception):
                if name == _JOIN:
                    crew = ranks.perform(partial(join, ranks, device, *arguments))
                else:
                    ranks.perform(partial(getattr(crew, name), *arguments))
