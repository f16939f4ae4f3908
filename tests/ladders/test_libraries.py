"""The array code gives the same for arrays of another library, on a device of its own.

That library knows nothing but the array API standard, and does not mix devices: so the code runs
on any other, a GPU's included.
"""

import copy
import runpy
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirpn import accel
from minirpn.backend import device_of, to_host

EQUAL = runpy.run_path(str(Path(__file__).with_name("test_implementations_equal.py")))
DEVICE = array_api_strict.Device("device1")
OPERATIONS = [
    pytest.param(operation, id=operation.name) for operation in accel.operations().values()
]


def there(value):
    """Return NumPy arrays, of any nesting, as arrays of the other library; the rest as it is."""
    if isinstance(value, np.ndarray):
        return array_api_strict.asarray(np.array(value), device=DEVICE)
    return type(value)(map(there, value)) if type(value) in (list, tuple) else value


def back(value):
    """Return arrays of the other library as those of NumPy."""
    if isinstance(value, tuple | list):
        return tuple(map(back, value))
    if value is None or isinstance(value, np.ndarray | float | int):
        return value
    assert device_of(value) == DEVICE
    return to_host(value)


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=10)
@given(data=st.data())
def test_the_array_code_runs_on_any_library(operation, data, close):
    array = operation.by_name["array"]
    args, kwargs = EQUAL["CASES"][operation.name](data.draw)
    if operation.name == "conv2d_relu":  # but for where it writes
        args, kwargs = args[:5], {}
    expected = operation.by_name["loops"].function(*copy.deepcopy(args), **kwargs)
    actual = array.function(*there(args), **there(kwargs))
    EQUAL["assert_same"](back(actual), expected, close, array.rounding)
