"""Networks on the images of a data set: prepared, proposed and detected in, in original pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array
from minirpn.data.augment import AS_IS, Augmentation
from minirpn.data.loader import Draw, Loader
from minirpn.data.samples import Annotation, Example, Sample
from minirpn.data.transforms import ResizeConfig, prepare
from minirpn.data.voc import VOCDataset
from minirpn.detector import DetectionConfig, Detections, FasterRCNN, postprocess
from minirpn.devices import CPU, Device
from minirpn.rpn.network import RPN, RPNOutput
from minirpn.rpn.proposals import ProposalConfig, Proposals, propose


@dataclass(frozen=True)
class Pipeline:
    """How a stored image becomes the network's input.

    Parameters
    ----------
    resize
        The size it is brought to.
    preprocessing
        The backbone's: (H, W, 3) uint8 to (3, H, W) float32.
    device
        Where the network is, and the images go.
    threads
        How many images are prepared at a time.
    dtype
        Of pixels and boxes. Both are made in float32 and then widened: the labels are the same.
    """

    resize: ResizeConfig
    preprocessing: Callable[[np.ndarray], np.ndarray]
    device: Device = CPU
    threads: int = 1
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))

    def example(self, sample: Sample, *, augmentation: Augmentation = AS_IS) -> Example:
        """Return an image as the network takes it, where it takes it.

        The threads of a loader call this ahead of time, while the device is at work.
        """
        example = prepare(
            sample,
            resize_config=self.resize,
            to_input=self.preprocessing,
            augmentation=augmentation,
        )
        image = example.image.astype(self.dtype, copy=False)
        return replace(
            example,
            image=self.device.send(image),
            gt_boxes=example.gt_boxes.astype(self.dtype, copy=False),
        )

    def examples(
        self,
        dataset: VOCDataset,
        draws: Iterator[Draw],
        *,
        finish: Callable[[Example], Example] | None = None,
    ) -> Loader:
        """Return a loader of prepared examples; use it in a ``with`` block.

        Parameters
        ----------
        dataset, draws, finish
            See `minirpn.data.Loader`.
        """
        return Loader(dataset, draws, self.example, threads=self.threads, finish=finish)

    def in_order(self, dataset: VOCDataset, limit: int | None) -> Loader:
        """Return a loader of the first `limit` images in their order, as they are."""
        count = len(dataset) if limit is None else min(limit, len(dataset))
        return self.examples(dataset, (Draw(index) for index in range(count)))


class ImageProposals(NamedTuple):
    """The proposals of one image in its original pixels, on the host, best first."""

    annotation: Annotation
    boxes: np.ndarray  # (R, 4)
    scores: np.ndarray  # (R,)


class ImageDetections(NamedTuple):
    """What a detector found in an image, in its original pixels, on the host."""

    annotation: Annotation
    found: Detections
    proposals: ImageProposals


def in_original_pixels(proposals: Proposals, example: Example) -> ImageProposals:
    """Return the proposals of a resized image in the pixels of the original.

    The sides of the resized image are rounded to whole pixels, so its border may lie a fraction of
    a pixel beyond the original's, where the boxes are clipped.
    """
    boxes = _original(proposals.boxes, example)
    return ImageProposals(example.annotation, boxes, backend.to_host(proposals.scores))


def detections_in_original_pixels(
    found: Detections, proposals: Proposals, example: Example
) -> ImageDetections:
    """Return the detections in a resized image in the pixels of the original, like proposals."""
    on_host = Detections(
        _original(found.boxes, example),
        backend.to_host(found.scores),
        backend.to_host(found.classes),
    )
    return ImageDetections(example.annotation, on_host, in_original_pixels(proposals, example))


def _original(boxes: Array, example: Example) -> np.ndarray:
    boxes = backend.to_host(boxes) / np.float32(example.scale)
    return box_ops.clip(boxes, example.original_size)


def as_many_as(config: ProposalConfig, count: int) -> ProposalConfig:
    """Return the settings that propose up to `count` boxes an image, and are otherwise the same.

    NMS goes down the list from the best, so the first proposals stay what they are.
    """
    return replace(config, post_nms=count, pre_nms=max(config.pre_nms, count))


def propose_all(
    network: RPN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    config: ProposalConfig,
    *,
    limit: int | None = None,
) -> Iterator[ImageProposals]:
    """Yield the proposals of each image of a data set, in its order.

    Parameters
    ----------
    network, dataset, pipeline
        What proposes, on what, prepared how.
    config
        Counts and thresholds.
    limit
        Only the first so many images.
    """
    with pipeline.in_order(dataset, limit) as examples:
        for example in examples:
            proposals = network.propose(example.image, scale=example.scale, config=config)
            yield in_original_pixels(proposals, example)


def detect_all(
    model: FasterRCNN,
    dataset: VOCDataset,
    pipeline: Pipeline,
    proposals: ProposalConfig,
    detections: DetectionConfig,
    *,
    listed: ProposalConfig | None = None,
    limit: int | None = None,
) -> Iterator[ImageDetections]:
    """Yield the detections in each image of a data set, in its order, and its proposals.

    Parameters
    ----------
    model, dataset, pipeline
        What detects, on what, prepared how.
    proposals, detections
        How the RPN proposes what the detector looks at, and which of its answers are kept.
    listed
        How the RPN proposes what is given along; None gives what the detector looked at.
    limit
        Only the first so many images.
    """
    with pipeline.in_order(dataset, limit) as examples:
        for example in examples:
            output, _ = model.rpn.forward(example.image[None, ...])
            looked_at = proposals_of(output, example, proposals)
            found = detections_of(model, output, looked_at, example, detections)
            given = looked_at if listed is None else proposals_of(output, example, listed)
            yield detections_in_original_pixels(found, given, example)


def proposals_of(output: RPNOutput, example: Example, config: ProposalConfig) -> Proposals:
    """Return the proposals from what the RPN says of an example, in resized pixels."""
    return propose(
        output.anchors,
        output.objectness[0, ...],
        output.deltas[0, ...],
        example.image_size,
        scale=example.scale,
        config=config,
    )


def detections_of(
    model: FasterRCNN,
    output: RPNOutput,
    proposals: Proposals,
    example: Example,
    config: DetectionConfig,
) -> Detections:
    """Return the detections where the RPN proposes, in resized pixels."""
    answers, _ = model.detector.forward(output.features, proposals.boxes)
    return postprocess(proposals.boxes, *answers, example.image_size, config=config)
