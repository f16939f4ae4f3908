"""Arguments for the operations of LRN; alpha and beta are large enough for an error to show."""

import numpy as np
from hypothesis import strategies as st

from minirpn import loops
from minirpn.testing import strategies


def lrn(draw):
    N, C, H, W = (draw(st.integers(1, most)) for most in (2, 10, 6, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-4, 5, (N, C, H, W)).astype(draw(st.sampled_from([np.float32, np.float64])))
    options = (draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([0.5, 2.0])), 0.75)
    return (draw(strategies.layouts(x)), *options), {}


def lrn_dx(draw):
    (x, *options), _ = lrn(draw)
    dy = np.random.default_rng(draw(st.integers(0, 9))).integers(-4, 5, x.shape).astype(x.dtype)
    scale = loops.lrn(x, *options)[1]
    return (draw(strategies.layouts(dy)), x, draw(strategies.layouts(scale)), *options), {}


CASES = {"lrn": lrn, "lrn_dx": lrn_dx}
