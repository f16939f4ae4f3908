"""The region operations by hand: cells of bins, rounding, borders, ties, odd boxes, refusals."""

import numpy as np
import pytest

from minirpn import accel, nn

POOL_IMPLEMENTATIONS = pytest.mark.parametrize(
    "implementation", accel.available(np.zeros(1))["roi_pool"]
)
ALIGN_IMPLEMENTATIONS = pytest.mark.parametrize(
    "implementation", accel.available(np.zeros(1))["roi_align"]
)
# One channel of 4 x 6 cells: ten times the row plus the column.
NUMBERED = (10.0 * np.arange(4)[:, None] + np.arange(6))[None]


def pool(features, *boxes, **options):
    """Pool, and return y without the axis of the only channel, and the cache."""
    y, cache = nn.roi_pool_forward(features, np.array(boxes, features.dtype), **options)
    return y[:, 0], cache


def align(features, *boxes, **options):
    return nn.roi_align_forward(features, np.array(boxes, features.dtype), **options)[0][:, 0]


@POOL_IMPLEMENTATIONS
def test_roi_pool_by_hand(implementation):
    # Columns 16 / 16 = 1 to 80 / 16 = 5, five of them: [0, 2.5) and [2.5, 5) reach outward to
    # whole cells, 1 to 3 and 3 to 5. Rows 0 to 2, three: 0 to 1 and 1 to 2.
    with accel.use(implementation):
        y, cache = pool(NUMBERED, (16, 0, 80, 32), output_size=2)
        dfeatures = nn.roi_pool_backward(np.array([[[[1.0, 2], [3, 4]]]]), cache)
    np.testing.assert_array_equal(y, [[[13, 15], [23, 25]]])
    # Row 1 is cells 6 to 11, row 2 cells 12 to 17.
    np.testing.assert_array_equal(cache.argmax[0, 0], [[6 + 3, 6 + 5], [12 + 3, 12 + 5]])
    assert cache.argmax.dtype == np.int32
    expected = np.zeros((4, 6))
    expected[[1, 1, 2, 2], [3, 5, 3, 5]] = [1, 2, 3, 4]
    np.testing.assert_array_equal(dfeatures[0], expected)


@POOL_IMPLEMENTATIONS
def test_halves_are_rounded_away_from_zero(implementation):
    # Columns 8 / 16 = 0.5 -> 1, 24 / 16 = 1.5 -> 2, 40 / 16 = 2.5 -> 3; the greatest is the last.
    # -8 / 16 -> -1, so that of the two columns -1 and 0 the first bin of two is off the map.
    with accel.use(implementation):
        y, _ = pool(NUMBERED, (0, 0, 8, 0), (0, 0, 24, 0), (0, 0, 40, 0), output_size=1)
        before, _ = pool(NUMBERED + 1, (-8, 0, 0, 0), output_size=(1, 2))
        # The float before 1/2 is rounded down, though in float32 adding 1/2 to it gives 1.
        almost = np.nextafter(np.float32(8), np.float32(0))
        below, _ = pool(NUMBERED.astype(np.float32), (0, 0, almost, 0), output_size=1)
    np.testing.assert_array_equal(y.ravel(), [1, 2, 3])
    np.testing.assert_array_equal(before[0], [[0, 1]])
    assert below.item() == 0
    assert np.float32(almost / 16) + np.float32(0.5) == 1


@POOL_IMPLEMENTATIONS
def test_bins_are_exact(implementation):
    # Cells 0 to 56 of a row of 60, seven bins: the last one ends at 7 * 57 / 7 = 57, behind cell
    # 56. In float32 57 / 7 is a bit more than it should be, and 7 times it is rounded up to 58.
    with accel.use(implementation):
        y, _ = pool(np.arange(60, dtype=np.float32)[None, None], (0, 0, 56, 0), stride=1.0)
    assert y[0, 0, -1] == 56
    assert np.ceil(np.float32(7) * (np.float32(57) / np.float32(7))) == 58


