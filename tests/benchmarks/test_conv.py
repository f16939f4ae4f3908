"""Convolutions of SqueezeNet, VGG-16 and the RPN's head at 600x1000, beside PyTorch on the CPU.

Those called small are of the recipe `small`, whose images are 300x500. At the last sizes another
implementation becomes the fastest: `conv2d_preferred` of `minirpn.accel.numba.winograd` has its
limits from these measurements.

Left out by default; ``pytest tests/benchmarks --benchmark-only`` runs it.
"""

import numpy as np
import pytest

from minirpn import accel
from minirpn.accel import threads
from minirpn.nn import conv_output_size

IMPLEMENTATIONS = accel.available(np.zeros(1))["conv2d"][1:]

# in and out channels, kernel, stride, padding, height and width of the input
SIZES = {
    "conv1": (3, 64, 3, 2, 0, 600, 1000),
    "fire4.squeeze": (128, 32, 1, 1, 0, 74, 124),
    "fire4.expand1x1": (32, 128, 1, 1, 0, 74, 124),
    "fire4.expand3x3": (32, 128, 3, 1, 1, 74, 124),
    "fire6.squeeze": (256, 48, 1, 1, 0, 37, 62),
    "fire6.expand3x3": (48, 192, 3, 1, 1, 37, 62),
    "fire9.squeeze": (512, 64, 1, 1, 0, 37, 62),
    "fire9.expand3x3": (64, 256, 3, 1, 1, 37, 62),
    "rpn.conv": (512, 256, 3, 1, 1, 37, 62),
    "rpn.deltas": (256, 36, 1, 1, 0, 37, 62),
    "small fire9.expand1x1": (64, 256, 1, 1, 0, 18, 31),
    "small fire9.expand3x3": (64, 256, 3, 1, 1, 18, 31),
    "small rpn.conv": (512, 256, 3, 1, 1, 18, 31),
    "vgg.conv1_1": (3, 64, 3, 1, 1, 600, 1000),
    "vgg.conv1_2": (64, 64, 3, 1, 1, 600, 1000),
    "vgg.conv3_2": (256, 256, 3, 1, 1, 150, 250),
    "vgg.conv4_2": (512, 512, 3, 1, 1, 75, 125),
    "vgg.conv5_2": (512, 512, 3, 1, 1, 38, 63),
    "8 to 8": (8, 8, 3, 1, 1, 37, 62),
    "16 to 16": (16, 16, 3, 1, 1, 37, 62),
    "32 to 32": (32, 32, 3, 1, 1, 19, 31),
    "12 tiles": (256, 256, 3, 1, 1, 12, 16),
}


def ours(implementation, x, weight, bias, dy, stride, padding):
    """Return the output and both gradients as functions without arguments."""
    forward, by_x, by_weight = (
        accel.operations()[name].by_name[implementation].function
        for name in ("conv2d", "conv2d_dx", "conv2d_dweight")
    )
    windows = (stride, stride), (padding, padding)
    return {
        "y": lambda: forward(x, weight, bias, *windows),
        "dx": lambda: by_x(dy, weight, x.shape[2:], *windows),
        "dweight": lambda: by_weight(dy, x, weight.shape[2:], *windows),
    }


def pytorch(x, weight, bias, dy, stride, padding):
    """Return PyTorch's output and gradients likewise."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(threads.thread_count())
    x, weight, bias, dy = map(torch.from_numpy, (x, weight, bias, dy))
    windows = [stride, stride], [padding, padding], [1, 1], False, [0, 0], 1

    def backward(*mask):
        return torch.ops.aten.convolution_backward(dy, x, weight, [len(bias)], *windows, mask)

    return {
        "y": lambda: torch.nn.functional.conv2d(x, weight, bias, stride, padding),
        "dx": lambda: backward(True, False, False),
        "dweight": lambda: backward(False, True, False),
    }


@pytest.mark.parametrize("implementation", ["torch", *IMPLEMENTATIONS])
@pytest.mark.parametrize("result", ["y", "dx", "dweight"])
@pytest.mark.parametrize("size", SIZES)
def test_conv2d(benchmark, size, result, implementation, rng):
    inputs, outputs, kernel, stride, padding, *image = SIZES[size]
    x = rng.normal(size=(1, inputs, *image)).astype(np.float32)
    weight = rng.normal(size=(outputs, inputs, kernel, kernel)).astype(np.float32)
    bias = np.zeros(outputs, np.float32)
    output_size = conv_output_size(image, (kernel, kernel), (stride, stride), (padding, padding))
    dy = rng.normal(size=(1, outputs, *output_size)).astype(np.float32)
    arrays = x, weight, bias, dy, stride, padding
    functions = pytorch(*arrays) if implementation == "torch" else ours(implementation, *arrays)
    benchmark.pedantic(functions[result], rounds=10, warmup_rounds=1)
