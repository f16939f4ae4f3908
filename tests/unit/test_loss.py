"""The RPN loss by hand, its edge cases, and every array library."""

import numpy as np
import pytest

from minirpn.rpn.loss import LossConfig, rpn_loss_backward, rpn_loss_forward
from minirpn.rpn.targets import IGNORE, NEGATIVE, POSITIVE

LABELS = np.array([POSITIVE, NEGATIVE, IGNORE], dtype=np.int8)
OBJECTNESS = np.log(np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]))
DELTAS = np.array([[0.5, 2.0, 0.0, 0.0], [9.0, 9, 9, 9], [9.0, 9, 9, 9]])
TARGETS = np.zeros((3, 4))
LOG_LOSS = -np.log(0.75) - np.log(0.5)
# smooth L1: 0.5 * 0.5^2 + (2 - 0.5) = 1.625 with sigma 1; (0.5 - 1/18) + (2 - 1/18) with sigma 3.
EXPECTED = {
    "paper": (LOG_LOSS / 256, 10 * 1.625 / 35),
    "released": (LOG_LOSS / 2, (2.5 - 1 / 9) / 2),
}


@pytest.mark.parametrize("form", EXPECTED)
def test_by_hand(world, form):
    loss, cache = rpn_loss_forward(
        world.array(OBJECTNESS),
        world.array(DELTAS),
        world.array(LABELS, np.int8),
        world.array(TARGETS),
        locations=35,
        config=LossConfig(form=form),
    )
    objectness, box = EXPECTED[form]
    np.testing.assert_allclose(world.check(loss.objectness), objectness, rtol=1e-14)
    np.testing.assert_allclose(world.check(loss.box), box, rtol=1e-14)
    np.testing.assert_allclose(world.check(loss.total), objectness + box, rtol=1e-14)
    grads = rpn_loss_backward(1.0, cache)
    dobjectness, ddeltas = world.check(grads.dobjectness), world.check(grads.ddeltas)
    assert not dobjectness[2].any()
    assert not ddeltas[1:].any()
    assert np.all(ddeltas[0, :2] > 0)
    np.testing.assert_allclose(dobjectness.sum(axis=1), 0, atol=1e-15)


def test_one_logit_costs_what_two_scores_cost():
    logits = OBJECTNESS[:, 1:] - OBJECTNESS[:, :1]
    two, _ = rpn_loss_forward(OBJECTNESS, DELTAS, LABELS, TARGETS, locations=35)
    one, cache = rpn_loss_forward(logits, DELTAS, LABELS, TARGETS, locations=35)
    np.testing.assert_allclose(one, two, rtol=1e-14)
    assert rpn_loss_backward(1.0, cache).dobjectness.shape == (3, 1)


@pytest.mark.parametrize("form", EXPECTED)
def test_nothing_sampled_costs_nothing(form):
    labels = np.full(3, IGNORE, dtype=np.int8)
    loss, cache = rpn_loss_forward(
        OBJECTNESS, DELTAS, labels, TARGETS, locations=35, config=LossConfig(form=form)
    )
    assert float(loss.total) == 0.0
    assert not any(grad.any() for grad in rpn_loss_backward(1.0, cache))


def test_perfect_answers_cost_nothing():
    objectness = np.array([[-400.0, 400.0], [400.0, -400.0], [0.0, 0.0]])
    loss, _ = rpn_loss_forward(objectness, TARGETS, LABELS, TARGETS, locations=35)
    assert tuple(map(float, loss)) == (0.0, 0.0, 0.0)


def test_the_gradient_is_that_of_whatever_follows():
    _, cache = rpn_loss_forward(OBJECTNESS, DELTAS, LABELS, TARGETS, locations=35)
    once, thrice = rpn_loss_backward(1.0, cache), rpn_loss_backward(3.0, cache)
    for one, three in zip(once, thrice, strict=True):
        np.testing.assert_allclose(3 * one, three, rtol=1e-15)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="targets"):
        rpn_loss_forward(OBJECTNESS, DELTAS, LABELS, TARGETS[:2], locations=35)
    with pytest.raises(ValueError, match="objectness"):
        rpn_loss_forward(OBJECTNESS[:2], DELTAS, LABELS, TARGETS, locations=35)


@pytest.mark.parametrize("wrong", [{"form": "other"}, {"balance": 0.0}, {"n_cls": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LossConfig(**wrong)
