"""Read Caffe's ``.caffemodel``: a protocol buffer message, of which only the blobs matter.

A message is a sequence of fields, each a number, a kind and a value; a value may be a message
again. Four kinds of message matter here: the network, its layers (in two generations: V1 under
field 2, V2 under field 100), the blobs of a layer, and the shape of a blob.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirpn.budget import Budget
from minirpn.weights.damage import Damage, checked_name, cut, shaped

# Kinds of fields, as protocol buffers number them.
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


# Field of the network -> the fields of its layers that hold their name and their blobs.
_LAYERS = {2: (4, 6), 100: (1, 7)}
# Fields of a blob.
_LEGACY_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
_FLOATS, _SHAPE, _DOUBLES = 5, 7, 8
_KINDS = ("weight", "bias")


def begins_as_caffe(head: bytes) -> bool:
    """Tell whether a file begins as a ``.caffemodel`` may: with a name, an input, or a layer."""
    return head[:1] in (b"\x0a", b"\x12", b"\x1a") or head[:2] == b"\xa2\x06"


def parse_caffe(data: bytes, budget: Budget) -> dict[str, np.ndarray]:
    """Return the blobs of every layer, given the bytes of a ``.caffemodel``.

    Returns
    -------
    dict
        ``LAYER.weight`` and ``LAYER.bias`` for a layer's first two blobs, ``LAYER.blob2`` and so on
        for others.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, value in _fields(memoryview(data), budget):
        if number in _LAYERS and isinstance(value, memoryview):
            for name, array in _layer(value, _LAYERS[number], budget).items():
                if name in arrays:
                    raise Damage(f"two arrays are called {name!r}")
                arrays[name] = array
    if not arrays:
        raise Damage("no layer with weights in it")
    return arrays


def _layer(message: memoryview, fields: tuple[int, int], budget: Budget) -> dict[str, np.ndarray]:
    name, blobs = "", []
    for number, value in _fields(message, budget):
        if number == fields[0] and isinstance(value, memoryview):
            name = checked_name(value[:2000].tobytes().decode())
        elif number == fields[1] and isinstance(value, memoryview):
            blobs.append(value)
    arrays = {}
    for index, blob in enumerate(blobs):
        kind = _KINDS[index] if index < len(_KINDS) else f"blob{index}"
        arrays[f"{name}.{kind}"] = _blob(blob, kind, budget)
    return arrays


def _blob(message: memoryview, kind: str, budget: Budget) -> np.ndarray:
    """Return a blob as an array, by its shape or, before there was one, by four legacy sides."""
    sides = [1, 1, 1, 1]
    shape: list[int] | None = None
    runs: list[tuple[str, memoryview]] = []
    for number, value in _fields(message, budget):
        if number in _LEGACY_SHAPE and isinstance(value, int):
            sides[_LEGACY_SHAPE.index(number)] = value
        elif number == _SHAPE and isinstance(value, memoryview):
            shape = _dimensions(value, budget)
        elif number in (_FLOATS, _DOUBLES) and isinstance(value, memoryview):
            runs.append(("<f4" if number == _FLOATS else "<f8", value))
    if len(runs) != 1:
        raise Damage(f"a blob of {len(runs)} runs of numbers instead of one")
    if shape is None:
        # Of four sides a bias needs the last one, a fully connected weight the last two.
        ones = 3 if kind == "bias" else 2
        shape = sides[ones:] if sides[:ones] == [1] * ones else sides
    ((dtype, raw),) = runs
    return shaped(raw, dtype, shape, budget)


def _dimensions(message: memoryview, budget: Budget) -> list[int]:
    """Return the sides in a BlobShape, packed into one field or one field each."""
    sides: list[int] = []
    for number, value in _fields(message, budget):
        if number == 1 and isinstance(value, int):
            sides.append(value)
        elif number == 1 and isinstance(value, memoryview):
            position = 0
            while position < len(value):
                budget.step()
                side, position = _varint(value, position)
                sides.append(side)
    return sides


def _fields(message: memoryview, budget: Budget) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message: an int, or bytes as a view."""
    position = 0
    while position < len(message):
        budget.step()
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            count, position = _varint(message, position)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            count = 4 if kind == _FOUR_BYTES else 8
        else:
            raise Damage(f"field {number} of an unknown kind, {kind}")
        yield number, cut(message, position, count)
        position += count


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, lowest first, and the position after it."""
    value = 0
    for index, byte in enumerate(cut(message, position, min(10, len(message) - position))):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise Damage("a number without an end")
