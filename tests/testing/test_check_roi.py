"""The check of RoI pooling: what its messages show."""

import numpy as np
import pytest

from minirpn import nn, testing


@pytest.mark.slow
def test_a_box_over_the_border_is_shown_as_small_as_one_on_the_map():
    def infinite_off_the_map(features, boxes, output_size, stride):
        y, cache = nn.roi_pool_forward(features, boxes, output_size=output_size, stride=stride)
        return np.where(cache.argmax < 0, -np.inf, y)

    with pytest.raises(testing.CheckError) as caught:
        testing.check_roi_pool(infinite_off_the_map)
    assert caught.value.arguments["boxes"].shape == (1, 4)
    assert caught.value.arguments["features"].size == 1
