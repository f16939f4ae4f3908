"""What must hold of the pairs whatever the numbers: adjoints, linearity, selections, sums."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, nn
from minirpn.testing import strategies

RNGS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def dot(a, b):
    return float(np.sum(a * b))


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["conv2d"])
@given(shape=strategies.conv_shapes(), rng=RNGS, three=st.booleans())
def test_conv2d_backward_is_the_adjoint_of_forward(implementation, shape, rng, three, close):
    if three:  # what Winograd's way is for
        shape = shape._replace(kernel=(3, 3), stride=(1, 1), padding=(1, 1))
    with accel.use(implementation):
        check_conv2d_pair(shape, rng, close)


def check_conv2d_pair(shape, rng, close):
    x = rng.normal(size=(shape.N, shape.C, shape.H, shape.W))
    weight = rng.normal(size=(shape.O, shape.C, *shape.kernel))
    bias = rng.normal(size=shape.O)
    conv = partial(nn.conv2d_forward, stride=shape.stride, padding=shape.padding)
    y, cache = conv(x, weight, np.zeros(shape.O))
    dy = rng.normal(size=y.shape)
    dx, dweight, dbias = nn.conv2d_backward(dy, cache)
    # y is linear in x and in weight: <y, dy> = <x, dx> = <weight, dweight>.
    close(np.array([dot(x, dx), dot(weight, dweight)]), dot(y, dy), atol=1e-10)
    close(
        np.array(dot(bias, dbias)),
        dot(np.broadcast_to(bias[:, None, None], y.shape), dy),
        atol=1e-10,
    )
    shifted, _ = conv(x, weight, bias)
    close(shifted, y + bias[:, None, None], atol=1e-12)


@given(shape=strategies.conv_shapes(), ceil_mode=st.booleans(), rng=RNGS)
def test_max_pool2d_selects(shape, ceil_mode, rng, close):
    x = rng.normal(size=(shape.N, shape.C, shape.H, shape.W))
    windows = {"kernel": shape.kernel, "stride": shape.stride, "padding": shape.padding}
    y, cache = nn.max_pool2d_forward(x, **windows, ceil_mode=ceil_mode)
    assert np.all(np.isin(y, x))
    dy = rng.normal(size=y.shape)
    dx = nn.max_pool2d_backward(dy, cache)
    # The output is a selection of pixels, so <y, dy> = <x, dx>, and gradients only move.
    close(np.array([dot(x, dx), np.sum(dx)]), [dot(y, dy), np.sum(dy)], atol=1e-11)
    # Pooling commutes with increasing functions.
    np.testing.assert_array_equal(
        nn.max_pool2d_forward(2 * x + 1, **windows, ceil_mode=ceil_mode)[0], 2 * y + 1
    )


@given(channels=st.lists(st.integers(0, 3), min_size=1, max_size=4), rng=RNGS)
def test_concat_is_undone(channels, rng):
    xs = [rng.normal(size=(2, count, 3, 2)) for count in channels]
    joined, cache = nn.concat_forward(xs)
    for x, back in zip(xs, nn.concat_backward(joined, cache), strict=True):
        np.testing.assert_array_equal(back, x)


@given(rng=RNGS, count=st.integers(0, 6), scale=st.sampled_from([1.0, 100.0]))
def test_one_logit_is_the_difference_of_two_scores(rng, count, scale, close):
    scores, targets = scale * rng.normal(size=(count, 2)), rng.integers(0, 2, count)
    weights = rng.uniform(size=count)
    softmax, cache2 = nn.softmax_cross_entropy_forward(scores, targets, weights)
    logits = scores[:, 1] - scores[:, 0]
    sigmoid, cache1 = nn.sigmoid_cross_entropy_forward(logits, targets.astype(float), weights)
    close(softmax, sigmoid, atol=1e-11)
    dscores = nn.softmax_cross_entropy_backward(1.0, cache2)
    close(dscores[:, 1], nn.sigmoid_cross_entropy_backward(1.0, cache1))
    # Adding to all scores of a row changes nothing.
    close(np.sum(dscores, axis=1), np.zeros(count))


@given(rng=RNGS, sigma=st.sampled_from([0.5, 1.0, 3.0]))
def test_smooth_l1_is_even_and_joins_smoothly(rng, sigma, close):
    x = 3 * rng.normal(size=20)
    y, cache = nn.smooth_l1_forward(x, sigma=sigma)
    np.testing.assert_array_equal(nn.smooth_l1_forward(-x, sigma=sigma)[0], y)
    assert np.all(np.abs(nn.smooth_l1_backward(np.ones(20), cache)) <= 1)
    turn = np.array([np.nextafter(1 / sigma**2, 0), 1 / sigma**2])
    y, cache = nn.smooth_l1_forward(turn, sigma=sigma)
    close(y[0], y[1])
    slopes = nn.smooth_l1_backward(np.ones(2), cache)
    close(slopes[0], slopes[1])
