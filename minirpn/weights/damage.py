"""What all readers of weights share: the error for broken files, and cuts that stay inside a file.

A reader takes the bytes of a file and returns arrays by name, as views of those bytes where it can;
at broken bytes it raises one of `DAMAGE`. It compares every number in the file with the number of
bytes there are before it uses it. So a false header costs neither memory nor time.
"""

from __future__ import annotations

import contextlib
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np


class Damage(ValueError):  # noqa: N818 - callers show its message in a line
    """The bytes are not what they should be; the message is the reason alone."""


# All that readers raise at broken bytes: the standard library and NumPy have many words for it.
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    EOFError,
    RuntimeError,  # RecursionError, NotImplementedError among them; zipfile's at a password
    ArithmeticError,
    MemoryError,
    SyntaxError,  # NumPy reads the header of an array as Python,
    tokenize.TokenError,  # and what is not Python a second time, as Python 2
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

# More steps than the files of the largest networks take. Without a limit a file could take forever.
MOST_STEPS = 300_000

BFLOAT16 = "bfloat16"


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or its name."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Silence the standard library's warnings of odd text, which is read or is an error anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cut(data: bytes | memoryview, start: int, count: int) -> memoryview:
    """Return `count` bytes from `start` on, as a view; raise `Damage` if not all are there."""
    if start < 0 or count < 0 or start + count > len(data):
        raise Damage(f"cut short: {count} bytes wanted at {start}, it ends at {len(data)}")
    return memoryview(data)[start : start + count]


def numbers(data: bytes | memoryview, dtype: str) -> np.ndarray:
    """Return bytes as a flat array; bfloat16, which NumPy lacks, as the same numbers in float32.

    `dtype` is NumPy's, with the order of bytes, such as ``"<f4"``; or ``"<bfloat16"``.
    """
    order, kind = dtype[0], dtype[1:]
    if kind != BFLOAT16:
        return np.frombuffer(data, dtype)
    # bfloat16 is the upper half of a float32.
    return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)


def item_bytes(dtype: str) -> int:
    """Return how many bytes one number of `numbers` takes."""
    return 2 if dtype[1:] == BFLOAT16 else np.dtype(dtype).itemsize


def shaped(data: bytes | memoryview, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """Return bytes as an array (C order); raise `Damage` if the shape does not fit them."""
    if len(shape) > 32 or any(type(side) is not int or side < 0 for side in shape):
        raise Damage(f"no shape: {str(shape)[:80]}")
    if math.prod(shape) * item_bytes(dtype) != len(data):
        raise Damage(f"shape {tuple(shape)} of {dtype[1:]} does not fit its {len(data)} bytes")
    return numbers(data, dtype).reshape(shape)
