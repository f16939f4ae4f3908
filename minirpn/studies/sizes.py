"""Table 1 of the paper: how large the proposals of each anchor are on average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.fields import Check, list_of, number, object_of, optional, whole
from minirpn.rpn.anchors import base_anchors
from minirpn.rpn.proposals import trace_proposals
from minirpn.studies.study import Findings, Measured
from minirpn.studies.tables import TEST_COUNT, markdown, section
from minirpn.training.build import build_pipeline
from minirpn.training.config import TrainConfig
from minirpn.training.evaluate import as_many_as

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE_1: Mapping[tuple[int, float], tuple[int, int]] = {
    (128, 0.5): (188, 111),
    (128, 1.0): (113, 114),
    (128, 2.0): (70, 92),
    (256, 0.5): (416, 229),
    (256, 1.0): (261, 284),
    (256, 2.0): (174, 332),
    (512, 0.5): (768, 437),
    (512, 1.0): (499, 501),
    (512, 2.0): (355, 715),
}
"""Side of the anchor and height over width -> mean width and height of its proposals.

ZF, pixels at a shorter side of 600 (arXiv:1506.01497, third version). The table calls 2:1 what is
twice as wide as high.
"""

PAPER_SHORT_SIDE = 600
"""The shorter side of the images, in pixels, that anchors and `TABLE_1` are for (section 3.3)."""

# An anchor is one of the paper's if its side, at the paper's scale, is this close (a share).
_SAME_SIDE = 0.02


def proposal_sizes(measured: Measured) -> dict[str, Any]:
    """Return the mean size of the proposals that come from each base anchor.

    It counts the 300 best proposals of each image after NMS, clipped to the image, in pixels of
    the resized image. The image is looked at once, whatever `resize.also_at` says.

    Returns
    -------
    dict
        ``sizes``: for each base anchor mean width and height, None if it made no proposal;
        ``counts``: how many it made.
    """
    network, config = measured.network, as_many_as(measured.config.proposals, TEST_COUNT)
    A = network.base_anchors.shape[0]
    total, counts = np.zeros((A, 2)), np.zeros(A, np.int64)
    pipeline = build_pipeline(measured.config, network)
    with pipeline.in_order(measured.dataset, measured.limit) as examples:
        for example in examples:
            output, _ = network.forward(example.image[None, ...])
            proposals = trace_proposals(
                output.anchors,
                output.objectness[0, ...],
                output.deltas[0, ...],
                example.image_size,
                scale=example.scale,
                config=config,
            )
            boxes = backend.to_host(proposals.boxes).astype(np.float64)
            # The order of the anchors is (row, column, base anchor).
            bases = backend.to_host(proposals.anchors) % A
            np.add.at(total, bases, boxes[:, 2:] - boxes[:, :2])
            counts += np.bincount(bases.astype(np.intp), minlength=A)
    sizes = [
        (sides / count).tolist() if count else None
        for sides, count in zip(total, counts.tolist(), strict=True)
    ]
    return {"sizes": sizes, "counts": counts.tolist()}


def stored_sizes(config: TrainConfig) -> Check[Mapping[str, Any]]:
    """Return the check of what `proposal_sizes` returned for these settings."""
    A = config.anchors.count
    sides = list_of(number(0), 2)
    return object_of(sizes=list_of(optional(sides), A), counts=list_of(whole(), A))


def published_size(config: TrainConfig, scale: float, ratio: float) -> tuple[float, float] | None:
    """Return the paper's mean width and height for an anchor, in pixels of our scale.

    They are those of table 1 times our shorter side over 600; None if it has no such anchor.
    """
    shrunk = config.resize.short_side / PAPER_SHORT_SIDE
    side = config.anchors.base_size * scale / shrunk
    for (their_side, their_ratio), (width, height) in TABLE_1.items():
        if their_ratio == ratio and abs(side / their_side - 1) < _SAME_SIDE:
            return width * shrunk, height * shrunk
    return None


class _Anchor(NamedTuple):
    scale: float
    ratio: float
    sides: np.ndarray  # (2,) width and height
    mean: np.ndarray  # (2,) mean width and height of its proposals; nan without any
    proposals: int  # how many
    published: tuple[float, float] | None


def _base_anchors(findings: Findings) -> list[_Anchor]:
    """Return the base anchors, in their order, with the mean sizes over all seeds."""
    config = findings.base
    outcomes = findings.finished(findings.baseline)
    counts = np.array([o.more["counts"] for o in outcomes])  # (seeds, A)
    means = np.array([[m or (0.0, 0.0) for m in o.more["sizes"]] for o in outcomes], np.float64)
    corners = base_anchors(config.anchors)
    pairs = [(scale, ratio) for ratio in config.anchors.ratios for scale in config.anchors.scales]
    anchors = []
    for index, (scale, ratio) in enumerate(pairs):
        weights, proposals = counts[:, index, None], int(counts[:, index].sum())
        mean = (means[:, index] * weights).sum(axis=0) / (proposals or np.nan)
        sides = corners[index, 2:] - corners[index, :2]
        published = published_size(config, scale, ratio)
        anchors.append(_Anchor(scale, ratio, sides, mean, proposals, published))
    return anchors


def size_table(findings: Findings) -> str:
    """Return the section on table 1."""
    config = findings.base
    rows = []
    for anchor in sorted(_base_anchors(findings), key=lambda anchor: anchor[:2]):
        # As the paper writes it, width first.
        shape = f"{1 / anchor.ratio:g}:1" if anchor.ratio <= 1 else f"1:{anchor.ratio:g}"
        linear = np.sqrt(np.prod(anchor.mean) / np.prod(anchor.sides))
        rows.append(
            [
                f"{config.anchors.base_size * anchor.scale:g}², {shape}",
                _size(anchor.sides),
                _size(anchor.mean) if anchor.proposals else "-",
                f"{linear:.2f}" if anchor.proposals else "-",
                f"{anchor.proposals:,}",
                "-" if anchor.published is None else _size(anchor.published),
            ]
        )
    note = (
        f"Means over the {TEST_COUNT} best proposals of each image after NMS, clipped to the "
        "image; *larger by* is the root of mean width x mean height over the anchor's area."
    )
    paper = "paper, ZF"
    if (shrunk := config.resize.short_side / PAPER_SHORT_SIDE) != 1:
        paper += f" x {shrunk:.3g}"
        note = (
            f"The paper's sizes are for a shorter side of {PAPER_SHORT_SIDE} and were multiplied "
            f"by ours over that; '-' where it has no such anchor. {note}"
        )
    head = ["anchor", "width x height", "its proposals, mean", "larger by", "how many", paper]
    return section(findings, markdown(head, rows), [note])


def _size(sides: Any) -> str:
    return f"{sides[0]:.0f} x {sides[1]:.0f}"


def draw_sizes(findings: Findings) -> Axes:
    """Return axes with each anchor, the mean of its proposals, and the paper's mean."""
    from minirpn import viz

    anchors = _base_anchors(findings)
    return viz.plot_proposal_sizes(
        np.array([anchor.sides for anchor in anchors]),
        {
            "mean of its proposals": np.array([anchor.mean for anchor in anchors]),
            "the paper's mean, ZF": np.array([a.published or (np.nan, np.nan) for a in anchors]),
        },
        title=f"{findings.study.title} ({findings.study.source})",
    )
