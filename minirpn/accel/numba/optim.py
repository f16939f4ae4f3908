"""A step of an optimizer: each number is read and written once, in a compiled loop.

The array code walks through memory many times. Each number goes through the same operations in the
same order here, so the results are the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from minirpn._typing import Array
from minirpn.accel.numba.compiled import compiled
from minirpn.accel.threads import share
from minirpn.nn.adam import move_by_adam
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


def write_adam(
    value: Array,
    mean: Array,
    square: Array,
    grad: Array,
    new: Array,
    rate: float,
    decay: float,
    kept: float,
    kept_squared: float,
    added: float,
    added_squared: float,
    share: float,
    share_squared: float,
    epsilon: float,
) -> None:
    """Write the new value of each number into `new` (n,), and its averages; see `move_by_adam`."""
    for k in range(len(value)):
        mean[k] = mean[k] * kept + grad[k] * added
        square[k] = square[k] * kept_squared + grad[k] * grad[k] * added_squared
        direction = mean[k] / share / (math.sqrt(square[k] / share_squared) + epsilon)
        new[k] = value[k] - (direction + value[k] * decay) * rate


_write_adam = compiled(write_adam)


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

    def write(some: Sequence[Array], rate: float, decay: float) -> None:
        factors = _in_dtype_of(some[0], rate, decay, momentum)
        _write_move(*some, *factors, rule == "caffe")

    def move_one(n: int) -> Array:
        return move(values[n], velocities[n], grads[n], rates[n], decays[n], momentum, rule)

    arrays = (values, velocities, grads)
    return _move_all(arrays, rates, decays, in_place, write, move_one), tuple(velocities)


def adamw_numba(
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
    """Move all parameters, in pieces that threads share, as `sgd_numba` does."""
    added, shares = ([1 - beta**power for beta in betas] for power in (1, steps))

    def write(some: Sequence[Array], rate: float, decay: float) -> None:
        factors = rate, decay, *betas, *added, *shares, epsilon
        _write_adam(*some, *_in_dtype_of(some[0], *factors))

    def move_one(n: int) -> Array:
        own = values[n], means[n], squares[n], grads[n], rates[n], decays[n]
        return move_by_adam(*own, steps, betas, epsilon)

    arrays = (values, means, squares, grads)
    moved = _move_all(arrays, rates, decays, in_place, write, move_one)
    return moved, tuple(means), tuple(squares)


def _move_all(
    arrays: Sequence[Sequence[Array]],
    rates: Sequence[float],
    decays: Sequence[float],
    in_place: bool,
    write: Callable[[Sequence[Array], float, float], None],
    move_one: Callable[[int], Array],
) -> tuple[Array, ...]:
    """Return the new values of all parameters.

    Parameters
    ----------
    arrays
        The values, what is kept of each, and the gradients: a sequence of each kind.
    rates, decays, in_place
        As of `sgd_numba`.
    write
        The compiled loop: takes a piece of each array of one parameter and of its new value, and
        its rate and decay.
    move_one
        The array code: takes the place of a parameter, returns its new value.
    """
    values = arrays[0]
    moved = [value if in_place else np.empty_like(value) for value in values]
    pieces, others = [], []
    for n, of_one in enumerate(zip(*arrays, moved, strict=True)):
        if not _are_alike(*of_one):
            others.append(n)
            continue
        flat = [array.reshape(-1) for array in of_one]
        pieces += [(n, flat, start) for start in range(0, flat[0].size, PIECE)]

    def step(piece: tuple[int, list[Array], int]) -> None:
        n, flat, start = piece
        write([array[start : start + PIECE] for array in flat], rates[n], decays[n])

    # First, because what is kept must be as it was where numba compiles nothing.
    share(step, pieces)
    for n in others:
        moved[n][...] = move_one(n)
    return tuple(moved)


def _in_dtype_of(array: Array, *factors: float) -> list[np.floating]:
    """Return numbers rounded as array code rounds them, to the dtype of what they multiply."""
    return [array.dtype.type(factor) for factor in factors]


def _are_alike(*arrays: Array) -> bool:
    """Tell whether the numbers of all lie one after the other, in the same dtype."""
    return all(
        array.flags.c_contiguous and array.dtype == arrays[0].dtype and array.dtype.kind == "f"
        for array in arrays
    )