@POOL_IMPLEMENTATIONS
def test_empty_and_inverted_boxes_are_one_cell(implementation):
    # (32, 16) is the corner of cell 2 of row 1; the second ends before it begins.
    with accel.use(implementation):
        y, _ = pool(NUMBERED, (32, 16, 32, 16), (32, 16, 0, 0), output_size=(2, 3))
    np.testing.assert_array_equal(y, np.full((2, 2, 3), 12))


@POOL_IMPLEMENTATIONS
def test_bins_off_the_map_give_0_and_take_no_gradient(implementation):
    # Columns 4 to 7 in two bins, 4 to 5 and 6 to 7: the map has 0 to 5. The second box is far off,
    # farther than whole numbers of 32 bits reach, and the third spans everything.
    far = 1e30
    boxes = (64, 0, 112, 0), (far, far, 2 * far, far), (-far, -far, far, far)
    with accel.use(implementation):
        y, cache = pool(NUMBERED - 100, *boxes, output_size=(1, 2))
        dfeatures = nn.roi_pool_backward(np.ones((3, 1, 1, 2)), cache)
    # Between -2^30 and 2^30, the middle lies at cell 0: the first bin ends with it.
    np.testing.assert_array_equal(y[:, 0], [[-95, 0], [0, 0], [-70, -65]])
    assert cache.argmax[:, 0, 0].tolist() == [[5, -1], [-1, -1], [18, 23]]
    assert np.sum(dfeatures) == 3


