"""The same few images at several moments of a training: what is sampled, what is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.loader import Draw
from minirpn.data.samples import Example
from minirpn.data.voc import VOCDataset
from minirpn.files import one_line_errors, replace_file
from minirpn.rpn.proposals import propose
from minirpn.rpn.targets import NEGATIVE, POSITIVE
from minirpn.training.build import build_pipeline
from minirpn.training.phases import Phase
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import make_minibatch
from minirpn.training.trainer import Trainer

IMAGES = 3
MOMENTS = 8  # at most, the last step's included; what comes before the first step is one more
_NEGATIVES = 12  # drawn of the sampled ones
_PROPOSALS = 10


class SamplePicture(NamedTuple):
    """A picture and what it shows."""

    image_id: str
    name: str  # of the file, under ``plots/samples``
    pixels: np.ndarray  # (h, w, 3) uint8
    positives: int  # sampled


def moments_of(phases: Sequence[Phase], every: int) -> frozenset[int]:
    """Return the steps after which pictures are made: some of each `every`, the last, and 0.

    There are none while the RPN does not fit the backbone.
    """
    due = [
        step
        for phase in phases
        if phase.measures_rpn
        for step in range(phase.start + 1, phase.end + 1)
        if step % every == 0 or step == phase.end
    ]
    chosen = np.linspace(0, len(due) - 1, min(MOMENTS, len(due))).round().astype(int)
    first = {0} if phases[0].measures_rpn else set()
    return frozenset(first | {due[index] for index in chosen})


class Samples:
    """Draws the same few images of a data set again and again, into ``plots/samples``.

    Parameters
    ----------
    trainer, folder
        Of the run.
    dataset
        The validation set, or else the training set; images evenly spread over it are drawn.
    every
        Steps between two moments at which there may be pictures.
    """

    def __init__(
        self, trainer: Trainer, folder: RunFolder, dataset: VOCDataset, every: int
    ) -> None:
        self.trainer, self.folder, self.dataset = trainer, folder, dataset
        count = min(IMAGES, len(dataset))
        spread = np.linspace(0, len(dataset) - 1, count + 2)[1:-1]
        self.indices = [int(index) for index in np.unique(spread.round())]
        self._moments = moments_of(trainer.phases, every)

    @property
    def due(self) -> bool:
        """Whether now is one of the moments."""
        return self.trainer.step in self._moments

    def draw(self) -> list[SamplePicture]:
        """Draw each image as the network sees it now, and save that.

        Above, its sampled anchors: positives blue, some of the negatives grey. Below, the best
        proposals. The objects are red.

        Raises
        ------
        InputError
            A picture could not be written.
        """
        network = self.trainer.network
        pipeline = build_pipeline(self.trainer.config, network)
        with one_line_errors(self.folder.samples, "make the folder"):
            self.folder.samples.mkdir(exist_ok=True)
        draws = iter([Draw(index) for index in self.indices])
        with pipeline.examples(self.dataset, draws) as examples:
            pictures = [
                self._picture(example, index)
                for index, example in zip(self.indices, examples, strict=True)
            ]
        for picture in pictures:
            self._save(picture)
        return pictures

    def _picture(self, example: Example, index: int) -> SamplePicture:
        from minirpn.viz.small import above, draw_small
        from minirpn.viz.style import BLUE, GREY, SKY, VERMILLION

        config = self.trainer.config
        output, _ = self.trainer.network.forward(example.image[None, ...])
        objects = example.gt_boxes[~example.difficult]
        batch = make_minibatch(
            output.anchors,
            backend.to_device(objects, example.image),
            example.image_size,
            rng=np.random.default_rng([config.run.seed, index, self.trainer.step]),
            objective=self.trainer.objective,
        )
        proposals = propose(
            output.anchors,
            output.objectness[0, ...],
            output.deltas[0, ...],
            example.image_size,
            scale=example.scale,
            config=config.proposals,
        )
        labels, scale = batch.host_labels, np.float32(example.scale)
        anchors = backend.to_host(output.anchors) / scale
        negatives = np.flatnonzero(labels == NEGATIVE)
        drawn = negatives[np.linspace(0, len(negatives) - 1, _NEGATIVES).astype(int)]
        drawn = drawn if len(negatives) else negatives
        positives = anchors[labels == POSITIVE]
        best = backend.to_host(proposals.boxes)[:_PROPOSALS][::-1] / scale
        image, objects = self.dataset[index].image, objects / scale
        sampled = [(anchors[drawn], GREY), (positives, SKY), (objects, VERMILLION)]
        upper = draw_small(image, sampled)
        lower = draw_small(image, [(best, BLUE), (objects, VERMILLION)])
        name = f"{self.indices.index(index) + 1}-{self.trainer.step:07d}.png"
        return SamplePicture(example.image_id, name, above(upper, lower), len(positives))

    def _save(self, picture: SamplePicture) -> None:
        from minirpn.viz.small import save_small

        path = self.folder.samples / picture.name
        replace_file(path, lambda file: save_small(picture.pixels, file))
