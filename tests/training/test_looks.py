"""An RPN that looks at an image in several sizes: what it proposes is chosen among all of them."""

from dataclasses import replace

import numpy as np
import pytest

from minirpn import loops
from minirpn.data import VOCDataset
from minirpn.errors import InputError
from minirpn.export import metadata_of
from minirpn.training.build import build_objective, build_pipeline
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig
from minirpn.training.evaluate import evaluate_split, propose_all, validate
from minirpn.training.train import train
from minirpn.training.trainer import Trainer


@pytest.fixture(scope="module")
def network(small_config):
    return Trainer(small_config).network


@pytest.fixture(scope="module")
def dataset(shapes):
    return VOCDataset(shapes, split="val")


def with_looks(config, *also_at, **proposals):
    return replace(
        config,
        resize=replace(config.resize, also_at=also_at),
        proposals=replace(config.proposals, **proposals),
    )


def proposed(network, dataset, config):
    return list(propose_all(network, dataset, build_pipeline(config, network), config.proposals))


def test_to_look_twice_at_one_size_is_to_look_once(small_config, network, dataset):
    once, twice = (
        proposed(network, dataset, with_looks(small_config, *sizes)) for sizes in ((), (1.0,))
    )
    for one, other in zip(once, twice, strict=True):
        np.testing.assert_array_equal(other.scores, one.scores)
        np.testing.assert_allclose(other.boxes, one.boxes, rtol=1e-5, atol=1e-4)


def test_the_loops_choose_the_same_among_the_boxes_of_each_size(small_config, network, dataset):
    # min_size is in original pixels, so each size drops the same; at 1.0 NMS drops nothing.
    options = {"pre_nms": 200, "iou_threshold": 1.0, "post_nms": 200, "min_size": 6.0}
    alone = []
    for factor in (1.0, 1.5, 0.75):
        resize = small_config.resize
        sides = round(factor * resize.short_side), round(factor * resize.max_side)
        sized = replace(
            small_config, resize=replace(resize, short_side=sides[0], max_side=sides[1])
        )
        # The same anchors: pixels of the resized image are what they are.
        alone.append(proposed(network, dataset, with_looks(sized, **options)))
    config = with_looks(small_config, 1.5, 0.75, pre_nms=150, iou_threshold=0.6, min_size=6.0)
    config = replace(config, proposals=replace(config.proposals, post_nms=40))
    for place, found in enumerate(proposed(network, dataset, config)):
        boxes, scores = (
            np.concatenate([getattr(images[place], name) for images in alone])
            for name in ("boxes", "scores")
        )
        best = np.argsort(-scores, kind="stable")[:150]
        kept = best[loops.nms(boxes[best], 0.6, 40)]
        assert 10 < len(found.boxes) == len(kept)
        np.testing.assert_array_equal(found.scores, scores[kept])
        np.testing.assert_allclose(found.boxes, boxes[kept], rtol=1e-5, atol=1e-4)


def test_another_size_brings_other_boxes_inside_the_image(small_config, network, dataset):
    config = with_looks(small_config, 1.7)
    for one, found in zip(
        proposed(network, dataset, small_config), proposed(network, dataset, config), strict=True
    ):
        assert not np.array_equal(one.boxes, found.boxes)
        assert np.all(np.diff(found.scores) <= 0)
        height, width = found.annotation.image_size
        assert np.all(found.boxes >= 0)
        assert np.all(found.boxes[:, 2:] <= (width, height))


def test_a_validation_measures_what_an_evaluation_does(small_config, network, dataset):
    config = with_looks(small_config, 1.5)
    validation = validate(
        network,
        dataset,
        build_pipeline(config, network),
        build_objective(config),
        config.proposals,
        seed=0,
    )
    evaluation = evaluate_split(network, config, dataset)
    assert validation.recall.to_dict() == evaluation.recall.to_dict()
    once = evaluate_split(network, small_config, dataset)
    assert once.recall.to_dict() != evaluation.recall.to_dict()


def test_a_detector_looks_once(small_config, dataset):
    sharing = SharingConfig(kind="approximate-joint", pre_nms=60, post_nms=30)
    data = replace(small_config.data, classes=tuple(dataset.classes))
    config = replace(small_config, sharing=sharing, data=data)
    model = Trainer(config).model
    results = [
        evaluate_split(model, one, dataset) for one in (config, with_looks(config, 1.5, 0.75))
    ]
    assert results[1].recall.to_dict() == results[0].recall.to_dict()
    assert metadata_of(model.rpn, with_looks(config, 1.5))["resize"]["also_at"] == ()
    assert build_pipeline(with_looks(small_config, 1.5), model.rpn).resize.looks == (1.0, 1.5)


@pytest.mark.usefixtures("no_finish")
def test_a_training_with_looks_is_the_same_training(small_config, new_run):
    """Only what it measures differs: it learns from one size."""
    ends = []
    for name, config in (("one", small_config), ("more", with_looks(small_config, 1.5))):
        folder = new_run(name, config)
        train(config, folder, progress=False)
        ends.append(load_checkpoint(folder.last))
    np.testing.assert_equal(ends[1].parameters, ends[0].parameters)
    with pytest.raises(InputError, match=r"resize\.also_at"):
        train(small_config, folder, resume=True, progress=False)
