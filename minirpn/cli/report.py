"""``minirpn report``: write the page about a run again, whether it has ended or not."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
SUMMARY = "write the report of a run again, at any time"
DESCRIPTION = """\
Write RUN/report.html from what is in the folder of a run by now: one that has ended, was stopped,
or is still going on, which it does not disturb.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of this command."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a training run")


def run(args: argparse.Namespace) -> int:
    """Write the report, say where it is, and return the exit status."""
    from minirpn.report import write_report
    from minirpn.training.run_folder import open_run

    print(write_report(open_run(args.folder).path))
    return 0
