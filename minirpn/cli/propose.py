"""``minirpn propose``: the proposals of a trained network on pictures, or on a whole split."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.cli.pictures import Found, add_output, output_folder, show_pictures
from minirpn.cli.settings import add_device

if TYPE_CHECKING:
    from minirpn.data.samples import Example

NAME = "propose"
SUMMARY = "show the proposals of a run on pictures, or save them"
DESCRIPTION = """\
Print the proposals for pictures, best first, as score and (x1, y1, x2, y2) in pixels of the
picture. With --save or --out, also draw them (PNG) and write them to a file (JSON).

With --split, find the proposals for all images of a split, as many as a detector is trained on.
With --save or --out, also write them to one file: minirpn train --sharing 4-step --proposals FILE
starts from it.
"""

_SHOWN = 20
_FOLDER = "proposals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="picture files")
    parser.add_argument(
        "--top", type=int, metavar="N", help="proposals per image (default: 20; with --split: 2000)"
    )
    add_output(parser, _FOLDER)
    parser.add_argument(
        "--split", metavar="S", help="use all images of this split; the file is S.npz"
    )
    parser.add_argument(
        "--voc", metavar="DIR", help="data set of the split (default: that of the run)"
    )
    parser.add_argument("--year", metavar="Y", help="year of a VOCdevkit")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Propose, print, perhaps save, and return the exit status."""
    from minirpn.errors import InputError

    if args.top is not None and args.top < 1:
        raise InputError(f"--top: expected at least 1, got {args.top}")
    if args.split is not None:
        if args.images:
            raise InputError(f"{args.images[0]}: either pictures or --split, not both")
        _propose_split(args)
        return 0
    if not args.images:
        raise InputError("nothing to propose for: name pictures, or --split S")
    for flag in ("voc", "year"):
        if getattr(args, flag) is not None:
            raise InputError(f"--{flag} {getattr(args, flag)}: only with --split")
    _propose_pictures(args)
    return 0


def _propose_pictures(args: argparse.Namespace) -> None:
    """Print the proposals for each picture, and perhaps save them."""
    from functools import partial

    from minirpn import viz
    from minirpn.devices import open_device
    from minirpn.training.build import build_pipeline, load_network
    from minirpn.training.evaluate import in_original_pixels

    network, config = load_network(args.folder, open_device(args.device))
    top = args.top or _SHOWN

    def find(example: Example) -> Found:
        proposals = network.propose(example.image, scale=example.scale, config=config.proposals)
        _, boxes, scores = in_original_pixels(proposals, example)
        boxes, scores = boxes[:top], scores[:top]
        draw = partial(viz.draw_proposals, proposals=boxes, scores=scores, top=len(scores))
        return Found(f"{len(scores)} proposals", boxes, scores, draw)

    show_pictures(args, build_pipeline(config, network), _FOLDER, find)


def _propose_split(args: argparse.Namespace) -> None:
    """Find the proposals for all images of a split, and perhaps save them."""
    from dataclasses import replace

    from minirpn.devices import open_device
    from minirpn.training.build import (
        build_pipeline,
        load_network,
        open_dataset,
        training_proposals,
    )
    from minirpn.training.config import override
    from minirpn.training.evaluate import propose_all, save_proposals
    from minirpn.training.run_folder import open_run
    from minirpn.training.terminal import Progress

    network, config = load_network(args.folder, open_device(args.device))
    values = {"data.classes": None}
    if args.voc is not None:
        values |= {"data.voc": args.voc, "data.year": None}
    if args.year is not None:
        values["data.year"] = args.year
    config = override(config, values, origins={"data.voc": "--voc", "data.year": "--year"})
    counts = training_proposals(config)
    if args.top is not None:
        counts = replace(counts, post_nms=args.top, pre_nms=max(counts.pre_nms, args.top))
    dataset = open_dataset(config, open_run(args.folder), args.split)
    proposals = []
    with Progress(len(dataset), unit="image") as progress:
        for item in propose_all(network, dataset, build_pipeline(config, network), counts):
            proposals.append(item)
            progress.advance()
    mean = sum(len(item.boxes) for item in proposals) / len(proposals)
    print(f"split {args.split}: {len(proposals)} images, {mean:.0f} proposals each on average")
    if (folder := output_folder(args, _FOLDER)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{args.split}.npz"
        save_proposals(path, proposals)
        print(f"saved: {path}")
