"""The numbers that hold where none is given are the published ones; shapes and dtypes follow."""

import dataclasses
import inspect

import numpy as np
import pytest

from minirpn import boxes, nn, rpn
from minirpn.accel.fused import conv2d_relu_forward
from minirpn.nn import schedule
from minirpn.rpn.network import RPNOutput
from minirpn.rpn.proposals import candidates, trace_proposals

# What -> its defaults by name. The addresses of the numbers are in the docstrings.
DEFAULTS = {
    boxes.decode: {"max_log_scale": None},
    boxes.nms: {"max_keep": None},
    rpn.AnchorConfig: {
        "base_size": 16,
        "ratios": (0.5, 1, 2),
        "scales": (8, 16, 32),
        "rounding": "caffe",
    },
    rpn.grid_anchors: {"offset": (0, 0), "like": None},
    rpn.LabelConfig: {
        "positive_iou": 0.7,
        "negative_iou": 0.3,
        "tie_tolerance": 0,
        "inside_only": True,
    },
    rpn.SamplingConfig: {"batch_size": 256, "positive_fraction": 0.5},
    rpn.LossConfig: {"form": "paper", "balance": 10, "n_cls": 256},
    rpn.ProposalConfig: {
        "pre_nms": 6000,
        "iou_threshold": 0.7,
        "post_nms": 300,
        "min_size": 16,
        "inside_only": False,
    },
    rpn.propose: {"scale": 1, "config": None},
    trace_proposals: {"scale": 1, "config": None},
    candidates: {"scale": 1, "config": None},
    rpn.RPN: {"anchor_centre": "cell"},
    rpn.RPN.propose: {"scale": 1, "config": None},
    RPNOutput.propose: {"scale": 1, "config": None},
    rpn.RPN.backward: {"dfeatures": None},
    rpn.RPNHead.backward: {"need_dx": True},
    rpn.rpn_loss_forward: {"config": None},
    rpn.RPNHead: {"classifier": "softmax", "std": 0.01},
    nn.conv2d_forward: {"stride": 1, "padding": 0},
    conv2d_relu_forward: {"stride": 1, "padding": 0, "out": None},
    nn.conv2d_backward: {"need_dx": True, "need_dweight": True},
    nn.linear_backward: {"need_dx": True, "need_dweight": True},
    nn.conv_output_size: {"stride": 1, "padding": 0},
    nn.pool_output_size: {"padding": 0, "ceil_mode": False},
    nn.max_pool2d_forward: {"padding": 0, "ceil_mode": False, "need_dx": True},
    nn.roi_pool_forward: {"output_size": (7, 7), "stride": 16},
    nn.roi_align_forward: {"output_size": (7, 7), "stride": 16, "samples": 2, "aligned": True},
    nn.roi_align_backward: {"need_dboxes": True},
    nn.smooth_l1_forward: {"sigma": 1},
    nn.lrn_forward: {"size": 3, "alpha": 5e-5, "beta": 0.75},
    nn.LRN: {"size": 3, "alpha": 5e-5, "beta": 0.75},
    nn.Conv2d: {"stride": 1, "padding": 0},
    nn.MaxPool2d: {"padding": 0, "ceil_mode": False},
    nn.Parameter: {"lr_multiplier": 1, "decay_multiplier": 1, "trainable": True},
    nn.SGD: {"momentum": 0.9, "weight_decay": 0.0005, "rule": "caffe", "in_place": False},
    schedule.StepSchedule: {"drop_at": 0.75, "drop_factor": 0.1, "warmup_steps": 0},
    nn.check_gradients: {"names": None, "step": 1e-5, "rtol": 1e-6},
    nn.check_gradients_elementwise: {"names": None, "step": 1e-5, "rtol": 1e-6},
}


@pytest.mark.parametrize("what", DEFAULTS, ids=lambda what: what.__name__)
def test_defaults_are_the_published_numbers(what):
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(what).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert found == DEFAULTS[what]


CONFIGS = [
    rpn.AnchorConfig(),
    rpn.LabelConfig(),
    rpn.SamplingConfig(),
    rpn.LossConfig(),
    rpn.ProposalConfig(),
    nn.StepSchedule(0.1, 9),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_what_is_configured_stays(config):
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, getattr(config, field.name))
    assert config == dataclasses.replace(config)
    assert hash(config) == hash(dataclasses.replace(config))  # so it can be a key


AFFINE = {
    "conv": lambda **options: nn.Conv2d("a", 9, 50, kernel=(2, 3), **options),
    "linear": lambda **options: nn.Linear("a", 54, 50, **options),
}


@pytest.mark.parametrize("make", AFFINE.values(), ids=AFFINE)
def test_new_layers_start_as_published(make, rng):
    weight, bias = make(rng=rng).parameters()
    assert [weight.name, bias.name] == ["a.weight", "a.bias"]
    assert weight.value.dtype == bias.value.dtype == np.float32
    assert weight.value.std() == pytest.approx(0.01, rel=0.1)
    assert abs(weight.value.mean()) < 0.001
    assert not bias.value.any()
    for parameter in (weight, bias):
        assert parameter.trainable
        assert parameter.lr_multiplier == parameter.decay_multiplier == 1
    assert not make().weight.value.any()
    assert make(rng=rng, std=0.5).weight.value.std() == pytest.approx(0.5, rel=0.1)
    # He's standard deviation: of 54 inputs.
    assert make(rng=rng, std=None).weight.value.std() == pytest.approx((2 / 54) ** 0.5, rel=0.1)


@pytest.mark.parametrize("make", AFFINE.values(), ids=AFFINE)
def test_options_reach_the_parameters(make):
    layer = make(
        bias_lr_multiplier=2.0, bias_decay_multiplier=0.0, trainable=False, dtype=np.float64
    )
    weight, bias = layer.parameters()
    assert (weight.lr_multiplier, weight.decay_multiplier) == (1, 1)
    assert (bias.lr_multiplier, bias.decay_multiplier) == (2, 0)
    assert not (weight.trainable)
    assert not (bias.trainable)
    assert not (layer.trainable)
    assert weight.value.dtype == bias.value.dtype == np.float64


@pytest.mark.parametrize(("classifier", "scores"), [("softmax", 2), ("logistic", 1)])
def test_the_head_has_two_siblings_over_one_convolution(classifier, scores, rng):
    head = rpn.RPNHead(5, 7, 9, classifier=classifier, rng=rng)
    shapes = {p.name: p.value.shape for p in head.parameters()}
    assert shapes == {
        "rpn.conv.weight": (7, 5, 3, 3),
        "rpn.conv.bias": (7,),
        "rpn.objectness.weight": (9 * scores, 7, 1, 1),
        "rpn.objectness.bias": (9 * scores,),
        "rpn.deltas.weight": (36, 7, 1, 1),
        "rpn.deltas.bias": (36,),
    }
    output, _ = head.forward(np.zeros((2, 5, 4, 6), np.float32))
    assert output.objectness.shape == (2, 4 * 6 * 9, scores)
    assert output.deltas.shape == (2, 4 * 6 * 9, 4)
