"""LRN gives what PyTorch's autograd gave for Caffe's formula on the same inputs, in float64."""

import numpy as np
import pytest

from minirpn import accel, nn


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["lrn"])
def test_lrn_within_channel(implementation, oracle, close):
    recorded = oracle("autograd")
    with accel.use(implementation):
        y, cache = nn.lrn_forward(oracle("inputs")["nn_x"])
        dx = nn.lrn_backward(recorded["nn_lrn_within3_caffe_gy"], cache)
    close(y, recorded["nn_lrn_within3_caffe_y"])
    close(dx, recorded["nn_lrn_within3_caffe_gx"])
