"""``minirpn detect``: print, draw and save the detections of a run on pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from minirpn.cli.model import add_model, chosen_model, split_words
from minirpn.cli.output import add_output, output_of
from minirpn.cli.pictures import (
    HELP,
    add_pictures,
    find_pictures,
    named_words,
    show_pictures,
)
from minirpn.cli.settings import add_device

if TYPE_CHECKING:
    from pathlib import Path

    from minirpn.results import Found

NAME = "detect"
SUMMARY = "show what a detector finds on pictures, or save it"
DESCRIPTION = f"""\
Print the detections in pictures, best first, as class, score and (x1, y1, x2, y2) in pixels of the
picture. With --save or --out, also draw them (PNG) and write them to a file (JSON). The run must
have been trained with a detector (minirpn train --sharing). Without a run, the detector is that of
a model that comes with minirpn.

{HELP}"""

_FOLDER = "detections"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_model(parser)
    add_pictures(parser)
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        metavar="T",
        help="only detections that score above T (default: 0.5)",
    )
    add_output(parser, _FOLDER)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Detect, print, perhaps save, and return the exit status."""
    from minirpn.errors import InputError
    from minirpn.models import load

    source, words = split_words(named_words(args))
    if not words:
        raise InputError("nothing to look at: name pictures")
    pictures, threshold = find_pictures(words), args.score_threshold
    if not 0 <= threshold <= 1:
        raise InputError(f"--score-threshold: expected 0 to 1, got {threshold}")
    stored = chosen_model(source, best=args.best, detector=True)
    model = load(stored, device=args.device)

    def find(path: Path) -> Found:
        return model.detect(path, score_threshold=threshold)

    def summary(found: Found) -> str:
        return f"{len(found)} detections above {threshold:g}"

    return show_pictures(pictures, find, summary, output_of(args, stored.folder, _FOLDER))
