"""Convolution by cuDNN on a real device: equal to the loops, steady, as precise as asked."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel
from minirpn.accel.cuda.cudnn_plans import cudnn_present, find_cudnn
from minirpn.devices import open_device
from minirpn.nn.conv import conv2d, conv2d_dweight, conv2d_dx

pytestmark = pytest.mark.gpu
CASES = runpy.run_path(str(Path(__file__).parents[1] / "ladders" / "cases_nn.py"))["CASES"]
OPERATIONS = [one for one in accel.operations().values() if "cudnn" in one.by_name]
LARGE = {"shape": (1, 64, 75, 125), "outs": 96}


@pytest.fixture(scope="module")
def cupy():
    if not cudnn_present():
        pytest.skip(f"no cuDNN: {find_cudnn()[1]}")
    return pytest.importorskip("cupy")


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "tf32"])
def tf32(request, cupy):
    yield open_device("cuda", tf32=request.param).tf32
    open_device("cuda")


def brought(library, args):
    """Return arguments whose arrays are of CuPy or NumPy, whatever dtype they have as float32."""
    return [library.asarray(a, np.float32) if isinstance(a, np.ndarray) else a for a in args]


def large(rng):
    """Return x, weight, bias and dy of a layer as SqueezeNet has it."""
    (N, C, H, W), outs = LARGE["shape"], LARGE["outs"]
    shapes = (N, C, H, W), (outs, C, 3, 3), (outs,), (N, outs, H, W)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def all_three(x, weight, bias, dy, implementation):
    with accel.use(implementation):
        return {
            "conv2d": conv2d(x, weight, bias, (1, 1), (1, 1)),
            "conv2d_dx": conv2d_dx(dy, weight, x.shape[2:], (1, 1), (1, 1)),
            "conv2d_dweight": conv2d_dweight(dy, x, (3, 3), (1, 1), (1, 1)),
        }


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
@given(data=st.data())
def test_implementation_equals_loops(operation, cupy, tf32, data):
    # Whole numbers up to 4 have no more than 10 bits, so TF32 rounds none of them.
    args, kwargs = CASES[operation.name](data.draw)
    options = dict(zip(kwargs, brought(cupy, kwargs.values()), strict=True))
    actual = operation.by_name["cudnn"].function(*brought(cupy, args), **options).get()
    args, options = brought(np, args), dict(zip(kwargs, brought(np, kwargs.values()), strict=True))
    expected = operation.by_name["loops"].function(*args, **options)
    error = operation.by_name["cudnn"].rounding * np.finfo(np.float32).eps
    atol = error * max(1, np.max(np.abs(expected), initial=0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, strict=True)


def test_float32_is_true_and_tf32_is_not(cupy, tf32, rng):
    args = large(rng)
    exact = all_three(*[a.astype(np.float64) for a in args], "strips")
    for name, result in all_three(*brought(cupy, args), "cudnn").items():
        error = np.max(np.abs(result.get() - exact[name])) / np.max(np.abs(exact[name]))
        assert (error > 1e-5) == tf32, name


def test_the_same_bits_every_time(cupy, tf32, rng):
    args = brought(cupy, large(rng))
    first, second = (all_three(*args, "cudnn") for _ in range(2))
    for name, result in first.items():
        np.testing.assert_array_equal(result.get(), second[name].get())


@pytest.mark.parametrize(("channels", "name"), [(1, "cudnn"), (256, "cuda-winograd")])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_the_implementation_is_the_one_chosen_for_float32(operation, channels, name, cupy):
    open_device("cuda")
    x = cupy.zeros((1, channels, 64, 64), np.float32)
    weight, windows = x[:, :, :3, :3], ((1, 1), (1, 1))
    weight = cupy.broadcast_to(weight, (channels, channels, 3, 3))
    arguments = {
        "conv2d": (x, weight, weight[:, 0, 0, 0], *windows),
        "conv2d_relu": (x, weight, weight[:, 0, 0, 0], *windows),
        "conv2d_dx": (x, weight, (64, 64), *windows),
        "conv2d_dweight": (x, x, (3, 3), *windows),
    }[operation.name]
    # Its own gradient by the weight goes Winograd's way already.
    wanted = "cudnn" if operation.name == "conv2d_dweight" else name
    assert operation.choose(*arguments).name == wanted
    doubles = [a.astype(np.float64) if hasattr(a, "astype") else a for a in arguments]
    assert operation.choose(*doubles).name == ("cuda" if wanted == "cudnn" else name)
