"""Every implementation of every operation gives what the loops give, and leaves arguments alone.

But for operations that are there to change one: they leave in it what the loops do.

The operations come from the registry. An operation finds its arguments in a ``cases_*.py`` beside
this file, whose ``CASES`` maps its name to a function of Hypothesis' draw that returns (args,
kwargs); an operation without an entry fails.
"""

import copy
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, nn
from minirpn.accel.fused import conv2d_relu_forward

CASES = {}
for path in sorted(Path(__file__).parent.glob("cases_*.py")):
    CASES |= runpy.run_path(str(path))["CASES"]

CHANGE_ARGUMENTS = {"sgd", "adamw", "conv2d_relu"}
IMPLEMENTATIONS = [
    pytest.param(operation, implementation, id=f"{operation.name}-{implementation.name}")
    for operation in accel.operations().values()
    for implementation in operation.implementations[1:]
    # The others are held to the loops in tests/kernels and tests/gpu.
    if implementation.supports(np.zeros(1))
]


def assert_same(actual, expected, close, rounding=None):
    """Compare results of any nesting: floats closely, everything else exactly."""
    if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
        assert actual.dtype == expected.dtype
        if rounding is None:
            close(actual, expected)
        else:
            largest = max(1, np.max(np.abs(expected), initial=0, where=~np.isnan(expected)))
            error = rounding * np.finfo(expected.dtype).eps * largest
            close(actual, expected, rtol=0, atol=error)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    elif isinstance(expected, tuple | list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other, close, rounding)
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for name in expected:
            assert_same(actual[name], expected[name], close, rounding)
    else:
        assert actual == expected


@pytest.mark.parametrize(("operation", "implementation"), IMPLEMENTATIONS)
@given(data=st.data())
def test_implementation_equals_loops(operation, implementation, data, close):
    if not implementation.is_available():
        pytest.skip(f"what {implementation.name} needs is not installed")
    assert operation.name in CASES, f"no cases_*.py draws arguments for {operation.name}"
    args, kwargs = CASES[operation.name](data.draw)
    of_loops = copy.deepcopy((args, kwargs))
    expected = operation.by_name["loops"].function(*of_loops[0], **of_loops[1])
    changes = operation.name in CHANGE_ARGUMENTS
    left = of_loops if changes else copy.deepcopy((args, kwargs))
    assert_same(implementation.function(*args, **kwargs), expected, close, implementation.rounding)
    assert_same((args, kwargs), left, close, implementation.rounding if changes else None)


@pytest.mark.parametrize("name", accel.available(np.zeros(1))["conv2d_relu"])
@given(data=st.data())
def test_convolution_with_relu_equals_the_two_one_after_the_other(name, data, close):
    args, kwargs = CASES["conv2d_relu"](data.draw)
    (x, weight, bias, stride, padding), out = args[:5], kwargs.get("out", *args[5:])
    inputs = copy.deepcopy((x, weight, bias))
    rounding = accel.operations()["conv2d_relu"].by_name[name].rounding
    with accel.use(name):
        y, conv_cache, relu_cache = conv2d_relu_forward(
            x, weight, bias, stride=stride, padding=padding, out=out
        )
    between, expected_conv_cache = nn.conv2d_forward(
        x, weight, bias, stride=stride, padding=padding
    )
    expected, expected_relu_cache = nn.relu_forward(between)
    assert_same(y, expected, close, rounding)
    assert_same(conv_cache, expected_conv_cache, close)
    assert_same(relu_cache, expected_relu_cache, close, rounding)
    assert_same((x, weight, bias), inputs, close)
    if out is not None:
        assert y is out
        joined, end = out.base, first_channel(out) + out.shape[1]
        assert np.isnan(joined[:, : first_channel(out)]).all()
        assert np.isnan(joined[:, end:]).all()


def first_channel(out):
    """Return where the channels `out` begin in the array they are part of."""
    addresses = out.ctypes.data - out.base.ctypes.data
    return addresses // out.base.strides[1] if out.size else 0


def test_the_first_implementation_is_the_loops():
    assert {one.implementations[0].name for one in accel.operations().values()} == {"loops"}


def test_no_case_is_for_an_operation_that_does_not_exist():
    assert set(CASES) <= set(accel.operations())
