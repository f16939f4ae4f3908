"""Read arrays from an ``.npz`` file, which may be broken or hostile."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from minirpn.errors import InputError
from minirpn.weights.damage import DAMAGE, Damage, reason_of, shaped, unwarned

# An archive may unpack to so many times its size: packed weights are hardly smaller.
MOST_GROWTH = 20
_SMALL = 2**26  # bytes that are always allowed


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
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {kind}")
    try:
        return parse_npz(path.read_bytes())
    except DAMAGE as error:
        raise InputError(f"{path}: not a whole {kind}: {reason_of(error)}") from error


def parse_npz(data: bytes) -> dict[str, np.ndarray]:
    """Return every array by name, given the bytes of an ``.npz`` file."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_members(archive, len(data))
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            if name in arrays:
                raise Damage(f"two members are called {name!r}")
            arrays[name] = parse_npy(read_member(archive, member), name)
    return arrays


def check_members(archive: zipfile.ZipFile, file_bytes: int) -> None:
    """Raise `Damage` if the members would unpack to far more than the file has."""
    packings = {member.compress_type for member in archive.infolist()}
    if packings - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise Damage("packed in a way that is not used for weights")
    total = sum(member.file_size for member in archive.infolist())
    if total > max(_SMALL, MOST_GROWTH * file_bytes):
        raise Damage(f"{file_bytes} bytes that claim to unpack to {total}")


def read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    """Return the bytes of a member; raise `Damage` if its checksum is wrong."""
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise Damage(f"damaged at {member.removesuffix('.npy')}") from error


def parse_npy(data: bytes, name: str) -> np.ndarray:
    """Return the array in the bytes of an ``.npy`` file."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Damage(f"{name}: .npy of version {version}")
    with unwarned():
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.kind not in "biuf":
        raise Damage(f"{name}: holds {dtype}, not numbers")
    shape = tuple(int(side) for side in shape)
    array = shaped(memoryview(data)[file.tell() :], dtype.str, shape[:: -1 if fortran_order else 1])
    return array.transpose() if fortran_order else array
