"""Read a weights file of any format, recognised by its content and not by its name."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minirpn.errors import InputError
from minirpn.weights.caffe_file import begins_as_caffe, parse_caffe
from minirpn.weights.damage import DAMAGE, Damage, reason_of
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
MOST_BYTES = 2**32


class Kind(NamedTuple):
    """A kind of weights file."""

    label: str
    fits: Callable[[bytes], bool]
    parse: Callable[[bytes], dict[str, np.ndarray]]


class WeightsFile(NamedTuple):
    """What a weights file holds."""

    path: Path
    kind: str
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]  # of an .npz that minirpn has written; otherwise empty
    sha256: str


def _is_zip(data: bytes) -> bool:
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")  # the second: an empty one


def _is_torch_zip(data: bytes) -> bool:
    if not _is_zip(data):
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _is_keras_zip(data: bytes) -> bool:
    if not _is_zip(data):
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return KERAS_MEMBER in archive.namelist()


# Tried in this order; the last has no signature, only a likely first byte.
KINDS = (
    Kind("PyTorch", _is_torch_zip, parse_torch_zip),
    Kind("Keras archive", _is_keras_zip, parse_keras_archive),
    Kind("npz", _is_zip, parse_npz),
    Kind("PyTorch (legacy)", lambda data: data[:1] == b"\x80", parse_torch_legacy),
    Kind("Keras", lambda data: data[:8] == HDF5_SIGNATURE, parse_keras),
    Kind("safetensors", begins_as_safetensors, parse_safetensors),
    Kind("caffemodel", begins_as_caffe, parse_caffe),
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
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than any weights file, {path.stat().st_size} bytes")
    data = path.read_bytes()
    try:
        label, arrays = parse_weights(data)
        metadata = _metadata(arrays) if label == "npz" else {}
    except DAMAGE as error:
        raise InputError(f"{path}: not a whole weights file: {reason_of(error)}") from error
    return WeightsFile(path, label, arrays, metadata, hashlib.sha256(data).hexdigest())


def parse_weights(data: bytes) -> tuple[str, dict[str, np.ndarray]]:
    """Return the label of the kind of file these bytes are, and the arrays in it."""
    for kind in KINDS:
        if kind.fits(data):
            return kind.label, kind.parse(data)
    labels = ", ".join(kind.label for kind in KINDS)
    raise Damage(f"it begins with {data[:12]!r}, as none of {labels} does")


def _metadata(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Remove the metadata that minirpn writes from the arrays and return it; empty without any."""
    if METADATA not in arrays:
        return {}
    metadata = json.loads(arrays[METADATA].tobytes())
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        return {}
    del arrays[METADATA]
    return metadata
