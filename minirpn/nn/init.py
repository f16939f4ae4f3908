"""First values of parameters, drawn on the host."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike


def normal(
    shape: tuple[int, ...],
    *,
    std: float,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Return draws from N(0, std^2).

    The paper's section 3.1.3 ("Training RPNs") draws all new layers so, with a std of 0.01.
    """
    # Drawn in double precision whatever the dtype, so that both see the same numbers.
    return rng.normal(0.0, std, shape).astype(dtype)


def he_normal(
    shape: tuple[int, ...], *, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Return draws from N(0, 2 / fan_in), which keep the variance through layers with ReLU.

    `shape` is that of a weight, outputs first: (O,C,kh,kw) or (O,I); fan_in is all but O.

    Notes
    -----
    He, Zhang, Ren, Sun, *Delving Deep into Rectifiers*, 2015, eq. 10.
    """
    return normal(shape, std=math.sqrt(2.0 / math.prod(shape[1:])), rng=rng, dtype=dtype)


def zeros(shape: tuple[int, ...], *, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return zeros, the first value of every bias."""
    return np.zeros(shape, dtype)
