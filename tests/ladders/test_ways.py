"""A special way of computing is taken exactly where it can be, so that it is what tests test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.accel.implementation import numba_available
from minirpn.accel.numba import strips, winograd

pytestmark = pytest.mark.skipif(not numba_available(), reason="no numba")
SIDES = st.tuples(st.integers(1, 4), st.integers(1, 4))
STRIDES = st.tuples(st.integers(1, 2), st.integers(1, 2))
PADDINGS = st.tuples(st.integers(0, 3), st.integers(0, 3))


def calls(module, names, run):
    """Return which of some functions of a module are called by `run`."""
    called = []
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            real = getattr(module, name)
            patch.setattr(
                module, name, lambda *args, name=name, real=real: called.append(name) or real(*args)
            )
        run()
    return set(called)


def each_of_three(module, way, kernel, stride, padding):
    """Yield a call of each convolution of a module, on small arrays."""
    x, weight = np.ones((1, 1, 5, 5)), np.ones((1, 1, *kernel))
    windows = stride, padding
    y = getattr(module, f"conv2d_{way}")(x, weight, np.zeros(1), *windows)
    yield lambda: getattr(module, f"conv2d_{way}")(x, weight, np.zeros(1), *windows)
    yield lambda: getattr(module, f"conv2d_dx_{way}")(y, weight, (5, 5), *windows)
    yield lambda: getattr(module, f"conv2d_dweight_{way}")(y, x, kernel, *windows)


@given(st.one_of(st.just((3, 3)), SIDES), st.one_of(st.just((1, 1)), STRIDES), PADDINGS)
def test_winograd_is_for_3x3_of_stride_1_and_padding_up_to_2(kernel, stride, padding):
    can = kernel == (3, 3) and stride == (1, 1) and max(padding) <= 2
    others = ["conv2d_strips", "conv2d_dx_strips", "conv2d_dweight_strips"]
    for run in each_of_three(winograd, "winograd", kernel, stride, padding):
        assert bool(calls(winograd, others, run)) == (not can)


@given(st.one_of(st.just((1, 1)), SIDES), st.one_of(st.just((1, 1)), STRIDES), PADDINGS)
def test_pixels_are_columns_of_a_kernel_of_one_pixel(kernel, stride, padding):
    can = kernel == stride == (1, 1) and padding == (0, 0)
    for run in each_of_three(strips, "strips", kernel, stride, padding):
        assert bool(calls(strips, ["_fill_columns", "_add_columns"], run)) == (not can)
