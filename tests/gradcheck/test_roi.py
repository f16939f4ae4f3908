"""The region operations' and dropout's backward agree with differences of their forward."""

from functools import partial

import numpy as np
import pytest

from minirpn import accel, nn
from minirpn.nn.roi_align import positions_of

SIZE = (5, 6)  # of the map; with a stride of 4, an image of 20 by 24 pixels
STRIDE = 4.0


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["roi_pool"])
def test_roi_pool(implementation, rng):
    # Whole numbers, shuffled: no two are closer than the step, so no maximum is near a tie.
    features = rng.permutation(2 * 5 * 6).reshape(2, *SIZE).astype(float)
    boxes = np.array([[1.0, 2, 15, 19], [3, 3, 8, 8], [-9, 4, 30, 9], [20, 10, 18, 6]])
    forward = partial(nn.roi_pool_forward, boxes=boxes, output_size=(3, 2), stride=STRIDE)
    with accel.use(implementation):
        nn.check_gradients(forward, nn.roi_pool_backward, features, rng=rng)


def boxes_away_from_kinks(rng, count, samples, aligned, output_size, margin=1e-2):
    """Draw boxes whose samples keep a distance (in cells) from the middles of cells.

    There the slope of the interpolation changes; and at the border and one cell off the map, which
    are whole numbers of cells, too. A width of one cell is another kink, unless `aligned`.
    """
    kept = []
    while len(kept) < count:
        corners = rng.uniform(-8, 32, (1, 4))
        positions = samples_along_both(corners, samples, aligned, output_size)
        sides = (corners[:, 2:] - corners[:, :2]) / STRIDE
        near = np.abs(positions - np.round(positions)) < margin
        if not near.any() and (aligned or np.all(np.abs(sides - 1) > margin)):
            kept.append(corners[0])
    return np.array(kept)


def samples_along_both(boxes, samples, aligned, output_size):
    """Return the positions of the samples, in cells, of rows and columns alike."""
    count = np.array(output_size) * samples
    start, length = boxes[0, 1::-1] / STRIDE - 0.5 * aligned, boxes[0, [3, 2]] - boxes[0, [1, 0]]
    length = length / STRIDE if aligned else np.maximum(length / STRIDE, 1)
    return np.concatenate(
        [start[k] + length[k] * (np.arange(count[k]) + 0.5) / count[k] for k in (0, 1)]
    )


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["roi_align"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("samples", "output_size"), [(1, (1, 1)), (2, (3, 2)), (3, (2, 2))])
def test_roi_align(implementation, aligned, samples, output_size, rng):
    features = rng.normal(size=(3, *SIZE))
    boxes = boxes_away_from_kinks(rng, 12, samples, aligned, output_size)
    # They are of every kind: inverted, off the map, across its border, inside.
    rows, columns = positions_of(boxes, output_size, samples, SIZE, 1 / STRIDE, aligned)
    assert np.any(boxes[:, 2] < boxes[:, 0])
    assert not np.all(rows.on_map)
    assert np.any(columns.on_map & ~columns.moves)
    assert np.any(columns.moves)
    options = {"output_size": output_size, "stride": STRIDE}
    forward = partial(nn.roi_align_forward, **options, samples=samples, aligned=aligned)
    with accel.use(implementation):
        nn.check_gradients(forward, nn.roi_align_backward, (features, boxes), rng=rng)


def test_dropout(rng):
    def forward(x):
        return nn.dropout_forward(x, probability=0.3, rng=np.random.default_rng(0))

    nn.check_gradients(forward, nn.dropout_backward, rng=rng, inputs=rng.normal(size=(5, 7)))


def test_flatten(rng):
    layer = nn.Flatten("rows")

    def backward(dy, cache):
        return layer.backward(dy, cache)[0]

    nn.check_gradients(layer.forward, backward, rng.normal(size=(3, 4, 2, 5)), rng=rng)
