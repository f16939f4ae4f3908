"""Building blocks of networks: each operation forward and backward, layers, optimizers.

Operations are pairs of functions, ``y, cache = op_forward(...)`` and
``grads = op_backward(dy, cache)``. Layers own the parameters and their names.
"""

from minirpn.nn.activations import ReluCache, relu_backward, relu_forward
from minirpn.nn.adam import AdamW
from minirpn.nn.conv import (
    Conv2dCache,
    Conv2dGrads,
    conv2d_backward,
    conv2d_forward,
    conv_output_size,
)
from minirpn.nn.dropout import DropoutCache, dropout_backward, dropout_forward
from minirpn.nn.fire import ConcatCache, Fire, FireCache, concat_backward, concat_forward
from minirpn.nn.gradcheck import (
    GradientError,
    KinkError,
    check_gradients,
    check_gradients_elementwise,
)
from minirpn.nn.layers import (
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    Sequential,
    Window,
    he_normal,
    normal,
    zeros,
)
from minirpn.nn.linear import LinearCache, LinearGrads, linear_backward, linear_forward
from minirpn.nn.losses import (
    SigmoidCrossEntropyCache,
    SmoothL1Cache,
    SoftmaxCrossEntropyCache,
    sigmoid_cross_entropy_backward,
    sigmoid_cross_entropy_forward,
    smooth_l1_backward,
    smooth_l1_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from minirpn.nn.lrn import LRN, LRNCache, lrn_backward, lrn_forward
from minirpn.nn.optim import SGD, Optimizer, clip_gradients
from minirpn.nn.pooling import (
    MaxPool2dCache,
    max_pool2d_backward,
    max_pool2d_forward,
    pool_output_size,
)
from minirpn.nn.roi_align import (
    RoIAlignCache,
    RoIAlignGrads,
    roi_align_backward,
    roi_align_forward,
)
from minirpn.nn.roi_pool import RoIPoolCache, roi_pool_backward, roi_pool_forward
from minirpn.nn.schedule import StepSchedule

__all__ = [
    "LRN",
    "SGD",
    "AdamW",
    "ConcatCache",
    "Conv2d",
    "Conv2dCache",
    "Conv2dGrads",
    "DropoutCache",
    "Fire",
    "FireCache",
    "Flatten",
    "GradientError",
    "KinkError",
    "LRNCache",
    "Layer",
    "Linear",
    "LinearCache",
    "LinearGrads",
    "MaxPool2d",
    "MaxPool2dCache",
    "Optimizer",
    "Parameter",
    "ReLU",
    "ReluCache",
    "RoIAlignCache",
    "RoIAlignGrads",
    "RoIPoolCache",
    "Sequential",
    "SigmoidCrossEntropyCache",
    "SmoothL1Cache",
    "SoftmaxCrossEntropyCache",
    "StepSchedule",
    "Window",
    "check_gradients",
    "check_gradients_elementwise",
    "clip_gradients",
    "concat_backward",
    "concat_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv_output_size",
    "dropout_backward",
    "dropout_forward",
    "he_normal",
    "linear_backward",
    "linear_forward",
    "lrn_backward",
    "lrn_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "normal",
    "pool_output_size",
    "relu_backward",
    "relu_forward",
    "roi_align_backward",
    "roi_align_forward",
    "roi_pool_backward",
    "roi_pool_forward",
    "sigmoid_cross_entropy_backward",
    "sigmoid_cross_entropy_forward",
    "smooth_l1_backward",
    "smooth_l1_forward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "zeros",
]
