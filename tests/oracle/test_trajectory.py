"""Forty steps of training follow, number by number, those recorded from PyTorch's autograd."""

import numpy as np
import pytest

from minirpn import nn
from minirpn.rpn.head import RPNHead
from minirpn.rpn.loss import LossConfig, rpn_loss_backward, rpn_loss_forward

STEPS = 40
# Learning rate and decay multipliers of the biases.
BIASES = {"plain": (1.0, 1.0), "caffe": (2.0, 1.0), "nobiasdecay": (2.0, 0.0)}
# The recorded "paper" divides the class term by the 148 anchors sampled, not by 256.
LOSSES = {"paper": LossConfig("paper", n_cls=148), "pyfrcnn": LossConfig("released")}
HEAD = {"rpn": "rpn.conv", "cls": "rpn.objectness", "reg": "rpn.deltas"}


def build():
    """Return the mini VGG with conv1 and conv2 frozen, and the head."""
    layers, channels = [], 3
    for k, outputs in enumerate((4, 6, 8, 8, 8), start=1):
        conv = nn.Conv2d(f"conv{k}", channels, outputs, kernel=3, padding=1, trainable=k > 2)
        layers += [conv, nn.ReLU(f"relu{k}")]
        if k < 5:  # 70x101 -> 35x51 -> 18x26 -> 9x13 -> 5x7: 315 = 9 * 5 * 7 anchors
            layers.append(nn.MaxPool2d(f"pool{k}", kernel=2, stride=2, ceil_mode=True))
        channels = outputs
    return nn.Sequential("vgg", layers), RPNHead(8, 8, 9, rng=np.random.default_rng(0))


def recorded_name(parameter):
    """Return the recording's name of a parameter: ``conv3.weight`` is ``conv3_w`` there."""
    layer, kind = parameter.name.rsplit(".", 1)
    short = {name: key for key, name in HEAD.items()}.get(layer, layer)
    return f"{short}_{kind[0]}"


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("form", LOSSES)
def test_training_follows_the_recording(form, bias, oracle, close):
    recorded = oracle("trajectory")
    vgg, head = build()
    parameters = vgg.parameters() + head.parameters()
    for parameter in parameters:
        parameter.value = recorded[f"init_{recorded_name(parameter)}"]
        if parameter.name.endswith("bias"):
            parameter.lr_multiplier, parameter.decay_multiplier = BIASES[bias]
    optimizer = nn.SGD(parameters, momentum=0.9, weight_decay=5e-4, rule="caffe")
    schedule = nn.StepSchedule(1e-2, STEPS, drop_at=25 / STEPS)
    losses = []
    for step in range(STEPS):
        image, labels = recorded["images"][step % 2], recorded["labels"][step % 2]
        features, vgg_cache = vgg.forward(image, need_dx=False)
        output, head_cache = head.forward(features)
        loss, cache = rpn_loss_forward(
            output.objectness[0],
            output.deltas[0],
            labels,
            recorded["targets"][step % 2],
            locations=5 * 7,
            config=LOSSES[form],
        )
        losses.append((loss.objectness, loss.box))
        dobjectness, ddeltas = rpn_loss_backward(1.0, cache)
        dfeatures, grads = head.backward(dobjectness[None], ddeltas[None], head_cache)
        grads |= vgg.backward(dfeatures, vgg_cache, need_dx=False)[1]
        optimizer.step(grads, lr=schedule.lr(step))
    close(losses, recorded[f"{form}_{bias}_losses"], rtol=1e-9)
    for parameter in parameters:
        final = recorded[f"{form}_{bias}_final_{recorded_name(parameter)}"]
        close(parameter.value, final, rtol=1e-9, atol=1e-12)
