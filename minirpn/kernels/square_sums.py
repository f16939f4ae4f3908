"""The sums of the squares of many arrays: a ladder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minirpn._typing import Array
from minirpn.backend import is_numpy, namespace_of
from minirpn.kernels._ladder import Ladder, Rung, each
from minirpn.kernels.cuda._load import cuda_present, on_cuda
from minirpn.kernels.cuda.square_sums import square_sums_cuda


def square_sums_loops(arrays: Sequence[Array], together: bool = False) -> Array:
    """Return the sum of squares of each of some arrays (n,), or of all `together` ().

    It is not finite if a number is not, and the other way round but for an overflow.
    """
    sums = np.zeros(len(arrays), np.result_type(*arrays))
    for n, array in enumerate(arrays):
        for number in array.flat:
            sums[n] += number * number
    return np.array(sum(sums), sums.dtype) if together else sums


def square_sums_xp(arrays: Sequence[Array], together: bool = False) -> Array:
    """Return the same, array after array, a product of each with itself."""
    xp = namespace_of(*arrays)
    flat = [xp.reshape(array, (-1,)) for array in arrays]
    sums = [xp.vecdot(numbers, numbers) for numbers in flat]
    return sum(sums[1:], sums[0]) if together else xp.stack(sums)


SQUARE_SUMS = Ladder(
    "square_sums",
    (
        Rung("loops", square_sums_loops, takes=each(is_numpy)),
        Rung("xp", square_sums_xp),
        Rung("cuda", square_sums_cuda, takes=each(on_cuda), present=cuda_present),
    ),
)
