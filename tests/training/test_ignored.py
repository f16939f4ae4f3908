"""An ignored region, such as an object that was left out, is neither object nor background."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minirpn import boxes
from minirpn.data import Draw, VOCDataset
from minirpn.detector import Detections, RegionConfig
from minirpn.evaluation import write_coco_ground_truth
from minirpn.rpn import NEGATIVE, POSITIVE
from minirpn.training import pictures
from minirpn.training.build import build_objective, build_pipeline
from minirpn.training.config import SharingConfig
from minirpn.training.diagnostics import load_failure, save_failure
from minirpn.training.evaluate import ImageDetections, ImageProposals, precision_of, validate
from minirpn.training.trainer import NotFiniteError, Trainer

CLASSES = ("circle", "square", "triangle")
EVERY_ANCHOR = 100_000


def left_out(sample):
    """Return a sample whose objects are ignored regions."""
    annotation = sample.annotation
    nothing = {"gt_classes": np.empty(0, np.int64), "difficult": np.empty(0, bool)}
    ignored, none = annotation.gt_boxes, annotation.gt_boxes[:0]
    changed = replace(annotation, gt_boxes=none, ignored=ignored, **nothing)
    return replace(sample, annotation=changed)


def forgotten(sample):
    """Return a sample whose objects are nowhere, so that they are background."""
    sample = left_out(sample)
    none = sample.annotation.gt_boxes
    return replace(sample, annotation=replace(sample.annotation, ignored=none))


@pytest.fixture(scope="module")
def samples(shapes):
    """The training images."""
    dataset = VOCDataset(shapes, split="train")
    return [dataset[index] for index in range(4)]


@pytest.fixture
def trainer_of(small_config):
    """Make a trainer that samples every anchor and region."""

    def make(kind="rpn-only", **changes):
        return Trainer(
            replace(
                small_config,
                data=replace(small_config.data, classes=CLASSES),
                sampling=replace(small_config.sampling, batch_size=EVERY_ANCHOR),
                regions=RegionConfig(batch_size=EVERY_ANCHOR, background_iou=0.0),
                sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=20),
                optimizer=replace(small_config.optimizer, steps=12),
                **changes,
            )
        )

    return make


def example_of(trainer, sample):
    return build_pipeline(trainer.config, trainer.network).example(sample)


def negatives_on(trainer, labels, example, regions):
    """Return how many negatives have an IoU of 0.3 or more with a region."""
    anchors = trainer.network.anchors_for(example.image_size, like=example.gt_boxes)
    overlaps = boxes.iou(anchors.astype(np.float64), regions.astype(np.float64)).max(axis=1)
    return int(((labels == NEGATIVE) & (overlaps >= trainer.config.labels.negative_iou)).sum())


def test_an_object_that_was_left_out_teaches_nothing(trainer_of, samples):
    trainer = trainer_of()
    for sample in samples:
        example = example_of(trainer, left_out(sample))
        labels = trainer.minibatch(example).host_labels
        assert not (labels == POSITIVE).any()
        assert negatives_on(trainer, labels, example, example.ignored) == 0
        as_background = trainer.minibatch(example_of(trainer, forgotten(sample))).host_labels
        assert negatives_on(trainer, as_background, example, example.ignored) > 0


@pytest.mark.parametrize("kind", ["rpn-only", "joint"])
def test_labels_made_ahead_know_the_regions_too(trainer_of, samples, kind):
    trainer, other = trainer_of(kind), trainer_of(kind)
    changed = [left_out(sample) for sample in samples]
    pipeline = build_pipeline(trainer.config, trainer.network)
    order = [Draw(index) for index in range(len(changed))]
    with pipeline.examples(changed, iter(order), finish=trainer.work_ahead()) as examples:
        for sample, example in zip(changed, examples, strict=True):
            ahead = trainer.minibatch(example).host_labels
            in_step = other.minibatch(example_of(other, sample)).host_labels
            np.testing.assert_array_equal(ahead, in_step)
            assert negatives_on(trainer, example.assigned.labels, example, example.ignored) == 0


@pytest.mark.parametrize("kind", ["4-step", "approximate-joint", "joint"])
def test_proposals_on_a_region_are_no_background(trainer_of, samples, kind):
    trainer = trainer_of(kind)
    trainer.begin_phase(1 if kind == "4-step" else 0)
    example = example_of(trainer, forgotten(samples[0]))
    proposed = trainer.network.propose(
        example.image, scale=example.scale, config=trainer.detector_objective.proposals
    ).boxes
    given = proposed if kind == "4-step" else None
    counts = trainer.loss_and_gradients(example, given).counts
    assert (counts["objects"], counts["background"]) == (0, len(proposed))
    half = replace(example, ignored=proposed[: len(proposed) // 2])
    assert 0 < trainer.loss_and_gradients(half, given).counts["background"] <= len(proposed) // 2
    ignored = replace(example, ignored=proposed)
    assert trainer.loss_and_gradients(ignored, given).counts["background"] == 0


def test_validation_does_not_count_them_as_background(trainer_of, samples):
    trainer = trainer_of()

    def loss_on(dataset):
        return validate(
            trainer.network,
            dataset,
            build_pipeline(trainer.config, trainer.network),
            build_objective(trainer.config),
            trainer.config.proposals,
            seed=0,
        ).loss

    ignored, background = [left_out(s) for s in samples], [forgotten(s) for s in samples]
    # A sum over fewer anchors, divided by the same number.
    assert loss_on(ignored) < loss_on(background)


def test_the_dtype_of_the_settings_is_theirs(trainer_of, small_config, samples):
    trainer = trainer_of(model=replace(small_config.model, dtype="float64"))
    example = example_of(trainer, left_out(samples[0]))
    assert example.ignored.dtype == example.gt_boxes.dtype == np.float64
    assert len(example.ignored) > 0


def not_finite(trainer, example):
    return NotFiniteError(example, 1, "loss is nan")


def test_a_step_that_failed_is_kept_with_them(tmp_path, trainer_of, samples):
    trainer = trainer_of()
    example = example_of(trainer, left_out(samples[0]))
    path = tmp_path / "failure.npz"
    save_failure(path, trainer, not_finite(trainer, example))
    again = load_failure(path).example
    np.testing.assert_array_equal(again.ignored, example.ignored)
    np.testing.assert_array_equal(again.annotation.ignored, example.annotation.ignored)
    assert len(again.ignored) > 0


def test_an_older_file_of_a_failed_step_has_none(tmp_path, trainer_of, samples):
    trainer = trainer_of()
    example = example_of(trainer, samples[0])
    path = tmp_path / "failure.npz"
    save_failure(path, trainer, not_finite(trainer, example))
    with np.load(path) as archive:
        older = {name: archive[name] for name in archive.files if not name.endswith("ignored")}
        assert len(archive.files) == len(older) + 2
    np.savez(path, **older)
    again = load_failure(path).example
    assert again.ignored.shape == again.annotation.ignored.shape == (0, 4)


def test_pictures_of_a_mini_batch_show_what_the_loss_sees(trainer_of, samples, monkeypatch):
    pytest.importorskip("matplotlib")
    trainer, seen, make = trainer_of(), [], pictures.make_minibatch

    def spied(*arguments, **options):
        seen.append(make(*arguments, **options).host_labels)
        return make(*arguments, **options)

    monkeypatch.setattr(pictures, "make_minibatch", spied)
    sample = left_out(samples[0])
    example = example_of(trainer, sample)
    pictures._sample_pixels(trainer, [example], example, sample.image, 0)
    arguments = trainer.network, trainer.config, [sample], example
    drawn = {name: axes for name, _, axes in pictures._pictures_of_learning(*arguments)}
    legend = [text.get_text() for text in drawn["labels.png"].get_legend().get_texts()]
    assert f"ignored region ({len(example.ignored)})" in legend
    assert len(seen) == 2
    for labels in seen:
        assert negatives_on(trainer, labels, example, example.ignored) == 0


# --- evaluation ----------------------------------------------------------------------------------

TRUE, OTHER = [0.0, 0, 10, 10], [40.0, 40, 60, 60]


@pytest.fixture
def judged(samples):
    """Return the average precision of detections of two squares: a true one, and OTHER."""

    def judge(*rows, ignored):
        annotation = replace(
            samples[0].annotation,
            gt_boxes=np.array([TRUE], np.float32),
            gt_classes=np.array([1]),
            difficult=np.array([False]),
            ignored=np.array(ignored, np.float32).reshape(-1, 4),
        )
        found = Detections(
            np.array([row[0] for row in rows], np.float32),
            np.array([row[1] for row in rows], np.float32),
            np.array([row[2] for row in rows]),
        )
        proposals = ImageProposals(annotation, found.boxes, found.scores)
        return precision_of([ImageDetections(annotation, found, proposals)], CLASSES)

    return judge


def test_a_detection_on_a_left_out_object_is_no_false_positive(judged):
    rows = (TRUE, 0.5, 1), (OTHER, 0.9, 1)
    assert judged(*rows, ignored=[]).mean_ap == pytest.approx(0.5)
    result = judged(*rows, ignored=[OTHER])
    assert result.mean_ap == 1
    assert result.ignored == (0, 1, 0)
    assert [curve.positives for curve in result.curves] == [0, 1, 0]


def test_it_may_be_of_any_class_and_need_not_be_found(judged):
    result = judged((TRUE, 0.5, 1), (OTHER, 0.9, 0), (OTHER, 0.8, 2), ignored=[OTHER])
    assert result.ignored == (1, 0, 1)
    assert sum(curve.wrong for curve in result.curves) == 0
    assert judged((TRUE, 0.5, 1), ignored=[OTHER]).mean_ap == 1


def test_an_object_on_an_ignored_region_is_still_found(judged):
    result = judged((TRUE, 0.5, 1), ignored=[TRUE])
    assert (result.mean_ap, result.ignored) == (1, (0, 0, 0))


def test_in_a_coco_file_they_are_crowds_of_every_class(tmp_path, samples):
    annotation = left_out(samples[0]).annotation
    annotation = replace(annotation, ignored=np.array([[10, 20, 30, 25]], np.float32))
    write_coco_ground_truth(tmp_path / "truth.json", [annotation], CLASSES)
    rows = json.loads((tmp_path / "truth.json").read_text())["annotations"]
    assert [(row["id"], row["category_id"]) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    for row in rows:
        assert (row["iscrowd"], row["ignore"]) == (1, 1)
        assert (row["bbox"], row["area"]) == ([10, 20, 20, 5], 100)
