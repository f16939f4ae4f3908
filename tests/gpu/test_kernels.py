"""The kernels equal the loops on a real device, to the last bit, as they do on a CPU."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, boxes
from minirpn.accel.cuda._load import launch
from minirpn.accel.cuda.layout import laid
from minirpn.accel.cuda.winograd import batched_product, product_by_cublas

pytestmark = pytest.mark.gpu
EQUAL = runpy.run_path(str(Path(__file__).parents[1] / "kernels" / "equal.py"))


@pytest.fixture(scope="module")
def machine():
    cupy = pytest.importorskip("cupy")
    return EQUAL["Machine"](cupy.asarray, launch)


@pytest.mark.parametrize("operation", EQUAL["OPERATIONS"], ids=lambda one: one.name)
@given(data=st.data())
def test_implementation_equals_loops(operation, machine, data):
    EQUAL["any_arguments"](machine, operation, data.draw)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("check", EQUAL["AT_SIZE"], ids=lambda check: check.__name__)
def test_at_size(check, dtype, machine, rng):
    check(machine, rng, dtype)


@pytest.mark.parametrize("operation", EQUAL["OPERATIONS"], ids=lambda one: one.name)
def test_the_implementation_is_the_one_chosen(operation, machine):
    # Of float64: for float32 there may be cuDNN.
    array = machine.bring(np.zeros((1, 2, 4, 4)))
    weight, windows = array[:, :, :3, :3], ((1, 1), (0, 0))
    arguments = {
        "conv2d": (array, weight, array[0, 0, 0, :1], *windows),
        "conv2d_relu": (array, weight, array[0, 0, 0, :1], *windows),
        "conv2d_dx": (array[:, :1, :2, :2], weight, (4, 4), *windows),
        "conv2d_dbias": (laid(array, True),),
        "candidates": (array, array, array, (4, 4), 1.0),
    }
    assert "cuda" in accel.available(array)[operation.name]
    chosen = operation.choose(*arguments.get(operation.name, (array, weight, (3, 3))))
    assert chosen.name == "cuda"


def test_half_precision_runs_on_another_implementation(machine):
    squares = machine.bring(np.array([[0, 0, 4, 4]], np.float16))
    assert boxes.iou(squares, squares).item() == 1


def test_views_are_taken_as_they_are(machine, rng):
    every = machine.bring(rng.uniform(0, 50, (40, 8)))
    view = every[::-3, 1::2]
    with accel.use("array"):
        expected = boxes.iou(view, view).get()
    with accel.use("cuda"):
        np.testing.assert_array_equal(boxes.iou(view, view).get(), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_product_that_is_recorded_is_the_one_that_is_not(dtype, machine, rng):
    a, b = (
        machine.bring(rng.normal(size=shape).astype(dtype))
        for shape in ((36, 70, 50), (36, 50, 90))
    )
    np.testing.assert_array_equal(product_by_cublas(a, b).get(), batched_product(a, b).get())
