"""Read arrays from an ``.npz`` file, which may be broken or hostile."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from minirpn.errors import InputError


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Return every array of an ``.npz`` file by name.

    Pickled objects are refused, so that reading a file never runs code.

    Raises
    ------
    InputError
        The file is missing, is no ``.npz``, is cut short or damaged, or holds a pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: not an .npz archive")
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable .npz archive ({reason})") from error
