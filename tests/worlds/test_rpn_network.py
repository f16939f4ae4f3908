"""Head, loss, step and proposals stay in the array library and on the device they were given."""

import numpy as np

from minirpn.backbones import build_backbone
from minirpn.rpn import (
    RPN,
    AnchorConfig,
    RPNHead,
    propose,
    rpn_loss_backward,
    rpn_loss_forward,
)
from minirpn.training.step import Objective, make_minibatch

GT_BOXES = [[10.0, 12, 60, 50], [70.0, 20, 90, 60]]


def test_from_image_to_gradients_and_proposals(world, rng, close):
    backbone = build_backbone("tiny", rng=rng)
    config = AnchorConfig(scales=(2, 4))
    network = RPN(backbone, RPNHead(backbone.channels, 8, config.count, rng=rng), config)
    image = rng.normal(size=(1, 3, 64, 96))
    host = [parameter.value.astype(np.float64) for parameter in network.parameters()]

    def run(array):
        for parameter, value in zip(network.parameters(), host, strict=True):
            parameter.value = array(value)
        output, cache = network.forward(array(image))
        batch = make_minibatch(
            output.anchors,
            array(np.array(GT_BOXES)),
            (64, 96),
            rng=np.random.default_rng(0),
            objective=Objective(),
        )
        objectness, deltas = output.objectness[0, ...], output.deltas[0, ...]
        loss, loss_cache = rpn_loss_forward(
            objectness, deltas, batch.labels, batch.targets, locations=output.locations
        )
        dobjectness, ddeltas = rpn_loss_backward(1.0, loss_cache)
        grads = network.backward(dobjectness[None, ...], ddeltas[None, ...], cache)
        proposals = propose(output.anchors, objectness, deltas, (64, 96))
        return [batch.labels, loss.total, *proposals, *grads.values()]

    expected = run(lambda array: array)
    for ours, theirs in zip(expected, run(world.array), strict=True):
        # Sums over channels are taken in another order by another library.
        np.testing.assert_allclose(world.check(theirs), ours, rtol=1e-9, atol=1e-12)
