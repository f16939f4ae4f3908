"""Trained networks on the disk: of a run, of one of its checkpoints, or one of minirpn's own.

A model of minirpn's own is one ``.npz`` in ``minirpn/shipped``: the parameters as float16, and
``metadata``: JSON text as bytes, with the settings it was trained with and what its card says.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirpn.errors import InputError, UntrainedWarning, did_you_mean
from minirpn.fields import Fields, number, table_of, text
from minirpn.files import write_npz
from minirpn.training.checkpoint import format_of, load_checkpoint, read_archive
from minirpn.training.config import TrainConfig, load_config
from minirpn.training.run_folder import RUNS, RunFolder, open_run
from minirpn.training.tables import from_table, to_table

FORMAT = "minirpn model"
VERSION = 1
SHIPPED = Path(__file__).parents[1] / "shipped"
_BEST, _LAST = "@best", "@last"


@dataclass(frozen=True, eq=False)
class StoredModel:
    """The parameters of a trained network, and the settings that say which network it is.

    Parameters
    ----------
    name
        As the user named it: a shipped model, a run folder, a checkpoint.
    path
        The file that was read.
    parameters
        Host array of each parameter, by name.
    config
        The settings it was trained with.
    folder
        The run it belongs to; None for a shipped model, or a checkpoint outside a run.
    about
        Of a shipped model: what it was trained on, what was measured, and its licence.
    step
        Steps done in its run; None for a shipped model.
    """

    name: str
    path: Path
    parameters: Mapping[str, np.ndarray]
    config: TrainConfig
    folder: RunFolder | None
    about: Mapping[str, Any]
    step: int | None = None

    def warn_if_untrained(self) -> None:
        """Warn, with an `UntrainedWarning`, if the network is from before the first step."""
        if self.step == 0:
            words = f"{self.name}: saved at step 0: the network has not learned anything yet"
            warnings.warn(words, UntrainedWarning, stacklevel=4)


def no_detector(name: str) -> InputError:
    """Return the error of a model that should detect, and has no detector."""
    return InputError(f"{name}: it has no detector; minirpn train --sharing 4-step trains one")


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with minirpn, sorted."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.npz")))


def names_a_model(source: str | Path) -> bool:
    """Tell whether a word names a model that `read_stored` would look for, and not a picture.

    It is the name of a shipped model, ends with ``@best`` or ``@last``, is a folder with a
    ``config.toml`` in it, or a file that ends with ``.npz``.
    """
    text, path = str(source), Path(source)
    if text in shipped_models() or text.endswith((_BEST, _LAST, ".npz")):
        return True
    try:
        return (path / "config.toml").is_file()
    except OSError:  # a folder that may not be read, or a name that is none
        return False


def known_models() -> list[str]:
    """Return the names of the shipped models and of the runs in ``runs/``, for suggestions."""
    return [*shipped_models(), *(str(run.parent) for run in RUNS.glob("*/config.toml"))]


def read_stored(source: str | Path, *, best: bool = False) -> StoredModel:
    """Return the trained network that `source` names.

    Parameters
    ----------
    source
        A folder of a run, with its last checkpoint; ``RUN@best`` or ``RUN@last`` for one of the
        two; a file: a checkpoint, or a copy of a shipped model; or the name of a shipped model, if
        there is no such folder or file.
    best
        Take the best checkpoint of a run, as ``RUN@best`` does.

    Raises
    ------
    InputError
        There is no such run, file or model, it has no best checkpoint, or the file is damaged.
    """
    name, path = str(source), Path(source)
    ending = ""
    if not path.exists() and name.endswith((_BEST, _LAST)):
        path, ending = Path(name[: -len(_BEST)]), name[-len(_BEST) :]
    if path.is_dir():
        if best and ending == _LAST:
            raise InputError(f"{name}: this is the last checkpoint of the run, not the best")
        return _read_run(name, path, best=best or ending == _BEST)
    if (best or ending) and (path.is_file() or str(path) in shipped_models()):
        raise InputError(f"{name}: only a run has a best checkpoint, and {path} is no run folder")
    if path.is_file():
        if format_of(path) == FORMAT:
            return _read_shipped(name, path)
        return _read_checkpoint(name, path)
    if name in shipped_models():
        return _read_shipped(name, SHIPPED / f"{name}.npz")
    if path.suffix == ".npz":
        raise InputError(f"{path}: no such checkpoint")
    near = did_you_mean(str(path), known_models())
    raise InputError(f"{path}: no such run folder, and no such model{near}")


def _read_run(name: str, path: Path, *, best: bool) -> StoredModel:
    """Return the network of a run, from its last or its best checkpoint."""
    folder = open_run(path)
    file = folder.best if best else folder.last
    if best and folder.last.exists() and not file.exists():
        raise InputError(f"{file}: no such file: the run never measured a best one")
    try:
        checkpoint = load_checkpoint(file)
    except InputError as error:
        if best or not folder.best.exists():
            raise
        raise InputError(f"{error}; {path}{_BEST} is there") from error
    config = load_config(folder.config)
    return StoredModel(name, file, checkpoint.parameters, config, folder, {}, checkpoint.step)


def _read_checkpoint(name: str, path: Path) -> StoredModel:
    """Return the network of a checkpoint file, and the run that it lies in."""
    checkpoint = load_checkpoint(path)
    config = from_table(TrainConfig, checkpoint.config, str(path))
    checkpoints = path.absolute().parent
    folder = RunFolder(checkpoints.parent)
    is_of_run = checkpoints == folder.last.parent and folder.config.is_file()
    run = open_run(folder.path) if is_of_run else None
    return StoredModel(name, path, checkpoint.parameters, config, run, {}, checkpoint.step)


def _read_shipped(name: str, path: Path) -> StoredModel:
    """Return a shipped model, its parameters widened to the network's dtype."""
    metadata, arrays = read_archive(path, FORMAT, kind="model")
    if metadata.get("version") != VERSION:
        raise InputError(
            f"{path}: model version {metadata.get('version')}, this minirpn reads {VERSION}"
        )
    read = Fields(metadata, str(path))
    config = from_table(TrainConfig, read.get("config", Fields).plain, str(path))
    about = read.get("about", Fields)
    _check_about(about)
    for key, value in arrays.items():
        if value.dtype != np.float16 or not np.all(np.isfinite(value.astype(np.float32))):
            raise InputError(f"{path}: {key}: expected finite float16 numbers")
    parameters = {key: value.astype(config.model.dtype) for key, value in arrays.items()}
    return StoredModel(name, path, parameters, config, None, about.plain)


