"""What works on maps on a device: Winograd's convolution, biases, and maps with channels last.

On the CPU here, through the product's own launchers.
"""

import copy
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel
from minirpn.accel.cuda import layout, winograd
from minirpn.accel.cuda.maps import add_bias_cuda

CASES = runpy.run_path(str(Path(__file__).parents[1] / "ladders" / "cases_nn.py"))["CASES"]
WINOGRAD = [one for one in accel.operations().values() if "cuda-winograd" in one.by_name]


def run(machine, operation, implementation, *args, **kwargs):
    with machine.around():
        return accel.operations()[operation].by_name[implementation].function(*args, **kwargs)


def assert_near(actual, expected, rounding=1000):
    atol = rounding * np.finfo(expected.dtype).eps * max(1, np.max(np.abs(expected), initial=0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, strict=True)


def last(array):
    """Return the same numbers with channels last in memory."""
    return layout.laid(array, True)


@pytest.mark.parametrize("operation", WINOGRAD, ids=lambda one: one.name)
@given(data=st.data())
def test_winograd_equals_loops(operation, machine, data):
    args, kwargs = CASES[operation.name](data.draw)
    expected = operation.by_name["loops"].function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    actual = run(machine, operation.name, "cuda-winograd", *args, **kwargs)
    assert_near(actual, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("planes_bytes", [2**30, 40_000, 1])
def test_winograd_in_runs_of_tile_rows(planes_bytes, dtype, machine, rng, monkeypatch):
    monkeypatch.setattr(winograd, "PLANES_BYTES", planes_bytes)
    x, weight = rng.normal(size=(2, 5, 23, 18)), rng.normal(size=(7, 5, 3, 3))
    x, weight, bias = x.astype(dtype), weight.astype(dtype), rng.normal(size=7).astype(dtype)
    arguments = x, weight, bias, (1, 1), (1, 0)
    for name in ("conv2d", "conv2d_relu"):
        y = run(machine, name, "loops", *arguments)
        assert_near(run(machine, name, "cuda-winograd", *arguments), y)
    joined = np.zeros((2, 9, *y.shape[2:]), dtype)
    run(machine, "conv2d_relu", "cuda-winograd", *arguments, joined[:, 1:8])
    assert_near(joined[:, 1:8], y)
    assert (joined[:, [0, 8]] == 0).all()
    dy = rng.normal(size=y.shape).astype(dtype)
    arguments = dy, weight, (23, 18), (1, 1), (1, 0)
    dx = run(machine, "conv2d_dx", "loops", *arguments)
    assert_near(run(machine, "conv2d_dx", "cuda-winograd", *arguments), dx)


def test_winograd_is_for_true_float32_and_work_enough(monkeypatch):
    monkeypatch.setattr(winograd, "tf32_allowed", lambda: False)
    monkeypatch.setattr(winograd, "LEAST_WORK", 64 * 16 * 16)  # tiles times channels
    x, weight = np.zeros((1, 16, 30, 30)), np.zeros((16, 16, 3, 3))
    bias, same = np.zeros(16), ((1, 1), (1, 1))
    assert winograd.conv2d_preferred(x, weight, bias, *same)
    assert winograd.conv2d_dx_preferred(x, weight, (30, 30), *same)
    assert not winograd.conv2d_preferred(x, weight, bias, (2, 2), (1, 1))
    assert not winograd.conv2d_preferred(x[:, :, :28], weight, bias, *same)
    assert not winograd.conv2d_dx_preferred(x, weight[:, :15], (30, 30), *same)
    assert not winograd.conv2d_preferred(x, weight[:, :, :1, :1], bias, *same)
    monkeypatch.setattr(winograd, "tf32_allowed", lambda: True)
    assert not winograd.conv2d_preferred(x, weight, bias, *same)


SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 64, 1, 9), (2, 5, 33, 40), (0, 3, 4, 5)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lay", [np.ascontiguousarray, last], ids=["plain", "channels-last"])
def test_bias_and_relu_in_either_layout(lay, shape, dtype, machine, rng):
    x, dy = (lay(rng.normal(size=shape).astype(dtype)) for _ in range(2))
    bias = rng.normal(size=shape[1]).astype(dtype)
    for relu in (False, True):
        y = layout.dense(x.copy("K"))
        with machine.around():
            add_bias_cuda(y, bias, relu)
        expected = x + bias[:, None, None]
        np.testing.assert_array_equal(y, np.maximum(expected, 0) if relu else expected)
        assert layout.is_channels_last(y) == layout.is_channels_last(x)
    y = run(machine, "relu", "cuda", x)
    np.testing.assert_array_equal(y, np.maximum(x, 0), strict=True)
    assert layout.is_channels_last(y) == layout.is_channels_last(x)
    # The gradient comes as it may; it leaves as the output lies.
    for given_dy in (np.ascontiguousarray(dy), last(dy)):
        dx = run(machine, "relu_dx", "cuda", given_dy, y)
        np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0), strict=True)
        assert layout.is_channels_last(dx) == layout.is_channels_last(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [*SHAPES, (1, 2, 9, 7), (1, 2, 8, 8), (1, 3, 5, 13), (3, 1, 70, 90)]
)
def test_the_gradient_of_the_bias_is_the_sum_of_pixels(shape, dtype, machine, rng):
    dy = rng.integers(-4, 5, shape).astype(dtype)  # whose sums are exact in any order
    for lay in (np.ascontiguousarray, last):
        dbias = run(machine, "conv2d_dbias", "cuda", lay(dy))
        np.testing.assert_array_equal(dbias, dy.sum(axis=(0, 2, 3)), strict=True)


def test_bias_keeps_a_nan(machine):
    y = np.array([np.nan, -1, 1], np.float32).reshape(1, 1, 1, 3)
    with machine.around():
        add_bias_cuda(y, np.zeros(1, np.float32), True)
    np.testing.assert_array_equal(y.ravel(), [np.nan, 0, 1])


@given(data=st.data())
def test_pooling_with_channels_last_is_pooling(machine, data):
    (x, *windows, output_size), kwargs = CASES["max_pool2d"](data.draw)
    args = *windows, output_size
    plain = run(machine, "max_pool2d", "loops", x, *args, **kwargs)
    turned = run(machine, "max_pool2d", "cuda", last(x), *args, **kwargs)
    for one, other in zip(turned, plain, strict=True):
        if other is None:
            assert one is None
        else:
            np.testing.assert_array_equal(one, other, strict=True)
            assert last(one) is one or last(x).flags.c_contiguous


@given(data=st.data())
def test_the_gradient_of_pooling_with_channels_last_is_the_same(machine, data):
    (dy, winner, *args), kwargs = CASES["max_pool2d_dx"](data.draw)
    plain = run(machine, "max_pool2d_dx", "loops", dy, winner, *args, **kwargs)
    for given_dy in (dy, last(dy)):
        arguments = given_dy, last(winner), *args
        turned = run(machine, "max_pool2d_dx", "cuda", *arguments)
        np.testing.assert_array_equal(turned, plain, strict=True)
        # Winners of a single pixel lie in both ways at once.
        assert layout.is_channels_last(turned) or last(winner).flags.c_contiguous
