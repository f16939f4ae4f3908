"""Local response normalisation: by hand, against brute force, its gradient, in every world."""

from functools import partial

import numpy as np
import pytest

from minirpn import accel, nn

IMPLEMENTATIONS = accel.available(np.zeros(1))["lrn"]
OPTIONS = {"size": 3, "alpha": 2.0, "beta": 0.75}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_by_hand(implementation, close):
    x = np.array([[[[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]]])
    with accel.use(implementation):
        y, cache = nn.lrn_forward(x, size=3, alpha=9.0, beta=0.5)
    # alpha / 9 is 1. Left column: 1 + 1 + 4; the others: 1 + 4 + 9 more or less what they miss.
    scale = np.array([[1 + 1 + 4, 1 + 1 + 4 + 9, 1 + 4 + 9], [1 + 1 + 4, 1 + 1 + 4 + 9, 1 + 4 + 9]])
    close(cache.scale[0, 0], scale)
    close(y[0, 0], x[0, 0] / np.sqrt(scale))


def test_the_loops_are_the_definition(rng, close):
    x, (size, alpha, beta) = rng.normal(size=(2, 2, 5, 6)), OPTIONS.values()
    around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (size, size), axis=(2, 3))
    expected = x / (1 + alpha * np.mean(windows**2, axis=(4, 5))) ** beta
    with accel.use("loops"):
        close(nn.lrn_forward(x, **OPTIONS)[0], expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradient(implementation, size, rng):
    forward = partial(nn.lrn_forward, size=size, alpha=2.0, beta=0.75)
    with accel.use(implementation):
        nn.check_gradients(forward, nn.lrn_backward, rng.normal(size=(2, 3, 4, 5)), rng=rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_worlds(world, dtype, rng, close):
    x, dy = (rng.normal(size=(2, 3, 4, 5)).astype(dtype) for _ in range(2))
    y, cache = nn.lrn_forward(world.array(x, dtype), **OPTIONS)
    expected, host_cache = nn.lrn_forward(x, **OPTIONS)
    assert world.check(y).dtype == dtype
    close(world.check(y), expected)
    dx = world.check(nn.lrn_backward(world.array(dy, dtype), cache))
    assert dx.dtype == dtype
    close(dx, nn.lrn_backward(dy, host_cache))


def test_the_layer_is_the_pair(rng):
    layer = nn.LRN("norm1", **OPTIONS)
    x = rng.normal(size=(1, 2, 4, 5))
    y, cache = layer.forward(x)
    np.testing.assert_array_equal(y, nn.lrn_forward(x, **OPTIONS)[0])
    dx, grads = layer.backward(y, cache)
    np.testing.assert_array_equal(dx, nn.lrn_backward(y, cache))
    assert grads == {}
    assert layer.backward(y, cache, need_dx=False) == (None, {})
    assert layer.output_size((4, 5)) == (4, 5)
    assert layer.windows() == (nn.Window((3, 3), (1, 1), (1, 1)),)


@pytest.mark.parametrize("size", [0, 2])
def test_windows_without_a_middle_are_refused(size):
    with pytest.raises(ValueError, match="size: expected an odd number"):
        nn.lrn_forward(np.zeros((1, 1, 2, 2)), size=size)