def _check_about(about: Fields) -> None:
    """Raise InputError if what is shown of a card is not of its kind."""
    for key in ("trained_on", "measured_on"):
        about.get(key, text(), "")
    recall = about.get("recall", table_of(number(0, 1)), {})
    if not all(count.isascii() and count.isdecimal() for count in recall):
        raise about.wrong("recall: expected shares by numbers of proposals")
    about.get("mean_ap", number(0, 1), 0.0)
    if recall:
        about.get("measured_on", text())


def write_shipped(path: Path, model: StoredModel, about: Mapping[str, Any]) -> None:
    """Write the parameters of a trained network as float16, with its settings and its card.

    `about` is anything that JSON holds; ``trained_on``, ``measured_on``, ``recall`` by number of
    proposals and ``mean_ap`` are what a user is told. An InputError says if a number is too great
    for float16, or if the file cannot be written.
    """
    with np.errstate(over="ignore"):  # what became infinite is reported below
        arrays = {key: value.astype(np.float16) for key, value in model.parameters.items()}
    for key, value in arrays.items():
        if not np.all(np.isfinite(value)):
            raise InputError(f"{path}: {key}: holds numbers that float16 cannot hold")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": to_table(model.config),
        "about": dict(about),
    }
    write_npz(path, metadata, arrays)
