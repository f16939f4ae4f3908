"""What holds of every layer and every row of layers: sizes, caches, what is trained and seen."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import nn

RNGS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def rows_of_layers(draw, *, channels=3):
    """Draw a row of layers of every kind, on `channels` channels, some of them frozen."""
    rng, layers = draw(RNGS), []
    for n in range(draw(st.integers(1, 5))):
        trainable = draw(st.booleans())
        options = {"rng": rng, "std": 0.5, "dtype": np.float64, "trainable": trainable}
        kind = draw(st.sampled_from(["conv", "relu", "pool", "lrn", "fire", "inner"]))
        if kind == "conv":
            layer = nn.Conv2d(
                f"{kind}{n}",
                channels,
                channels,
                kernel=draw(st.sampled_from([1, (3, 1), 3])),
                stride=draw(st.sampled_from([1, (1, 2)])),
                padding=1,
                **options,
            )
        elif kind == "pool":
            ceil_mode = draw(st.booleans())
            layer = nn.MaxPool2d(
                f"{kind}{n}", kernel=(3, 2), stride=(2, 1), padding=1, ceil_mode=ceil_mode
            )
        elif kind == "fire":
            layer = nn.Fire(f"{kind}{n}", channels, 2, channels - 1, 1, **options)
        elif kind == "inner":
            conv = nn.Conv2d(f"{kind}{n}.conv", channels, channels, kernel=1, **options)
            layer = nn.Sequential(f"{kind}{n}", [conv, nn.ReLU(f"{kind}{n}.relu")])
        else:
            layer = nn.LRN(f"{kind}{n}", alpha=1.0) if kind == "lrn" else nn.ReLU(f"{kind}{n}")
        layers.append(layer)
    return nn.Sequential("row", layers)


def images(rng):
    return rng.normal(size=(2, 3, 6, 7))


@given(rows_of_layers(), RNGS)
def test_a_row_is_its_layers_one_after_the_other(close, row, rng):
    x = images(rng)
    seen = []
    y, caches = row.forward(x)
    observed, _ = row.forward(x, observe=lambda name, value: seen.append((name, value)))
    expected, of_layers, size = x, [], x.shape[2:]
    for n, layer in enumerate(row.layers):
        assert layer.output_size(size) == layer.output(expected).shape[2:]
        expected, cache = layer.forward(expected)
        size = layer.output_size(size)
        of_layers.append(cache)
        name, value = seen[n]
        assert name == layer.name
        close(value, expected)
    assert len(seen) == len(row.layers) == len(caches)
    assert row.output_size(x.shape[2:]) == size == y.shape[2:]
    for other in (y, observed, row.output(x)):
        close(other, expected)
    dy = rng.normal(size=y.shape)
    dx, grads = row.backward(dy, caches)
    d, of_each = dy, {}
    for layer, cache in zip(reversed(row.layers), reversed(of_layers), strict=True):
        d, some = layer.backward(d, cache)
        of_each |= some
    close(dx, d)
    assert grads.keys() == of_each.keys()
    for name, grad in grads.items():
        close(grad, of_each[name])


@given(rows_of_layers(), RNGS)
def test_what_is_not_needed_is_left_out_and_nothing_else_changes(close, row, rng):
    x = images(rng)
    y, caches = row.forward(x)
    less, fewer = row.forward(x, need_dx=False)
    np.testing.assert_array_equal(less, y)
    trainable = [layer.trainable for layer in row.layers]
    first = trainable.index(True) if any(trainable) else len(trainable)
    # No cache before the first layer that is trained, unless it was computed with that one.
    assert all(cache is not None for cache in fewer[first:])
    kept = [cache is not None for cache in fewer[:first]]
    assert not any(kept[:-1])
    dy = rng.normal(size=y.shape)
    _, grads = row.backward(dy, caches)
    dx, others = row.backward(dy, fewer, need_dx=False)
    assert dx is None
    assert grads.keys() == others.keys()
    for name, grad in grads.items():
        close(others[name], grad)
    if first > 0 and not kept[-1]:
        with pytest.raises(ValueError, match="need_dx"):
            row.backward(dy, fewer)


@given(rows_of_layers(), RNGS)
def test_gradients_are_of_the_trainable_parameters(row, rng):
    y, caches = row.forward(images(rng))
    _, grads = row.backward(np.ones_like(y), caches)
    parameters = row.parameters()
    assert parameters == [p for layer in row.layers for p in layer.parameters()]
    assert set(grads) == {p.name for p in parameters if p.trainable}
    assert row.trainable == any(p.trainable for p in parameters)
    for p in parameters:
        if p.trainable:
            assert grads[p.name].shape == p.value.shape


@given(rows_of_layers(), RNGS)
def test_the_windows_of_a_row_are_those_of_its_layers(row, rng):
    windows = row.windows()
    assert windows == tuple(window for layer in row.layers for window in layer.windows())
    for layer in row.layers:
        for window in layer.windows():
            assert all(len(part) == 2 for part in window)
            if not getattr(layer, "ceil_mode", False) and len(layer.windows()) == 1:
                assert nn.conv_output_size((6, 7), *window) == layer.output_size((6, 7))


NEEDS = st.booleans()


@given(RNGS, NEEDS, NEEDS)
def test_affine_gradients_that_are_not_needed_are_left_out(rng, need_dx, need_dweight):
    pairs = [
        (nn.conv2d_forward, nn.conv2d_backward, (1, 2, 4, 4), (3, 2, 3, 3)),
        (nn.linear_forward, nn.linear_backward, (4, 2), (3, 2)),
    ]
    for forward, backward, x, weight in pairs:
        y, cache = forward(rng.normal(size=x), rng.normal(size=weight), rng.normal(size=3))
        dy = rng.normal(size=y.shape)
        every = backward(dy, cache)
        some = backward(dy, cache, need_dx=need_dx, need_dweight=need_dweight)
        for one, other, needed in zip(
            some, every, (need_dx, need_dweight, need_dweight), strict=True
        ):
            if needed:
                np.testing.assert_array_equal(one, other)
            else:
                assert one is None


@given(RNGS, NEEDS)
def test_layers_leave_out_dx_where_it_is_not_needed(rng, need_dx):
    x = images(rng)
    for layer in (
        nn.ReLU("relu"),
        nn.MaxPool2d("pool", kernel=2, stride=2),
        nn.Flatten("rows"),
        nn.LRN("lrn"),
        nn.Conv2d("conv", 3, 2, kernel=3),
        nn.Fire("fire", 3, 2, 2, 2),
    ):
        y, cache = layer.forward(x.astype(np.float32))
        every, of_every = layer.backward(y, cache)
        dx, grads = layer.backward(y, cache, need_dx=need_dx)
        assert (dx is None) == (not need_dx)
        if need_dx:
            np.testing.assert_array_equal(dx, every)
        assert grads.keys() == of_every.keys()


@given(RNGS, st.booleans(), st.booleans())
def test_a_frozen_squeeze_passes_nothing_on_that_is_not_needed(rng, squeeze, need_dx):
    fire = nn.Fire("fire", 3, 2, 2, 2, rng=rng, dtype=np.float64, std=0.5)
    for parameter in fire.squeeze.parameters():
        parameter.trainable = squeeze
    y, cache = fire.forward(images(rng))
    whole = fire.backward(y, cache)[1]
    dx, grads = fire.backward(y, cache, need_dx=need_dx)
    assert (dx is None) == (not need_dx)
    assert set(grads) == {p.name for p in fire.parameters() if p.trainable} == set(whole)


@given(RNGS, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_rows_of_a_flat_map_are_its_samples(rng, R, C, h, w):
    x = rng.normal(size=(R, C, h, w))
    y, cache = nn.Flatten("rows").forward(x)
    assert y.shape == (R, C * h * w)
    for r in range(R):
        np.testing.assert_array_equal(y[r], x[r].reshape(-1))
    np.testing.assert_array_equal(nn.Flatten("rows").backward(y, cache)[0], x)


@given(RNGS, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([np.float32, np.float64]))
def test_dropout_keeps_its_share_and_the_mean(rng, probability, dtype):
    x = rng.uniform(1, 2, (50, 80)).astype(dtype)
    y, cache = nn.dropout_forward(x, probability=probability, rng=rng)
    assert y.dtype == dtype
    kept = y != 0
    assert abs(kept.mean() - (1 - probability)) < 0.05
    np.testing.assert_allclose(y[kept], x[kept] / (1 - probability), rtol=1e-6)
    dx = nn.dropout_backward(np.ones_like(x), cache)
    np.testing.assert_allclose(dx, kept / (1 - probability), rtol=1e-6)


@given(RNGS)
def test_without_dropout_nothing_changes_or_is_drawn(rng):
    x, state = rng.normal(size=(2, 3)), rng.bit_generator.state
    y, cache = nn.dropout_forward(x, probability=0, rng=rng)
    assert y is x
    assert rng.bit_generator.state == state
    assert nn.dropout_backward(x, cache) is x


FORWARDS = {
    "conv2d": lambda x: nn.conv2d_forward(x, np.ones((2, 3, 2, 2)), np.ones(2)),
    "relu": nn.relu_forward,
    "lrn": nn.lrn_forward,
    "pool": partial(nn.max_pool2d_forward, kernel=2, stride=1),
}


@pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)
@given(RNGS)
def test_images_do_not_see_each_other(forward, rng):
    x = images(rng)
    both = forward(x)[0]
    for n in range(2):
        np.testing.assert_allclose(both[n], forward(x[n : n + 1])[0][0], rtol=1e-12, atol=1e-12)


class Asked(nn.Layer):
    """A layer that remembers whether it was asked for dx, with a parameter or without."""

    def __init__(self, name, trainable):
        super().__init__(name)
        self.parameter = nn.Parameter(f"{name}.p", np.zeros(1), trainable=trainable)
        self.asked = []

    def parameters(self):
        return [self.parameter]

    def forward(self, x):
        return x, ()

    def backward(self, dy, cache, *, need_dx=True):
        self.asked.append(need_dx)
        return dy, {}


@given(st.lists(st.booleans(), max_size=5), NEEDS)
def test_no_gradient_is_computed_below_the_first_layer_that_is_trained(trainable, need_dx):
    row = nn.Sequential("row", [Asked(str(n), some) for n, some in enumerate(trainable)])
    _, caches = row.forward(np.ones(2))
    row.backward(np.ones(2), caches, need_dx=need_dx)
    first = trainable.index(True) if True in trainable else len(trainable)
    for n, layer in enumerate(row.layers):
        reached = need_dx or n >= first
        assert layer.asked == ([need_dx or n > first] if reached else [])
