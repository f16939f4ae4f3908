"""Launches ``square_sums.cu``."""

from __future__ import annotations

from collections.abc import Sequence

from minirpn._typing import Array
from minirpn.accel.cuda._load import THREADS, Kernel, for_each, real_of
from minirpn.accel.cuda.chunks import CHUNK, alike, table_of
from minirpn.accel.layout import dense
from minirpn.backend import device_of, namespace_of


def square_sums_cuda(arrays: Sequence[Array], together: bool = False) -> Array:
    """Add up the squares in two launches, a block for each chunk of an array, then for each sum."""
    xp, like = namespace_of(*arrays), arrays[0]
    if len(alike(arrays)) > 1:  # a kernel is for one dtype
        sums = [square_sums_cuda([array], True) for array in arrays]
        return sum(sums[1:], sums[0]) if together else xp.stack(sums)
    # In whichever order the elements lie, but without what lies between them.
    arrays = [array if array.flags.f_contiguous else dense(array) for array in arrays]
    table, blocks = table_of(arrays, [(array,) for array in arrays])
    of_blocks = xp.empty((blocks,), dtype=xp.float64, device=device_of(like))
    if blocks:
        kernel = Kernel("square_sums", "square_sums_of_chunks", real_of(like))
        for_each(kernel, (blocks * THREADS, 1), table, len(arrays), CHUNK, of_blocks)
    sums = xp.empty((1 if together else len(arrays),), dtype=like.dtype, device=device_of(like))
    kernel = Kernel("square_sums", "square_sums_of_arrays", real_of(like))
    args = table, len(arrays), blocks, together, of_blocks, sums
    for_each(kernel, (len(sums) * THREADS, 1), *args)
    return sums[0, ...] if together else sums
