"""``minirpn report``: write the report of a run again, at any time."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
SUMMARY = "write the report of a run again, at any time"
DESCRIPTION = """\
Write RUN/report.html from what is in the folder of a run now. The run may have ended, may have been
stopped, or may still be training: it is not disturbed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a training run")


def run(args: argparse.Namespace) -> int:
    """Write the report, print its path, and return the exit status."""
    from minirpn.report import write_report
    from minirpn.training.run_folder import open_run

    print(write_report(open_run(args.folder).path))
    return 0
