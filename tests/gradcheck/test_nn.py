"""Every pair's backward agrees with differences of its forward, on every implementation."""

from functools import partial

import numpy as np
import pytest

from minirpn import accel, nn


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["conv2d"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((3, 3), 1, 1), ((1, 1), 1, 0), ((3, 2), (2, 3), (0, 1)), ((1, 1), 2, 1)],
)
def test_conv2d(implementation, kernel, stride, padding, rng):
    x, bias = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=4)
    weight = rng.normal(size=(4, 3, *kernel))
    forward = partial(nn.conv2d_forward, stride=stride, padding=padding)
    with accel.use(implementation):
        nn.check_gradients(forward, nn.conv2d_backward, (x, weight, bias), rng=rng)


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["max_pool2d"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil_mode"),
    [(2, 2, 0, True), (3, 2, 1, True), ((3, 2), (1, 2), (1, 0), False)],
)
def test_max_pool2d(implementation, kernel, stride, padding, ceil_mode, rng):
    # Whole numbers, shuffled: no two are closer than the step, so no maximum is near a tie.
    x = rng.permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype(float)
    options = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    forward = partial(nn.max_pool2d_forward, **options)
    with accel.use(implementation):
        nn.check_gradients(forward, nn.max_pool2d_backward, x, rng=rng)


def away_from(kinks, rng, size=50, margin=1e-2):
    """Return draws that keep a distance from each kink."""
    x = rng.normal(size=size)
    for kink in kinks:
        x = np.where(np.abs(x - kink) < margin, kink + 2 * margin, x)
    return x


def test_relu(rng):
    nn.check_gradients(nn.relu_forward, nn.relu_backward, away_from([0], rng), rng=rng)


def test_linear(rng):
    inputs = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    nn.check_gradients(nn.linear_forward, nn.linear_backward, inputs, rng=rng)


def test_concat(rng):
    inputs = [rng.normal(size=(2, channels, 3, 4)) for channels in (1, 4, 2)]
    forward = lambda *xs: nn.concat_forward(xs)  # noqa: E731 - one line is the point
    nn.check_gradients(forward, nn.concat_backward, inputs, rng=rng)


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["softmax_cross_entropy"])
def test_softmax_cross_entropy(implementation, rng):
    targets, weights = rng.integers(0, 3, 9), rng.uniform(size=9)
    forward = partial(nn.softmax_cross_entropy_forward, targets=targets, weights=weights)
    logits = rng.normal(size=(9, 3))
    with accel.use(implementation):
        nn.check_gradients(forward, nn.softmax_cross_entropy_backward, logits, rng=rng)


def test_sigmoid_cross_entropy(rng):
    targets, weights = rng.integers(0, 2, 9).astype(float), rng.uniform(size=9)
    forward = partial(nn.sigmoid_cross_entropy_forward, targets=targets, weights=weights)
    logits = away_from([0], rng, size=9)
    nn.check_gradients(forward, nn.sigmoid_cross_entropy_backward, logits, rng=rng)


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["smooth_l1"])
@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_smooth_l1(sigma, implementation, rng):
    # Its slope has no jump, so it needs no margin.
    forward = partial(nn.smooth_l1_forward, sigma=sigma)
    with accel.use(implementation):
        nn.check_gradients(forward, nn.smooth_l1_backward, rng.normal(size=50), rng=rng)


def layer_pair(layer):
    """Return the layer as a pair of functions of its input and its parameters' values."""
    parameters = layer.parameters()

    def forward(x, *values):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value = value
        return layer.forward(x)

    def backward(dy, cache):
        dx, grads = layer.backward(dy, cache)
        return dx, *(grads[parameter.name] for parameter in parameters)

    return forward, backward


