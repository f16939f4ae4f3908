"""The pictures of a run: the same few images again and again, and what it learned at the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.files import one_line_errors, replace_file, write_json
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import object_scores
from minirpn.rpn.targets import NEGATIVE, POSITIVE
from minirpn.training.build import build_objective, build_pipeline
from minirpn.training.config import TrainConfig
from minirpn.training.evaluate import SplitResult, propose_in
from minirpn.training.phases import Phase
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import make_minibatch
from minirpn.training.trainer import Trainer

IMAGES = 3  #: drawn again and again
MOMENTS = 8  #: at most, with the last step; step 0 is one more
_NEGATIVES = 12  # drawn of those sampled
_PROPOSALS = 10
FINAL_IMAGES = 6  #: validation images drawn at the end, with proposals and detections
FINAL_PROPOSALS = 30  #: drawn on each
LEAST_SCORE = 0.5  #: of the detections drawn


class SamplePicture(NamedTuple):
    """A picture and what it shows."""

    image_id: str
    name: str  # of the file, under ``plots/samples``
    pixels: np.ndarray  # (h, w, 3) uint8
    positives: int  # sampled


@cache
def moments_of(phases: tuple[Phase, ...], every: int) -> frozenset[int]:
    """Return the steps after which pictures are drawn: 0, the last, and some multiples of `every`.

    None are drawn while the RPN does not fit the backbone.
    """
    due = [
        step
        for phase in phases
        if phase.rpn_usable
        for step in range(phase.start + 1, phase.end + 1)
        if step % every == 0 or step == phase.end
    ]
    chosen = np.linspace(0, len(due) - 1, min(MOMENTS, len(due))).round().astype(int)
    first = {0} if phases[0].rpn_usable else set()
    return frozenset(first | {due[index] for index in chosen})


def draw_samples(trainer: Trainer, folder: RunFolder, dataset: VOCDataset) -> list[SamplePicture]:
    """Draw a few images as the network sees them now, into ``plots/samples``.

    They are evenly spread over the data set, and the same ones each time. Above are the sampled
    anchors: positives blue, some of the negatives grey. Below are the best proposals. The objects
    are red.
    """
    from minirpn.viz.small import save_small

    spread = np.linspace(0, len(dataset) - 1, min(IMAGES, len(dataset)) + 2)[1:-1]
    indices = [int(index) for index in np.unique(spread.round())]
    with one_line_errors(folder.samples, "make the folder"):
        folder.samples.mkdir(exist_ok=True)
    pipeline, pictures = build_pipeline(trainer.config, trainer.network), []
    change = trainer.config.data.augment.unvaried
    for number, index in enumerate(indices, start=1):
        sample = dataset[index]
        looks, learnt = pipeline.looks(sample), pipeline.example(sample, augmentation=change)
        pixels, positives = _sample_pixels(trainer, looks, learnt, sample.image, index)
        name = f"{number}-{trainer.step:07d}.png"
        pictures.append(SamplePicture(learnt.image_id, name, pixels, positives))
    for picture in pictures:
        replace_file(folder.samples / picture.name, partial(save_small, picture.pixels))
    return pictures


def _sample_pixels(
    trainer: Trainer,
    looks: Sequence[Example],
    learnt: Example,
    image: np.ndarray,
    index: int,
) -> tuple[np.ndarray, int]:
    """Return the picture (h, w, 3) uint8 of one image, and how many positives were sampled.

    Parameters
    ----------
    trainer
        The network as it is now.
    looks
        The image as the network proposes for it.
    learnt
        The image at the size of training images.
    image
        Its own pixels (H, W, 3).
    index
        Its place in the data set.
    """
    from minirpn.viz.small import above, draw_small
    from minirpn.viz.style import BLUE, GREY, SKY, VERMILLION

    config, example = trainer.config, learnt
    objects = example.gt_boxes[config.data.learnt(example.difficult)]
    anchors = trainer.network.anchors_for(example.image_size, like=example.image)
    batch = make_minibatch(
        anchors,
        backend.to_device(objects, example.image),
        example.image_size,
        rng=np.random.default_rng([config.run.seed, index, trainer.step]),
        objective=trainer.objective,
        ignored=backend.to_device(example.ignored, example.image),
    )
    proposals = propose_in(trainer.network, looks, config.proposals)
    labels, scale = batch.host_labels, np.float32(example.scale)
    anchors = backend.to_host(anchors) / scale
    negatives = np.flatnonzero(labels == NEGATIVE)
    count = _NEGATIVES if len(negatives) else 0
    drawn = negatives[np.linspace(0, len(negatives) - 1, count).astype(int)]
    positives = anchors[labels == POSITIVE]
    best = proposals.boxes[:_PROPOSALS][::-1]
    objects = objects / scale
    sampled = [(anchors[drawn], GREY), (positives, SKY), (objects, VERMILLION)]
    upper = draw_small(image, sampled)
    lower = draw_small(image, [(best, BLUE), (objects, VERMILLION)])
    return above(upper, lower), len(positives)


def draw_final_pictures(
    network: RPN,
    config: TrainConfig,
    folder: RunFolder,
    train_set: VOCDataset,
    val_set: VOCDataset | None,
    result: SplitResult | None,
) -> None:
    """Draw what the network learned into ``plots``, with captions.

    Parameters
    ----------
    network, config, folder
        Of the run.
    train_set
        Its first image is drawn with anchors, labels and objectness.
    val_set, result
        Some of its images are drawn with their proposals and detections; None for no validation.
    """
    from minirpn import viz

    captions = {}
    change = config.data.augment.unvaried
    example = build_pipeline(config, network).example(train_set[0], augmentation=change)
    pictures = _pictures_of_learning(network, config, train_set, example)
    if val_set is not None and result is not None:
        pictures = itertools.chain(pictures, _pictures_of_result(val_set, result))
    for name, caption, axes in pictures:
        viz.save(axes, folder.plots / name)
        captions[name] = caption
    write_json(folder.plots / "captions.json", captions)


# The name of a file, what the picture shows, and matplotlib's axes.
_FinalPicture = tuple[str, str, Any]


def _pictures_of_learning(
    network: RPN, config: TrainConfig, train_set: VOCDataset, example: Example
) -> Iterator[_FinalPicture]:
    """Yield anchors, labels and objectness on one training image."""
    from minirpn import viz

    output, _ = network.forward(example.image[None, ...])
    anchors = backend.to_host(output.anchors) / np.float32(example.scale)
    learnt = config.data.learnt(example.difficult)
    image, objects = train_set[0].image, example.annotation.gt_boxes[learnt]
    A = network.base_anchors.shape[0]
    Hf, Wf = output.features.shape[2:]
    middle = ((Hf // 2) * Wf + Wf // 2) * A
    axes = viz.draw_anchors(image, anchors[middle : middle + A])
    yield "anchors.png", f"The {A} anchors of the cell in the middle", axes
    batch = make_minibatch(
        output.anchors,
        backend.to_device(example.gt_boxes[learnt], example.image),
        example.image_size,
        rng=np.random.default_rng(config.run.seed),
        objective=build_objective(config),
        ignored=backend.to_device(example.ignored, example.image),
    )
    caption = f"A mini-batch of {config.sampling.batch_size} anchors, as the loss sees it"
    axes = viz.draw_labels(
        image, anchors, batch.host_labels, objects, ignored=example.annotation.ignored
    )
    yield "labels.png", caption, axes
    scores = backend.to_host(object_scores(output.objectness[0, ...]))
    best = scores.reshape(Hf, Wf, A).max(axis=2)  # (K,) -> (Hf, Wf)
    axes = viz.plot_objectness(best, image, stride=network.stride / example.scale)
    yield "objectness.png", "The best objectness among the anchors of each cell", axes


def _pictures_of_result(dataset: VOCDataset, result: SplitResult) -> Iterator[_FinalPicture]:
    """Yield images of a data set with their best proposals, and with detections."""
    from minirpn import viz

    # Evenly over the split, so that neighbours from one scene do not fill the page.
    count = min(FINAL_IMAGES, len(result.proposals))
    chosen = np.linspace(0, len(result.proposals) - 1, count).round().astype(int).tolist()
    for number, index in enumerate(chosen, start=1):
        sample, proposals = dataset[index], result.proposals[index]
        image, annotation = sample.image, sample.annotation
        objects = annotation.gt_boxes[~annotation.difficult]
        yield (
            f"proposals_{number}.png",
            f"The {FINAL_PROPOSALS} best proposals for {annotation.image_id}, which the network "
            "was not trained on",
            viz.draw_proposals(
                image, proposals.boxes, proposals.scores, objects, top=FINAL_PROPOSALS
            ),
        )
        if result.detections:
            detections = result.detections[index].detections
            yield (
                f"detections_{number}.png",
                f"What was detected in {annotation.image_id} with a score of {LEAST_SCORE} or more",
                viz.draw_detections(
                    image, detections, dataset.classes, score_threshold=LEAST_SCORE
                ),
            )
