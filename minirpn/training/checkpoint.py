"""Checkpoints: everything a training run needs to continue, in one ``.npz``.

Inside are ``parameters/NAME``, ``velocity/NAME`` and, if the optimizer keeps them,
``squares/NAME``, one array each, and ``metadata``: JSON text as bytes. Nothing is pickled, so that
opening a stranger's checkpoint runs no code of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirpn.budget import parse_json
from minirpn.errors import InputError
from minirpn.files import write_npz
from minirpn.weights import read_npz
from minirpn.weights.archive import Archive
from minirpn.weights.damage import opened
from minirpn.weights.loading import is_finite
from minirpn.weights.npz import parse_npy

FORMAT = "minirpn checkpoint"
VERSION = 3
_OLDER = 2  # had the state of a random generator too, from which all steps drew in turn

# What the metadata hold besides the format's name.
_KINDS: Mapping[str, type] = {
    "version": int,
    "step": int,
    "phase": int,
    "config": dict,
    "metrics": dict,
    "arrays": list,
}
_MOST_COUNTED = 2**53  # steps: what a float, as JSON's in other languages, still counts one by one


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run between two steps.

    Parameters
    ----------
    parameters
        Host array of each parameter, by name.
    velocity
        Momentum of the optimizer, by the same names; frozen parameters have none.
    squares
        Its mean of squared gradients, by the names of `velocity`; empty for SGD.
    step
        Steps done.
    phase
        The phase of the next step, or the one that has just ended.
    config
        The run's settings, as `minirpn.training.tables.to_table` gives them.
    metrics
        What was measured last, such as the best recall so far; anything JSON holds.
    version
        Of this format.
    """

    parameters: Mapping[str, np.ndarray]
    velocity: Mapping[str, np.ndarray]
    squares: Mapping[str, np.ndarray]
    step: int
    phase: int
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    version: int = VERSION


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, which has the old one or the new one at any moment.

    The inverse is `load_checkpoint`; `minirpn.files` says how the file is replaced.

    Raises
    ------
    InputError
        It could not be written (disk full, read-only, no such folder). An older file at `path`
        stays as it was.
    """
    arrays = {f"parameters/{name}": value for name, value in checkpoint.parameters.items()}
    arrays |= {f"velocity/{name}": value for name, value in checkpoint.velocity.items()}
    arrays |= {f"squares/{name}": value for name, value in checkpoint.squares.items()}
    metadata = {
        "format": FORMAT,
        "version": checkpoint.version,
        "step": checkpoint.step,
        "phase": checkpoint.phase,
        "config": checkpoint.config,
        "metrics": checkpoint.metrics,
        # The archive's own table of contents has no CRC, and a flipped bit there can hide members.
        "arrays": list(arrays),
    }
    write_npz(path, metadata, arrays)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`.

    Raises
    ------
    InputError
        There is none, it is cut short or damaged (every member's CRC is checked before anything
        is read), or it has another format or a newer version.
    """
    metadata, arrays = read_archive(path, FORMAT, kind="checkpoint")
    del metadata["format"]
    version = metadata.get("version")
    if version == _OLDER:
        metadata["version"] = VERSION
        metadata.pop("rng_state", None)
    elif version != VERSION:
        raise InputError(
            f"{path}: checkpoint version {version}, this minirpn reads {_OLDER} and {VERSION}"
        )
    parameters, velocity, squares = (
        under(f"{kind}/", arrays) for kind in ("parameters", "velocity", "squares")
    )
    try:
        _check_metadata(metadata)
        hidden = [name for name in metadata.pop("arrays") if name not in arrays]
        if hidden:
            raise ValueError(f"{hidden[0]} is missing")
        for name, array in arrays.items():
            if not is_finite(array):
                raise ValueError(f"{name} holds other things than finite numbers")
    except ValueError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from error
    return Checkpoint(parameters, velocity, squares, **metadata)


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise ValueError if the metadata are not what `save_checkpoint` writes."""
    if set(metadata) != set(_KINDS):
        odd = min(set(metadata) ^ set(_KINDS))
        raise ValueError(f"{odd!r} is missing or unknown")
    for name, kind in _KINDS.items():
        if type(metadata[name]) is not kind:  # isinstance would let a bool pass as a number
            raise ValueError(f"{name!r} is no {kind.__name__}")
    for name in ("step", "phase"):
        if not 0 <= metadata[name] < _MOST_COUNTED:
            raise ValueError(f"{name} {metadata[name]}")
    if not all(type(name) is str for name in metadata["arrays"]):
        raise ValueError("'arrays' holds more than names")
    _check_metrics(metadata["metrics"])


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    """Raise ValueError if what a resumed run reads among the metrics is not of its kind."""
    best, since_best = metrics.get("best", 0.0), metrics.get("since_best", 0)
    if type(best) not in (int, float) or (type(best) is int and abs(best) >= _MOST_COUNTED):
        raise ValueError(f"the best so far is {best!r}")
    if type(since_best) is not int or not 0 <= since_best < _MOST_COUNTED:
        raise ValueError(f"since_best is {since_best!r}")


def read_archive(
    path: Path, format_name: str, *, kind: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return metadata and arrays of a file that `minirpn.files.write_npz` wrote.

    Parameters
    ----------
    path
        The file.
    format_name
        What its metadata must have as ``"format"``.
    kind
        What messages call it.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or of another format.
    """
    arrays = read_npz(path, kind=kind)
    if "metadata" not in arrays:
        raise InputError(f"{path}: not a {kind}: it has no metadata")
    try:
        metadata = parse_json(arrays.pop("metadata").tobytes())
    except ValueError as error:
        raise InputError(f"{path}: not a {kind}: {error}") from error
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: not a {kind}: it has no metadata")
    if metadata.get("format") != format_name:
        raise InputError(f"{path}: not a {kind}: its format is {metadata.get('format')!r}")
    return metadata, arrays


def format_of(path: Path) -> str | None:
    """Return the format that the metadata of an ``.npz`` name, or None if it has none.

    None is also what a file of another kind or a damaged one gets: whoever reads it says why.
    """
    try:
        with opened(path, kind="file of arrays") as (file, budget):
            member = Archive(file, budget).read("metadata.npy")
            metadata = parse_json(parse_npy(member, "metadata", budget).tobytes(), budget)
    except InputError:
        return None
    name = metadata.get("format") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose name starts with `prefix`, by what follows it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
