"""The options of the checks of losses, of SGD and of average precision, and what they see."""

from functools import partial

import numpy as np
import pytest

from minirpn import testing
from minirpn.testing import check_cross_entropy, check_losses, check_optim, check_precision
from minirpn.testing.pairs import FormError, one_number

pytestmark = pytest.mark.slow


def refusal(check, *functions, **options):
    with pytest.raises(testing.CheckError) as caught:
        check(*functions, **options)
    return caught.value


def by_beta(x, beta):
    return np.where(np.abs(x) < beta, 0.5 * x * x / beta, np.abs(x) - 0.5 * beta)


def slope_by_beta(x, beta):
    return np.clip(x / beta, -1, 1)


def test_smooth_l1_by_beta_is_named_and_accepted():
    check = testing.check_smooth_l1
    assert 'With parameter="beta" it is right' in str(refusal(check, by_beta))
    assert check(by_beta, slope_by_beta, parameter="beta")
    with pytest.raises(ValueError, match="expected one of sigma, beta, got 'delta'"):
        check(by_beta, parameter="delta")

    def by_sigma(x, beta):
        return by_beta(x, 1 / beta**2)

    assert refusal(check, by_sigma, parameter="beta").hint == (
        "This takes beta for sigma: beta is 1 / sigma^2."
    )


def losses_of(logits, targets):
    return np.logaddexp(0, logits) - logits * targets


def slopes_of(logits, targets):
    return np.exp(-np.logaddexp(0, -logits)) - targets


def test_a_reduction_is_named_and_accepted():
    check = testing.check_sigmoid_cross_entropy

    def total(logits, targets):
        return losses_of(logits, targets).sum()

    message = str(refusal(check, total))
    assert "This is the sum of the rows: the mean of the rows is asked for." in message
    assert 'With reduction="sum" it is right' in message
    assert 'With reduction="none" it is right' in str(refusal(check, losses_of))
    assert check(total, slopes_of, reduction="sum")
    assert check(losses_of, slopes_of, reduction="none")
    with pytest.raises(ValueError, match="expected one of mean, sum, none, got 'max'"):
        check(total, reduction="max")


def test_a_value_and_a_gradient_of_different_reductions_are_no_contract():
    message = str(
        refusal(
            testing.check_sigmoid_cross_entropy,
            lambda logits, targets: losses_of(logits, targets).mean(),
            slopes_of,
        )
    )
    assert "The loss is a mean: divide its gradient by the number of rows, too." in message


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_every_reduction_of_the_softmax_is_checked(reduction):
    loss, check = check_cross_entropy.SOFTMAX, testing.check_softmax_cross_entropy
    value, mistakes = loss.value(reduction), loss.gradient_mistakes(reduction)
    assert check(value, reduction=reduction)
    hint = "The loss is no mean: do not divide its gradient by the number of rows."
    assert refusal(check, value, mistakes[hint], reduction=reduction).hint == hint


@pytest.mark.parametrize("epsilon", [1e-5, 1e-12, 3e-16])
def test_an_epsilon_of_any_size_is_told(epsilon):
    def limited(logits, targets):
        p = np.exp(check_cross_entropy.log_softmax(logits))
        return -np.log(np.take_along_axis(p, targets[:, None], axis=1) + epsilon).mean()

    hint = refusal(testing.check_softmax_cross_entropy, limited).hint
    limit = -np.log(epsilon)
    assert hint.startswith(f"No -log p gets above {limit:.1f}: is there an epsilon, or a clip?")


def clipped_logits(logits, targets):
    return check_cross_entropy.SOFTMAX.value()(np.clip(logits, -25, 25), targets)


def clipped_rpn_loss(*asked):
    def log_p(z):
        return check_cross_entropy.log_of_spoiled(z, lambda p: np.clip(p, 1e-7, 1 - 1e-7))

    return check_losses._rpn_loss(*asked, log_p=log_p)


@pytest.mark.parametrize(
    ("check", "function", "limit"),
    [
        (testing.check_softmax_cross_entropy, clipped_logits, 25.0),
        (testing.check_rpn_loss, clipped_rpn_loss, 16.1),
    ],
)
def test_a_clip_is_not_taken_for_an_epsilon(check, function, limit):
    hint = refusal(check, function).hint
    assert hint.startswith(f"No -log p gets above {limit}")
    assert "a clip" in hint


def test_the_one_element_of_a_list_or_an_array_is_a_number():
    for result in (2.0, [2.0], (2.0,), np.array(2.0), np.array([[2.0]]), [np.array([2.0])]):
        assert np.shape(one_number(result)) == ()
        assert one_number(result) == 2
    with pytest.raises(FormError, match="returns 2 values, expected one number"):
        one_number((2.0, None))
    assert one_number(np.array([1.0, 2.0])).shape == (2,)


def descend(value, velocity, grad, lr, momentum, weight_decay):
    velocity *= momentum
    velocity += lr * (grad + weight_decay * value)
    value -= velocity