@POOL_IMPLEMENTATIONS
def test_a_box_at_the_border_of_the_image_may_end_behind_the_map(implementation):
    # An image 1000 wide has 63 cells, 0 to 62. 992 / 16 = 62, and 1000 / 16 = 62.5 -> 63. Two cells
    # in seven bins: those before the fourth begin at floor(2 k / 7) = 0, the others at 1, off the
    # map. The first of 200 pixels has cells 50 to 63, two for each bin.
    with accel.use(implementation):
        y, _ = pool(np.ones((1, 1, 63)), (992, 0, 1000, 0), (800, 0, 1000, 0))
    np.testing.assert_array_equal(y[0, 0], [1, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(y[1, 0], np.ones(7))


@POOL_IMPLEMENTATIONS
def test_of_equal_cells_the_first_wins(implementation):
    with accel.use(implementation):
        y, cache = pool(np.full((1, 3, 3), -2.0), (16, 16, 32, 32), output_size=1)
        dfeatures = nn.roi_pool_backward(np.ones((1, 1, 1, 1)), cache)
    assert y.item() == -2
    np.testing.assert_array_equal(dfeatures[0], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


@POOL_IMPLEMENTATIONS
def test_a_nan_is_not_hidden_by_pooling(implementation):
    features = NUMBERED.copy()
    features[0, 1, 1] = np.nan
    with accel.use(implementation):
        y, cache = pool(features, (0, 0, 80, 48), (0, np.nan, 16, 16), (32, 32, 48, 48))
        dfeatures = nn.roi_pool_backward(np.ones((3, 1, 7, 7)), cache)
    # Rows 0 to 3 in seven bins: bins 1 to 3 meet row 1. Columns 0 to 5: bins 1 and 2 meet column 1.
    met = np.zeros((7, 7), bool)
    met[1:4, 1:3] = True
    np.testing.assert_array_equal(np.isnan(y[0]), met)
    assert np.isnan(y[1]).all()
    assert not np.isnan(y[2]).any()
    assert np.sum(dfeatures) == 2 * 49  # all of the first and the third box, none of the second


@ALIGN_IMPLEMENTATIONS
def test_roi_align_by_hand(implementation):
    squares = np.tile(np.arange(6.0) ** 2, (1, 4, 1))
    # From x = 16 to 64 are cells 1 to 4, less the half: 0.5 to 3.5. One sample lies at 2: 4. Two
    # lie at 1.25 and 2.75: 1 + 0.25 (4 - 1) = 1.75 and 4 + 0.75 (9 - 4) = 7.75; their mean is 4.75.
    with accel.use(implementation):
        for samples, expected in ((1, 4.0), (2, 4.75)):
            y = align(squares, (16, 0, 64, 32), output_size=1, samples=samples)
            np.testing.assert_allclose(y.item(), expected, rtol=1e-15)
        # Rows and columns: row 1.5 and column 1.5, and half a cell farther if not aligned.
        for aligned, expected in ((True, 16.5), (False, 22.0)):
            y = align(NUMBERED, (16, 16, 48, 48), output_size=1, samples=1, aligned=aligned)
            np.testing.assert_allclose(y.item(), expected, rtol=1e-15)


@ALIGN_IMPLEMENTATIONS
def test_roi_align_of_empty_and_inverted_boxes(implementation):
    empty, inverted = (40, 40, 40, 40), (64, 48, 16, 16)
    with accel.use(implementation):
        # Aligned, all samples lie at row and column 40 / 16 - 0.5 = 2; else from 2.5 to 3.5, where
        # the middles of two bins are 2.75 and 3.25; the map ends at row 3.
        y = align(NUMBERED, empty, output_size=2)
        np.testing.assert_allclose(y[0], np.full((2, 2), 22), rtol=1e-14)
        y = align(NUMBERED, empty, output_size=2, aligned=False, samples=1)
        np.testing.assert_allclose(y[0], [[30.25, 30.75], [32.75, 33.25]], rtol=1e-14)
        # Columns 3.5 down to 0.5 and rows 2.5 down to 0.5: in two bins 2.75 1.25, and 2 1.
        y = align(NUMBERED, inverted, output_size=2, samples=1)
        np.testing.assert_allclose(y[0], [[22.75, 21.25], [12.75, 11.25]], rtol=1e-14)


@ALIGN_IMPLEMENTATIONS
def test_roi_align_beyond_the_border(implementation):
    # Samples at columns -1.5 -0.5 | 0.5 1.5, of rows at 0.5: the first counts 0, the second is as
    # at the border; the column is 0, so 5 each, and then 5.5 and 6.5.
    with accel.use(implementation):
        boxes = np.array([[-24.0, 8, 40, 24]])
        y, cache = nn.roi_align_forward(NUMBERED, boxes, output_size=(1, 2))
        grads = nn.roi_align_backward(np.array([[[[1.0, 1]]]]), cache)
    np.testing.assert_allclose(y[0, 0, 0], [5 / 2, (5.5 + 6.5) / 2], rtol=1e-14)
    # A column adds 1 and a row 10; samples count for 1/4 each of a bin (two rows of two columns).
    # Only the columns of the second bin move, t = 5/8 and 7/8: by x1 (3/8 + 1/8) / 16 / 2 = 1/64,
    # by x2 (5/8 + 7/8) / 16 / 2 = 3/64. Rows, t = 1/4 and 3/4: three columns of samples count, of
    # four in two bins: 10 * (3/4 + 1/4) / 16 * 3/4 = 30/64 by y1, and as much by y2.
    np.testing.assert_allclose(grads.dboxes[0], np.array([1, 30, 3, 30]) / 64, rtol=1e-13)


@ALIGN_IMPLEMENTATIONS
def test_a_nan_is_not_hidden_by_aligning(implementation):
    boxes = np.array([[16.0, 16, np.nan, 48], [16, 16, 48, 48]])
    with accel.use(implementation):
        y, cache = nn.roi_align_forward(NUMBERED, boxes)
        grads = nn.roi_align_backward(np.ones_like(y), cache)
    assert np.isnan(y[0]).all()
    assert not np.isnan(y[1]).any()
    assert np.sum(grads.dfeatures) == pytest.approx(49)  # of the second box alone
    np.testing.assert_array_equal(grads.dboxes[0], np.zeros(4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_boxes_and_dtypes(dtype):
    features, none = np.ones((3, 4, 5), dtype), np.zeros((0, 4))
    for implementation in accel.available(features)["roi_pool"]:
        with accel.use(implementation):
            y, pooled = nn.roi_pool_forward(features, none)
            dfeatures = nn.roi_pool_backward(y, pooled)
            aligned, cache = nn.roi_align_forward(features, none, output_size=(2, 3))
            grads = nn.roi_align_backward(aligned, cache)
        assert (y.shape, aligned.shape) == ((0, 3, 7, 7), (0, 3, 2, 3))
        assert grads.dboxes.shape == (0, 4)
        for array in (y, dfeatures, aligned, *grads):
            assert array.dtype == dtype
        for array in (dfeatures, grads.dfeatures):
            np.testing.assert_array_equal(array, np.zeros((3, 4, 5)))


def test_what_does_not_fit_is_refused():
    features, boxes = np.zeros((3, 4, 5)), np.zeros((2, 4))
    for forward in (nn.roi_pool_forward, nn.roi_align_forward):
        with pytest.raises(ValueError, match=r"features: expected shape \(any, any, any\)"):
            forward(features[None], boxes)
        with pytest.raises(TypeError, match="features: expected a floating-point array"):
            forward(features.astype(int), boxes)
        with pytest.raises(ValueError, match=r"boxes: expected shape \(N, 4\)"):
            forward(features, boxes[0])
        with pytest.raises(ValueError, match="stride: expected a positive number"):
            forward(features, boxes, stride=0)
        with pytest.raises(ValueError, match="output_size: expected an int or a pair"):
            forward(features, boxes, output_size=(7, 0))
    with pytest.raises(ValueError, match="samples: expected at least 1"):
        nn.roi_align_forward(features, boxes, samples=0)
    dy = np.zeros((2, 3, 7, 6))
    with pytest.raises(ValueError, match="dy: expected shape"):
        nn.roi_pool_backward(dy, nn.roi_pool_forward(features, boxes)[1])
    with pytest.raises(ValueError, match="dy: expected shape"):
        nn.roi_align_backward(dy, nn.roi_align_forward(features, boxes)[1])


def test_flatten_goes_channel_by_channel():
    layer = nn.Flatten("rows")
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    y, cache = layer.forward(x)
    np.testing.assert_array_equal(y, np.arange(24.0).reshape(2, 12))
    np.testing.assert_array_equal(layer.backward(y, cache)[0], x)
    assert layer.backward(y, cache, need_dx=False) == (None, {})
    assert layer.output(x[:0]).shape == (0, 12)
    with pytest.raises(ValueError, match="x: expected shape"):
        layer.forward(y)


def test_dropout_drops_and_scales():
    x = np.ones((200, 50))
    y, cache = nn.dropout_forward(x, probability=0.75, rng=np.random.default_rng(3))
    # A survivor becomes 1 / (1 - 3/4) = 4. Of 10,000 draws a quarter survives, give or take five
    # standard deviations of sqrt(10000 3/16) = 43.
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs(np.sum(y > 0) - 2500) < 5 * 43
    np.testing.assert_array_equal(nn.dropout_backward(2 * x, cache), 2 * y)
    single, _ = nn.dropout_forward(
        x.astype(np.float32), probability=0.75, rng=np.random.default_rng(3)
    )
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, y)
    again, _ = nn.dropout_forward(x, probability=0.75, rng=np.random.default_rng(4))
    assert np.any(again != y)


def test_dropout_of_nothing_draws_nothing(rng):
    x, before = np.ones(3), rng.bit_generator.state
    y, cache = nn.dropout_forward(x, probability=0, rng=rng)
    assert y is x
    assert nn.dropout_backward(x, cache) is x
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_dropout_of_everything_is_refused(probability, rng):
    with pytest.raises(ValueError, match=r"probability: expected a number in \[0, 1\)"):
        nn.dropout_forward(np.ones(3), probability=probability, rng=rng)