LAYERS = [
    nn.Conv2d("conv", 4, 3, kernel=(3, 2), stride=2, padding=1),
    nn.Fire("fire", 4, 2, 3, 5),
    nn.MaxPool2d("pool", kernel=3, stride=2, ceil_mode=True),
    nn.Sequential(
        "net",
        [
            nn.Conv2d("c1", 4, 3, kernel=3),
            nn.ReLU("r1"),
            nn.MaxPool2d("p1", kernel=2, stride=2, ceil_mode=True),
            nn.Sequential("inner", [nn.Conv2d("c2", 3, 2, kernel=1), nn.ReLU("r2")]),
        ],
    ),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layers(layer, rng):
    x = rng.normal(size=(2, 4, 7, 9))
    values = [0.3 * rng.normal(size=p.value.shape) for p in layer.parameters()]
    names = ["x", *(p.name for p in layer.parameters())]
    nn.check_gradients(*layer_pair(layer), [x, *values], rng=rng, names=names)


def test_linear_layer(rng):
    layer = nn.Linear("fc", 4, 3)
    inputs = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    nn.check_gradients(*layer_pair(layer), inputs, rng=rng)


# --- the checker itself ---


def wrong(dx, *, rel):
    """Return a backward of the square that is wrong in one element of many."""

    def backward(dy, x):
        grad = 2 * x * dy * dx
        grad[3] *= 1 + rel
        return grad

    return backward


def square(x):
    return x * x, x


CHECKS = [nn.check_gradients, nn.check_gradients_elementwise]


@pytest.mark.parametrize("check", CHECKS)
def test_a_wrong_gradient_is_named(check, rng):
    x = rng.normal(size=100) + 3
    check(square, wrong(1, rel=0), x, rng=rng)
    with pytest.raises(nn.GradientError, match=r"^input 0.*the backward says .*, differences say"):
        check(square, wrong(1, rel=0.01), x, rng=rng)
    with pytest.raises(nn.GradientError, match="input 0"):
        check(square, wrong(-1, rel=0), x, rng=rng)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_tolerance_follows_the_size_of_the_gradient(check, scale, rng):
    x = rng.uniform(1, 2, size=5)

    def forward(x):
        return scale * x * x, x

    for slope, rounding in ((1e-4, 0), (0, 1e-8)):
        backward = lambda dy, x, factor=1 + slope + rounding: 2 * scale * x * dy * factor  # noqa: E731
        if slope:
            with pytest.raises(nn.GradientError):
                check(forward, backward, x, rng=rng)
        else:
            check(forward, backward, x, rng=rng)
    # As much as is asked for.
    loose = lambda dy, x: 2 * scale * x * dy * 1.001  # noqa: E731
    check(forward, loose, x, rng=rng, rtol=1e-2)
    with pytest.raises(nn.GradientError):
        check(forward, loose, x, rng=rng, rtol=1e-4)


@pytest.mark.parametrize("check", CHECKS)
def test_a_longer_step_takes_a_longer_difference(check, rng):
    # Of a cube, central differences are off by step^2.
    cube = lambda x: (x**3, x)  # noqa: E731
    slopes = check(cube, lambda dy, x: 3 * x * x * dy, np.array([2.0]), rng=rng, step=0.1, rtol=1)
    assert abs(slopes[0].numeric / slopes[0].analytic - 1) == pytest.approx(0.01 / 12, rel=1e-6)


def test_rounding_of_a_large_loss_is_no_error(rng):
    # The loss is a million times as large as what depends on x: differences lose digits.
    forward = lambda x: (1e6 + x, x)  # noqa: E731
    for check in CHECKS:
        check(forward, lambda dy, x: dy, rng.normal(size=5), rng=rng)


def test_a_wrong_element_is_named(rng):
    with pytest.raises(nn.GradientError, match=r"input 0\[3\]"):
        nn.check_gradients_elementwise(square, wrong(1, rel=0.01), np.full(9, 2.0), rng=rng)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("off", [0.0, 2e-6, -2e-6])
def test_a_kink_is_told_from_an_error(check, off, rng):
    x = rng.uniform(1, 2, size=20)
    x[7] = off
    with pytest.raises(nn.KinkError, match="input 0"):
        check(nn.relu_forward, nn.relu_backward, x, rng=rng, step=1e-4)
    with pytest.raises(nn.GradientError):  # an error elsewhere is not excused by a bend
        check(nn.relu_forward, lambda dy, cache: dy * 3, np.abs(x) + 1, rng=rng)


def test_inputs_are_named_by_the_gradients_fields(rng):
    inputs = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    slopes = nn.check_gradients(nn.linear_forward, nn.linear_backward, inputs, rng=rng)
    assert [slope.input for slope in slopes] == ["dx", "dweight", "dbias"]
    for slope in slopes:
        assert slope.analytic == pytest.approx(slope.numeric, rel=1e-6)
    partly = partial(nn.linear_backward, need_dweight=False)
    assert len(nn.check_gradients(nn.linear_forward, partly, inputs, rng=rng)) == 1


def test_what_cannot_be_compared_is_refused(rng):
    with pytest.raises(TypeError, match=r"inputs\[0\]: expected float64, got float32"):
        nn.check_gradients(square, wrong(1, rel=0), np.ones(4, np.float32), rng=rng)
    with pytest.raises(nn.GradientError, match="2 gradients came back for 1 inputs"):
        nn.check_gradients(square, lambda dy, x: (dy, dy), np.ones(4), rng=rng)
    with pytest.raises(nn.GradientError, match=r"input 0: shape \(1, 4\), but the input's is \(4"):
        nn.check_gradients(square, lambda dy, x: dy[None], np.ones(4), rng=rng)
