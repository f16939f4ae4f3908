"""Feature maps with channels side by side, a few at a time, for loops that run along channels.

What a box looks at lies scattered over the map, but is the same for all channels. So the compiled
loops of the region operations take `LANES` channels at once, whose values at a cell lie one after
the other: each cell is then a few vectors.
"""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array

# Channels in a block. Fewer are too few for the work around each vector, and the cells of twice as
# many (38x63 of a 600x1000 image, 4 bytes each) do not fit an L2 cache of 1 MiB.
LANES = 64


def blocks(C: int) -> list[slice]:
    """Return up to `LANES` channels each, for all of them."""
    return [slice(start, min(start + LANES, C)) for start in range(0, C, LANES)]


def cells_of(features: Array) -> Array:
    """Return a block of channels (K,Hf,Wf) as cells (Hf Wf,K)."""
    K, Hf, Wf = features.shape
    return np.ascontiguousarray(features.reshape(K, Hf * Wf).T)


def planes_of(cells: Array, features: Array) -> None:
    """Write cells (Hf Wf,K) into a block of channels (K,Hf,Wf)."""
    features[:] = cells.T.reshape(features.shape)
