"""Arguments for the operations of training: lists of arrays, of sizes and layouts of any kind."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from minirpn.testing import strategies

DTYPES = st.sampled_from([np.float32, np.float64])


def arrays_of(draw, shapes, numbers, dtype):
    """Draw an array of numbers for each shape, in any layout."""
    return tuple(draw(strategies.layouts(numbers(shape).astype(dtype))) for shape in shapes)


def sgd(draw):
    dtype, rng = draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(array_shapes(max_dims=4, min_side=0), max_size=4))
    values, velocities, grads = (
        arrays_of(draw, shapes, lambda shape: rng.normal(size=shape), dtype) for _ in range(3)
    )
    # What is changed in place has to be an array, and not a view that is written to twice.
    in_place = draw(st.booleans())
    velocities = tuple(velocity.copy(order="K") for velocity in velocities)
    values = tuple(value.copy(order="K") for value in values) if in_place else values
    rates, decays = (tuple(rng.uniform(0, 2, len(shapes)).tolist()) for _ in range(2))
    rule = draw(st.sampled_from(["caffe", "torch"]))
    return (values, velocities, grads, rates, decays, 0.9, rule, in_place), {}


def adamw(draw):
    (values, velocities, grads, rates, decays, _, _, in_place), _ = sgd(draw)
    squares = tuple(np.abs(velocity) for velocity in velocities)
    steps = draw(st.integers(1, 3000))
    options = rates, decays, steps, (0.9, 0.999), 1e-8, in_place
    return (values, velocities, squares, grads, *options), {}


def square_sums(draw):
    # Whole: their sums are the same in any order.
    dtype, rng = draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(array_shapes(min_side=0), min_size=1, max_size=4))
    arrays = arrays_of(draw, shapes, lambda shape: rng.integers(-4, 5, shape), dtype)
    return (arrays, draw(st.booleans())), {}


CASES = {"sgd": sgd, "adamw": adamw, "square_sums": square_sums}
