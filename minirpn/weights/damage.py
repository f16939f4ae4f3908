"""What all readers of weights share: broken files, what a file may take, cuts that stay inside.

A reader takes a file or its bytes, and a `Budget`; it returns arrays by name, as views of what it
has read where it can. It compares every number in the file with the number of bytes there are
before it uses it, and counts what it makes before it makes it. So a false header costs neither
memory nor time. Broken bytes end in a ``ValueError``: `Damage`, ``OverBudgetError``, or what text
raises that is no UTF-8.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minirpn.budget import MOST_VALUES, Budget, OverBudgetError
from minirpn.errors import InputError
from minirpn.files import open_regular

# A file may be turned into so many times its bytes: it is read, packed weights are hardly smaller,
# and bfloat16 becomes twice as wide. Of a sparse file, the bytes count that are on the disk.
MOST_GROWTH = 20
_SMALL = 2**26  # bytes that are always allowed
_MOST_BYTES = 2**32
MOST_STEPS = 300_000
"""Steps of a reader of others' files: more than the files of the largest networks take."""
MOST_ARRAYS = 10_000
_LONGEST_NAME = 300  # characters
_SIP = 2**22  # bytes that a library may read at once

BFLOAT16 = "bfloat16"


class Damage(ValueError):  # noqa: N818 - callers show its message in a line
    """The bytes are not what they should be; the message is the reason alone."""


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or its name."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


@contextlib.contextmanager
def opened(
    path: Path, *, kind: str, values: int = MOST_VALUES
) -> Iterator[tuple[BinaryIO, Budget]]:
    """Open a file of arrays and give its budget; turn what is wrong with it into one line.

    Parameters
    ----------
    path
        The file.
    kind
        What messages call it.
    values
        Of the budget.

    Raises
    ------
    InputError
        There is no such file, it is no regular one, or the block raises what broken bytes do.
    """
    try:
        file = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such {kind}") from None
    except (OSError, ValueError) as error:  # the second: a name that cannot be one
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"{path}: no {kind}: {reason or error}") from error
    with file:
        try:
            yield file, _budget_of(file, values)
        except InputError:
            raise
        except (ValueError, OSError) as error:
            raise InputError(f"{path}: not a whole {kind}: {reason_of(error)}") from error
        except MemoryError as error:
            raise InputError(f"{path}: there is not enough memory to read it") from error


def _budget_of(file: BinaryIO, values: int) -> Budget:
    size = os.fstat(file.fileno()).st_size
    if size > _MOST_BYTES:
        raise Damage(f"larger than any, {size:,} bytes")
    made = max(_SMALL, MOST_GROWTH * bytes_on_disk(file.fileno(), size))
    return Budget(made=made, values=values, depth=8, seconds=60 + size / 2**20)


def bytes_on_disk(handle: int, size: int) -> int:
    """Return how many bytes of a file are not in holes, as far as the system tells."""
    if not hasattr(os, "SEEK_DATA"):  # Windows
        return size
    filled = position = 0
    try:
        while position < size:
            begin = os.lseek(handle, position, os.SEEK_DATA)
            position = os.lseek(handle, begin, os.SEEK_HOLE)
            filled += position - begin
    except OSError as error:
        if error.errno != errno.ENXIO:  # which says that only a hole follows
            return size  # the file system does not tell
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    return filled


@contextlib.contextmanager
def foreign(place: str = "") -> Iterator[None]:
    """Turn whatever a library raises at broken bytes into `Damage`, and silence its warnings.

    ``zipfile``, ``pickletools`` and NumPy's reader of headers have a dozen words for it, from
    ``struct.error`` to ``RecursionError``. For the call of a library alone: a mistake of our own
    in the block would look like a damaged file.

    Parameters
    ----------
    place
        What the message begins with.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Damage, OverBudgetError):
        raise
    except Exception as error:
        raise Damage(place + reason_of(error)) from error


class Sips:
    """A file for libraries that believe what it claims: it does not give many bytes at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """Return `count` bytes, or all that follow; raise `Damage` if those are very many."""
        return self._short(self._file.read(_SIP + 1 if count < 0 else min(count, _SIP + 1)))

    def readline(self) -> bytes:
        """Return the bytes up to the end of the line, as `read` does."""
        return self._short(self._file.readline(_SIP + 1))

    @staticmethod
    def _short(content: bytes) -> bytes:
        if len(content) > _SIP:
            raise Damage("its description is longer than that of any network")
        return content


def read_all(file: BinaryIO, budget: Budget) -> bytes:
    """Return the bytes of a file from its beginning."""
    size = file.seek(0, io.SEEK_END)
    budget.make(size)
    file.seek(0)
    return file.read(size)


def checked_name(name: Any) -> str:
    """Return the name of an array; raise `Damage` if it is no text, or longer than any name."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise Damage("a name that is no name, or longer than any")
    return name


def cut(data: bytes | memoryview, start: int, count: int) -> memoryview:
    """Return `count` bytes from `start` on, as a view; raise `Damage` if not all are there."""
    if start < 0 or count < 0 or start + count > len(data):
        raise Damage(f"cut short: {count} bytes wanted at {start}, it ends at {len(data)}")
    return memoryview(data)[start : start + count]


def numbers(data: bytes | memoryview, dtype: str, budget: Budget) -> np.ndarray:
    """Return bytes as a flat array; bfloat16, which NumPy lacks, as the same numbers in float32.

    Views count, too: later steps copy them, and a file may name the same bytes many times.
    `dtype` is NumPy's, with the order of bytes, such as ``"<f4"``; or ``"<bfloat16"``.
    """
    order, kind = dtype[0], dtype[1:]
    if kind != BFLOAT16:
        budget.make(len(data))
        return np.frombuffer(data, dtype)
    # bfloat16 is the upper half of a float32: one array of them, and one while they are shifted.
    budget.make(4 * len(data))
    return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)


def item_bytes(dtype: str) -> int:
    """Return how many bytes one number of `numbers` takes."""
    return 2 if dtype[1:] == BFLOAT16 else np.dtype(dtype).itemsize


def shaped(
    data: bytes | memoryview, dtype: str, shape: Sequence[int], budget: Budget
) -> np.ndarray:
    """Return bytes as an array (C order); raise `Damage` if the shape does not fit them."""
    if len(shape) > 32 or not all(type(side) is int and 0 <= side < 2**48 for side in shape):
        raise Damage(f"no shape: {str(shape)[:80]}")
    if math.prod(shape) * item_bytes(dtype) != len(data):
        raise Damage(f"shape {tuple(shape)} of {dtype[1:]} does not fit its {len(data)} bytes")
    return numbers(data, dtype, budget).reshape(shape)
