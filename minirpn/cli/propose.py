"""``minirpn propose``: the proposals of a trained network on pictures, or on a whole split."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from minirpn.cli.model import (
    add_model,
    chosen_model,
    open_data,
    split_words,
    way_on,
)
from minirpn.cli.output import add_output, make_folders, output_folder, output_of
from minirpn.cli.pictures import (
    HELP,
    add_pictures,
    find_pictures,
    named_words,
    show_pictures,
)
from minirpn.cli.settings import add_device, add_distributed
from minirpn.cli.source import add_source, names_data, source_values, typed_source
from minirpn.launcher import launched

if TYPE_CHECKING:
    from pathlib import Path

    from minirpn.results import Found
    from minirpn.training.distributed import Ranks

NAME = "propose"
SUMMARY = "show where objects may be on pictures, or save it"
DESCRIPTION = f"""\
Print the proposals for pictures, best first, as score and (x1, y1, x2, y2) in pixels of the
picture. With --save or --out, also draw them (PNG) and write them to a file (JSON). Without a run,
the proposals are those of a model that comes with minirpn.

{HELP}
With --split, find the proposals for all images of a split, as many as a detector is trained on.
With --save or --out, also write them to one file: minirpn train --sharing 4-step --proposals FILE
starts from it.
"""

_SHOWN = 20
_FOLDER = "proposals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_model(parser)
    add_pictures(parser)
    parser.add_argument(
        "--top", type=int, metavar="N", help="proposals per image (default: 20; with --split: 2000)"
    )
    add_output(parser, _FOLDER)
    parser.add_argument(
        "--split", metavar="S", help="use all images of this split; the file is S.npz"
    )
    add_source(parser, help="data set of the split (default: that of the run)")
    parser.add_argument(
        "--skip-bad", action="store_true", help="with --split, leave out what is wrong in the data"
    )
    add_device(parser)
    add_distributed(parser)


def run(args: argparse.Namespace) -> int:
    """Propose, print, perhaps save, and return the exit status."""
    from minirpn.errors import InputError

    if args.top is not None and args.top < 1:
        raise InputError(f"--top: expected at least 1, got {args.top}")
    if args.split is None:
        for typed in typed_source(args):
            raise InputError(f"{typed}: only with --split")
        if args.skip_bad:
            raise InputError("--skip-bad: only with --split")
        if args.distributed == "auto" and launched().rank > 0:
            return 0  # the first process does it alone
        return _propose_pictures(args)
    _refuse(
        args, ("json", "coco", "voc_results"), "not with --split; minirpn eval writes such files"
    )
    from minirpn.training.distributed import open_ranks

    ranks = open_ranks(args.distributed)
    ranks.perform(partial(_propose_split, args, ranks))
    return 0


def _refuse(args: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Raise InputError if one of these flags is given."""
    from minirpn.errors import InputError

    for name in names:
        if (given := getattr(args, name)) is not None:
            raise InputError(f"--{name.replace('_', '-')} {given}: {reason}")


def _propose_pictures(args: argparse.Namespace) -> int:
    """Print the proposals for each picture, perhaps save them, and return the exit status."""
    from minirpn.errors import InputError
    from minirpn.models import load

    source, words = split_words(named_words(args))
    if not words:
        raise InputError("nothing to propose for: name pictures, or --split S")
    pictures = find_pictures(words)
    stored = chosen_model(source, best=args.best)
    model, top = load(stored, device=args.device), args.top or _SHOWN

    def find(path: Path) -> Found:
        return model.propose(path).top(top)

    output = output_of(args, stored.folder, _FOLDER)
    return show_pictures(pictures, find, lambda found: f"{len(found)} proposals", output)


def _propose_split(args: argparse.Namespace, ranks: Ranks) -> None:
    """Find the proposals for all images of a split, which the ranks share; perhaps save them."""
    from dataclasses import replace

    from minirpn.errors import InputError
    from minirpn.training.build import build_pipeline, load_network, training_proposals
    from minirpn.training.config import override
    from minirpn.training.evaluate import propose_all, save_proposals
    from minirpn.training.stored import read_stored
    from minirpn.training.terminal import Progress

    words = named_words(args)
    if not words:
        raise InputError(f"--split {args.split}: of which run? Name it")
    if len(words) > 1:
        raise InputError(f"{words[1]}: either pictures or --split, not both")
    stored = read_stored(words[0], best=args.best)
    ranks.use_threads()
    network, config = load_network(stored, ranks.open_device(args.device))
    values, names = source_values(args)
    if args.skip_bad:  # a run that was trained with it keeps it
        values["data.skip_bad"] = True
    config = override(config, {"data.classes": None, **values}, origins=names)
    counts = training_proposals(config)
    if args.top is not None:
        counts = replace(counts, post_nms=args.top, pre_nms=max(counts.pre_nms, args.top))
    with way_on(config):
        dataset = open_data(stored, config, args.split, named=names_data(args))
    folder = output_folder(args, stored.folder, _FOLDER)
    if ranks.is_first:
        make_folders([folder], [])
    proposals = []
    with way_on(config), Progress(len(dataset), unit="image") as progress:
        pipeline = build_pipeline(config, network)
        for item in propose_all(network, dataset, pipeline, counts, ranks=ranks):
            proposals.append(item)
            progress.advance()
    for reason in dataset.skipped:
        print(f"left out: {reason}")
    mean = sum(len(item.boxes) for item in proposals) / len(proposals)
    print(f"split {args.split}: {len(proposals)} images, {mean:.0f} proposals each on average")
    if folder is not None and ranks.is_first:
        path = folder / f"{args.split}.npz"
        save_proposals(path, proposals)
        print(f"saved: {path}")
