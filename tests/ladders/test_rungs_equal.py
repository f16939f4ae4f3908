"""Every rung of every ladder gives what its loops give, and leaves its arguments alone.

But for ladders that are there to change one: its rungs leave in it what the loops do.

The ladders come from the registry. A ladder finds its arguments in a ``cases_*.py`` beside this
file, whose ``CASES`` maps its name to a function of Hypothesis' draw that returns (args, kwargs);
a ladder without an entry fails.
"""

import copy
import importlib
import pkgutil
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import kernels, nn, rpn  # noqa: F401  (nn and rpn register their ladders)

for module in pkgutil.iter_modules(kernels.__path__):
    importlib.import_module(f"{kernels.__name__}.{module.name}")

CASES = {}
for path in sorted(Path(__file__).parent.glob("cases_*.py")):
    CASES |= runpy.run_path(str(path))["CASES"]

CHANGE_ARGUMENTS = {"sgd"}
RUNGS = [
    pytest.param(ladder, rung, id=f"{ladder.name}-{rung.name}")
    for ladder in kernels.ladders().values()
    for rung in ladder.rungs[1:]
    if rung.takes(np.zeros(1))  # the others are held to the loops in tests/kernels and tests/gpu
]


def assert_same(actual, expected, close, rounding=None):
    """Compare results of any nesting: floats closely, everything else exactly."""
    if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
        assert actual.dtype == expected.dtype
        if rounding is None:
            close(actual, expected)
        else:
            largest = max(1, np.max(np.abs(expected), initial=0))
            error = rounding * np.finfo(expected.dtype).eps * largest
            close(actual, expected, rtol=0, atol=error)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    elif isinstance(expected, tuple | list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other, close, rounding)
    else:
        assert actual == expected


@pytest.mark.parametrize(("ladder", "rung"), RUNGS)
@given(data=st.data())
def test_rung_equals_loops(ladder, rung, data, close):
    if not rung.present():
        pytest.skip(f"what {rung.name} needs is not installed")
    assert ladder.name in CASES, f"no cases_*.py draws arguments for {ladder.name}"
    args, kwargs = CASES[ladder.name](data.draw)
    of_loops = copy.deepcopy(args)
    expected = ladder.rungs[0].function(*of_loops, **copy.deepcopy(kwargs))
    left = of_loops if ladder.name in CHANGE_ARGUMENTS else copy.deepcopy(args)
    assert_same(rung.function(*args, **kwargs), expected, close, rung.rounding)
    assert_same(args, left, close)


def test_the_first_rung_is_the_loops():
    assert {ladder.rungs[0].name for ladder in kernels.ladders().values()} <= {"loops"}


def test_no_case_is_for_a_ladder_that_does_not_exist():
    assert set(CASES) <= set(kernels.ladders())
