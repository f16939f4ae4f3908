"""Which trained network a command uses: a run, one of its checkpoints, or a model of minirpn's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minirpn.data.voc import VOCDataset
    from minirpn.training.config import TrainConfig
    from minirpn.training.stored import StoredModel

_KINDS = "folder of a training run, RUN@best, a checkpoint, or a model that comes with minirpn"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a trained network, and ``--best``."""
    parser.add_argument("source", metavar="RUN", help=_KINDS)
    _add_best(parser)


def _add_best(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--best",
        action="store_true",
        help="use the best checkpoint of the run, not the last (the same as RUN@best)",
    )


def read_model(source: str, *, best: bool) -> StoredModel:
    """Return the trained network that a word and ``--best`` name; see `read_stored`.

    An InputError says if there is none, or if ``--best`` is given for something that is no run.
    """
    from minirpn.errors import InputError
    from minirpn.training.stored import read_stored

    stored = read_stored(source, best=best)
    if best and (stored.folder is None or stored.path != stored.folder.best):
        raise InputError(f"--best: {source} is not a run folder")
    return stored


def open_data(
    stored: StoredModel, config: TrainConfig, split: str, *, voc: str | None
) -> VOCDataset:
    """Return one split of the data set in the settings, or of the shapes in the folder of the run.

    An InputError says if the model has no data of its own and ``--voc`` names none.
    """
    from minirpn.errors import InputError
    from minirpn.training.build import open_dataset
    from minirpn.training.run_folder import RunFolder

    if voc is None and (stored.about or (stored.folder is None and config.data.voc is None)):
        raise InputError(f"{stored.name}: it has no data beside it: name a data set, --voc DIR")
    # The folder is looked into only if the settings name no data set.
    return open_dataset(config, stored.folder or RunFolder(Path()), split)
