"""``minirpn explain``: show one training step on one image, as an interactive page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.cli.model import add_run
from minirpn.cli.source import add_source, data_of, names_data, source_values
from minirpn.text import message

if TYPE_CHECKING:
    from minirpn.data.layout import Source
    from minirpn.explain import Learning

NAME = "explain"
SUMMARY = "show one training step on an image, as an interactive page"
DESCRIPTION = """\
Write a page that shows one training step of a run on one image: every anchor with its label and the
rule behind it, the sampled mini-batch, each term of the loss, the gradient for each output of the
head, and the proposals before and after NMS. It is one file; open it in a browser.

The ground truth is the annotation of the image in --voc, or else in the data of the run. For a file
that is in neither, it is the one beside the file: in Annotations beside JPEGImages, or an XML file
next to it, in VOC's format unless --box-format says another. Without an annotation, only anchors,
objectness and proposals are shown. The mini-batch is drawn with the seed of the run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_run(parser)
    parser.add_argument(
        "image",
        metavar="IMAGE",
        help="picture file, or the name of an image in --voc (or else in the data of the run)",
    )
    add_source(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the page (default: RUN/explain/IMAGE.html; without a run, explain/IMAGE.html)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page, print a summary, and return the exit status."""
    from minirpn.explain import find_picture, open_step, write_page
    from minirpn.training.build import load_network
    from minirpn.training.stored import read_stored

    stored = read_stored(args.source, best=args.best)
    folder = Path("explain")
    if stored.folder is not None and args.out is None:
        folder = stored.folder.path / "explain"
    network, config = load_network(stored)
    data = data_of(args, config.data)
    voc = data.source if names_data(args) else None
    picture = find_picture(args.image, stored.folder, data, voc=voc, beside=_beside(args))
    step = open_step(network, config, picture)
    if step.learning is None:
        reason = f"{picture.no_truth}: nothing to learn from"
        shown = "only anchors, objectness and proposals are shown"
        print(message(f"{reason}; {shown}"), file=sys.stderr)
    else:
        _print_learning(step.learning, config.run.seed)
    size = 1.0 if step.learning is None else config.data.zoom
    factors = [f"{factor / size:.3g}" for factor in config.looked_at.looks]
    if factors != ["1"]:
        print(f"one size is shown; to propose, the model looks at {', '.join(factors)} times this")
    name = f"{picture.sample.annotation.image_id.replace('/', '_')}.html"
    path = write_page(step, args.out or folder / name)
    print(f"page: {path}")
    return 0


def _beside(args: argparse.Namespace) -> Source:
    """Return how an annotation beside a file of no data set is read: as typed, not as in the run.

    The values are those that `data_of` has checked.
    """
    from minirpn.data.layout import Source

    values, _ = source_values(args)
    names = ("box_format", "clip_boxes", "no_annotation")
    typed = {name: values[f"data.{name}"] for name in names if f"data.{name}" in values}
    return Source(Path(), **typed)


def _print_learning(learning: Learning, seed: int) -> None:
    from minirpn.rpn import NEGATIVE, POSITIVE

    loss, labels = learning.loss, learning.labels
    positives, negatives = (labels == POSITIVE).sum(), (labels == NEGATIVE).sum()
    print(
        f"loss {float(loss.total):.4f}: objectness {float(loss.objectness):.4f}, "
        f"boxes {float(loss.box):.4f}"
    )
    print(f"mini-batch: {positives} positive, {negatives} negative anchors, drawn with seed {seed}")
