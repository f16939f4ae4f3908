"""The detector's loss and head, boxes, and joint training end to end, against differences."""

import numpy as np
import pytest

from minirpn import boxes as box_ops
from minirpn.backbones import Backbone
from minirpn.backbones.preprocessing import CENTERED_RGB
from minirpn.box_gradients import clip_backward, decode_backward
from minirpn.detector import (
    DetectorHead,
    FasterRCNN,
    FastRCNN,
    RegionConfig,
    detector_loss_backward,
    detector_loss_forward,
)
from minirpn.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, check_gradients
from minirpn.rpn import (
    RPN,
    AnchorConfig,
    ProposalConfig,
    RPNHead,
    rpn_loss_forward,
    trace_proposals,
)
from minirpn.training.detector_step import (
    DetectorObjective,
    detector_loss_and_gradients,
    joint_loss_and_gradients,
    make_regions,
)
from minirpn.training.step import Objective, make_minibatch

ANCHORS = AnchorConfig(base_size=4, ratios=(1.0,), scales=(2.0, 3.0))
IMAGE_SIZE = (25, 31)
GT_BOXES = np.array([[3.3, 4.2, 13.1, 15.4], [14.2, 8.1, 27.3, 20.7]])
GT_CLASSES = np.array([1, 0])


def test_loss(rng):
    labels, targets = np.array([0, 2, 1, 0, 2]), rng.normal(size=(5, 4))

    def forward(scores, deltas):
        loss, cache = detector_loss_forward(scores, deltas, labels, targets)
        return loss.total, cache

    inputs = rng.normal(size=(5, 3)), rng.normal(size=(5, 3, 4))
    check_gradients(forward, detector_loss_backward, inputs, rng=rng)


def test_decode(rng):
    anchors = np.array([[0.0, 0, 4, 6], [2.0, 1, 12, 5], [-3, -3, 9, 1]])

    def forward(deltas):
        return box_ops.decode(anchors, deltas), deltas

    def backward(dboxes, deltas):
        return decode_backward(dboxes, anchors, deltas)

    check_gradients(forward, backward, rng.normal(scale=0.3, size=(3, 4)), rng=rng)


def test_clip(rng):
    boxes = np.array([[-2.0, 3, 5, 99], [1.0, -1, 33, 4], [40, 2, 50, 3], [2, 3, 4, 5]])

    def forward(x):
        return box_ops.clip(x, IMAGE_SIZE), x

    check_gradients(
        forward, lambda dy, x: clip_backward(dy, x, IMAGE_SIZE), boxes, rng=rng, names=["boxes"]
    )


def head_of(rng, dropout=0.0):
    """Return a head with one block, every weight and bias of which counts, in float64."""
    layers = [
        Conv2d("detector.reduce", 6, 3, kernel=1, rng=rng),
        ReLU("relu1"),
        Flatten("flatten"),
        Linear("detector.hidden", 12, 5, rng=rng),
    ]
    head = DetectorHead([Sequential("block", layers)], 5, 2, dropout=dropout, rng=rng)
    for parameter in head.parameters():
        parameter.value = rng.normal(scale=0.4, size=parameter.value.shape)
    return head


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_head(rng, dropout):
    head = head_of(rng, dropout)
    pooled = rng.normal(size=(4, 6, 2, 2))
    dlogits, ddeltas = rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 4))

    def forward(x, *values):
        for parameter, value in zip(head.parameters(), values, strict=True):
            parameter.value = value
        output, cache = head.forward(x, rng=np.random.default_rng(3))
        return np.sum(dlogits * output.logits) + np.sum(ddeltas * output.deltas), cache

    def backward(dloss, cache):
        dx, grads = head.backward(dloss * dlogits, dloss * ddeltas, cache)
        return dx, *(grads[parameter.name] for parameter in head.parameters())

    inputs = pooled, *(parameter.value for parameter in head.parameters())
    check_gradients(forward, backward, inputs, rng=rng)


@pytest.fixture
def network(rng):
    """An RPN and a detector with RoI align on a small backbone, in float64."""
    layers = [
        Conv2d("conv1", 3, 4, kernel=3, stride=2, padding=1, rng=rng),
        ReLU("relu1"),
        MaxPool2d("pool1", kernel=2, stride=2, ceil_mode=True),
        Conv2d("conv2", 4, 6, kernel=3, padding=1, rng=rng),
    ]
    stages = {"conv1": "relu1", "conv2": "conv2"}
    backbone = Backbone("small", Sequential("small", layers), 6, 5, CENTERED_RGB, stages)
    rpn = RPN(backbone, RPNHead(6, 5, ANCHORS.count, rng=rng), ANCHORS)
    for parameter in rpn.parameters():
        # Deltas so small that proposals lie near their anchors, and some on objects.
        scale = 0.02 if parameter.name.startswith("rpn.deltas") else 0.3
        parameter.value = rng.normal(scale=scale, size=parameter.value.shape)
    return FasterRCNN(rpn, FastRCNN(head_of(rng), (2, 2), rpn.stride, pooling="align"))


