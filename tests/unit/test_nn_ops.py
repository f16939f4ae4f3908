"""Operations by hand: sizes, ties, borders, refusals."""

import array_api_strict
import numpy as np
import pytest

from minirpn import accel, nn
from minirpn.accel.fused import conv2d_relu_forward
from minirpn.accel.implementation import numba_available
from minirpn.nn import conv

CONV_IMPLEMENTATIONS = accel.available(np.zeros(1))["conv2d"]
POOL_IMPLEMENTATIONS = accel.available(np.zeros(1))["max_pool2d"]


def test_caffes_vgg_makes_38_by_63_of_600_by_1000():
    size = (600, 1000)
    for expected in [(300, 500), (150, 250), (75, 125), (38, 63)]:
        size = nn.pool_output_size(size, 2, 2, ceil_mode=True)
        assert size == expected
    assert nn.pool_output_size((75, 125), 2, 2) == (37, 62)


def test_squeezenet_on_227_makes_13_by_13():
    # The published v1.1: conv1 3x3/2 on 227 gives 113; pools 3x3/2 give 56, 28, 14 with ceil
    # (Caffe; 56, 27, 13 with floor).
    size = nn.conv_output_size((227, 227), 3, stride=2)
    assert size == (113, 113)
    for ceil, expected in ((True, [56, 28, 14]), (False, [56, 27, 13])):
        side = 113
        for after in expected:
            side, _ = nn.pool_output_size((side, side), 3, 2, ceil_mode=ceil)
            assert side == after


def test_a_window_that_would_start_in_the_padding_is_dropped():
    # Size 3, padding 1: windows of 2 at -1, 1, 3; the last starts behind the image.
    assert nn.pool_output_size((3, 4), 2, 2, padding=1, ceil_mode=True) == (2, 3)
    # Stride above the kernel: the window at 4 of a row of 4 would be empty.
    assert nn.pool_output_size((4, 5), 1, 2, ceil_mode=True) == (2, 3)


def test_pairs_are_vertical_then_horizontal():
    assert nn.conv_output_size((10, 20), (3, 5), stride=(1, 2), padding=(1, 0)) == (10, 8)
    assert nn.pool_output_size((10, 20), (2, 4), (2, 4)) == (5, 5)


@pytest.mark.parametrize("implementation", CONV_IMPLEMENTATIONS)
def test_conv2d_by_hand(implementation):
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    weight = np.array([[[[1.0, 10.0]]]])
    # A row (a, b, c) padded by one on both sides: 10a, a + 10b, b + 10c, c; plus the bias 0.5.
    with accel.use(implementation):
        y, cache = nn.conv2d_forward(x, weight, np.array([0.5]), padding=(0, 1))
        dx, dweight, dbias = nn.conv2d_backward(np.ones_like(y), cache)
    np.testing.assert_array_equal(y[0, 0, 1], [30.5, 43.5, 54.5, 5.5])
    np.testing.assert_array_equal(dx, np.full((1, 1, 3, 3), 11.0))  # each pixel met by both taps
    np.testing.assert_array_equal(
        dweight, [[[[36.0, 36.0]]]]
    )  # each tap met every pixel: 0 + .. + 8
    np.testing.assert_array_equal(dbias, [12.0])


