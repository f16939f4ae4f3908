"""Launches ``sgd.cu``."""

from __future__ import annotations

from collections.abc import Sequence

from minirpn._typing import Array
from minirpn.accel.cuda._load import THREADS, Kernel, for_each, real_of
from minirpn.accel.cuda.chunks import CHUNK, alike, dense_like, table_of
from minirpn.accel.layout import is_channels_last
from minirpn.backend import namespace_of


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

    The kernel goes through memory from end to end, so that the arrays of a parameter have to lie
    there in one order, whichever it is. Who lies otherwise than the value is copied.
    """
    # An array made like another one has its order in memory, but no gaps.
    moved = tuple(
        value if in_place and _is_dense(value) else namespace_of(value).empty_like(value)
        for value in values
    )
    for places in alike(values):
        arrays = [
            (moved[n], *(dense_like(array[n], moved[n]) for array in (values, velocities, grads)))
            for n in places
        ]
        table, blocks = table_of(
            [values[n] for n in places],
            [
                (value, new, velocity, grad, float(rates[n]), float(decays[n]))
                for n, (new, value, velocity, grad) in zip(places, arrays, strict=True)
            ],
        )
        if blocks:
            kernel = Kernel("sgd", "sgd", real_of(values[places[0]]))
            numbers = len(places), CHUNK, float(momentum), rule == "caffe"
            for_each(kernel, (blocks * THREADS, 1), table, *numbers)
        for n, (_, _, velocity, _) in zip(places, arrays, strict=True):
            if velocity is not velocities[n]:
                velocities[n][...] = velocity
    if not in_place:
        return moved, tuple(velocities)
    for value, new in zip(values, moved, strict=True):
        if new is not value:
            value[...] = new
    return tuple(values), tuple(velocities)


def _is_dense(array: Array) -> bool:
    return array.flags.c_contiguous or is_channels_last(array)
