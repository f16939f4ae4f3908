"""Winograd's transforms are what they are said to be, and convolution by them is exact."""

import numpy as np
import pytest

from minirpn import accel
from minirpn.accel.implementation import numba_available
from minirpn.accel.numba import tiles
from minirpn.nn import conv_output_size


def matrix(function, size):
    """Return the matrix of a linear function of `size` numbers."""
    return np.stack([function(*column) for column in np.eye(size)], axis=1)


PIXEL, WEIGHT, PRODUCT = (
    matrix(tiles.pixel_points, 6),
    matrix(tiles.weight_points, 3) / 24,
    matrix(tiles.points_output, 6),
)


def test_six_products_give_four_outputs(rng, close):
    d, w = rng.normal(size=6), rng.normal(size=3)
    close(PRODUCT @ ((WEIGHT @ w) * (PIXEL @ d)), np.correlate(d, w))


def test_pixels_and_weights_are_taken_as_values_of_polynomials(close):
    points = np.array([0, 1, -1, 2, -2])
    # In output_points, y is a polynomial of degree 3, and infinity gives its leading coefficient.
    close(matrix(tiles.output_points, 4)[:5], np.vander(points, 4, increasing=True))


def test_the_backward_transforms_are_transposes(close):
    close(matrix(tiles.output_points, 4), PRODUCT.T)
    close(matrix(tiles.points_weight, 6) / 24, WEIGHT.T)


@pytest.mark.skipif(not numba_available(), reason="numba is not installed")
@pytest.mark.parametrize("result", ["y", "dx", "dweight"])
def test_error_against_float64_stays_below_a_ten_thousandth(result, rng):
    # As in VGG-16: activations behind a ReLU, He's weights.
    x = np.maximum(rng.normal(size=(1, 128, 37, 62)), 0)
    weight = rng.normal(scale=np.sqrt(2 / (9 * 128)), size=(64, 128, 3, 3))
    bias, dy = rng.normal(size=64), rng.normal(size=(1, 64, 37, 62))
    name, arrays, more = {
        "y": ("conv2d", (x, weight, bias), ()),
        "dx": ("conv2d_dx", (dy, weight), ((37, 62),)),
        "dweight": ("conv2d_dweight", (dy, x), ((3, 3),)),
    }[result]
    windows = (1, 1), (1, 1)
    operation = accel.operations()[name]
    exact = operation.by_name["array"].function(*arrays, *more, *windows)
    single = [array.astype(np.float32) for array in arrays]
    chosen = operation.choose(*single, *more, *windows)
    assert chosen.name == "winograd"
    error = chosen.function(*single, *more, *windows) - exact
    assert np.max(np.abs(error)) < 1e-4 * np.max(np.abs(exact))
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("shape", "outs", "stride", "padding", "implementation"),
    [
        ((1, 64, 37, 62), 64, 1, 1, "winograd"),
        ((1, 64, 37, 62), 64, 2, 1, "strips"),
        ((1, 64, 37, 62), 64, 1, 3, "strips"),
        ((1, 8, 37, 62), 64, 1, 1, "strips"),  # too few channels
        ((1, 256, 12, 16), 256, 1, 1, "strips"),  # too few tiles
    ],
)
@pytest.mark.skipif(not numba_available(), reason="numba is not installed")
def test_it_is_chosen_where_it_pays(shape, outs, stride, padding, implementation):
    x, weight = np.zeros(shape, np.float32), np.zeros((outs, shape[1], 3, 3), np.float32)
    windows = (stride, stride), (padding, padding)
    size = conv_output_size(shape[2:], (3, 3), *windows)
    dy = np.zeros((1, outs, *size), np.float32)
    operations = accel.operations()
    assert operations["conv2d"].choose(x, weight, np.zeros(outs), *windows).name == implementation
    assert operations["conv2d_dx"].choose(dy, weight, shape[2:], *windows).name == implementation
    assert operations["conv2d_dweight"].choose(dy, x, (3, 3), *windows).name == implementation