@pytest.mark.parametrize("implementation", CONV_IMPLEMENTATIONS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_conv2d_writes_where_it_is_told(implementation, kernel, rng):
    x, weight = rng.normal(size=(2, 2, 4, 5)), rng.normal(size=(3, 2, kernel, kernel))
    arrays, windows = (x, weight, np.ones(3)), {"padding": kernel // 2}
    joined = np.full((2, 5, 4, 5), 7.0)
    with accel.use(implementation):
        y, _, _ = conv2d_relu_forward(*arrays, **windows, out=joined[:, 1:4])
        expected, _, _ = conv2d_relu_forward(*arrays, **windows)
    assert np.shares_memory(y, joined)
    np.testing.assert_array_equal(joined[:, 1:4], expected)
    np.testing.assert_array_equal(joined[:, [0, 4]], np.full((2, 2, 4, 5), 7.0))
    with pytest.raises(ValueError, match=r"out: expected shape \(2, 3, 4, 5\)"):
        conv2d_relu_forward(*arrays, **windows, out=joined)
    with pytest.raises(TypeError, match="out: expected the dtype of x"):
        conv2d_relu_forward(*arrays, **windows, out=joined[:, :3].astype(np.float32))


@pytest.mark.skipif(not numba_available(), reason="numba is not installed")
def test_conv2d_says_when_it_cannot_write_there(rng):
    x, weight = rng.normal(size=(1, 2, 4, 4)), rng.normal(size=(3, 2, 3, 3))
    apart = np.zeros((1, 3, 4, 8))[..., ::2]
    with pytest.raises(ValueError, match="out: the pixels of an image must lie one after"):
        conv2d_relu_forward(x, weight, np.zeros(3), padding=1, out=apart)


def test_conv2d_leaves_out_what_is_not_needed(rng):
    x, weight = rng.normal(size=(1, 2, 4, 4)), rng.normal(size=(3, 2, 3, 3))
    y, cache = nn.conv2d_forward(x, weight, np.zeros(3))
    assert nn.conv2d_backward(y, cache, need_dx=False).dx is None
    assert nn.conv2d_backward(y, cache, need_dweight=False)[1:] == (None, None)


def test_conv2d_refuses_what_does_not_fit():
    x, weight, bias = np.zeros((1, 2, 4, 4)), np.zeros((3, 2, 3, 3)), np.zeros(3)
    with pytest.raises(ValueError, match="weight: expected shape"):
        nn.conv2d_forward(x, weight[:, :1], bias)
    with pytest.raises(ValueError, match="bias: expected shape"):
        nn.conv2d_forward(x, weight, bias[:2])
    with pytest.raises(ValueError, match=r"kernel: \(3, 3\) is larger than the image \(2, 4\)"):
        nn.conv2d_forward(x[:, :, :2], weight, bias)
    with pytest.raises(TypeError, match="weight: expected the dtype of x, float64, got float32"):
        nn.conv2d_forward(x, weight.astype(np.float32), bias)
    with pytest.raises(ValueError, match="stride: expected an int or a pair of at least 1"):
        nn.conv2d_forward(x, weight, bias, stride=(1, 0))
    _, cache = nn.conv2d_forward(x, weight, bias)
    with pytest.raises(ValueError, match="dy: expected shape"):
        nn.conv2d_backward(np.zeros((1, 3, 2, 3)), cache)
    with pytest.raises(ValueError, match=r"padding: .* is not smaller than the kernel"):
        nn.max_pool2d_forward(x, kernel=2, stride=2, padding=2)


@pytest.mark.parametrize("implementation", POOL_IMPLEMENTATIONS)
def test_of_equal_pixels_the_first_wins(implementation):
    with accel.use(implementation):
        y, cache = nn.max_pool2d_forward(np.full((1, 1, 3, 3), 2.0), kernel=2, stride=1)
        dx = nn.max_pool2d_backward(np.ones_like(y), cache)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), 2.0))
    np.testing.assert_array_equal(dx[0, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_pooling_told_that_no_gradient_is_needed_gives_none():
    y, cache = nn.max_pool2d_forward(np.ones((1, 1, 3, 3)), kernel=2, stride=1, need_dx=False)
    with pytest.raises(ValueError, match="cache: max_pool2d_forward was called with need_dx=False"):
        nn.max_pool2d_backward(y, cache)


@pytest.mark.parametrize("implementation", POOL_IMPLEMENTATIONS)
def test_padding_never_wins_and_nan_is_not_hidden(implementation):
    x = np.full((1, 1, 3, 3), -5.0)
    x[0, 0, 1, 1] = np.nan
    with accel.use(implementation):
        y, cache = nn.max_pool2d_forward(x, kernel=2, stride=2, padding=1)
        dx = nn.max_pool2d_backward(np.ones_like(y), cache)
        alone, _ = nn.max_pool2d_forward(x, kernel=2, stride=2, padding=1, need_dx=False)
    np.testing.assert_array_equal(y[0, 0], [[-5, -5], [-5, np.nan]])
    np.testing.assert_array_equal(alone, y)
    # The windows are pixel (0,0); (0,1) and (0,2); (1,0) and (2,0); the four at the far corner.
    np.testing.assert_array_equal(dx[0, 0, 0], [1, 1, 0])
    np.testing.assert_array_equal(dx[0, 0, 1:, 0], [1, 0])


def test_relu_has_slope_zero_at_zero_and_passes_nan():
    y, cache = nn.relu_forward(np.array([-1.0, 0.0, 2.0, np.nan]))
    np.testing.assert_array_equal(y, [0, 0, 2, np.nan])
    np.testing.assert_array_equal(nn.relu_backward(np.full(4, 3.0), cache), [0, 0, 3, 0])


def test_cross_entropies_ignore_rows_of_weight_zero_and_never_overflow():
    logits = np.array([[1000.0, -1000.0], [0.0, 0.0], [-1000.0, 1000.0]])
    targets, weights = np.array([0, -1, 0], np.int8), np.array([1.0, 0.0, 0.5])
    loss, cache = nn.softmax_cross_entropy_forward(logits, targets, weights)
    assert loss == 1000.0  # 1 * 0 + 0 * anything + 0.5 * 2000
    dlogits = nn.softmax_cross_entropy_backward(1.0, cache)
    np.testing.assert_array_equal(dlogits, [[0, 0], [0, 0], [-0.5, 0.5]])
    # The same odds as one logit: object minus background.
    logit = np.array([-2000.0, 0.0, 2000.0])
    loss, cache = nn.sigmoid_cross_entropy_forward(logit, np.zeros(3), weights)
    assert loss == 1000.0
    np.testing.assert_array_equal(nn.sigmoid_cross_entropy_backward(1.0, cache), [0, 0, 0.5])


def test_smooth_l1_turns_linear_at_one_over_sigma_squared():
    # sigma 1: 0.5 * 0.5^2, then |x| - 0.5. sigma 2 turns at 1/4: 0.5 * (2 * 0.2)^2, then |x| - 1/8.
    y, _ = nn.smooth_l1_forward(np.array([0.5, -1.0, 3.0]))
    np.testing.assert_allclose(y, [0.125, 0.5, 2.5], rtol=1e-15)
    y, cache = nn.smooth_l1_forward(np.array([0.2, -0.25, 3.0]), sigma=2.0)
    np.testing.assert_allclose(y, [0.08, 0.125, 2.875], rtol=1e-15)
    dx = nn.smooth_l1_backward(np.array([1.0, 10.0, 100.0]), cache)
    np.testing.assert_allclose(dx, [0.8, -10.0, 100.0], rtol=1e-15)


@pytest.mark.parametrize(("kind", "rows"), [("host", 2), ("device", 5)])
def test_columns_stay_within_their_budget(monkeypatch, rng, kind, rows):
    """One row of columns takes 3 channels x 9 taps x 16 pixels x 4 bytes; 20 rows are made."""
    row_bytes = 3 * 9 * 16 * 4
    monkeypatch.setattr(conv, "COLUMN_BYTES", 2 * row_bytes + 3)
    monkeypatch.setattr(conv, "DEVICE_COLUMN_BYTES", 5 * row_bytes)
    made, runs = [], conv.runs_of_rows

    def spied(*args):
        for rows in runs(*args):
            made.append(len(rows))
            yield rows

    monkeypatch.setattr(conv, "runs_of_rows", spied)
    x, weight = rng.normal(size=(1, 3, 20, 16)), rng.normal(size=(2, 3, 3, 3))
    arrays = [array.astype(np.float32) for array in (x, weight, np.zeros(2))]
    if kind == "device":
        place = array_api_strict.Device("device1")
        arrays = [array_api_strict.asarray(array, device=place) for array in arrays]
    with accel.use("array", "conv2d", "conv2d_dweight"):
        y, cache = nn.conv2d_forward(*arrays, padding=1)
        nn.conv2d_backward(y, cache, need_dx=False)
    assert max(made) == rows
    assert sum(made) == 2 * 20  # once forward and once back
