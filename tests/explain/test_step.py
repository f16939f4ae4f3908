"""An opened step is the very step that training would take."""

import dataclasses

import numpy as np
import pytest

from minirpn import boxes
from minirpn.errors import InputError
from minirpn.explain import Picture, Rule, open_step
from minirpn.explain.page import contents_of
from minirpn.rpn import IGNORE, POSITIVE, propose, rpn_loss_backward
from minirpn.training.build import build_objective
from minirpn.training.step import forward_loss, make_minibatch


def trained_on(step, network):
    """Return what the functions that training calls make of the same image and seed."""
    image, image_size = step.example.image, step.example.image_size
    rng, objective = np.random.default_rng(step.config.run.seed), build_objective(step.config)
    anchors = network.anchors_for(image_size, like=image)
    batch = make_minibatch(
        anchors, step.learning.gt_boxes, image_size, rng=rng, objective=objective
    )
    return *forward_loss(network, image, batch, config=objective.loss), batch


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("classifier", ["softmax", "logistic"])
def test_the_numbers_are_those_of_training(opened, network_of, form, classifier):
    step = opened(loss__form=form, model__classifier=classifier)
    loss, output, (_, cache), batch = trained_on(step, network_of(step.config))
    learning = step.learning
    assert learning.loss == loss
    np.testing.assert_array_equal(learning.labels, batch.labels)
    np.testing.assert_array_equal(step.output.deltas, output.deltas)
    sampled = batch.labels == POSITIVE
    assert 0 < sampled.sum() < (learning.assigned.labels == POSITIVE).sum()
    np.testing.assert_array_equal(learning.targets[sampled], batch.targets[sampled])
    grads = rpn_loss_backward(1.0, cache)
    np.testing.assert_array_equal(learning.grads.dobjectness, grads.dobjectness)
    np.testing.assert_array_equal(learning.grads.ddeltas, grads.ddeltas)
    total = learning.terms.contributions.sum(dtype=np.float64)
    np.testing.assert_allclose(total, float(loss.total), rtol=2e-5)


def test_every_positive_has_its_target_sampled_or_not(opened):
    step = opened()
    learning = step.learning
    positive = learning.assigned.labels == POSITIVE
    anchors = step.output.anchors[positive].astype(np.float64)
    goals = learning.gt_boxes[learning.assigned.matched_gt[positive]]
    reached = boxes.decode(anchors, learning.targets[positive].astype(np.float64))
    np.testing.assert_allclose(reached, goals, atol=1e-4)
    assert not learning.targets[~positive].any()


def test_every_rule_occurs_and_agrees_with_the_label(opened):
    learning = opened().learning
    counts = {rule: int((learning.rules == rule).sum()) for rule in Rule}
    assert min(counts[rule] for rule in (Rule.NEGATIVE, Rule.BETWEEN, Rule.OUTSIDE)) > 0
    positive = np.isin(learning.rules, [Rule.BY_IOU, Rule.BY_BEST, Rule.BY_BOTH])
    np.testing.assert_array_equal(positive, learning.assigned.labels == POSITIVE)
    np.testing.assert_array_equal(learning.best_of >= 0, learning.assigned.by_best)


def test_the_ranking_is_that_of_the_proposals(opened):
    step = opened()
    found = propose(
        step.output.anchors,
        step.output.objectness[0],
        step.output.deltas[0],
        step.example.image_size,
        scale=step.example.scale,
        config=step.config.proposals,
    )
    assert (step.ranking.fates == -1).sum() == len(found.boxes) > 0


def test_another_seed_draws_another_mini_batch(opened):
    one, same, other = opened(), opened(), opened(run__seed=1)
    np.testing.assert_array_equal(one.learning.labels, same.learning.labels)
    assert (one.learning.labels != other.learning.labels).any()
    np.testing.assert_array_equal(one.learning.rules, other.learning.rules)


def test_without_ground_truth_there_is_nothing_to_learn(opened, lone_image):
    step = opened(lone_image("lone.jpg"))
    assert step.learning is None
    np.testing.assert_array_equal(step.output.deltas, opened().output.deltas)
    np.testing.assert_array_equal(step.ranking.anchors, opened().ranking.anchors)


def marked_difficult(picture):
    annotation = picture.sample.annotation
    hard = dataclasses.replace(annotation, difficult=np.ones_like(annotation.difficult))
    return Picture(dataclasses.replace(picture.sample, annotation=hard), picture.classes)


def test_difficult_objects_are_learnt_from_only_when_asked(opened, settings, network_of):
    picture = marked_difficult(opened().picture)
    config = settings()
    learning = open_step(network_of(config), config, picture).learning
    assert learning.gt_boxes.shape == (0, 4)
    assert not (learning.labels == POSITIVE).any()
    assert float(learning.loss.total) > 0  # an image without objects teaches background
    config = settings(data__use_difficult=True)
    learning = open_step(network_of(config), config, picture).learning
    np.testing.assert_array_equal(learning.gt_boxes, opened().learning.gt_boxes)


def test_ignored_regions_teach_nothing_and_are_on_the_page(opened, settings, network_of):
    picture = opened().picture
    annotation = picture.sample.annotation
    ignored = dataclasses.replace(annotation, ignored=annotation.gt_boxes)
    ignored = dataclasses.replace(ignored, difficult=np.ones_like(annotation.difficult))
    picture = picture._replace(sample=dataclasses.replace(picture.sample, annotation=ignored))
    step = open_step(network_of(settings()), settings(), picture)
    labels, rules = step.learning.assigned.labels, step.learning.rules
    assert not (labels == POSITIVE).any()
    assert (labels[rules == Rule.ON_IGNORED] == IGNORE).all()
    assert (rules == Rule.ON_IGNORED).any()
    told = [item["box"] for item in contents_of(step)["objects"]["ignored"]]
    np.testing.assert_array_equal(np.array(told, np.float32), step.example.gt_boxes)


def test_the_base_anchors_stand_where_the_network_puts_them(opened):
    step = opened(model__anchor_centre="receptive-field")
    A = len(step.base_anchors)
    np.testing.assert_array_equal(step.base_anchors, step.output.anchors[:A])
    assert (step.base_anchors != opened().base_anchors).any()


def test_a_loss_that_is_not_finite_is_said_in_one_line(opened, settings, network_of):
    config = settings()
    network = network_of(config)
    network.head.deltas.parameters()[0].value *= np.float32(np.inf)
    with pytest.raises(InputError, match=r"000001.jpg: total loss is (nan|inf)"):
        open_step(network, config, opened().picture)