def objective_of(*, through_boxes):
    regions = RegionConfig(batch_size=12, positive_fraction=0.5, positive_iou=0.3, background_iou=0)
    proposals = ProposalConfig(pre_nms=40, post_nms=20, min_size=2)
    return DetectorObjective(regions, proposals, through_boxes=through_boxes)


def frozen_joint_loss(network, image, asked, objective):
    """Return the joint loss as a function of the parameters, with everything drawn held fixed.

    What is proposed, sampled, and asked for stays that of the parameters as they are; the places of
    the proposals follow the parameters only with `through_boxes`.
    """
    rng = np.random.default_rng(5)
    output, _ = network.rpn.forward(image[None])
    batch = make_minibatch(output.anchors, GT_BOXES, IMAGE_SIZE, rng=rng, objective=objective)
    proposals = trace_proposals(
        output.anchors, output.objectness[0], output.deltas[0], IMAGE_SIZE, config=asked.proposals
    )
    regions = make_regions(proposals.boxes, GT_BOXES, GT_CLASSES, rng=rng, config=asked.regions)
    assert np.sum(regions.labels > 0) > 3
    assert np.sum(regions.indices < len(proposals.boxes)) > 6

    def loss_of(output):
        boxes = proposals.boxes
        if asked.through_boxes:
            chosen = output.anchors[proposals.anchors], output.deltas[0][proposals.anchors]
            boxes = box_ops.clip(box_ops.decode(*chosen), IMAGE_SIZE)
        places = np.concatenate([boxes, GT_BOXES])[regions.indices]
        answers, _ = network.detector.forward(output.features, places)
        detector, _ = detector_loss_forward(*answers, regions.labels, regions.targets)
        rpn, _ = rpn_loss_forward(
            output.objectness[0],
            output.deltas[0],
            batch.labels,
            batch.targets,
            locations=output.locations,
            config=objective.loss,
        )
        return rpn.total + detector.total

    return loss_of


def joint_step(network, image, asked):
    """Return the joint step whose loss `frozen_joint_loss` gives: the same draws, in its order."""
    rng, objective = np.random.default_rng(5), Objective()
    anchors = network.rpn.anchors_for(IMAGE_SIZE, like=image)
    batch = make_minibatch(anchors, GT_BOXES, IMAGE_SIZE, rng=rng, objective=objective)
    return joint_loss_and_gradients(
        network,
        image,
        batch,
        GT_BOXES,
        GT_CLASSES,
        scale=1.0,
        rng=rng,
        config=objective.loss,
        detector=asked,
    )


@pytest.mark.parametrize("through_boxes", [False, True])
def test_joint_training_from_image_to_loss(network, rng, through_boxes):
    image = rng.normal(size=(3, *IMAGE_SIZE))
    asked = objective_of(through_boxes=through_boxes)
    loss_of = frozen_joint_loss(network, image, asked, Objective())
    parameters = network.parameters()

    def forward(*values):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value = value
        return loss_of(network.rpn.forward(image[None])[0]), None

    def backward(dloss, _):
        result = joint_step(network, image, asked)
        return tuple(dloss * result.grads[parameter.name] for parameter in parameters)

    inputs = tuple(parameter.value for parameter in parameters)
    names = [parameter.name for parameter in parameters]
    # Steps small enough that no ReLU, maximum, or sampling point changes sides on the way.
    check_gradients(forward, backward, inputs, rng=rng, names=names, step=1e-6, rtol=1e-5)


def test_the_boxes_do_pass_gradients_to_the_rpn(network, rng):
    image = rng.normal(size=(3, *IMAGE_SIZE))

    def grads(through_boxes):
        return joint_step(network, image, objective_of(through_boxes=through_boxes)).grads

    with_boxes, without = grads(True), grads(False)
    assert np.any(with_boxes["rpn.deltas.weight"] != without["rpn.deltas.weight"])
    np.testing.assert_array_equal(
        with_boxes["rpn.objectness.weight"], without["rpn.objectness.weight"]
    )


def test_detector_on_given_proposals(network, rng):
    image = rng.normal(size=(3, *IMAGE_SIZE))
    proposals = GT_BOXES[[0, 1, 0]] + np.array(
        [[0.7, 0.6, 0.8, 1.1], [1, 2, -3, 1.3], [9, 7, 9, 8]]
    )
    config = RegionConfig(batch_size=6, background_iou=0.0)
    head = {parameter.name for parameter in network.rpn.head.parameters()}
    parameters = [p for p in network.parameters() if p.name not in head]

    def step():
        return detector_loss_and_gradients(
            network,
            image,
            proposals,
            GT_BOXES,
            GT_CLASSES,
            rng=np.random.default_rng(1),
            config=config,
        )

    def forward(*values):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value = value
        return step().losses["loss"], None

    def backward(dloss, _):
        return tuple(dloss * step().grads[parameter.name] for parameter in parameters)

    inputs = tuple(parameter.value for parameter in parameters)
    names = [parameter.name for parameter in parameters]
    check_gradients(forward, backward, inputs, rng=rng, names=names, step=1e-6, rtol=1e-5)
