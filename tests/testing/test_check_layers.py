"""The checks of layers: what they ask about, their options, and what their messages show."""

import numpy as np
import pytest
from hypothesis import Phase, settings

from minirpn import nn, rpn, testing
from minirpn.nn.roi_pool import RoIPoolCache
from minirpn.testing import examine
from minirpn.testing.windows import conv_size, distinct, has_ties, side_for
from tests.testing.implementations_head import plain_head

pytestmark = pytest.mark.slow


@pytest.fixture
def _any_counterexample(monkeypatch):
    """Leave counterexamples as large as they are found: to make them small takes long."""

    def without_shrinking(**options):
        return settings(**options | {"phases": (Phase.generate,)})

    monkeypatch.setattr(examine, "settings", without_shrinking)


def refusal(check, *functions, **options):
    with pytest.raises(testing.CheckError) as caught:
        check(*functions, **options)
    return caught.value


# --- what is asked: each of these is right for two small images of whole numbers -----------------


def conv(x, weight, bias, *, stride, padding):
    return nn.conv2d_forward(x, weight, bias, stride=stride, padding=padding)


def conv_of_whole_numbers(x, weight, bias, **options):
    return conv(x.astype(int).astype(float), weight, bias, **options)


def conv_of_3x3(x, weight, bias, **options):
    if weight.shape[2:] == (5, 5):
        weight = weight.copy()
        weight[:, :, 0] = 0
    return conv(x, weight, bias, **options)


def conv_padded_askew(x, weight, bias, *, stride, padding):
    around = (padding - 1, padding + 1) if padding == 2 else (padding, padding)
    image = np.pad(x, ((0, 0), (0, 0), around, around))
    return conv(image, weight, bias, stride=stride, padding=0)


def conv_by_memory(x, weight, bias, **options):
    return conv(x.ravel("K").reshape(x.shape), weight, bias, **options)


def dbias_of_two_images(dy, cache):
    dx, dweight, _ = nn.conv2d_backward(dy, cache)
    return dx, dweight, dy[:2].sum(axis=(0, 2, 3))


def pool_padded_by_minus_100(x, *, kernel, stride, padding, ceil_mode):
    image = np.pad(x, ((0, 0), (0, 0), *2 * [(padding, padding)]), constant_values=-100)
    return nn.max_pool2d_forward(image, kernel=kernel, stride=stride, ceil_mode=ceil_mode)


def pool_of_64_columns(x, **options):
    y, cache = nn.max_pool2d_forward(x, **options)
    y[..., 64:] = 0
    return y, cache


def pool_of_three_channels(x, **options):
    y, cache = nn.max_pool2d_forward(x, **options)
    y[:, 3:] = y[:, :1]
    return y, cache


def regions_of_four(features, boxes, **options):
    y, cache = nn.roi_pool_forward(features, boxes, **options)
    y[4:] = y[:1]
    return y, cache


def rows_of_three_anchors(y, values):
    return rpn.anchor_rows(y[:, : 3 * values], values)


@pytest.mark.parametrize(
    ("check", "functions"),
    [
        (testing.check_conv2d, (conv_of_whole_numbers,)),
        (testing.check_conv2d, (conv_of_3x3,)),
        (testing.check_conv2d, (conv_padded_askew,)),
        (testing.check_conv2d, (conv_by_memory,)),
        (testing.check_conv2d, (conv, dbias_of_two_images)),
        (testing.check_max_pool2d, (pool_padded_by_minus_100,)),
        (testing.check_max_pool2d, (pool_of_64_columns,)),
        (testing.check_max_pool2d, (pool_of_three_channels,)),
        (testing.check_roi_pool, (regions_of_four,)),
        (testing.check_anchor_rows, (rows_of_three_anchors,)),
    ],
)
@pytest.mark.usefixtures("_any_counterexample")
def test_faults_beyond_small_examples_are_found(check, functions):
    refusal(check, *functions)


# --- caches --------------------------------------------------------------------------------------

kept = {}


def conv_that_keeps_the_weight(x, weight, bias, **options):
    y, cache = conv(x, weight, bias, **options)
    kept["weight"] = cache.weight
    return y, cache


