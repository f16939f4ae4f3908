"""A step of SGD as loops, for the ladder in `minirpn.nn.optim`, where its formula is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minirpn._typing import Array


def sgd_loops(
    values: Sequence[Array],
    velocities: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    rule: str,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Move one number after the other; see `minirpn.nn.optim.move_all`."""
    moved = []
    for value, velocity, grad, *of_its_own in zip(
        values, velocities, grads, rates, decays, strict=True
    ):
        rate, decay, kept = (value.dtype.type(number) for number in (*of_its_own, momentum))
        new = np.empty_like(value)
        for place in np.ndindex(value.shape):
            change = grad[place] + decay * value[place]
            if rule == "caffe":
                velocity[place] = kept * velocity[place] + rate * change
                new[place] = value[place] - velocity[place]
            else:
                velocity[place] = kept * velocity[place] + change
                new[place] = value[place] - rate * velocity[place]
        if in_place:
            value[...] = new
        moved.append(value if in_place else new)
    return tuple(moved), tuple(velocities)
