"""The RPN losses and every gradient through the head, against PyTorch's autograd."""

import numpy as np
import pytest

from minirpn.rpn.head import RPNHead
from minirpn.rpn.loss import LossConfig, rpn_loss_backward, rpn_loss_forward

FORMS = {"paper": "paper", "pyfrcnn": "released"}


@pytest.mark.parametrize("case", ["", "_nopos"])
@pytest.mark.parametrize("recorded_form", FORMS)
def test_equal_to_autograd(oracle, recorded_form, case):
    inputs, recorded = oracle("inputs"), oracle("autograd")
    head = RPNHead(6, 8, 9, rng=np.random.default_rng(0))
    layers = {"1": head.conv, "c": head.objectness, "r": head.deltas}
    for key, layer in layers.items():
        layer.weight.value = inputs[f"loss_w{key}"]
        layer.bias.value = inputs[f"loss_b{key}"]
    (objectness, deltas), head_cache = head.forward(inputs["loss_feat"])
    loss, cache = rpn_loss_forward(
        objectness[0],
        deltas[0],
        inputs[f"loss_labels{case}"],
        inputs["loss_targets"],
        locations=10 * 14,
        config=LossConfig(form=FORMS[recorded_form]),
    )
    dobjectness, ddeltas = rpn_loss_backward(1.0, cache)
    dfeatures, grads = head.backward(dobjectness[None], ddeltas[None], head_cache)

    prefix = f"loss_{recorded_form}_interleaved{case}"
    close = {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(loss.objectness, recorded[f"{prefix}_cls"], **close)
    np.testing.assert_allclose(loss.box, recorded[f"{prefix}_loc"], **close)
    np.testing.assert_allclose(dfeatures, recorded[f"{prefix}_grad_feat"], **close)
    for key, layer in layers.items():
        for kind in ("weight", "bias"):
            expected = recorded[f"{prefix}_grad_{kind[0]}{key}"]
            np.testing.assert_allclose(grads[f"{layer.name}.{kind}"], expected, **close)
