"""The kernels equal the loops on a CPU, to the last bit and in any order of threads."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

EQUAL = runpy.run_path(str(Path(__file__).with_name("equal.py")))


@pytest.mark.parametrize("ladder", EQUAL["LADDERS"], ids=lambda ladder: ladder.name)
@given(data=st.data())
def test_rung_equals_loops(ladder, machine, data):
    EQUAL["any_arguments"](machine, ladder, data.draw)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("check", EQUAL["AT_SIZE"], ids=lambda check: check.__name__)
def test_at_size(check, dtype, machine, rng):
    check(machine, rng, dtype)


def test_nms_stops_when_enough_have_stayed(machine):
    apart = np.arange(2_000)[:, None] * np.array([2.0, 0, 2, 0]) + np.array([0.0, 0, 1, 1])
    machine.launch.launched.clear()
    assert machine.run("nms", apart, 0.5, 512).tolist() == list(range(512))
    assert machine.launch.launched == ["nms_mask", "nms_settle", "nms_spread"]
