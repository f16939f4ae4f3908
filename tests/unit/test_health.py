"""Signs of life: counted by hand, and a dying backbone is said."""

import numpy as np
import pytest

from minirpn.backbones import build_backbone
from minirpn.data.samples import Annotation, Example
from minirpn.rpn import RPN, AnchorConfig, ProposalConfig, RPNHead
from minirpn.training.diagnostics import DYING_ZERO_SHARE, LastStep, examine, layer_of, norms


@pytest.fixture
def network(rng):
    backbone = build_backbone("tiny", rng=rng)
    config = AnchorConfig(scales=(2, 4))
    return RPN(backbone, RPNHead(backbone.channels, 8, config.count, rng=rng), config)


@pytest.fixture
def example(rng):
    none = np.zeros((0, 4), np.float32)
    annotation = Annotation("a", "a.jpg", (64, 96), none, np.zeros(0, int), np.zeros(0, bool))
    image = rng.normal(size=(3, 64, 96)).astype(np.float32)
    return Example(annotation, image, none, 1.0, False)


NOTHING = LastStep({}, {}, {})


def test_norms_by_stage():
    grads = {
        "conv1.weight": np.array([3.0, 0.0]),
        "conv1.bias": np.array([4.0]),
        "rpn.conv.weight": np.array([[2.0]]),
    }
    assert norms(grads) == {"conv1": 5.0, "rpn": 2.0}
    assert norms(grads, layer_of) == {"conv1": 5.0, "rpn.conv": 2.0}


def test_how_far_a_step_went(network, example):
    """conv1: gradient 5, weight 10, change 1; rpn.conv has no weight yet; conv2 is frozen."""
    last = LastStep(
        grads={"conv1.weight": np.array([3.0]), "conv1.bias": np.array([4.0])},
        changes={"conv1.weight": np.array([1.0]), "rpn.conv.weight": np.array([1.0])},
        weights={
            "conv1.weight": np.array([6.0]),
            "conv1.bias": np.array([8.0]),
            "conv2.weight": np.array([7.0]),
            "rpn.conv.weight": np.array([0.0]),
        },
    )
    health = examine(network, example, last, ProposalConfig())
    assert health.gradient_norm == {"conv1": 5.0}
    assert health.weight_norm == {"conv1": 10.0, "conv2": 7.0, "rpn": 0.0}
    assert health.update_ratio == {"conv1": 0.1}
    assert health.layers == {
        "conv1": {"gradient": 5.0, "weight": 10.0, "update": 1.0},
        "conv2": {"weight": 7.0},
        "rpn.conv": {"weight": 0.0, "update": 1.0},
    }
    assert health.to_record()["layers"]["conv2"] == {"weight": 7.0}


def test_a_healthy_network_gives_no_warning(network, example):
    health = examine(network, example, NOTHING, ProposalConfig())
    assert set(health.zero_share) == set(network.backbone.stages)
    assert all(0 < share < DYING_ZERO_SHARE for share in health.zero_share.values())
    assert health.warnings() == []
    assert 0 < health.proposals_after_nms <= health.proposals_before_nms <= 4 * 6 * 6
    assert len(health.objectness_by_anchor) == 6
    # New weights are small, so each anchor is about as likely an object as not.
    np.testing.assert_allclose(health.objectness_by_anchor, 0.5, atol=0.05)


def test_a_dead_stage_is_named(network, example):
    for parameter in network.parameters():
        if parameter.name == "conv3.bias":
            parameter.value = parameter.value - 1e6
    health = examine(network, example, NOTHING, ProposalConfig())
    assert health.zero_share["conv3"] == 1.0
    assert any(line.startswith("conv3: 100.0% of the activations") for line in health.warnings())


def test_the_zero_share_is_a_count(network, example):
    seen = {}
    network.forward(example.image[None], observe=lambda name, y: seen.update({name: y}))
    health = examine(network, example, NOTHING, ProposalConfig())
    assert health.zero_share["conv5"] == pytest.approx(float(np.mean(seen["relu5"] == 0)))
