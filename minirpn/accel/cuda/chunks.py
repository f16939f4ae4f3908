"""What a kernel that works on many arrays at once is told of them; see ``chunks.cuh``."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minirpn._typing import Array
from minirpn.accel.cuda._load import THREADS, address_of
from minirpn.backend import device_of, namespace_of, to_device

# Elements that one block works on. Small enough that a network of 15 million parameters fills a
# device, with thousands of blocks; large enough that a block finds its row in little of its time.
CHUNK = 16 * THREADS


def alike(arrays: Sequence[Array]) -> list[list[int]]:
    """Return the places of arrays that one launch can work on: of one dtype, on one device."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, array in enumerate(arrays):
        device = device_of(array)
        places[array.dtype, getattr(device, "id", device)].append(place)
    return list(places.values())


def dense_like(array: Array, like: Array) -> Array:
    """Return the array in the dtype of `like`, and in its order in memory; itself if it is.

    Parameters
    ----------
    array
        Of the shape of `like`.
    like
        Dense: elements follow each other without gaps, axes in any order, such as channels last.
    """
    if array.dtype == like.dtype and array.strides == like.strides:
        return array
    # Where an axis has length 1, its stride is of no meaning.
    steps = [
        [stride for stride, length in zip(one.strides, one.shape, strict=True) if length > 1]
        for one in (array, like)
    ]
    if array.dtype == like.dtype and steps[0] == steps[1]:
        return array
    copy = namespace_of(array, like).empty_like(like)
    copy[...] = array
    return copy


def table_of(
    arrays: Sequence[Array], rows: Iterable[tuple[Array | float, ...]]
) -> tuple[Array, int]:
    """Return the table (rows, words) uint64 of a launch, where the arrays are, and its blocks.

    Parameters
    ----------
    arrays
        One for each row: it says how many elements there are. At least one.
    rows
        What comes after the first block and the count: arrays, which become addresses, and
        numbers, which become doubles.

    Notes
    -----
    The same rows again are the same table again: it is not sent twice.
    """
    words = tuple(
        (array.size, *(x if type(x) is float else address_of(x) for x in row))
        for array, row in zip(arrays, rows, strict=True)
    )
    device = device_of(arrays[0])
    key = words, getattr(device, "id", device)
    with _LOCK:
        if found := _TABLES.get(key):
            _TABLES.move_to_end(key)
            return found
    host_table, blocks = _table(words)
    made = to_device(host_table, arrays[0]), blocks
    with _LOCK:
        _TABLES[key] = made
        if len(_TABLES) > MOST_TABLES:
            _TABLES.popitem(last=False)
    return made


# Some kilobytes each.
MOST_TABLES = 64
_TABLES: OrderedDict[Any, tuple[Array, int]] = OrderedDict()
_LOCK = threading.Lock()


def _table(rows: Iterable[tuple[int | float, ...]]) -> tuple[np.ndarray, int]:
    """Return the table of rows (count, words...), and how many blocks it needs."""
    table, blocks = [], 0
    for count, *words in rows:
        numbers = [np.float64(x).view(np.uint64) if type(x) is float else x for x in words]
        table.append([blocks, count, *numbers])
        blocks += -(-int(count) // CHUNK)
    return np.array(table, np.uint64), blocks
