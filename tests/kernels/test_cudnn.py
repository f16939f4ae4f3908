"""Convolution by cuDNN, with a stand-in for the library: what is asked of it is the convolution.

What the library itself makes of such graphs: `test_cudnn_plans.py`, and on a device tests/gpu.
"""

import copy
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minirpn import accel
from minirpn.accel.cuda import cudnn, cudnn_plans
from minirpn.accel.cuda.layout import is_channels_last, laid

HERE = Path(__file__).parent
CASES = runpy.run_path(str(HERE.parent / "ladders" / "cases_nn.py"))["CASES"]
DOUBLE = runpy.run_path(str(HERE / "cudnn_double.py"))
OPERATIONS = [one for one in accel.operations().values() if "cudnn" in one.by_name]


def run(machine, operation, *args, tf32=False, compute=None, **kwargs):
    """Return the result by the stand-in, or by another `compute`; kernels add the bias."""
    compute = compute or DOUBLE["Compute"](SimpleNamespace(**DOUBLE))
    allowed = {"compute": compute, "tf32_allowed": lambda: tf32}
    with machine.around(), mock.patch.multiple(cudnn, **allowed):
        return accel.operations()[operation].by_name["cudnn"].function(*args, **kwargs)


def float32(argument):
    """Return an array as float32, in the layout it has."""
    if not isinstance(argument, np.ndarray):
        return argument
    return argument if argument.dtype == np.float32 else argument.astype(np.float32, order="K")


def drawn(operation, data):
    """Return arguments of an operation, in float32."""
    args, kwargs = CASES[operation.name](data.draw)
    assume(cudnn.not_empty(*args))  # others are taken then
    return tuple(map(float32, args)), {name: float32(value) for name, value in kwargs.items()}


def test_convolutions_have_the_implementation():
    convolutions = {"conv2d", "conv2d_relu", "conv2d_dx", "conv2d_dweight"}
    assert {operation.name for operation in OPERATIONS} == convolutions


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
@given(data=st.data())
def test_implementation_equals_loops(operation, tf32, machine, data):
    args, kwargs = drawn(operation, data)
    untouched = copy.deepcopy(args)
    expected = operation.by_name["loops"].function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    actual = run(machine, operation.name, *args, **kwargs, tf32=tf32)
    np.testing.assert_array_equal(actual, expected, strict=True)
    inputs = args[:5]  # behind them conv2d_relu has where it writes
    for one, before in zip(inputs, untouched[:5], strict=True):
        np.testing.assert_array_equal(one, before)


@pytest.mark.parametrize("tf32", [False, True])
def test_the_output_goes_where_it_is_wanted(tf32, machine, rng):
    x, weight = rng.integers(-4, 5, (1, 3, 6, 7)), rng.integers(-4, 5, (4, 3, 3, 3))
    x, weight, bias = x.astype(np.float32), weight.astype(np.float32), np.ones(4, np.float32)
    args = x, weight, bias, (1, 1), (1, 1)
    joined = np.full((1, 9, 6, 7), np.nan, np.float32)
    out = joined[:, 5:]
    assert run(machine, "conv2d_relu", *args, out, tf32=tf32) is out
    np.testing.assert_array_equal(out, run(machine, "conv2d_relu", *args, tf32=tf32))
    assert np.isnan(joined[:, :5]).all()


def test_the_layout_is_that_which_the_units_want_and_passes_on(machine, rng):
    x = rng.normal(size=(1, 3, 6, 7)).astype(np.float32)
    weight, bias = rng.normal(size=(3, 3, 3, 3)).astype(np.float32), np.zeros(3, np.float32)
    plain = run(machine, "conv2d", x, weight, bias, (1, 1), (1, 1))
    assert plain.flags.c_contiguous
    last = run(machine, "conv2d", x, weight, bias, (1, 1), (1, 1), tf32=True)
    assert np.moveaxis(last, 1, -1).flags.c_contiguous
    np.testing.assert_array_equal(plain, last)


@pytest.mark.parametrize("tf32", [False, True])
def test_the_gradient_by_the_weight_lies_as_the_weight(tf32, machine, rng):
    dy, x = rng.normal(size=(2, 1, 5, 6, 7)).astype(np.float32)
    dweight = run(machine, "conv2d_dweight", dy, x, (3, 3), (1, 1), (1, 1), tf32=tf32)
    assert is_channels_last(dweight) == tf32
    # As `Device.put` lays weights, from the start.
    assert laid(dweight, tf32) is dweight


@pytest.mark.parametrize(("tf32", "name"), [(False, "plain"), (True, "rounding")])
def test_a_plan_rounds_only_where_it_may_and_is_always_steady(tf32, name, machine, rng):
    used = DOUBLE["Compute"](SimpleNamespace(**DOUBLE))
    x, weight = rng.normal(size=(2, 1, 1, 3, 3)).astype(np.float32)
    args = x, weight, np.zeros(1, np.float32), (1, 1), (0, 0)
    run(machine, "conv2d", *args, tf32=tf32, compute=used)
    ((convolution, planned),) = used.planned
    assert (planned, convolution.tf32) == (name, tf32)


def test_without_a_plan_the_error_says_for_what_and_what_to_do():
    class Unable(DOUBLE["pygraph"]):
        def create_execution_plans(self, modes):
            super().create_execution_plans(modes)
            self.plans = self.plans[:3]

    module = SimpleNamespace(**(DOUBLE | {"pygraph": Unable}))
    shapes = (1, 2, 3, 4), (5, 2, 1, 1), (1, 5, 3, 4)
    convolution = cudnn_plans.Convolution("y", *shapes, (1, 1), (0, 0), False)
    with pytest.raises(cudnn_plans.NoPlanError, match=r"no plan for .*x=\(1, 2, 3, 4\).*none of 4"):
        cudnn_plans.planned(module, convolution)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
