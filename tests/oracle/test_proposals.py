"""Proposals against ChainerCV's, on ChainerCV's own anchors, scores and deltas."""

import numpy as np
import pytest

from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.proposals import ProposalConfig, propose

CASES = {
    "test": ProposalConfig(pre_nms=6000, post_nms=300),
    "train": ProposalConfig(pre_nms=12000, post_nms=2000),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_equal_to_chainercv(oracle, number, case):
    inputs, recorded = oracle("inputs"), oracle("chainercv")
    prefix = f"prop{number}"
    size = tuple(int(side) for side in inputs[f"{prefix}_img"])
    feature_size = tuple(int(side) for side in inputs[f"{prefix}_feat"])
    base = base_anchors(AnchorConfig(rounding=None))
    # ChainerCV keeps its anchors in float32.
    anchors = grid_anchors(base.astype(np.float32), feature_size, 16).astype(np.float64)
    score = inputs[f"{prefix}_score"]
    # Recorded scores are probabilities; their logit is the objectness that gives them.
    objectness = np.log(score / (1 - score))[:, None]
    boxes, _ = propose(
        anchors,
        objectness,
        inputs[f"{prefix}_deltas"],
        size,
        scale=float(inputs[f"{prefix}_scale"]),
        config=CASES[case],
    )
    np.testing.assert_allclose(boxes, recorded[f"{prefix}_{case}"], rtol=0, atol=1e-3)
