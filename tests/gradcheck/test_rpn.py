"""The loss, the head and the whole network, backwards, against differences of the loss."""

import numpy as np
import pytest

from minirpn.backbones import Backbone
from minirpn.backbones.preprocessing import CENTERED_RGB
from minirpn.nn import Conv2d, Fire, MaxPool2d, ReLU, Sequential
from minirpn.nn.gradcheck import check_gradients
from minirpn.rpn import RPN, AnchorConfig, LossConfig, RPNHead
from minirpn.rpn.loss import rpn_loss_backward, rpn_loss_forward
from minirpn.rpn.targets import IGNORE, NEGATIVE, POSITIVE

ANCHORS = AnchorConfig(base_size=4, ratios=(1.0,), scales=(2.0, 3.0))


@pytest.fixture
def answers(rng):
    """Random labels of every kind, and targets, for K anchors."""

    def make(K):
        labels = rng.choice(np.array([POSITIVE, NEGATIVE, IGNORE], dtype=np.int8), size=K)
        return labels, rng.normal(size=(K, 4))

    return make


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("scores", [1, 2])
def test_loss(rng, answers, form, scores):
    labels, targets = answers(40)

    def forward(objectness, deltas):
        loss, cache = rpn_loss_forward(
            objectness, deltas, labels, targets, locations=20, config=LossConfig(form=form)
        )
        return loss.total, cache

    inputs = rng.normal(size=(40, scores)), rng.normal(size=(40, 4))
    check_gradients(forward, rpn_loss_backward, inputs, rng=rng)


def double_precision(network, rng):
    """Make every parameter float64, and every bias count."""
    for parameter in network.parameters():
        parameter.value = rng.normal(scale=0.3, size=parameter.value.shape)


@pytest.mark.parametrize("classifier", ["softmax", "logistic"])
def test_head_by_its_features_and_parameters(rng, classifier):
    head = RPNHead(3, 5, ANCHORS.count, classifier=classifier, rng=rng)
    double_precision(head, rng)
    features = rng.normal(size=(2, 3, 4, 5))
    dobjectness = rng.normal(size=(2, 40, head.scores_per_anchor))
    ddeltas = rng.normal(size=(2, 40, 4))

    def forward(x, *values):
        for parameter, value in zip(head.parameters(), values, strict=True):
            parameter.value = value
        output, cache = head.forward(x)
        return np.sum(dobjectness * output.objectness) + np.sum(ddeltas * output.deltas), cache

    def backward(dloss, cache):
        dfeatures, grads = head.backward(dloss * dobjectness, dloss * ddeltas, cache)
        return dfeatures, *(grads[parameter.name] for parameter in head.parameters())

    inputs = features, *(parameter.value for parameter in head.parameters())
    check_gradients(forward, backward, inputs, rng=rng)


def small_network(rng):
    """Return an RPN with every kind of layer in its backbone, in float64."""
    body = Sequential(
        "small",
        [
            Conv2d("conv1", 3, 4, kernel=3, stride=2, rng=rng),
            ReLU("relu1"),
            MaxPool2d("pool1", kernel=3, stride=2, ceil_mode=True),
            Fire("fire2", 4, 3, 4, 4, rng=rng),
        ],
    )
    backbone = Backbone("small", body, 8, 5, CENTERED_RGB, {"conv1": "relu1", "fire2": "fire2"})
    network = RPN(backbone, RPNHead(8, 5, ANCHORS.count, rng=rng), ANCHORS)
    double_precision(network, rng)
    return network


def test_whole_network_from_image_to_loss(rng, answers):
    network = small_network(rng)
    image = rng.normal(size=(1, 3, 25, 31))
    labels, targets = answers(network.forward(image)[0].anchors.shape[0])

    def forward(*values):
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.value = value
        output, cache = network.forward(image)
        loss, loss_cache = rpn_loss_forward(
            output.objectness[0], output.deltas[0], labels, targets, locations=output.locations
        )
        return loss.total, (cache, loss_cache)

    def backward(dloss, caches):
        cache, loss_cache = caches
        dobjectness, ddeltas = rpn_loss_backward(dloss, loss_cache)
        grads = network.backward(dobjectness[None], ddeltas[None], cache)
        return tuple(grads[parameter.name] for parameter in network.parameters())

    inputs = tuple(parameter.value for parameter in network.parameters())
    names = [parameter.name for parameter in network.parameters()]
    # Steps small enough that no ReLU or maximum changes sides on the way.
    check_gradients(forward, backward, inputs, rng=rng, names=names, step=1e-6, rtol=1e-5)


def test_frozen_backbone_gets_no_gradients(rng):
    network = small_network(rng)
    network.backbone.freeze(["conv1", "fire2"])
    output, cache = network.forward(rng.normal(size=(1, 3, 25, 31)))
    grads = network.backward(np.ones_like(output.objectness), np.ones_like(output.deltas), cache)
    assert {name.split(".")[0] for name in grads} == {"rpn"}
