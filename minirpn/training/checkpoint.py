"""Checkpoints: everything a training run needs to go on, in one ``.npz``.

Inside are ``parameters/NAME`` and ``velocity/NAME``, one array each, and ``metadata``: JSON text
as bytes. Nothing is pickled, so that opening a stranger's checkpoint runs no code of theirs.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minirpn.errors import InputError
from minirpn.training.files import replace_file

FORMAT = "minirpn checkpoint"
VERSION = 1

_PARAMETERS, _VELOCITY, _METADATA = "parameters/", "velocity/", "metadata"
# What zipfile and NumPy raise at bytes that are not what was written.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run between two steps.

    Parameters
    ----------
    parameters
        Host array of each parameter, by name.
    velocity
        Momentum of the optimizer, by the same names (frozen parameters have none).
    step
        Steps done.
    rng_state
        ``rng.bit_generator.state`` of the NumPy generator that drew the samples.
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
    rng_state: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    version: int = VERSION


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, which holds the old one or the new one at any moment.

    Raises
    ------
    InputError
        It could not be written (disk full, read-only, no such folder); an older file at `path` is
        then unharmed.

    Notes
    -----
    The inverse is `load_checkpoint`. How the file is replaced: `minirpn.training.files`.
    """
    arrays = {_PARAMETERS + name: value for name, value in checkpoint.parameters.items()}
    arrays |= {_VELOCITY + name: value for name, value in checkpoint.velocity.items()}
    metadata = {
        "format": FORMAT,
        "version": checkpoint.version,
        "step": checkpoint.step,
        "rng_state": checkpoint.rng_state,
        "config": checkpoint.config,
        "metrics": checkpoint.metrics,
        # The archive's own table of contents has no CRC, and a flipped bit there can hide members.
        "arrays": list(arrays),
    }
    encoded = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)

    def write(file: BinaryIO) -> None:
        np.savez(file, allow_pickle=False, **{_METADATA: encoded}, **arrays)

    replace_file(path, write)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`.

    Raises
    ------
    InputError
        There is none, it is cut short or damaged (every member's CRC is checked before anything
        is read), it is of another format, or of a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        arrays = _read_arrays(path)
        metadata = json.loads(arrays.pop(_METADATA).tobytes()) if _METADATA in arrays else {}
    except _DAMAGE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: not a whole checkpoint: {reason[0]}") from error
    if not isinstance(metadata, dict) or metadata.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not a checkpoint of minirpn")
    version = metadata.get("version")
    if version != VERSION:
        raise InputError(f"{path}: checkpoint version {version}, this minirpn reads {VERSION}")
    hidden = [name for name in metadata.pop("arrays") if name not in arrays]
    if hidden:
        raise InputError(f"{path}: not a whole checkpoint: {hidden[0]} is missing")
    return Checkpoint(
        parameters=_under(_PARAMETERS, arrays),
        velocity=_under(_VELOCITY, arrays),
        **metadata,
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return every array of the archive, once the CRC of each has been found right."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"damaged at {damaged.removesuffix('.npy')}")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose name starts with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