@given(data=st.data())
def test_without_a_plan_it_is_a_product_of_matrices(operation, machine, data):
    args, kwargs = drawn(operation, data)
    expected = operation.by_name["loops"].function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    actual = run(machine, operation.name, *args, **kwargs, compute=lambda *args: False)
    np.testing.assert_array_equal(actual, expected, strict=True)


def test_the_implementation_is_for_what_is_on_a_gpu_and_not_empty():
    (conv2d, *_) = (one for one in OPERATIONS if one.name == "conv2d")
    assert not conv2d.by_name["cudnn"].supports(np.zeros(1, np.float32))
    x, weight = np.zeros((1, 2, 3, 3)), np.zeros((4, 2, 1, 1))
    assert cudnn.not_empty(x, weight, np.zeros(4))
    assert not cudnn.not_empty(x[:0], weight, np.zeros(4))
    assert not cudnn.not_empty(x, weight[:0], np.zeros(0))
    assert cudnn.not_empty(x, x, (1, 1))


def test_why_there_is_no_cudnn(monkeypatch):
    def absent():
        raise ModuleNotFoundError("No module named 'cudnn'")

    def broken():
        raise RuntimeError("libcudnn.so.9: cannot open\nand more")

    for found, words in ((absent, "not installed"), (broken, "RuntimeError: libcudnn.so.9")):
        cudnn_plans.find_cudnn.cache_clear()
        monkeypatch.setattr(cudnn_plans, "_cudnn", found)
        assert words in cudnn_plans.find_cudnn()[1]
    cudnn_plans.find_cudnn.cache_clear()


def test_a_cudnn_that_cannot_plan_counts_as_absent_and_says_so_once(monkeypatch):
    class Unable(DOUBLE["pygraph"]):
        def build_operation_graph(self):
            raise RuntimeError("libcudart.so.13: cannot open shared object file\nand more")

    module = SimpleNamespace(
        **DOUBLE
        | {
            "pygraph": Unable,
            "create_handle": lambda: None,
            "backend_version_string": lambda: "9.9",
            "__version__": "1.32",
        }
    )
    monkeypatch.setattr(cudnn_plans, "_cudnn", lambda: module)
    monkeypatch.setattr(cudnn_plans, "cuda_present", lambda: True)
    caches = cudnn_plans.find_cudnn, cudnn_plans.cudnn_present
    for cache in caches:
        cache.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"cuDNN 9.9, frontend 1.32 cannot.*libcudart") as said:
        assert not any(cudnn_plans.cudnn_present() for _ in range(3))
    assert len(said) == 1
    for cache in caches:
        cache.cache_clear()


class FakeArray:
    """An array on a device, as far as its place goes; its device can be made the current one."""

    def __init__(self, pointer, index):
        self.data, self.id = SimpleNamespace(ptr=pointer), index

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def computed(monkeypatch):
    """A function that computes on a device and returns what cuDNN was told, handle by handle."""
    told, handles = [], iter("abc")

    class Graph(DOUBLE["pygraph"]):
        def __init__(self, *, handle, **options):
            super().__init__(**options)
            told.append(("plan", handle))

        def execute(self, pointers, workspace, handle):
            told.append(("execute", handle, pointers, workspace))

    module = SimpleNamespace(
        **DOUBLE
        | {
            "pygraph": Graph,
            "create_handle": lambda: next(handles),
            "set_stream": lambda handle, stream: told.append(("stream", handle, stream)),
        }
    )
    cupy = SimpleNamespace(
        uint8="uint8",
        empty=lambda count, dtype: FakeArray(f"{count} {dtype}", 0),
        cuda=SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=77)),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cudnn", module)
    monkeypatch.setattr(cudnn_plans, "device_of", lambda array: array)
    monkeypatch.setattr(cudnn_plans, "computing_on", lambda device: device)
    caches = cudnn_plans._plan, cudnn_plans._handle, cudnn_plans._cudnn
    for cache in caches:
        cache.cache_clear()

    def compute(convolution, device):
        told.clear()
        first, second, out = (FakeArray(pointer, device) for pointer in (10, 20, 30))
        assert cudnn_plans.compute(convolution, first, second, out)
        return list(told)

    yield compute
    for cache in caches:
        cache.cache_clear()


def test_without_a_plan_it_says_so(monkeypatch):
    cupy = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cudnn_plans, "device_of", lambda array: array)
    monkeypatch.setattr(cudnn_plans, "computing_on", lambda device: device)
    monkeypatch.setattr(cudnn_plans, "_plan", lambda *asked: None)
    out = FakeArray(30, 0)
    assert not cudnn_plans.compute(None, FakeArray(10, 0), FakeArray(20, 0), out)


def test_a_device_plans_once_and_computes_on_the_current_stream(computed):
    shapes = (1, 2, 3, 4), (5, 2, 1, 1), (1, 5, 3, 4)
    convolution = cudnn_plans.Convolution("y", *shapes, (1, 1), (0, 0), False)

    def executed(handle):
        run = ("execute", handle, {1: 10, 2: 20, 3: 30}, "512 uint8")
        return [("stream", handle, 77), run]

    assert computed(convolution, 0) == [("plan", "a"), *executed("a")]
    assert computed(convolution, 0) == executed("a")
    assert computed(convolution._replace(tf32=True), 0)[0] == ("plan", "a")
    assert computed(convolution, 1) == [("plan", "b"), *executed("b")]
    with ThreadPoolExecutor(1) as pool:  # a handle is not for two threads, a plan is
        assert pool.submit(computed, convolution, 0).result() == executed("c")
