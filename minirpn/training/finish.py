"""After the last step: the whole validation split is measured; pictures and the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.detector import FasterRCNN
from minirpn.evaluation import COUNTS, APResult, RecallResult
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import object_scores
from minirpn.training.build import build_objective, build_pipeline, rpn_of
from minirpn.training.config import TrainConfig
from minirpn.training.evaluate import precision_of, recall_of
from minirpn.training.inference import ImageDetections, ImageProposals, detect_all, propose_all
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import make_minibatch

PICTURED = 6  # validation images shown with their proposals, and what was detected in them
SHOWN = 30  # proposals drawn on each
SHOWN_SCORE = 0.5  # of detections drawn


class Picture(NamedTuple):
    """A picture of the run: the file's name, what it shows, and the axes drawn."""

    name: str
    caption: str
    axes: Any  # matplotlib's


def finish_run(
    model: RPN | FasterRCNN,
    config: TrainConfig,
    folder: RunFolder,
    train_set: VOCDataset,
    val_set: VOCDataset | None,
) -> tuple[RecallResult | None, APResult | None]:
    """Measure the trained network; unless told not to, draw what it learned and write the report.

    Parameters
    ----------
    model
        As training left it.
    config, folder
        Of the run.
    train_set, val_set
        What it was trained and validated on.

    Returns
    -------
    recall, precision
        On all of `val_set`; None without one, the second also without a detector.
    """
    from minirpn.report import write_report

    network = rpn_of(model)
    recall, precision = None, None
    proposed: list[ImageProposals] = []
    found: list[ImageDetections] = []
    if val_set is not None:
        pipeline = build_pipeline(config, network)
        if isinstance(model, FasterRCNN):
            found = list(detect_all(model, val_set, pipeline, config.proposals, config.detections))
            proposed = [item.proposals for item in found]
            precision = precision_of(found, val_set.classes)
            _write(folder, "precision.json", precision, config, found)
        else:
            proposed = list(propose_all(network, val_set, pipeline, config.proposals))
        counts = tuple(n for n in COUNTS if n <= config.proposals.post_nms)
        recall = recall_of(proposed, counts=counts or (config.proposals.post_nms,))
        _write(folder, "recall.json", recall, config, proposed)
    if config.run.pictures:
        _save_pictures(folder, _pictures(network, config, train_set, val_set, proposed, found))
        write_report(folder.path)
    return recall, precision


def _write(
    folder: RunFolder,
    name: str,
    result: RecallResult | APResult,
    config: TrainConfig,
    measured: Sequence[Any],
) -> None:
    """Write a result and what it was measured on."""
    split = {"split": config.data.val_split, "images": len(measured)}
    folder.write_json(name, result.to_dict() | split)


def _save_pictures(folder: RunFolder, pictures: Iterator[Picture]) -> None:
    from minirpn import viz

    captions = {}
    for picture in pictures:
        viz.save(picture.axes, folder.plots / picture.name)
        captions[picture.name] = picture.caption
    folder.write_json("plots/captions.json", captions)


def _pictures(
    network: RPN,
    config: TrainConfig,
    train_set: VOCDataset,
    val_set: VOCDataset | None,
    proposed: list[ImageProposals],
    found: list[ImageDetections],
) -> Iterator[Picture]:
    """Yield the pictures of a run, drawn one at a time."""
    from minirpn import viz

    pipeline = build_pipeline(config, network)
    with pipeline.in_order(train_set, 1) as examples:
        yield from _pictures_of_learning(network, config, train_set, next(examples))
    if val_set is None:
        return
    # Evenly over the split, so that neighbours from one scene do not fill the page.
    count = min(PICTURED, len(proposed))
    chosen = np.linspace(0, len(proposed) - 1, count).round().astype(int).tolist()
    for number, index in enumerate(chosen, start=1):
        sample, proposals = val_set[index], proposed[index]
        objects = sample.annotation.gt_boxes[~sample.annotation.difficult]
        axes = viz.draw_proposals(
            sample.image, proposals.boxes, proposals.scores, objects, top=SHOWN
        )
        yield Picture(
            f"proposals_{number}.png",
            f"The {SHOWN} best proposals for {sample.annotation.image_id}, which the network was "
            "not trained on",
            axes,
        )
        if found:
            yield Picture(
                f"detections_{number}.png",
                f"What was detected in {sample.annotation.image_id} with a score of {SHOWN_SCORE} "
                "or more",
                viz.draw_detections(
                    sample.image, found[index].found, val_set.classes, score_threshold=SHOWN_SCORE
                ),
            )


def _pictures_of_learning(
    network: RPN, config: TrainConfig, train_set: VOCDataset, example: Example
) -> Iterator[Picture]:
    """Yield anchors, labels and objectness on one training image."""
    from minirpn import viz

    output, _ = network.forward(example.image[None, ...])
    anchors = backend.to_host(output.anchors) / np.float32(example.scale)
    learnt = config.data.learnt(example.difficult)
    image, objects = train_set[0].image, example.annotation.gt_boxes[learnt]
    A = network.base_anchors.shape[0]
    Hf, Wf = output.features.shape[2:]
    middle = ((Hf // 2) * Wf + Wf // 2) * A
    yield Picture(
        "anchors.png",
        f"The {A} anchors of the cell in the middle",
        viz.draw_anchors(image, anchors[middle : middle + A]),
    )
    batch = make_minibatch(
        output.anchors,
        backend.to_device(example.gt_boxes[learnt], example.image),
        example.image_size,
        rng=np.random.default_rng(config.run.seed),
        objective=build_objective(config),
    )
    yield Picture(
        "labels.png",
        f"A mini-batch of {config.sampling.batch_size} anchors, as the loss sees it",
        viz.draw_labels(image, anchors, batch.host_labels, objects),
    )
    scores = backend.to_host(object_scores(output.objectness[0, ...]))
    best = scores.reshape(Hf, Wf, A).max(axis=2)  # (K,) -> (Hf, Wf)
    yield Picture(
        "objectness.png",
        "The best objectness among the anchors of each cell",
        viz.plot_objectness(best, image, stride=network.stride / example.scale),
    )
