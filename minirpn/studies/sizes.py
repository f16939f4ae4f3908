"""Table 1 of the paper: how large the proposals of each anchor are on average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minirpn import backend
from minirpn.rpn.anchors import AnchorConfig, base_anchors
from minirpn.rpn.proposals import trace_proposals
from minirpn.studies.study import Findings, Measured
from minirpn.studies.tables import TEST_COUNT, markdown, section
from minirpn.training.build import build_pipeline
from minirpn.training.config import TrainConfig
from minirpn.training.inference import as_many_as

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

    Parameters
    ----------
    measured
        A trained run. It uses the 300 best proposals of each image after NMS, clipped to the image,
        in pixels of the resized image.

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
            counts += np.bincount(bases, minlength=A)
    sizes = [
        (sides / count).tolist() if count else None
        for sides, count in zip(total, counts.tolist(), strict=True)
    ]
    return {"sizes": sizes, "counts": counts.tolist()}


def published_size(config: TrainConfig, scale: float, ratio: float) -> tuple[float, float] | None:
    """Return the paper's mean width and height for an anchor, in pixels of our scale.

    Parameters
    ----------
    config
        Base size of the anchors, and how large images are.
    scale, ratio
        Of the anchor.

    Returns
    -------
    tuple
        Table 1 times our shorter side over 600; None if it has no such anchor.
    """
    shrunk = config.resize.short_side / PAPER_SHORT_SIDE
    side = config.anchors.base_size * scale / shrunk
    for (their_side, their_ratio), (width, height) in TABLE_1.items():
        if their_ratio == ratio and abs(side / their_side - 1) < _SAME_SIDE:
            return width * shrunk, height * shrunk
    return None


def _scales_and_ratios(config: AnchorConfig) -> list[tuple[float, float]]:
    """Return (scale, ratio) of the base anchors, in the order of `base_anchors`."""
    return [(scale, ratio) for ratio in config.ratios for scale in config.scales]


def _mean_sizes(findings: Findings) -> tuple[np.ndarray, np.ndarray]:
    """Return mean width and height (A, 2) over all proposals of all seeds, and counts (A,)."""
    outcomes = findings.finished(findings.baseline)
    counts = np.array([o.more["counts"] for o in outcomes])  # (seeds, A)
    sizes = np.array(
        [[size or (0.0, 0.0) for size in o.more["sizes"]] for o in outcomes], np.float64
    )
    all_counts = counts.sum(axis=0)
    total = (sizes * counts[:, :, None]).sum(axis=0)  # (seeds, A, 2) -> (A, 2)
    with np.errstate(invalid="ignore"):
        return total / all_counts[:, None], all_counts


def size_table(findings: Findings) -> str:
    """Return the section on table 1."""
    config = findings.base
    corners = base_anchors(config.anchors)
    sides = corners[:, 2:] - corners[:, :2]
    sizes, counts = _mean_sizes(findings)
    rows = []
    order = sorted(enumerate(_scales_and_ratios(config.anchors)), key=lambda item: item[1])
    for number, (scale, ratio) in order:
        theirs = published_size(config, scale, ratio)
        linear = np.sqrt(np.prod(sizes[number]) / np.prod(sides[number]))
        rows.append(
            [
                f"{config.anchors.base_size * scale:g}², {_words(ratio)}",
                _size(sides[number]),
                _size(sizes[number]) if counts[number] else "-",
                f"{linear:.2f}" if counts[number] else "-",
                f"{counts[number]:,}",
                "-" if theirs is None else _size(theirs),
            ]
        )
    shrunk = config.resize.short_side / PAPER_SHORT_SIDE
    factor = "" if shrunk == 1 else f" x {shrunk:.3g}"
    head = ["anchor", "width x height", "its proposals, mean", "larger by", "how many"]
    note = (
        f"Means over the {TEST_COUNT} best proposals of each image after NMS, clipped to the "
        "image; *larger by* is the root of mean width x mean height over the anchor's area."
    )
    if factor:
        note = (
            f"The paper's sizes are for a shorter side of {PAPER_SHORT_SIDE} and were multiplied "
            f"by ours over that; '-' where it has no such anchor. {note}"
        )
    return section(findings, markdown([*head, f"paper, ZF{factor}"], rows), [note])


def _words(ratio: float) -> str:
    """Return height over width as the paper writes it, width first."""
    return f"{1 / ratio:g}:1" if ratio <= 1 else f"1:{ratio:g}"


def _size(sides: Any) -> str:
    return f"{sides[0]:.0f} x {sides[1]:.0f}"


def draw_sizes(findings: Findings) -> Axes:
    """Return axes with each anchor, the mean of its proposals, and the paper's mean."""
    from minirpn import viz

    config = findings.base
    corners = base_anchors(config.anchors)
    theirs = [
        published_size(config, *pair) or (np.nan, np.nan)
        for pair in _scales_and_ratios(config.anchors)
    ]
    return viz.plot_proposal_sizes(
        corners[:, 2:] - corners[:, :2],
        {
            "mean of its proposals": _mean_sizes(findings)[0],
            "the paper's mean, ZF": np.array(theirs),
        },
        title=f"{findings.study.title} ({findings.study.source})",
    )
