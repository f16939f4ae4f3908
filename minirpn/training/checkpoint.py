"""Checkpoints: everything a training run needs to continue, in one ``.npz``.

Inside are ``parameters/NAME`` and ``velocity/NAME``, one array each, and ``metadata``: JSON text
as bytes. Nothing is pickled, so that opening a stranger's checkpoint runs no code of theirs.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirpn.errors import InputError
from minirpn.files import write_npz
from minirpn.weights import read_npz
from minirpn.weights.damage import DAMAGE
from minirpn.weights.npz import check_members, parse_npy, read_member

FORMAT = "minirpn checkpoint"
VERSION = 2

# What the metadata hold besides the format's name.
_KINDS: Mapping[str, type] = {
    "version": int,
    "step": int,
    "phase": int,
    "rng_state": dict,
    "config": dict,
    "metrics": dict,
    "arrays": list,
}


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run between two steps.

    Parameters
    ----------
    parameters
        Host array of each parameter, by name.
    velocity
        Momentum of the optimizer, by the same names; frozen parameters have none.
    step
        Steps done.
    phase
        The phase of the next step, or the one that has just ended.
    rng_state
        ``rng.bit_generator.state`` of the NumPy generator that draws the samples.
    config
        The run's settings, as `minirpn.training.tables.to_table` gives them.
    metrics
        What was measured last, such as the best recall so far; anything JSON holds.
    version
        Of this format.
    """

    parameters: Mapping[str, np.ndarray]
    velocity: Mapping[str, np.ndarray]
    step: int
    phase: int
    rng_state: Mapping[str, Any]
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
    metadata = {
        "format": FORMAT,
        "version": checkpoint.version,
        "step": checkpoint.step,
        "phase": checkpoint.phase,
        "rng_state": checkpoint.rng_state,
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
    if version != VERSION:
        raise InputError(f"{path}: checkpoint version {version}, this minirpn reads {VERSION}")
    _check_metadata(metadata, path)
    hidden = [name for name in metadata.pop("arrays") if name not in arrays]
    if hidden:
        raise InputError(f"{path}: not a whole checkpoint: {hidden[0]} is missing")
    return Checkpoint(under("parameters/", arrays), under("velocity/", arrays), **metadata)


def _check_metadata(metadata: Mapping[str, Any], path: Path) -> None:
    """Raise InputError if the metadata are not what `save_checkpoint` writes."""
    if set(metadata) != set(_KINDS):
        odd = min(set(metadata) ^ set(_KINDS))
        raise InputError(f"{path}: not a whole checkpoint: {odd!r} is missing or unknown")
    for name, kind in _KINDS.items():
        if type(metadata[name]) is not kind:  # isinstance would let a bool pass as a number
            raise InputError(f"{path}: not a whole checkpoint: {name!r} is no {kind.__name__}")
    if metadata["step"] < 0:
        raise InputError(f"{path}: not a whole checkpoint: step {metadata['step']}")
    if not all(type(name) is str for name in metadata["arrays"]):
        raise InputError(f"{path}: not a whole checkpoint: 'arrays' holds more than names")


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
    try:
        metadata = json.loads(arrays.pop("metadata", np.array([])).tobytes() or "null")
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
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path.stat().st_size)
            member = read_member(archive, "metadata.npy")
        metadata = json.loads(parse_npy(member, "metadata").tobytes())
    except DAMAGE:
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
