"""Measuring a network: proposals come back in original pixels, and nothing is disturbed."""

from dataclasses import replace

import numpy as np
import pytest

from minirpn.accel import threads
from minirpn.data import Annotation, Example, ResizeConfig, VOCDataset
from minirpn.errors import InputError
from minirpn.files import write_npz
from minirpn.rpn import Proposals
from minirpn.training.build import build_objective, build_pipeline, rpn_of
from minirpn.training.config import SharingConfig
from minirpn.training.evaluate import (
    PROPOSALS_FORMAT,
    as_many_as,
    evaluate_split,
    in_original_pixels,
    load_proposals,
    propose_all,
    validate,
)
from minirpn.training.trainer import Trainer


def test_proposals_come_back_in_original_pixels():
    none = np.zeros((0, 4), np.float32)
    annotation = Annotation("a", "a.jpg", (50, 60), none, np.zeros(0, int), np.zeros(0, bool))
    example = Example(annotation, np.zeros((3, 80, 96), np.float32), none, 1.6, False)
    found = Proposals(np.array([[16.0, 32, 80, 64]], np.float32), np.array([0.5], np.float32))
    boxes = in_original_pixels(found, example).boxes
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [[10, 20, 50, 40]], rtol=1e-6)


def test_proposals_stay_inside_the_original_image_whatever_the_scale(small_config, shapes):
    # 80 x 167/64 = 208.75: the resized image, 209 wide, ends beyond what the scale says.
    config = replace(small_config, resize=ResizeConfig(short_side=167, max_side=240))
    network = Trainer(config).network
    dataset = VOCDataset(shapes, split="val")
    for item in propose_all(network, dataset, build_pipeline(config, network), config.proposals):
        height, width = item.annotation.image_size
        assert len(item.boxes) > 0
        assert np.all(item.boxes[:, 2:] <= (width, height))


def test_asking_for_more_proposals_leaves_the_first_ones_as_they_are(small_config, shapes):
    network = Trainer(small_config).network
    dataset = VOCDataset(shapes, split="val")
    pipeline = build_pipeline(small_config, network)
    few = replace(small_config.proposals, pre_nms=40, post_nms=10)
    more = as_many_as(few, 60)
    assert (more.pre_nms, more.post_nms) == (60, 60)
    assert more.min_size == few.min_size
    for one, other in zip(
        propose_all(network, dataset, pipeline, few),
        propose_all(network, dataset, pipeline, more),
        strict=True,
    ):
        assert len(other.boxes) > len(one.boxes) > 0
        np.testing.assert_array_equal(other.boxes[: len(one.boxes)], one.boxes)


def test_validation_is_repeatable_and_leaves_the_training_alone(small_config, shapes):
    trainer = Trainer(small_config)
    before = trainer.checkpoint()
    dataset = VOCDataset(shapes, split="val")
    arguments = (
        trainer.network,
        dataset,
        build_pipeline(small_config, trainer.network),
        build_objective(small_config),
        small_config.proposals,
    )
    once, again = validate(*arguments, seed=0), validate(*arguments, seed=0)
    assert once[:3] == again[:3]
    assert once.images == len(dataset)
    assert validate(*arguments, seed=1).loss != once.loss
    after = trainer.checkpoint()
    for name, value in before.parameters.items():
        np.testing.assert_array_equal(after.parameters[name], value)


@pytest.mark.parametrize("kind", ["rpn-only", "approximate-joint"])
def test_what_is_measured_does_not_depend_on_the_number_of_threads(small_config, shapes, kind):
    dataset = VOCDataset(shapes, split="train")
    config = replace(
        small_config,
        sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30),
        data=replace(small_config.data, classes=dataset.classes),
    )
    model = Trainer(config).model
    pipeline = build_pipeline(config, rpn_of(model))
    before, results = threads.thread_count(), []
    try:
        for count in (1, 2, 3, 9):
            threads.set_threads(count)
            split = evaluate_split(model, config, dataset)
            validation = validate(
                model,
                dataset,
                pipeline,
                build_objective(config),
                config.proposals,
                detections=config.detections if kind != "rpn-only" else None,
                seed=0,
            )
            results.append(
                [
                    *(part for image in split.proposals for part in image[1:]),
                    *(part for image in split.detections for part in image.detections),
                    *(vars(split.recall).values()),
                    *(vars(validation.recall).values()),
                    *validation[:3],
                ]
            )
            ids = [image.annotation.image_id for image in split.proposals]
            assert ids == [sample.annotation.image_id for sample in dataset]
    finally:
        threads.set_threads(before)
    for result in results[1:]:
        np.testing.assert_equal(result, results[0])


def test_a_step_is_no_longer_than_the_limit_allows(small_config, shapes):
    optimizer = replace(small_config.optimizer, clip_norm=1e-3, weight_decay=0.0)
    config = replace(small_config, optimizer=optimizer)
    trainer = Trainer(config)
    pipeline = build_pipeline(config, trainer.network)
    before = {p.name: p.value for p in trainer.model.parameters()}
    with pipeline.in_order(VOCDataset(shapes, split="train"), 1) as examples:
        trainer.train_step([next(examples)])
    # Biases learn at twice the rate.
    moved = sum(
        np.sum((p.value - before[p.name]) ** 2 / p.lr_multiplier**2)
        for p in trainer.model.parameters()
    )
    assert np.sqrt(moved) == pytest.approx(1e-3 * optimizer.lr, rel=1e-2)


# --- files of proposals --------------------------------------------------------------------------

METADATA = {"format": PROPOSALS_FORMAT, "images": ["a", "b"], "counts": [2, 1]}
ARRAYS = {"boxes": np.zeros((3, 4), np.float32), "scores": np.ones(3, np.float32)}


def filled(value):
    return np.full((3, 4), value, np.float32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": 5}, "images: expected a list, got 5"),
        ({"images": ["a", None]}, "images: 2: expected a text"),
        ({"images": ["a", "a"]}, "images: expected each once"),
        ({"images": ["a"]}, "counts: expected 1 values, got 2"),
        ({"counts": [2, True]}, "counts: 2: expected a whole number"),
        ({"counts": [4, -1]}, "counts: 2: expected a whole number"),
        ({"counts": [2, 10**400]}, "counts: 2: expected a whole number"),
        ({"counts": [2, 2]}, "boxes: expected float32 (4, 4), got float32 (3, 4)"),
        ({"boxes": np.zeros((3, 4))}, "boxes: expected float32 (3, 4), got float64 (3, 4)"),
        ({"boxes": np.zeros((3, 5), np.float32)}, "boxes: expected float32 (3, 4), got"),
        ({"boxes": filled(np.nan)}, "boxes: not all are finite numbers up to 1e+06"),
        ({"boxes": filled(1e38)}, "boxes: not all are finite numbers up to 1e+06"),
        ({"boxes": -np.arange(12, dtype=np.float32).reshape(3, 4)}, "boxes: one ends before"),
        ({"scores": np.full(3, np.inf, np.float32)}, "scores: not all are finite numbers"),
        ({"scores": np.ones((3, 1), np.float32)}, "scores: expected float32 (3,), got"),
    ],
)
def test_what_is_no_proposal_is_named(tmp_path, change, reason):
    path = tmp_path / "proposals.npz"
    arrays = {name: change.get(name, array) for name, array in ARRAYS.items()}
    metadata = {name: change.get(name, value) for name, value in METADATA.items()}
    write_npz(path, METADATA, ARRAYS)
    assert load_proposals(path)["a"].boxes.shape == (2, 4)
    write_npz(path, metadata, arrays)
    with pytest.raises(InputError) as caught:
        load_proposals(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
