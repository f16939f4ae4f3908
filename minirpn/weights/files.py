"""Read a weights file of any format, recognised by its content and not by its name."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from minirpn.budget import Budget, parse_json
from minirpn.weights.archive import Archive, is_zip
from minirpn.weights.caffe_file import begins_as_caffe, parse_caffe
from minirpn.weights.damage import MOST_ARRAYS, MOST_STEPS, Damage, opened, read_all
from minirpn.weights.keras_file import (
    HDF5_SIGNATURE,
    KERAS_MEMBER,
    parse_keras,
    parse_keras_archive,
)
from minirpn.weights.npz import parse_npz
from minirpn.weights.safetensors_file import begins_as_safetensors, parse_safetensors
from minirpn.weights.torch_file import parse_torch_legacy, parse_torch_zip

FORMAT = "minirpn weights"
METADATA = "metadata"  # the member of an .npz of this format that describes it
_HEAD = 16  # bytes that tell the kind


class ArchiveKind(NamedTuple):
    """A kind of weights file that is a zip archive."""

    label: str
    fits: Callable[[Iterable[str]], bool]  # given the names of its members
    parse: Callable[[Archive, Budget], dict[str, np.ndarray]]


class Kind(NamedTuple):
    """A kind of weights file that is none."""

    label: str
    fits: Callable[[bytes, int], bool]  # given its first bytes, and how many it has
    parse: Callable[[bytes, Budget], dict[str, np.ndarray]]


class WeightsFile(NamedTuple):
    """What a weights file holds."""

    path: Path
    kind: str
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]  # of an .npz that minirpn has written; otherwise empty
    sha256: str


# Both are tried in this order; the last has no signature, only a likely first byte.
ARCHIVES = (
    ArchiveKind(
        "PyTorch", lambda names: any(one.endswith("/data.pkl") for one in names), parse_torch_zip
    ),
    ArchiveKind("Keras archive", lambda names: KERAS_MEMBER in names, parse_keras_archive),
    ArchiveKind("npz", lambda names: True, parse_npz),
)
KINDS = (
    Kind("PyTorch (legacy)", lambda head, size: head[:1] == b"\x80", parse_torch_legacy),
    Kind("Keras", lambda head, size: head[:8] == HDF5_SIGNATURE, parse_keras),
    Kind("safetensors", begins_as_safetensors, parse_safetensors),
    Kind("caffemodel", lambda head, size: begins_as_caffe(head), parse_caffe),
)


def read_weights(path: str | Path) -> WeightsFile:
    """Return the named arrays in a weights file.

    Nothing in the file is run, and no size that it claims is trusted.

    Parameters
    ----------
    path
        An ``.npz``, PyTorch's ``.pth`` in either container, a ``.caffemodel``, ``.safetensors``, or
        Keras' ``.h5``, ``.weights.h5`` and ``.keras``, whatever its name.

    Returns
    -------
    WeightsFile
        Convolutions are OIHW, fully connected layers (O, I).

    Raises
    ------
    InputError
        There is no such file, it is of no known kind, or it is damaged.
    """
    path = Path(path)
    with opened(path, kind="weights file", values=MOST_STEPS) as (file, budget):
        label, arrays = parse_weights(file, budget)
        metadata = _metadata(arrays, budget) if label == "npz" else {}
        file.seek(0)
        sha256 = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
    return WeightsFile(path, label, arrays, metadata, sha256)


def parse_weights(file: BinaryIO, budget: Budget) -> tuple[str, dict[str, np.ndarray]]:
    """Return the label of the kind of file this is, and the arrays in it."""
    label, arrays = _parse(file, budget)
    if len(arrays) > MOST_ARRAYS:
        raise Damage(f"{len(arrays):,} arrays, more than any network has")
    return label, arrays


def _parse(file: BinaryIO, budget: Budget) -> tuple[str, dict[str, np.ndarray]]:
    head = file.read(_HEAD)
    if is_zip(head):
        archive = Archive(file, budget)
        for kind in ARCHIVES:
            if kind.fits(archive.names):
                return kind.label, kind.parse(archive, budget)
    size = file.seek(0, io.SEEK_END)
    for other in KINDS:
        if other.fits(head, size):
            return other.label, other.parse(read_all(file, budget), budget)
    labels = ", ".join(kind.label for kind in (*ARCHIVES, *KINDS))
    raise Damage(f"it begins with {head[:12]!r}, as none of {labels} does")


def _metadata(arrays: dict[str, np.ndarray], budget: Budget) -> dict[str, Any]:
    """Remove the metadata that minirpn writes from the arrays and return it; empty without any."""
    if METADATA not in arrays:
        return {}
    metadata = parse_json(arrays[METADATA].tobytes(), budget)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        return {}
    del arrays[METADATA]
    return metadata
