"""Read arrays from an ``.npz`` file, which may be broken or hostile."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from minirpn.errors import InputError

# What zipfile and NumPy raise at bytes that are not what was written.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: str | Path, *, kind: str = "weights file") -> dict[str, np.ndarray]:
    """Return every array of an ``.npz`` file by name.

    Pickled objects are refused, so that reading a file never runs code; the checksum of every
    member is verified before any is read.

    Parameters
    ----------
    path
        The file.
    kind
        What messages call it.

    Raises
    ------
    InputError
        The file is missing, is no ``.npz``, is cut short or damaged, or holds a pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {kind}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"damaged at {damaged.removesuffix('.npy')}")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: not a whole {kind}: {reason[0]}") from error
