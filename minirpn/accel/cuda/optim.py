"""Launches ``optim.cu``: steps of optimizers and sums of squares, for many arrays at once."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minirpn._typing import Array
from minirpn.accel.cuda._load import THREADS, Kernel, address_of, empty, for_each, real_of
from minirpn.accel.cuda.layout import dense, is_dense
from minirpn.backend import device_of, namespace_of, to_device

# Elements that one block works on. Small enough that a network of 15 million parameters fills a
# device with thousands of blocks; large enough that a block spends little of its time on finding
# its row.
CHUNK = 16 * THREADS


def sgd_cuda(
    values: Sequence[Array],
    velocities: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    rule: str,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Move all parameters of a dtype in one launch, a block for each chunk of one of them.

    The kernel reads memory from end to end, so all arrays of a parameter must lie in the same
    order, whichever it is. An array that lies in another order than the value is copied.
    """
    numbers = float(momentum), rule == "caffe"
    moved = _move_all("sgd", values, [velocities], grads, rates, decays, numbers, in_place)
    return moved, tuple(velocities)


def adamw_cuda(
    values: Sequence[Array],
    means: Sequence[Array],
    squares: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    steps: int,
    betas: tuple[float, float],
    epsilon: float,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
    """Move all parameters of a dtype in one launch, as `sgd_cuda` does."""
    added, shares = ([1.0 - beta**power for beta in betas] for power in (1, steps))
    numbers = *map(float, betas), *added, *shares, float(epsilon)
    kept = [means, squares]
    moved = _move_all("adamw", values, kept, grads, rates, decays, numbers, in_place)
    return moved, tuple(means), tuple(squares)


def _move_all(
    name: str,
    values: Sequence[Array],
    kept: Sequence[Sequence[Array]],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    numbers: Sequence[Any],
    in_place: bool,
) -> tuple[Array, ...]:
    """Return the new values of all parameters; what is kept of them changes in place.

    Parameters
    ----------
    name
        The kernel.
    kept
        Of each kind, the arrays of all parameters.
    numbers
        Those that the kernel takes for all parameters.
    """
    # `empty_like` keeps the order in memory, but leaves out gaps.
    moved = tuple(
        value if in_place and is_dense(value) else namespace_of(value).empty_like(value)
        for value in values
    )
    for places in alike(values):
        arrays = [
            [moved[n], *(dense_like(array[n], moved[n]) for array in (values, *kept, grads))]
            for n in places
        ]
        table, blocks = table_of(
            [values[n] for n in places],
            [
                (value, new, *others, float(rates[n]), float(decays[n]))
                for n, (new, value, *others) in zip(places, arrays, strict=True)
            ],
        )
        kernel = Kernel("optim", name, real_of(values[places[0]]))
        for_each(kernel, (blocks * THREADS, 1), table, len(places), CHUNK, *numbers)
        for n, (_, _, *others, _) in zip(places, arrays, strict=True):
            for array, own in zip(others, (some[n] for some in kept), strict=True):
                if array is not own:
                    own[...] = array
    if not in_place:
        return moved
    for value, new in zip(values, moved, strict=True):
        if new is not value:
            value[...] = new
    return tuple(values)


def square_sums_cuda(arrays: Sequence[Array], together: bool = False) -> Array:
    """Add up the squares in two launches, a block for each chunk of an array, then for each sum."""
    like = arrays[0]
    if len(alike(arrays)) > 1:  # a kernel is for one dtype
        each = [square_sums_cuda([array], True) for array in arrays]
        return sum(each[1:], each[0]) if together else namespace_of(*arrays).stack(each)
    # Elements may lie in any order, but without gaps.
    arrays = [array if array.flags.f_contiguous else dense(array) for array in arrays]
    table, blocks = table_of(arrays, [(array,) for array in arrays])
    of_blocks = empty((blocks,), like, "float64")
    kernel = Kernel("optim", "square_sums_of_chunks", real_of(like))
    for_each(kernel, (blocks * THREADS, 1), table, len(arrays), CHUNK, of_blocks)
    sums = empty((1 if together else len(arrays),), like)
    kernel = Kernel("optim", "square_sums_of_arrays", real_of(like))
    args = table, len(arrays), blocks, together, of_blocks, sums
    for_each(kernel, (len(sums) * THREADS, 1), *args)
    return sums[0, ...] if together else sums


def alike(arrays: Sequence[Array]) -> list[list[int]]:
    """Return the positions of the arrays of each dtype and device, for one launch each."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, array in enumerate(arrays):
        device = device_of(array)
        places[array.dtype, getattr(device, "id", device)].append(place)
    return list(places.values())


def dense_like(array: Array, like: Array) -> Array:
    """Return the array with the dtype of `like` and its order in memory, itself if it has them.

    Parameters
    ----------
    array
        Of the shape of `like`.
    like
        Without gaps in memory; its axes in any order, such as channels last.
    """
    if array.dtype == like.dtype and array.strides == like.strides:
        return array
    # The stride of an axis of length 1 means nothing.
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
    """Return the table (rows, words) uint64 of a launch on the arrays' device, and its blocks.

    Parameters
    ----------
    arrays
        At least one. Each has a row of the table, and its number of elements stands there.
    rows
        The words of a row after the first block and the count: arrays, which become addresses, and
        numbers, which become doubles.

    Notes
    -----
    The table for the same rows is kept, and not sent twice.
    """
    words = tuple(
        (array.size, *(x if isinstance(x, float) else address_of(x) for x in row))
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


MOST_TABLES = 64  # of some kilobytes each
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
