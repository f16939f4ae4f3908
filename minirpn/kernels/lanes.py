"""Feature maps with channels side by side, a few at a time, for loops that run along channels.

What a box looks at lies scattered over the map, but is the same for all channels. So the compiled
loops of the region operations take `LANES` channels at once, whose values at a cell lie one after
the other: each cell is then one or two vectors.
"""

from __future__ import annotations

import numpy as np

from minirpn._typing import Array

# Channels in a block. Known when compiled, so that loops along them become straight lines; 16 of
# float32 fill one line of the cache, and with a map of 600x1000 images (38x63) fit the L2 cache.
LANES = 16


def blocks(C: int) -> list[slice]:
    """Return up to `LANES` channels each, for all of them."""
    return [slice(start, min(start + LANES, C)) for start in range(0, C, LANES)]


def cells_of(features: Array) -> Array:
    """Return a block of channels (K,Hf,Wf), K <= LANES, as (Hf Wf, LANES), filled up with 0."""
    K, Hf, Wf = features.shape
    cells = np.zeros((Hf * Wf, LANES), features.dtype)
    cells[:, :K] = features.reshape(K, Hf * Wf).T
    return cells


def planes_of(cells: Array, features: Array) -> None:
    """Write into a block of channels (K,Hf,Wf) what `cells` (Hf Wf, LANES) has of it."""
    K, Hf, Wf = features.shape
    features[:] = cells[:, :K].T.reshape(K, Hf, Wf)
