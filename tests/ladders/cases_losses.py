"""Arguments for the losses: rows that tie, logits that overflow, targets anywhere.

Weights are sixteenths, a third of them zero, or all; a target outside of the classes has weight 0.
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from minirpn import loops
from minirpn.testing import strategies

DTYPES = st.sampled_from([np.float32, np.float64])
INTEGERS = st.sampled_from([np.int8, np.int64, np.int32, np.uint8])
SIGMAS = st.sampled_from([1.0, 3.0, 0.7, 2])


def softmax_cross_entropy(draw):
    K, L = draw(st.sampled_from([6, 5, 3, 1, 0])), draw(st.sampled_from([2, 3, 21, 1]))
    dtype, rng = draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = {
        "ties": rng.integers(-1, 2, (K, L)),
        "odd": rng.normal(size=(K, L)),
        "large": rng.choice([-100.0, 0.0, 99.5, 100.0], (K, L)),
        "huge": rng.choice([-1e30, 1e30], (K, L)),
    }[draw(st.sampled_from(["ties", "odd", "large", "huge"]))]
    weights = rng.integers(-8, 17, K).clip(0) / 16 * draw(st.sampled_from([1, 1, 1, 0]))
    targets = np.where(weights > 0, rng.integers(0, L, K), rng.choice([-1, -9, L, 100, 0], K))
    targets = targets.astype(draw(INTEGERS))
    arrays = logits.astype(dtype), targets, weights.astype(dtype)
    return tuple(draw(strategies.layouts(array)) for array in arrays), {}


def softmax_cross_entropy_dx(draw):
    (logits, targets, weights), _ = softmax_cross_entropy(draw)
    probabilities = loops.softmax_cross_entropy(logits, targets, weights)[1]
    dloss = draw(st.sampled_from([1, 1.0, 0.1, -3.0]))
    if draw(st.booleans()):
        dloss = np.asarray(dloss, logits.dtype)
    return (draw(strategies.layouts(probabilities)), targets, weights, dloss), {}


def smooth_l1(draw):
    shape = draw(array_shapes(min_dims=0, min_side=0))
    rng, sigma = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(SIGMAS)
    numbers = rng.normal(size=shape) if draw(st.booleans()) else rng.choice([-1.0, 1.0, 0.0], shape)
    x = np.array(numbers / sigma**2, draw(DTYPES))  # many of them where it turns linear
    return (draw(strategies.layouts(x)), sigma), {}


def smooth_l1_dx(draw):
    (x, sigma), _ = smooth_l1(draw)
    shape = x.shape
    if draw(st.booleans()):  # one for each row, or another that goes with x
        which = range(len(shape) - 1, len(shape)) if draw(st.booleans()) else range(len(shape) - 1)
        shape = tuple(1 if n in which else count for n, count in enumerate(shape))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    dy = np.array(rng.normal(size=shape), x.dtype)
    return (draw(strategies.layouts(dy)), x, sigma), {}


CASES = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_cross_entropy_dx": softmax_cross_entropy_dx,
    "smooth_l1": smooth_l1,
    "smooth_l1_dx": smooth_l1_dx,
}
