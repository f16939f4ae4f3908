"""``minirpn check``: find what is wrong with a data set, before training on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NAME = "check"
SUMMARY = "find everything that is wrong with a data set"
DESCRIPTION = """\
Read every file of a data set in VOC layout and list what is wrong. An error stops a training, or is
left out with --skip-bad. A warning is something suspicious. "Repaired" is a mistake whose meaning
is clear: it is read as it was meant.

Exit status: 0 if nothing would stop a training, 1 if something would, 2 if the data set cannot be
checked at all.
"""

_WOULD_STOP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument("--voc", type=Path, required=True, metavar="DIR", help="the data set")
    parser.add_argument("--year", metavar="Y", help="year of a VOCdevkit")
    parser.add_argument(
        "--split",
        action="append",
        metavar="S",
        help="only the images of this split; may be repeated (default: everything there is)",
    )
    parser.add_argument(
        "--classes", metavar="A,B", help="the class names that may occur; others are errors"
    )
    parser.add_argument(
        "--first", type=int, default=3, metavar="N", help="findings to print per kind (default: 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings to FILE")
    parser.add_argument("--threads", type=int, metavar="N", help="files to read at the same time")


def run(args: argparse.Namespace) -> int:
    """Check, print the table, and return the exit status."""
    from minirpn.data.check import check_dataset
    from minirpn.errors import InputError
    from minirpn.files import write_json

    for name, least in (("first", 0), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise InputError(f"--{name}: expected at least {least}, got {value}")
    report = check_dataset(
        args.voc,
        year=args.year,
        splits=args.split,
        classes=args.classes.split(",") if args.classes else None,
        threads=args.threads,
        track=_tracked,
    )
    print(report.table(args.first))
    if args.json is not None:
        write_json(args.json, report.to_dict())
    return _WOULD_STOP if report.errors else 0


def _tracked(items: Iterable[Any], total: int) -> Iterator[Any]:
    """Yield the items, with a progress bar."""
    from minirpn.training.terminal import Progress

    with Progress(total, unit="image") as progress:
        for item in items:
            yield item
            progress.advance()
