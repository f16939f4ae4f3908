"""A NaN among the arguments: every implementation has it where the loops have it.

Some may have it in more places, which is in their nature: a sum over a tile, a product of whole
rows, a difference of running sums. None may lose one.
"""

import copy
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

EQUAL = runpy.run_path(str(Path(__file__).with_name("test_implementations_equal.py")))
CASES, IMPLEMENTATIONS = EQUAL["CASES"], EQUAL["IMPLEMENTATIONS"]
SPREAD = {
    ("conv2d", "winograd"),
    ("conv2d_relu", "winograd"),
    ("conv2d_dx", "winograd"),
    ("conv2d_dweight", "winograd"),
    ("roi_align", "array"),
    ("roi_align_dx", "array"),
    ("roi_pool_dx", "array"),
}
# The number of an argument that is multiplied by 0 in places: NaN in those that do so, and left out
# by the others.
TIMES_ZERO = {
    ("roi_align", 0),
    ("roi_align_dx", 0),
    ("roi_align_dx", 1),
    ("softmax_cross_entropy", 2),
}
# Their second result is the pixel that won, which is any in a window with a NaN.
WINNERS = {"max_pool2d", "roi_pool"}


def float_arrays(values):
    """Return the floating-point arrays among arguments or results, of any nesting."""
    if isinstance(values, np.ndarray):
        return [values] if values.dtype.kind == "f" else []
    if isinstance(values, tuple | list):
        return [array for value in values for array in float_arrays(value)]
    return []


def with_a_nan(draw, name, args):
    """Return the arguments of an operation with one number made NaN."""
    args = list(copy.deepcopy(args))
    places = [
        place
        for place, arg in enumerate(args)
        if (name, place) not in TIMES_ZERO and any(array.size for array in float_arrays(arg))
    ]
    assume(places)
    place = draw(st.sampled_from(places))
    array = draw(st.sampled_from([a for a in float_arrays(args[place]) if a.size]))
    array.setflags(write=True)
    array.flat[draw(st.integers(0, array.size - 1))] = np.nan
    return tuple(args)


@pytest.mark.parametrize(("operation", "implementation"), IMPLEMENTATIONS)
@given(data=st.data())
def test_a_nan_is_where_the_loops_have_it(operation, implementation, data, close):
    if not implementation.is_available():
        pytest.skip(f"what {implementation.name} needs is not installed")
    args, kwargs = CASES[operation.name](data.draw)
    args = with_a_nan(data.draw, operation.name, args)
    with np.errstate(invalid="ignore"):
        expected = operation.by_name["loops"].function(*copy.deepcopy(args), **kwargs)
        actual = implementation.function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    if (operation.name, implementation.name) in SPREAD:
        for one, other in zip(float_arrays(actual), float_arrays(expected), strict=True):
            assert np.isnan(one[np.isnan(other)]).all()
        return
    if operation.name in WINNERS:
        actual, expected = actual[0], expected[0]
    EQUAL["assert_same"](actual, expected, close, implementation.rounding)
