"""Detector, joint step and detections stay in the array library and on the device given."""

import numpy as np
import pytest

from minirpn.backbones import build_backbone
from minirpn.detector import FasterRCNN, FastRCNN, RegionConfig, build_head
from minirpn.rpn import RPN, AnchorConfig, ProposalConfig, RPNHead
from minirpn.training.detector_step import (
    DetectorObjective,
    detector_loss_and_gradients,
    joint_loss_and_gradients,
)
from minirpn.training.step import Objective, make_minibatch

GT_BOXES = np.array([[10.0, 12, 60, 50], [70.0, 20, 90, 60]])
GT_CLASSES = np.array([1, 0])
IGNORED = np.array([[0.0, 0, 30, 30]])
PROPOSALS = ProposalConfig(pre_nms=200, post_nms=40, min_size=4)


@pytest.mark.parametrize("pooling", ["pool", "align"])
def test_from_image_to_gradients_and_detections(world, rng, pooling):
    backbone = build_backbone("tiny", rng=rng)
    anchors = AnchorConfig(scales=(2, 4))
    rpn = RPN(backbone, RPNHead(backbone.channels, 8, anchors.count, rng=rng), anchors)
    head, size = build_head("tiny", backbone.channels, 2, rng=rng)
    model = FasterRCNN(rpn, FastRCNN(head, size, rpn.stride, pooling=pooling))
    image = rng.normal(size=(3, 64, 96))
    host = [parameter.value.astype(np.float64) for parameter in model.parameters()]
    asked = DetectorObjective(
        RegionConfig(batch_size=16), PROPOSALS, through_boxes=pooling == "align"
    )

    def run(array):
        for parameter, value in zip(model.parameters(), host, strict=True):
            parameter.value = array(value)
        given = array(image), array(GT_BOXES), array(GT_CLASSES)
        ignored = array(IGNORED)
        generator, objective = np.random.default_rng(0), Objective()
        places = rpn.anchors_for((64, 96), like=given[0])
        batch = make_minibatch(
            places, given[1], (64, 96), rng=generator, objective=objective, ignored=ignored
        )
        joint = joint_loss_and_gradients(
            model,
            given[0],
            batch,
            *given[1:],
            scale=1.0,
            rng=generator,
            config=objective.loss,
            detector=asked,
            ignored=ignored,
        )
        alone = detector_loss_and_gradients(
            model,
            given[0],
            *given[1:2],
            *given[1:],
            rng=np.random.default_rng(0),
            config=asked.regions,
            ignored=ignored,
        )
        found, _ = model.detect(given[0], proposals=PROPOSALS)
        results = [joint.losses["loss"], alone.losses["loss"], *found]
        return results + [
            step.grads[name] for step in (joint, alone) for name in sorted(step.grads)
        ]

    expected = run(lambda array: array)
    assert len(expected[2]) > 0
    for ours, theirs in zip(expected, run(world.array), strict=True):
        # Sums over channels are taken in another order by another library.
        np.testing.assert_allclose(world.check(theirs), ours, rtol=1e-8, atol=1e-11)
