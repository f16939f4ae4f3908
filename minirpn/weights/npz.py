"""Read arrays from an ``.npz`` file, which may be broken or hostile."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from minirpn.budget import Budget
from minirpn.weights.archive import Archive
from minirpn.weights.damage import Damage, foreign, opened, shaped

_MOST_HEADER = 2**14  # bytes: NumPy reads no header of more than 10,000 characters


def read_npz(path: str | Path, *, kind: str = "weights file") -> dict[str, np.ndarray]:
    """Return every array of an ``.npz`` file by name.

    Pickled objects are refused, so that reading a file never runs code; the checksum of every
    member is verified.

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
    with opened(Path(path), kind=kind) as (file, budget):
        return parse_npz(Archive(file, budget), budget)


def parse_npz(archive: Archive, budget: Budget) -> dict[str, np.ndarray]:
    """Return every array by name, given the archive that an ``.npz`` file is."""
    arrays = {}
    for member in archive.names:
        name = member.removesuffix(".npy")
        if name in arrays:
            raise Damage(f"two members are called {name!r}")
        arrays[name] = parse_npy(archive.read(member), name, budget)
    return arrays


def parse_npy(data: memoryview, name: str, budget: Budget) -> np.ndarray:
    """Return the array in the bytes of an ``.npy`` file."""
    file: BinaryIO = io.BytesIO(data[:_MOST_HEADER])
    with foreign(f"{name}: "):
        version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Damage(f"{name}: .npy of version {version}")
    with foreign(f"{name}: "):  # NumPy reads the header as Python
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.kind not in "biuf":
        raise Damage(f"{name}: holds {str(dtype)[:80]}, not numbers")
    sides = [int(side) for side in shape]
    array = shaped(data[file.tell() :], dtype.str, sides[:: -1 if fortran_order else 1], budget)
    return array.transpose() if fortran_order else array
