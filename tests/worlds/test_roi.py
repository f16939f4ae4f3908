"""The region operations and dropout stay in the world of their inputs, and agree with NumPy."""

import numpy as np
import pytest

from minirpn import nn

# On the map, across its border, off it, empty, inverted, and nowhere.
BOXES = [
    [3.0, 5, 40, 33],
    [-20, -9, 30, 50],
    [500, 500, 600, 600],
    [16, 16, 16, 16],
    [50, 40, 10, 20],
    [np.nan, 0, 9, 9],
]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def check(world, close, actual, expected, dtype):
    for there, here in zip(actual, expected, strict=True):
        host = world.check(there)
        assert host.dtype == dtype
        close(host, here)


def unchanged(world, moved, arrays):
    for there, here in zip(moved, arrays, strict=True):
        np.testing.assert_array_equal(world.check(there), here)


@pytest.mark.parametrize("boxes", [BOXES, np.zeros((0, 4))], ids=["boxes", "no boxes"])
def test_roi_pool(boxes, dtype, world, rng, close):
    features = rng.integers(-4, 5, (3, 4, 5)).astype(dtype)
    boxes = np.array(boxes, dtype)

    def run(convert):
        y, cache = nn.roi_pool_forward(convert(features), convert(boxes), output_size=(3, 2))
        return y, nn.roi_pool_backward(convert(dy), cache), cache.argmax

    dy = rng.normal(size=(len(boxes), 3, 3, 2)).astype(dtype)
    *actual, argmax = run(lambda array: world.array(array, dtype))
    *expected, winners = run(np.array)
    check(world, close, actual, expected, dtype)
    np.testing.assert_array_equal(world.check(argmax), winners)
    assert world.check(argmax).dtype == np.int32


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("boxes", [BOXES, np.zeros((0, 4))], ids=["boxes", "no boxes"])
def test_roi_align(boxes, aligned, dtype, world, rng, close):
    features = rng.normal(size=(3, 4, 5)).astype(dtype)
    boxes = np.array(boxes, dtype)
    dy = rng.normal(size=(len(boxes), 3, 3, 2)).astype(dtype)

    def run(features, boxes, dy):
        options = {"output_size": (3, 2), "aligned": aligned}
        y, cache = nn.roi_align_forward(features, boxes, **options)
        return y, *nn.roi_align_backward(dy, cache)

    arrays = features, boxes, dy
    moved = [world.array(array, dtype) for array in arrays]
    check(world, close, run(*moved), run(*arrays), dtype)
    unchanged(world, moved, arrays)


def test_dropout_drops_the_same_everywhere(dtype, world, rng, close):
    x, dy = rng.normal(size=(2, 6, 5)).astype(dtype)

    def run(x, dy):
        y, cache = nn.dropout_forward(x, probability=0.4, rng=np.random.default_rng(7))
        return y, nn.dropout_backward(dy, cache)

    moved = [world.array(array, dtype) for array in (x, dy)]
    check(world, close, run(*moved), run(x, dy), dtype)
    unchanged(world, moved, (x, dy))


def test_flatten(dtype, world, rng, close):
    x, layer = rng.normal(size=(2, 3, 2, 2)).astype(dtype), nn.Flatten("rows")
    y, cache = layer.forward(world.array(x, dtype))
    dx, _ = layer.backward(y, cache)
    check(world, close, (y, dx), (x.reshape(2, 12), x), dtype)
