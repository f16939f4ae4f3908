"""A trained network on the images of a data set: what it proposes and detects, and how well.

The network answers in pixels of the resized image. Here boxes are in original pixels, on the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array
from minirpn.accel.threads import results_in_order, thread_count
from minirpn.data.samples import Annotation, Dataset, Example
from minirpn.data.voc import VOCDataset
from minirpn.detector import DetectionConfig, Detections, FasterRCNN, postprocess
from minirpn.errors import InputError
from minirpn.evaluation import (
    COUNTS,
    APResult,
    Matching,
    RecallResult,
    average_precision,
    proposal_recall,
)
from minirpn.fields import Fields, list_of, text, whole
from minirpn.files import write_npz
from minirpn.rpn.network import RPN, RPNOutput
from minirpn.rpn.proposals import ProposalConfig, Proposals, propose_among
from minirpn.training.build import Pipeline, build_pipeline, rpn_of
from minirpn.training.checkpoint import read_archive
from minirpn.training.config import TrainConfig
from minirpn.training.distributed import ALONE, Ranks
from minirpn.training.step import Objective, forward_loss, make_minibatch
from minirpn.training.terminal import Progress

_Result = TypeVar("_Result")
# On a CPU each image is computed on its part of the threads: on small images the layers are too
# little work to share. More at once would take more memory: VGG-16 needs 0.35 GB for each image.
_MOST_AT_ONCE = 4
_NONE: Any = object()  # in place of a result that a rank does not have

# --- proposals and detections --------------------------------------------------------------------


class ImageProposals(NamedTuple):
    """The proposals of one image in its original pixels, on the host, best first."""

    annotation: Annotation
    boxes: np.ndarray  # (R, 4)
    scores: np.ndarray  # (R,)


class ImageDetections(NamedTuple):
    """The detections in an image, in its original pixels, on the host."""

    annotation: Annotation
    detections: Detections
    proposals: ImageProposals


def _for_each(
    function: Callable[[int, Sequence[Example]], _Result],
    dataset: Dataset,
    pipeline: Pipeline,
    limit: int | None,
    ranks: Ranks,
) -> Iterator[_Result]:
    """Yield the result of `function` for the place and the looks at each of the first images.

    Several ranks share the images, and each gets all results.
    """
    at_once = min(thread_count(), _MOST_AT_ONCE) if pipeline.device.is_host else 1
    at_once = min(ranks.exchange(at_once))  # the same on all
    count = len(dataset) if limit is None else min(limit, len(dataset))
    mine = range(ranks.rank, count, ranks.size)
    with pipeline.all_looks(dataset, mine, each=at_once) as looks:
        results = results_in_order(
            lambda numbered: function(*numbered), zip(mine, looks, strict=True), at_once=at_once
        )
        if ranks.is_alone:
            yield from results
            return
        # In each round every rank computes a few images, and the last round has what is left.
        for _ in range(0, count, ranks.size * at_once):
            rounds = ranks.exchange(list(islice(results, at_once)))
            for turn in zip_longest(*rounds, fillvalue=_NONE):
                yield from (result for result in turn if result is not _NONE)


def in_original_pixels(proposals: Proposals, example: Example) -> ImageProposals:
    """Return the proposals of a resized image in the pixels of the original.

    The sides of the resized image are rounded to whole pixels, so its border may lie a fraction of
    a pixel beyond the original's, where the boxes are clipped.
    """
    boxes = _original(proposals.boxes, example)
    return ImageProposals(example.annotation, boxes, backend.to_host(proposals.scores))


def proposals_of(
    outputs: Sequence[RPNOutput], looks: Sequence[Example], config: ProposalConfig
) -> ImageProposals:
    """Return the proposals of an image in its original pixels.

    Parameters
    ----------
    outputs
        What the network says of each look at the image.
    looks
        The image at each size, as `Pipeline.looks` gives it.
    config
        Counts and thresholds.
    """
    if len(looks) == 1:
        (output,), (look,) = outputs, looks
        proposals = output.propose(look.image_size, scale=look.scale, config=config)
        return in_original_pixels(proposals, look)
    found = []
    for output, look in zip(outputs, looks, strict=True):
        boxes, scores = output.candidates(look.image_size, scale=look.scale, config=config)
        found.append(Proposals(box_ops.clip(boxes / look.scale, look.original_size), scores))
    boxes, scores = map(backend.to_host, propose_among(found, config=config))
    return ImageProposals(looks[0].annotation, boxes, scores)


def propose_in(network: RPN, looks: Sequence[Example], config: ProposalConfig) -> ImageProposals:
    """Return the proposals of a network in an image, given its looks, in original pixels."""
    outputs = [network.forward(look.image[None, ...])[0] for look in looks]
    return proposals_of(outputs, looks, config)


def detections_in_original_pixels(
    detections: Detections, proposals: Proposals, example: Example
) -> ImageDetections:
    """Return the detections in a resized image in the pixels of the original, like proposals."""
    scores, classes = backend.to_host(detections.scores), backend.to_host(detections.classes)
    on_host = Detections(_original(detections.boxes, example), scores, classes)
    return ImageDetections(example.annotation, on_host, in_original_pixels(proposals, example))


def _original(boxes: Array, example: Example) -> np.ndarray:
    boxes = backend.to_host(boxes) / np.float32(example.scale)
    return box_ops.clip(boxes, example.original_size)


def as_many_as(config: ProposalConfig, count: int) -> ProposalConfig:
    """Return the settings that propose up to `count` boxes an image, and are otherwise the same.

    NMS goes through the boxes from the best on, so the first proposals stay the same.
    """
    return replace(config, post_nms=count, pre_nms=max(config.pre_nms, count))


def propose_all(
    network: RPN,
    dataset: Dataset,
    pipeline: Pipeline,
    config: ProposalConfig,
    *,
    limit: int | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[ImageProposals]:
    """Yield the proposals of the first `limit` images of a data set, in its order.

    `config` has counts and thresholds; `pipeline` prepares the images; `ranks` share them.
    """

    def proposals_in(_place: int, looks: Sequence[Example]) -> ImageProposals:
        return propose_in(network, looks, config)

    return _for_each(proposals_in, dataset, pipeline, limit, ranks)


def detect_all(
    model: FasterRCNN,
    dataset: Dataset,
    pipeline: Pipeline,
    proposals: ProposalConfig,
    detections: DetectionConfig,
    *,
    listed: ProposalConfig | None = None,
    limit: int | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[ImageDetections]:
    """Yield the detections in the first `limit` images of a data set, and their proposals.

    Parameters
    ----------
    model, dataset, pipeline
        The network, the images, and how these are prepared.
    proposals, detections
        How the RPN proposes what the detector classifies, and which detections are kept.
    listed
        How the RPN makes the proposals that are returned too; None returns those classified.
    limit
        None for all images.
    ranks
        The processes that share the images.
    """

    def detections_in(_place: int, looks: Sequence[Example]) -> ImageDetections:
        (example,) = looks  # a detector has one size
        output, _ = model.rpn.forward(example.image[None, ...])
        size, scale = example.image_size, example.scale
        used = output.propose(size, scale=scale, config=proposals)
        detected = _detect(model, output, used, example, detections)
        if listed is not None and listed != proposals:
            used = output.propose(size, scale=scale, config=listed)
        return detections_in_original_pixels(detected, used, example)

    return _for_each(detections_in, dataset, pipeline, limit, ranks)


def _detect(
    model: FasterRCNN,
    output: RPNOutput,
    proposals: Proposals,
    example: Example,
    config: DetectionConfig,
) -> Detections:
    """Return what the detector finds in the proposals, in resized pixels."""
    (logits, deltas), _ = model.detector.forward(output.features, proposals.boxes)
    return postprocess(proposals.boxes, logits, deltas, example.image_size, config=config)


# --- how good they are ---------------------------------------------------------------------------


def recall_of(
    images: list[ImageProposals],
    *,
    counts: tuple[int, ...] = COUNTS,
    matching: Matching = "one-to-one",
) -> RecallResult:
    """Return the recall of the proposals of each image; see `minirpn.evaluation.proposal_recall`.

    `counts` are numbers of proposals an image. Difficult objects and ignored regions are neither
    found nor missed.
    """
    return proposal_recall(
        [item.boxes for item in images],
        [item.annotation.gt_boxes for item in images],
        difficult=[item.annotation.difficult for item in images],
        counts=counts,
        matching=matching,
    )


def precision_of(images: list[ImageDetections], classes: Sequence[str]) -> APResult:
    """Return the average precision of the detections in each image, given the data's classes.

    An ignored region counts as a difficult object of every class: it is neither found nor missed,
    and a detection that overlaps it most, by an IoU of at least 0.5, does not count at all.
    """
    truths = [_with_ignored(item.annotation, len(classes)) for item in images]
    return average_precision(
        [item.detections for item in images],
        [truth.gt_boxes for truth in truths],
        [truth.gt_classes for truth in truths],
        classes=classes,
        difficult=[truth.difficult for truth in truths],
    )


def _with_ignored(annotation: Annotation, classes: int) -> Annotation:
    """Return an annotation with a difficult object of every class on each ignored region."""
    regions = len(annotation.ignored)
    boxes = np.repeat(annotation.ignored, classes, axis=0)
    labels = np.tile(np.arange(classes), regions)
    return replace(
        annotation,
        gt_boxes=np.concatenate([annotation.gt_boxes, boxes]),
        gt_classes=np.concatenate([annotation.gt_classes, labels]),
        difficult=np.concatenate([annotation.difficult, np.ones(len(boxes), bool)]),
    )


class Validation(NamedTuple):
    """The result of a validation: mean losses of the RPN, recall by count, precision."""

    loss: float
    objectness_loss: float
    box_loss: float
    recall: RecallResult
    precision: APResult | None  # None without a detector
    images: int


def validate(
    model: RPN | FasterRCNN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    objective: Objective,
    config: ProposalConfig,
    *,
    detections: DetectionConfig | None = None,
    seed: int,
    limit: int | None = None,
    ranks: Ranks = ALONE,
) -> Validation:
    """Return mean losses, proposal recall and perhaps precision over a data set, changing nothing.

    Each image's mini-batch is drawn from a generator of its own (`seed` and its position). So a
    validation neither depends on the state of the training nor changes it.

    Parameters
    ----------
    model, dataset, pipeline
        The network, the images, and how these are prepared.
    objective, config
        What the RPN learns, and how it proposes.
    detections
        How the model detects; None measures the RPN alone.
    seed
        Of the mini-batches.
    limit
        Only the first so many images.
    ranks
        The processes that share the images; each gets the whole result.

    Raises
    ------
    FloatingPointError
        A loss is not finite; the line names the image and the loss.
    """
    network = rpn_of(model)

    def measure(
        place: int, looks: Sequence[Example]
    ) -> tuple[list[float], ImageProposals, ImageDetections | None]:
        example, *others = looks
        batch = make_minibatch(
            network.anchors_for(example.image_size, like=example.gt_boxes),
            example.gt_boxes[~example.difficult],
            example.image_size,
            rng=np.random.default_rng([seed, place]),
            objective=objective,
            ignored=example.ignored,
        )
        with np.errstate(over="ignore", invalid="ignore"):  # it shows in the losses
            loss, output, _ = forward_loss(
                network, example.image, batch.on(example.image), config=objective.loss
            )
        values = backend.numbers(loss)
        if detections is None or not isinstance(model, FasterRCNN):
            outputs = [output, *(network.forward(look.image[None, ...])[0] for look in others)]
            return values, proposals_of(outputs, looks, config), None
        used = output.propose(example.image_size, scale=example.scale, config=config)
        kept = _detect(model, output, used, example, detections)
        found = detections_in_original_pixels(kept, used, example)
        return values, found.proposals, found

    losses: list[list[float]] = []
    proposed: list[ImageProposals] = []
    detected: list[ImageDetections] = []
    for values, proposals, found in _for_each(measure, dataset, pipeline, limit, ranks):
        losses.append(_finite(values, proposals.annotation))
        proposed.append(proposals)
        if found is not None:
            detected.append(found)
    total, objectness, box = np.mean(losses, axis=0)
    return Validation(
        float(total),
        float(objectness),
        float(box),
        recall_of(proposed, counts=_counts_up_to(config.post_nms)),
        precision_of(detected, dataset.classes) if detected else None,
        len(proposed),
    )


def _finite(losses: list[float], annotation: Annotation) -> list[float]:
    """Return the sum of the losses of an image and its terms, if all are finite."""
    # The terms first: the sum says less.
    for name, value in reversed(
        [*zip(("loss", "objectness_loss", "box_loss"), losses, strict=True)]
    ):
        if not math.isfinite(value):
            raise FloatingPointError(f"{annotation.image_path}: the validation's {name} is {value}")
    return losses


class SplitResult(NamedTuple):
    """What a network proposes and detects in the images of a data set, and how good that is."""

    proposals: list[ImageProposals]
    detections: list[ImageDetections]  # empty without a detector
    recall: RecallResult
    precision: APResult | None  # None without a detector


def evaluate_split(
    model: RPN | FasterRCNN,
    config: TrainConfig,
    dataset: Dataset,
    *,
    counts: tuple[int, ...] | None = None,
    matching: Matching = "one-to-one",
    limit: int | None = None,
    progress: bool = False,
    ranks: Ranks = ALONE,
) -> SplitResult:
    """Return proposals, detections, recall and precision of a network on a data set.

    Parameters
    ----------
    model
        The trained network.
    config
        The settings of its run.
    dataset
        The images. Their classes are numbered as in the settings.
    counts
        Numbers of proposals an image whose recall is measured, ascending. As many proposals as the
        last one are made; a detector still gets as many as the settings say. None for the usual
        numbers up to that.
    matching
        See `minirpn.evaluation.proposal_recall`.
    limit
        Only the first so many images.
    progress
        Show the progress on stderr.
    ranks
        The processes that share the images; each gets the whole result.
    """
    pipeline, settings = build_pipeline(config, rpn_of(model)), config.proposals
    if counts is None:
        counts = _counts_up_to(settings.post_nms)
    else:
        settings = as_many_as(settings, counts[-1])
    proposed: list[ImageProposals] = []
    detected: list[ImageDetections] = []
    images = len(dataset) if limit is None else min(limit, len(dataset))
    with Progress(images, unit="image", show=progress) as bar:
        if isinstance(model, FasterRCNN):
            detections = config.detections
            for image in detect_all(
                model,
                dataset,
                pipeline,
                config.proposals,
                detections,
                listed=settings,
                limit=limit,
                ranks=ranks,
            ):
                detected.append(image)
                proposed.append(image.proposals)
                bar.advance()
        else:
            for proposals in propose_all(
                model, dataset, pipeline, settings, limit=limit, ranks=ranks
            ):
                proposed.append(proposals)
                bar.advance()
    recall = recall_of(proposed, counts=counts, matching=matching)
    has_detector = isinstance(model, FasterRCNN)
    precision = precision_of(detected, config.data.classes or ()) if has_detector else None
    return SplitResult(proposed, detected, recall, precision)


def _counts_up_to(post_nms: int) -> tuple[int, ...]:
    """Return the numbers of proposals for which recall is measured, if so many are made."""
    return tuple(count for count in COUNTS if count <= post_nms) or (post_nms,)


# --- files of proposals --------------------------------------------------------------------------

PROPOSALS_FORMAT = "minirpn proposals"
_FARTHEST = 1e6  # pixels: no image has a longer side


def save_proposals(path: Path, proposals: Sequence[ImageProposals]) -> None:
    """Write the proposals of all images to `path`, whole or not at all.

    Inside are ``boxes`` (R, 4) and ``scores`` (R,) of all images one after the other, and
    ``metadata``: JSON text as bytes, with the images' ids and their numbers of proposals.
    """
    metadata = {
        "format": PROPOSALS_FORMAT,
        "images": [item.annotation.image_id for item in proposals],
        "counts": [len(item.boxes) for item in proposals],
    }
    boxes = np.concatenate([np.empty((0, 4)), *(item.boxes for item in proposals)])
    scores = np.concatenate([np.empty(0), *(item.scores for item in proposals)])
    arrays = {"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)}
    write_npz(path, metadata, arrays)


class SavedProposals(NamedTuple):
    """The proposals of one image in its original pixels, not mirrored, best first."""

    boxes: np.ndarray  # (R, 4) float32
    scores: np.ndarray  # (R,) float32


def load_proposals(path: Path) -> dict[str, SavedProposals]:
    """Return the proposals in a file by image id; `save_proposals` is the inverse.

    If there is no such file, or it is damaged or holds something else, an InputError says so.
    """
    metadata, arrays = read_archive(path, PROPOSALS_FORMAT, kind="file of proposals")
    stored = Fields(metadata, str(path))
    images = stored.get("images", list_of(text()))
    counts = stored.get("counts", list_of(whole(), len(images)))
    if len(set(images)) < len(images):
        raise stored.wrong("images: expected each once")
    total = sum(counts)
    boxes = _stored_array(stored, arrays, "boxes", (total, 4))
    scores = _stored_array(stored, arrays, "scores", (total,))
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise stored.wrong("boxes: one ends before it begins")
    ends = np.cumsum([0, *counts])
    return {
        image: SavedProposals(boxes[start:end], scores[start:end])
        for image, start, end in zip(images, ends[:-1], ends[1:], strict=True)
    }


def _stored_array(
    stored: Fields, arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]
) -> np.ndarray:
    """Return an array of a file of proposals, if it is one."""
    array = arrays.get(name, np.empty(0))
    if array.shape != shape or array.dtype != np.float32:
        got = f"{array.dtype} {array.shape}"
        raise stored.wrong(f"{name}: expected float32 {shape}, got {got}")
    if not (np.abs(array) <= _FARTHEST).all():
        raise stored.wrong(f"{name}: not all are finite numbers up to {_FARTHEST:g}")
    return array


def proposals_for(example: Example, saved: Mapping[str, SavedProposals], path: Path) -> np.ndarray:
    """Return the saved proposals (R, 4) of an example in its own pixels, on the host."""
    if example.image_id not in saved:
        raise InputError(f"{path}: no proposals for image {example.image_id!r}")
    boxes = saved[example.image_id].boxes
    if example.flipped:
        boxes = box_ops.flip(boxes, example.original_size[1])
    scaled = boxes * np.float32(example.scale)
    return scaled.astype(backend.host_dtype(example.image), copy=False)
