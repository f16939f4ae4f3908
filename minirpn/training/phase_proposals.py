"""The proposals that a phase of a training learns from: made once, kept in the run's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.files import replace_file
from minirpn.training.build import build_pipeline, training_proposals
from minirpn.training.inference import propose_all
from minirpn.training.log import Progress
from minirpn.training.phases import Phase
from minirpn.training.proposal_files import (
    SavedProposals,
    load_proposals,
    proposals_for,
    save_proposals,
)
from minirpn.training.run_folder import RunFolder
from minirpn.training.trainer import Trainer


class PhaseProposals:
    """The proposals of the phase that goes on, none before `make`, `take` or `load`.

    Parameters
    ----------
    folder
        Of the run.
    train_set
        Whose images they are for.
    """

    def __init__(self, folder: RunFolder, train_set: VOCDataset) -> None:
        self.folder = folder
        self.train_set = train_set
        self._path = Path()
        self._saved: dict[str, SavedProposals] = {}

    def make(self, phase: Phase, trainer: Trainer, *, progress: bool) -> None:
        """Let the RPN propose on every training image, and keep that for a phase to come."""
        path = self.folder.proposals(phase.name)
        path.parent.mkdir(exist_ok=True)
        found = []
        pipeline = build_pipeline(trainer.config, trainer.network)
        config = training_proposals(trainer.config)
        with Progress(len(self.train_set), unit="image", show=progress) as shown:
            for item in propose_all(trainer.network, self.train_set, pipeline, config):
                found.append(item)
                shown.advance("proposals for training")
        save_proposals(path, found)
        self.load(phase)

    def take(self, phase: Phase, given: Path) -> None:
        """Keep a copy of the proposals from a file for a phase.

        Raises
        ------
        InputError
            There are none for one of the training images.
        """
        saved = load_proposals(given)
        for image_id in self.train_set.image_ids:
            if image_id not in saved:
                raise InputError(f"{given}: no proposals for image {image_id!r}")
        path = self.folder.proposals(phase.name)
        path.parent.mkdir(exist_ok=True)
        content = given.read_bytes()
        replace_file(path, lambda file: file.write(content))
        self.load(phase)

    def load(self, phase: Phase) -> None:
        """Take up the proposals that were kept for a phase."""
        self._path = self.folder.proposals(phase.name)
        self._saved = load_proposals(self._path)

    def of(self, example: Example) -> np.ndarray:
        """Return the proposals (R, 4) for an example, in its own pixels.

        Raises
        ------
        InputError
            There are none for this image.
        """
        return proposals_for(example, self._saved, self._path)
