"""Pairs, layers and the optimizer stay in the world of their inputs, and agree with NumPy."""

import numpy as np
import pytest

from minirpn import nn

DTYPES = [np.float32, np.float64]


def agree(world, close, actual, expected):
    """Compare arrays, in tuples or dictionaries, that came out of `world` with NumPy's."""
    if isinstance(expected, dict):
        assert set(actual) == set(expected)
        actual, expected = [actual[name] for name in expected], list(expected.values())
    if isinstance(expected, tuple | list):
        for one, other in zip(actual, expected, strict=True):
            agree(world, close, one, other)
        return
    host = world.check(actual)
    assert host.dtype == expected.dtype
    close(host, expected)


def run(forward, backward, arrays, options, dy):
    """Return y and the gradients of a pair."""
    y, cache = forward(*arrays, **options)
    return y, backward(dy, cache)


PAIRS = {
    "conv2d": (
        nn.conv2d_forward,
        nn.conv2d_backward,
        [(2, 3, 5, 6), (4, 3, 3, 2), (4,)],
        {"stride": (1, 2), "padding": (1, 0)},
    ),
    "conv2d-1x1": (nn.conv2d_forward, nn.conv2d_backward, [(2, 3, 5, 6), (4, 3, 1, 1), (4,)], {}),
    "max_pool2d": (
        nn.max_pool2d_forward,
        nn.max_pool2d_backward,
        [(2, 3, 5, 6)],
        {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    ),
    "relu": (nn.relu_forward, nn.relu_backward, [(3, 4)], {}),
    "linear": (nn.linear_forward, nn.linear_backward, [(5, 3), (4, 3), (4,)], {}),
    "concat": (lambda *xs: nn.concat_forward(xs), nn.concat_backward, 2 * [(1, 2, 3, 3)], {}),
    "smooth_l1": (nn.smooth_l1_forward, nn.smooth_l1_backward, [(7, 4)], {"sigma": 3.0}),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name, dtype, world, rng, close):
    forward, backward, shapes, options = PAIRS[name]
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    dy = rng.normal(size=forward(*arrays, **options)[0].shape).astype(dtype)
    expected = run(forward, backward, arrays, options, dy)
    moved = [world.array(array, dtype) for array in arrays]
    actual = run(forward, backward, moved, options, world.array(dy, dtype))
    agree(world, close, actual, expected)
    for there, here in zip(moved, arrays, strict=True):
        np.testing.assert_array_equal(world.check(there), here)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
def test_cross_entropies(dtype, world, rng, close):
    logits, weights = rng.normal(size=(6, 2)).astype(dtype), rng.uniform(size=6).astype(dtype)
    for targets_dtype in (np.int8, np.int64):
        targets = np.array([1, 0, -1, 1, 0, 0], targets_dtype)
        arrays = [(logits, dtype), (targets, targets_dtype), (weights, dtype)]
        forward, backward = nn.softmax_cross_entropy_forward, nn.softmax_cross_entropy_backward
        expected = run(forward, backward, [array for array, _ in arrays], {}, 1.0)[1]
        loss, cache = forward(*(world.array(*array) for array in arrays))
        agree(world, close, loss, forward(logits, targets, weights)[0])
        agree(world, close, nn.softmax_cross_entropy_backward(1.0, cache), expected)
    rows = logits[:, 0], (logits[:, 1] > 0).astype(dtype), weights
    loss, cache = nn.sigmoid_cross_entropy_forward(*(world.array(row, dtype) for row in rows))
    expected, host_cache = nn.sigmoid_cross_entropy_forward(*rows)
    agree(world, close, loss, expected)
    agree(
        world,
        close,
        nn.sigmoid_cross_entropy_backward(2.0, cache),
        nn.sigmoid_cross_entropy_backward(2.0, host_cache),
    )


def train(convert, rng_seed=3, rule="caffe"):
    """Take three steps with a small network in one world; return output, dx and parameters."""
    rng = np.random.default_rng(rng_seed)
    network = nn.Sequential(
        "net",
        [
            nn.Conv2d("c1", 3, 4, kernel=3, padding=1, rng=rng, std=None),
            nn.ReLU("r1"),
            nn.MaxPool2d("p1", kernel=2, stride=2, ceil_mode=True),
            nn.Fire("f2", 4, 2, 3, 5, rng=rng, std=None),
        ],
    )
    for parameter in network.parameters():
        parameter.value = convert(parameter.value)
    optimizer = nn.SGD(network.parameters(), rule=rule)
    x = convert(rng.normal(size=(1, 3, 7, 6)).astype(np.float32))
    for _ in range(3):
        y, cache = network.forward(x)
        dx, grads = network.backward(y, cache)
        optimizer.step(grads, lr=0.01)
    optimizer.load_state(optimizer.velocity, steps=0)
    return y, dx, {p.name: p.value for p in network.parameters()}, optimizer.velocity


@pytest.mark.parametrize("rule", ["caffe", "torch"])
def test_training(rule, world, close):
    actual = train(lambda array: world.array(array, array.dtype), rule=rule)
    agree(world, close, actual, train(np.array, rule=rule))