def test_a_step_in_place_is_named_and_accepted():
    check = testing.check_sgd_step
    message = str(refusal(check, descend))
    assert "yours returns None, expected (value, velocity)." in message
    assert "With in_place=True it is right" in message
    assert check(descend, in_place=True)
    assert not check(lambda *asked: ..., in_place=True)

    def and_returns(value, velocity, *rest):
        descend(value, velocity, *rest)
        return value, velocity

    message = str(refusal(check, and_returns))
    assert "yours changes its argument" in message
    assert "With in_place=True it is right" in message
    assert "With in_place=False it is right" in str(
        refusal(check, check_optim.RULES["caffe"], in_place=True)
    )


def test_the_rule_and_the_place_are_named_together():
    def descend_by_torch(value, velocity, grad, lr, momentum, weight_decay):
        velocity *= momentum
        velocity += grad + weight_decay * value
        value -= lr * velocity

    error = refusal(testing.check_sgd_step, descend_by_torch)
    assert 'With rule="torch", in_place=True it is right' in str(error)


def test_a_step_is_made_where_the_one_before_ended():
    velocities = {}

    def forgets(value, velocity, grad, lr, momentum, weight_decay):
        """It returns memory of its own, which the next call writes to."""
        value, velocity = check_optim.RULES["caffe"](
            value, velocity, grad, lr, momentum, weight_decay
        ).values()
        kept = velocities.setdefault(velocity.shape, velocity.copy())
        kept[...] = velocity
        return value, kept

    error = refusal(testing.check_sgd_step, forgets)
    assert error.arguments["steps"] == 2
    assert "is it the same memory for both?" in str(error)


def voc(scores, hits, positives):
    """Return it as VOC's own kit does: a point each, and levels of k * 0.1."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    recall, precision = right / positives, right / np.arange(1, len(hits) + 1)
    levels = np.arange(0, 1.1, 0.1)
    return sum(precision[recall >= level].max(initial=0) for level in levels) / 11


def test_the_contract_of_voc_is_named_and_accepted():
    check = testing.check_average_precision
    error = refusal(check, voc)
    assert "3 * 0.1 is 0.30000000000000004" in error.hint
    assert 'With ties="order", float_levels=True it is right' in str(error)
    assert check(voc, ties="order", float_levels=True)
    assert check(voc, ties="any", float_levels=True)
    with pytest.raises(ValueError, match="expected one of together, order, any, got 'last'"):
        check(voc, ties="last")


def test_an_area_has_no_levels():
    with pytest.raises(ValueError, match=r'float_levels=True is for .*: method="area" has no'):
        testing.check_average_precision(voc, method="area", float_levels=True)


@pytest.mark.parametrize("method", ["voc07", "area"])
def test_a_limit_of_scores_is_not_taken_for_an_order(method):
    def limited(scores, hits, positives):
        return right(np.minimum(scores, 1), hits, positives)

    right = partial(check_precision._right, method=method, ties="together", float_levels=False)
    assert refusal(testing.check_average_precision, limited, method=method).hint == ""


def test_equal_scores_in_any_order_are_named_and_accepted():
    def last_first(scores, hits, positives):
        order = np.lexsort((-np.arange(len(scores)), -scores))
        return right(np.arange(len(scores), 0, -1), hits[order], positives)

    right = check_precision._average_of(check_precision._eleven)
    check = testing.check_average_precision
    assert 'With ties="any" it is right' in str(refusal(check, last_first, ties="order"))
    assert check(last_first, ties="any")


@pytest.mark.parametrize("ties", ["order", "any"])
def test_a_fault_behind_a_tie_is_found_under_each_rule_for_ties(ties):
    def squared(scores, hits, positives):
        return voc(scores**2, hits, positives)

    options = {"ties": ties, "float_levels": True}
    error = refusal(testing.check_average_precision, squared, **options)
    assert error.hint == "A score may be below 0: sort by the score, not by its size."


def test_hints_on_average_precision_hold_under_each_contract():
    for options in ({"ties": "order"}, {"float_levels": True}, {"method": "area", "ties": "order"}):
        known = check_precision.mistakes(**({"method": "voc07"} | options))
        for hint in (check_precision.WHOLE_TENTHS, check_precision.ONE_POINT):
            if hint in known:
                error = refusal(testing.check_average_precision, known[hint], **options)
                assert error.hint == hint


def test_the_figures_in_hints_are_right():
    tenths = np.arange(11) / 10
    assert str(3 * 0.1) == str(0.1 + 0.1 + 0.1) == "0.30000000000000004"
    by_float = np.sign(check_precision.FLOAT_LEVELS - tenths)
    running = np.sign(check_precision.RUNNING_LEVELS - tenths)
    np.testing.assert_array_equal(by_float, [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(running, [0, 0, 0, 1, 0, 0, 0, 0, -1, -1, -1])
    assert 1 - 1 / (1 + np.exp(-37)) == 0 < 1 - 1 / (1 + np.exp(-36))
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(1000.0))
