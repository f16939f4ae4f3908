"""The region operations give what torchvision and ChainerCV gave on the same maps and boxes."""

import numpy as np
import pytest

from minirpn import accel, nn

POOL_IMPLEMENTATIONS = accel.available(np.zeros(1))["roi_pool"]
ALIGN_IMPLEMENTATIONS = accel.available(np.zeros(1))["roi_align"]


def single(arrays, *names):
    """Return arrays in float32, the precision in which the peers computed."""
    return (arrays[name].astype(np.float32) for name in names)


@pytest.mark.parametrize("implementation", POOL_IMPLEMENTATIONS)
def test_roi_pool_as_torchvision(implementation, oracle, close):
    (features,), boxes = single(oracle("inputs"), "roi_feat", "roi_boxes")
    recorded = oracle("torchvision")
    with accel.use(implementation):
        y, cache = nn.roi_pool_forward(features, boxes)
        dfeatures = nn.roi_pool_backward(recorded["roi_gy"], cache)
    np.testing.assert_array_equal(y, recorded["roi_pool"])
    # Cells that won many bins are sums of numbers up to 3, added in another order.
    close(dfeatures, recorded["roi_pool_gx"][0], atol=1e-5)


def test_roi_pool_as_chainercv(oracle, close):
    features, boxes = oracle("inputs")["roi_feat"][0], oracle("inputs")["roi_boxes"]
    y, _ = nn.roi_pool_forward(features, boxes)
    other = np.flatnonzero(np.any(np.abs(y - oracle("chainercv")["roi_pool"]) > 1e-6, (1, 2, 3)))
    # It differs for two boxes. One has 34 - 6 + 1 = 29 rows: 7 times its quotient 29 / 7 is more
    # than 29 in double precision, so that the last bin there gets a 30th row. The other ends at
    # 40 / 16 = 2.5, which is rounded to 2 there.
    assert other.tolist() == [9, 23]
    np.testing.assert_array_equal(np.round(boxes[9, [1, 3]] / 16), [6, 34])
    assert 7 * (29 / 7) > 29
    assert boxes[23, 2] / 16 == 2.5


@pytest.mark.parametrize("implementation", ALIGN_IMPLEMENTATIONS)
@pytest.mark.parametrize(("aligned", "name"), [(False, "roi_align"), (True, "roi_align_aligned")])
def test_roi_align_as_torchvision(implementation, aligned, name, oracle, close):
    (features,), boxes = single(oracle("inputs"), "roi_feat", "roi_boxes")
    recorded = oracle("torchvision")
    with accel.use(implementation):
        y, cache = nn.roi_align_forward(features, boxes, aligned=aligned)
        grads = nn.roi_align_backward(recorded["roi_gy"], cache, need_dboxes=False)
    # Positions of up to 63 cells have an error of 4e-6 in float32, and features differ by up to 4.
    close(y, recorded[name], atol=2e-5)
    close(grads.dfeatures, recorded[f"{name}_gx"][0], atol=5e-5)
    assert grads.dboxes is None