def backward_of_kept_weight(dy, cache):
    return nn.conv2d_backward(dy, cache._replace(weight=kept["weight"]))


def pool_that_keeps_its_cache(x, **options):
    y, kept["pool"] = nn.max_pool2d_forward(x, **options)
    return y, None


def test_a_cache_outside_of_the_cache_is_found():
    error = refusal(testing.check_conv2d, conv_that_keeps_the_weight, backward_of_kept_weight)
    assert "does not keep dx: a forward for other numbers before the backward" in str(error)
    backward = nn.max_pool2d_backward
    error = refusal(
        testing.check_max_pool2d,
        pool_that_keeps_its_cache,
        lambda dy, cache: backward(dy, kept["pool"]),
    )
    assert "is the cache shared, or changed?" in str(error)


def test_a_second_backward_that_adds_to_the_first_is_found():
    def forward(features, boxes, **options):
        y, cache = nn.roi_align_forward(features, boxes, **options)
        return y, (cache, np.zeros(features.shape))

    def backward(dy, cache):
        cache, total = cache
        total += nn.roi_align_backward(dy, cache).dfeatures
        return total.copy()

    error = refusal(testing.check_roi_align, forward, backward)
    assert "does not keep dfeatures: a second backward gives another one" in str(error)


def test_a_gradient_that_is_changed_is_not_taken_for_a_bad_cache():
    def backward(dy, cache):
        dy *= 0.5
        return nn.linear_backward(dy, cache)

    error = refusal(testing.check_linear, nn.linear_forward, backward)
    assert "yours changes its argument dy" in str(error)


def test_a_changed_weight_of_the_head_is_named():
    def forward(features, weights):
        weights["rpn.conv.bias"] += 1
        size = features.shape[2:]
        return tuple(
            np.zeros((len(features), len(weights[f"rpn.{name}.bias"]), *size))
            for name in ("objectness", "deltas")
        )

    error = refusal(testing.check_rpn_head, forward)
    assert "yours changes its argument weights['rpn.conv.bias']" in str(error)


# --- options -------------------------------------------------------------------------------------


def conv_that_must_fit(x, weight, bias, *, stride, padding):
    assert all((x.shape[k] + 2 * padding - weight.shape[k]) % stride == 0 for k in (2, 3))
    return conv(x, weight, bias, stride=stride, padding=padding)


def windows(x, kernel, stride, padding):
    """Return the padded image and all its windows, (N,C,Ho,Wo,kernel,kernel), as a view."""
    around = (padding, padding)
    image = np.pad(x, ((0, 0), (0, 0), around, around), constant_values=-np.inf)
    view = np.lib.stride_tricks.sliding_window_view(image, (kernel, kernel), axis=(2, 3))
    return image, view[:, :, ::stride, ::stride]


def pool_by_windows(x, *, kernel, stride, padding, ceil_mode):
    y = windows(x, kernel, stride, padding)[1].max(axis=(4, 5))
    return y, (x, y, kernel, stride, padding)


def pool_that_must_fit(x, *, kernel, stride, padding, ceil_mode):
    assert not ceil_mode
    assert all((side + 2 * padding - kernel) % stride == 0 for side in x.shape[2:])
    return pool_by_windows(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=False)


def to_all_ties(dy, cache):
    """Give the gradient to all pixels that are the largest of a window, by a mask."""
    x, y, kernel, stride, padding = cache
    image, _ = windows(x, kernel, stride, padding)
    dimage = np.zeros(image.shape)
    for i, j in np.ndindex(y.shape[2:]):
        rows = slice(i * stride, i * stride + kernel)
        columns = slice(j * stride, j * stride + kernel)
        mask = image[:, :, rows, columns] == y[:, :, i, j, None, None]
        dimage[:, :, rows, columns] += mask * dy[:, :, i, j, None, None]
    H, W = x.shape[2:]
    return dimage[:, :, padding : padding + H, padding : padding + W]


