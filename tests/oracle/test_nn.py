"""Operations give what PyTorch's autograd and Chainer gave on the same inputs, in float64."""

import numpy as np
import pytest

from minirpn import accel, nn

CONVOLUTIONS = {
    "conv3s1p1": ("nn_w", 1, 1),
    "conv7s2p3": ("nn_w7", 2, 3),
    "conv3s2p0": ("nn_w", 2, 0),
}
POOLS = {
    "pool2_ceil": {"kernel": 2, "stride": 2, "ceil_mode": True},
    "pool2_floor": {"kernel": 2, "stride": 2},
    "pool3s2p1_ceil": {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
}


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["conv2d"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv2d(case, implementation, oracle, close):
    inputs, recorded = oracle("inputs"), oracle("autograd")
    weight, stride, padding = CONVOLUTIONS[case]
    with accel.use(implementation):
        arrays = inputs["nn_x"], inputs[weight], inputs["nn_b"]
        y, cache = nn.conv2d_forward(*arrays, stride=stride, padding=padding)
        grads = nn.conv2d_backward(recorded[f"nn_{case}_gy"], cache)
    close(y, recorded[f"nn_{case}_y"])
    for grad, name in zip(grads, ("gx", "gw", "gb"), strict=True):
        close(grad, recorded[f"nn_{case}_{name}"])


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["max_pool2d"])
@pytest.mark.parametrize("case", POOLS)
def test_max_pool2d(case, implementation, oracle, close):
    recorded = oracle("autograd")
    with accel.use(implementation):
        y, cache = nn.max_pool2d_forward(oracle("inputs")["nn_x"], **POOLS[case])
        dx = nn.max_pool2d_backward(recorded[f"nn_{case}_gy"], cache)
    close(y, recorded[f"nn_{case}_y"])
    close(dx, recorded[f"nn_{case}_gx"])


def test_relu(oracle, close):
    recorded = oracle("autograd")
    y, cache = nn.relu_forward(oracle("inputs")["nn_x"])
    close(y, recorded["nn_relu_y"])
    close(nn.relu_backward(recorded["nn_relu_gy"], cache), recorded["nn_relu_gx"])


@pytest.mark.parametrize("sigma", [1, 3])
def test_smooth_l1(sigma, oracle, close):
    autograd, chainercv = oracle("autograd"), oracle("chainercv")
    y, cache = nn.smooth_l1_forward(oracle("inputs")["sl1_x"], sigma=sigma)
    slope = nn.smooth_l1_backward(np.ones_like(y), cache)
    close(y, autograd[f"sl1_s{sigma}"])
    close(slope, autograd[f"sl1_grad_s{sigma}"])
    close(np.sum(y), chainercv[f"sl1_sum_s{sigma}"])
    close(slope, chainercv[f"sl1_grad_s{sigma}"])


@pytest.mark.parametrize("rule", ["caffe", "torch"])
def test_sgd(rule, oracle, close):
    inputs, recorded = oracle("inputs"), oracle("autograd")[f"sgd_{rule}"]
    weight = nn.Parameter("w", inputs["sgd_w0"])
    optimizer = nn.SGD([weight], momentum=0.9, weight_decay=5e-4, rule=rule)
    for step, grad in enumerate(inputs["sgd_grads"]):
        lr = 1e-3 if step < inputs["sgd_drop_at"] else 1e-4
        optimizer.step({"w": grad}, lr=lr)
        close(weight.value, recorded[step], rtol=1e-10)
    if rule == "caffe":
        close(weight.value, oracle("chainercv")["sgd"][-1], rtol=1e-10)
