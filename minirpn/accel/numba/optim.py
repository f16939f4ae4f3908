"""A step of SGD: each number is read and written once, in a compiled loop.

The array code walks through memory four times. Each number goes through the same operations in the
same order here, so the results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share
from minirpn.nn.optim import move

# Elements of one piece of work. Fewer are not worth waking a second thread.
PIECE = 2**17


def write_move(
    value: Array,
    velocity: Array,
    grad: Array,
    new: Array,
    rate: float,
    decay: float,
    momentum: float,
    is_caffe: bool,
) -> None:
    """Write the new value of each number into `new` (n,), and its velocity; see `move`."""
    for k in range(len(value)):
        change = value[k] * decay + grad[k]
        if is_caffe:
            kept = velocity[k] * momentum + change * rate
            new[k] = value[k] - kept
        else:
            kept = velocity[k] * momentum + change
            new[k] = value[k] - kept * rate
        velocity[k] = kept


_write_move = compiled(write_move)


def sgd_numba(
    values: Sequence[Array],
    velocities: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    rule: str,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Move all parameters, in pieces that threads share.

    Arrays that lie in another order, or have several dtypes, are left to the array code.
    """
    moved = [value if in_place else np.empty_like(value) for value in values]
    pieces, others = [], []
    for n, arrays in enumerate(zip(values, velocities, grads, moved, strict=True)):
        if not _are_alike(*arrays):
            others.append(n)
            continue
        flat = [array.reshape(-1) for array in arrays]
        factors = [flat[0].dtype.type(number) for number in (rates[n], decays[n], momentum)]
        pieces += [(flat, factors, start) for start in range(0, flat[0].size, PIECE)]

    def step(piece: tuple[list[Array], list[np.floating], int]) -> None:
        flat, factors, start = piece
        some = (array[start : start + PIECE] for array in flat)
        _write_move(*some, *factors, rule == "caffe")

    # First, because velocities must be as they were where numba compiles nothing.
    share(step, pieces)
    for n in others:
        moved[n][...] = move(
            values[n], velocities[n], grads[n], rates[n], decays[n], momentum, rule
        )
    return tuple(moved), tuple(velocities)


def _are_alike(*arrays: Array) -> bool:
    """Tell whether the numbers of all lie one after the other, in the same dtype."""
    return all(
        array.flags.c_contiguous and array.dtype == arrays[0].dtype and array.dtype.kind == "f"
        for array in arrays
    )