@pytest.mark.usefixtures("_any_counterexample")
def test_a_convolution_that_must_fit_is_right_if_it_is_meant():
    functions = conv_that_must_fit, nn.conv2d_backward
    error = refusal(testing.check_conv2d, *functions)
    assert "raises AssertionError" in str(error)
    assert str(error).endswith(
        "With divisible_only=True it is right: pass that to the check if you mean it."
    )
    assert testing.check_conv2d(*functions, divisible_only=True)
    refusal(testing.check_conv2d, conv_of_3x3, divisible_only=True)


@pytest.mark.usefixtures("_any_counterexample")
@pytest.mark.parametrize(
    ("functions", "options"),
    [
        ((pool_that_must_fit,), {"divisible_only": True}),
        ((pool_that_must_fit, to_all_ties), {"ties": "any", "divisible_only": True}),
    ],
)
def test_a_pooling_by_another_contract_is_right_if_it_is_meant(functions, options):
    error = refusal(testing.check_max_pool2d, *functions)
    words = ", ".join(
        f'{name}="{value}"' if isinstance(value, str) else f"{name}={value}"
        for name, value in options.items()
    )
    assert f"With {words} it is right" in str(error)
    assert testing.check_max_pool2d(*functions, **options)


def conv_that_adds_1(x, weight, bias, *, stride, padding):
    y, cache = conv(x, weight, bias, stride=stride, padding=padding)
    rests = [(x.shape[k] + 2 * padding - weight.shape[k]) % stride for k in (2, 3)]
    return y + any(rests), cache


@pytest.mark.usefixtures("_any_counterexample")
@pytest.mark.parametrize(
    ("check", "function"),
    [(testing.check_conv2d, conv_that_adds_1), (testing.check_max_pool2d, pool_by_windows)],
)
def test_wrong_numbers_where_pixels_are_left_over_are_no_contract(check, function):
    assert check(function, divisible_only=True)
    assert "divisible_only" not in str(refusal(check, function))


@pytest.mark.usefixtures("_any_counterexample")
def test_a_pooling_that_knows_no_ceil_mode_is_right_if_it_is_meant():
    def pool_without(x, *, ceil_mode, **options):
        assert not ceil_mode
        return pool_by_windows(x, ceil_mode=False, **options)

    message = str(refusal(testing.check_max_pool2d, pool_without))
    assert "With divisible_only=True it is right" in message


@pytest.mark.parametrize(
    ("check", "forward"),
    [
        (testing.check_conv2d, nn.conv2d_forward),
        (testing.check_max_pool2d, nn.max_pool2d_forward),
        (testing.check_linear, nn.linear_forward),
        (testing.check_rpn_head, plain_head),
    ],
)
def test_a_layer_may_need_an_image(check, forward):
    """Who reshapes by -1 cannot do without: an honest layer, and the tutorial's."""

    def one_at_least(x, *arrays, **options):
        x.reshape(len(x), -1)
        return forward(x, *arrays, **options)

    assert check(one_at_least)


