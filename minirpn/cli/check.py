"""``minirpn check``: find what is wrong with a data set, before training on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minirpn.cli.source import add_source, source_of

NAME = "check"
SUMMARY = "find everything that is wrong with a data set"
DESCRIPTION = """\
Read every file of a data set in VOC layout and list what is wrong. An error stops a training, or is
left out with --skip-bad. A warning is something suspicious. "Repaired" is a mistake whose meaning
is clear: it is read as it was meant. --fix writes a copy in which all of that is done.

Exit status: 0 if nothing would stop a training, 1 if something would, 2 if the data set cannot be
checked at all.
"""

_WOULD_STOP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_source(parser, help="the data set")
    parser.add_argument(
        "--split",
        action="append",
        metavar="S",
        help="only the images of this split; may be repeated (default: everything there is)",
    )
    parser.add_argument(
        "--classes", metavar="A,B", help="the class names that may occur, or voc; others are errors"
    )
    parser.add_argument(
        "--first", type=int, default=3, metavar="N", help="findings to print per kind (default: 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings to FILE")
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="OUT",
        help="write a corrected copy in VOC layout, and what was changed, into this new folder",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="files to read at the same time")


def run(args: argparse.Namespace) -> int:
    """Check, print the table, and return the exit status."""
    from minirpn.data.check import check_dataset, most_at_a_time
    from minirpn.data.fix import CHANGES, write_corrected
    from minirpn.errors import InputError
    from minirpn.files import write_json

    for name, least in (("first", 0), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise InputError(f"--{name}: expected at least {least}, got {value}")
    report = check_dataset(
        source_of(args),
        splits=args.split,
        classes=_classes(args.classes),
        threads=args.threads,
        processes=args.threads or most_at_a_time(),
        track=_tracked,
    )
    print(report.table(args.first))
    if args.json is not None:
        write_json(args.json, report.to_dict())
    if args.fix is not None:
        fixed = write_corrected(
            source_of(args),
            args.fix,
            splits=args.split,
            classes=_classes(args.classes),
            track=_tracked,
        )
        left_out = f", {len(fixed.left_out):,} left out" if fixed.left_out else ""
        print(f"corrected copy: {args.fix}: {fixed.images:,} images{left_out}; see {CHANGES} in it")
    return _WOULD_STOP if report.errors else 0


def _classes(text: str | None) -> tuple[str, ...] | None:
    from minirpn.data.folders import as_utf8
    from minirpn.data.voc import VOC_CLASSES

    if text is None:
        return None
    return VOC_CLASSES if text == "voc" else tuple(one.strip() for one in as_utf8(text).split(","))


def _tracked(items: Iterable[Any], total: int) -> Iterator[Any]:
    """Yield the items, with a progress bar."""
    from minirpn.training.terminal import Progress

    with Progress(total, unit="image") as progress:
        for item in items:
            yield item
            progress.advance()
