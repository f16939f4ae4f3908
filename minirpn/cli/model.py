"""Which trained network a command uses: a run, one of its checkpoints, or a model of minirpn's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minirpn.data.voc import VOCDataset
    from minirpn.training.config import TrainConfig
    from minirpn.training.stored import StoredModel

TEST = "test"  # the split that `eval` measures on where there is one
DEFAULT = "voc-small"  # used where no model is named, as by `minirpn.load`
_KINDS = "folder of a training run, RUN@best, a checkpoint, or a model that comes with minirpn"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a trained network, and ``--best``."""
    parser.add_argument("source", metavar="RUN", help=_KINDS)
    _add_best(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the argument that may name a trained network, and ``--best``."""
    parser.add_argument("source", nargs="?", metavar="RUN", help=f"{_KINDS} (default: {DEFAULT})")
    _add_best(parser)


def _add_best(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--best",
        action="store_true",
        help="use the best checkpoint of the run, not the last (the same as RUN@best)",
    )


def split_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the word that names the model, None if there is none, and the words for pictures.

    The model comes first. An InputError names a first word that is nothing, and a model that
    comes later.
    """
    from minirpn.cli.pictures import may_be_pictures, no_pictures
    from minirpn.errors import InputError, did_you_mean
    from minirpn.training.stored import known_models, names_a_model, shipped_models

    source, pictures = None, list(words)
    if words and names_a_model(words[0]):
        source, pictures = words[0], pictures[1:]
    elif words and not may_be_pictures(words[0]):
        path = Path(words[0])
        if path.is_dir():
            raise InputError(no_pictures(path))
        # By their names alone: all in a folder with a long path would be near.
        beside = [other.name for other in path.parent.glob("*")]
        near = did_you_mean(words[0], known_models()) or did_you_mean(path.name, beside)
        raise InputError(f"{words[0]}: no such run, model or picture{near}")
    for word in pictures:
        # A folder of pictures may be called "shapes".
        if names_a_model(word) and not (word in shipped_models() and Path(word).exists()):
            raise InputError(f"{word}: a model is named once, before the pictures")
    return source, pictures


def chosen_model(source: str | None, *, best: bool, detector: bool = False) -> StoredModel:
    """Return the trained network of a word, or else the default one, and say so on stderr.

    With `detector`, an InputError says if it has none.
    """
    from minirpn.errors import InputError
    from minirpn.training.stored import no_detector, read_stored

    if source is None and best:
        raise InputError("--best: of which run? Name it before the pictures")
    stored = read_stored(source or DEFAULT, best=best)
    if detector and not stored.config.sharing.has_detector:
        raise no_detector(stored.name)
    if source is None:
        print(f"no run named: using {described(stored, detector=detector)}", file=sys.stderr)
    return stored


def described(stored: StoredModel, *, detector: bool = False) -> str:
    """Return what a model that comes with minirpn was trained on, and how good it is, in one line.

    With `detector`, how good its detections are, not its proposals.
    """
    about = stored.about
    if detector:
        good = f"mAP {about['mean_ap']:.2f}"
    else:
        good = f"recall {about['recall']['100']:.2f} with 100 proposals"
    trained_on, measured_on = _briefly(about["trained_on"]), _briefly(about["measured_on"])
    return f"{stored.name}, trained on {trained_on} ({good} on {measured_on})"


def _briefly(text: str) -> str:
    """Return what a card says up to the first details, which a colon or a bracket begins."""
    return text.partition(":")[0].partition(" (")[0]


def open_data(stored: StoredModel, config: TrainConfig, split: str, *, named: bool) -> VOCDataset:
    """Return one split of the data set in the settings, or of the shapes in the folder of the run.

    `named` tells whether a flag names the data set. If none does, an InputError says if the model
    has no data of its own, or if they are gone.
    """
    from minirpn.errors import InputError
    from minirpn.training.build import open_dataset
    from minirpn.training.run_folder import RunFolder

    root = config.data.voc
    if not named and (stored.about or (stored.folder is None and root is None)):
        raise InputError(f"{stored.name}: it has no data beside it: name a data set, --voc DIR")
    if not named and root is not None and not Path(root).exists():
        raise InputError(f"{stored.name}: its data set {root} is gone: --voc DIR says where it is")
    # The folder is looked into only if the settings name no data set.
    return open_dataset(config, stored.folder or RunFolder(Path()), split)


@contextmanager
def way_on(config: TrainConfig) -> Iterator[None]:
    """Add to an error about a bad file or box that ``--skip-bad`` leaves it out, if it would."""
    from minirpn.data.findings import BadDataError, BadFileError, Kind
    from minirpn.errors import InputError

    try:
        yield
    except (BadDataError, BadFileError) as error:
        empty = isinstance(error, BadFileError) and error.finding.kind is Kind.EMPTY_SPLIT
        if config.data.skip_bad or empty:
            raise
        raise InputError(f"{error}; --skip-bad leaves it out") from error


def default_split(config: TrainConfig) -> str:
    """Return the split to measure on if none is named: test, or else the run's validation split.

    The data set is that of the settings. Without either split it is test, which is then missing.
    """
    data = config.data
    if data.val_split is None or data.source is None or _has_split(config, TEST):
        return TEST
    return data.val_split


def _has_split(config: TrainConfig, split: str) -> bool:
    """Tell whether the data set in the settings has a split; InputError if there is no data set."""
    from minirpn.data.layout import find_layout

    source = config.data.source
    assert source is not None
    # If it is gone, whoever opens it says so.
    return source.root.exists() and split in find_layout(source, need_images=False).splits