@pytest.mark.usefixtures("_any_counterexample")
def test_gradients_of_ties_may_go_anywhere_if_it_is_meant():
    def forward(features, boxes, *, output_size, stride):
        y, (argmax, size) = nn.roi_pool_forward(
            features, boxes, output_size=output_size, stride=stride
        )
        return y, (features, y, argmax, size)

    def backward(dy, cache):
        """Give half of it to the first and half to the last of equal cells."""
        features, y, argmax, size = cache
        last = argmax.copy()
        for r, c, i, j in np.ndindex(y.shape):
            if argmax[r, c, i, j] >= 0:
                row = np.flatnonzero(features[c, argmax[r, c, i, j] // size[1]] == y[r, c, i, j])
                last[r, c, i, j] += row[-1] - argmax[r, c, i, j] % size[1]
        return sum(nn.roi_pool_backward(dy / 2, RoIPoolCache(k, size)) for k in (argmax, last))

    error = refusal(testing.check_roi_pool, forward, backward)
    assert has_ties(error.arguments["features"])
    assert 'With ties="any" it is right' in str(error)
    assert testing.check_roi_pool(forward, backward, ties="any")


@pytest.mark.usefixtures("_any_counterexample")
def test_a_fault_behind_a_tie_is_found():
    """It gives to all ties, and something to the last rows of large images."""

    def backward(dy, cache):
        dx = to_all_ties(dy, cache)
        dx[:, :, 17:] += 1
        return dx

    error = refusal(testing.check_max_pool2d, pool_by_windows, backward, divisible_only=True)
    assert error.arguments["x"].shape[2] == 18
    assert not has_ties(error.arguments["x"])
    assert "it is right" not in str(error)
    refusal(testing.check_max_pool2d, pool_by_windows, backward, divisible_only=True, ties="any")


@pytest.mark.usefixtures("_any_counterexample")
def test_values_of_ties_are_asked_though_their_gradients_are_not():
    def pool_that_counts(x, **options):
        y, cache = nn.max_pool2d_forward(x, **options)
        return (y + 1 if has_ties(x) else y), cache

    def regions_that_count(features, boxes, **options):
        y, cache = nn.roi_pool_forward(features, boxes, **options)
        return (y + 1 if has_ties(features) else y), cache

    refusal(testing.check_max_pool2d, pool_that_counts, nn.max_pool2d_backward, ties="any")
    refusal(testing.check_roi_pool, regions_that_count, nn.roi_pool_backward, ties="any")


def test_unknown_ties_are_refused():
    for check in (testing.check_max_pool2d, testing.check_roi_pool):
        with pytest.raises(ValueError, match="ties: expected one of first, any, got 'last'"):
            check(abs, ties="last")


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "forward"),
    [
        (testing.check_conv2d, nn.conv2d_forward),
        (testing.check_max_pool2d, nn.max_pool2d_forward),
        (testing.check_roi_pool, nn.roi_pool_forward),
        (testing.check_roi_align, nn.roi_align_forward),
        (testing.check_linear, nn.linear_forward),
        (testing.check_relu, nn.relu_forward),
    ],
)
@pytest.mark.usefixtures("_any_counterexample")
def test_a_forward_alone_is_shown_without_gradients(check, forward):
    def one_more(*arrays, **options):
        return forward(*arrays, **options)[0] + 1

    error = refusal(check, one_more)
    assert "dy" not in error.arguments
    assert "dy =" not in str(error)
    assert check(lambda *arrays, **options: forward(*arrays, **options)[0])


def test_counterexamples_are_small_and_of_whole_numbers():
    error = refusal(testing.check_linear, lambda x, weight, bias: x @ weight.T)
    assert str(error) == (
        "<lambda>: Where is the bias? For x = [[0]], weight = [[0]], bias = [2]: y: yours gives 0, "
        "expected 2"
    )


def test_swapped_axes_of_a_kernel_are_named_however_the_size_was_computed():
    def swapped(x, weight, bias, *, stride, padding):
        kh, kw = weight.shape[2:]
        image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        y = np.zeros((len(x), len(weight), *conv_size(image.shape[2:], (kh, kw), stride, 0)))
        for i, j in np.ndindex(y.shape[2:]):
            window = image[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            y[:, :, i, j] = np.einsum("ncpq,ocqp->no", window, weight) + bias
        return y

    error = refusal(testing.check_conv2d, swapped)
    assert error.hint == "Did you swap rows and columns of the kernel?"


# --- sizes ---------------------------------------------------------------------------------------


def test_a_side_has_as_many_outputs_as_asked_for():
    for outputs, kernel, stride, padding in np.ndindex(3, 7, 3, 4):
        side = side_for(outputs + 1, kernel + 1, stride + 1, padding, stride)
        count, _ = conv_size((side, side), (kernel + 1, kernel + 1), stride + 1, padding)
        assert side >= 1
        assert count >= outputs + 1
        assert (side + 2 * padding - kernel - 1) % (stride + 1) == stride


def test_distinct_numbers_are_distinct():
    array = distinct(np.random.default_rng(0), 3, 5, 7, unit=0.5)
    assert np.unique(array).size == array.size
    assert np.all(array)
    assert np.array_equal(2 * array, np.round(2 * array))
