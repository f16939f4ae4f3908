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
    parser.add_argument("source", metavar="RUN", help="folder of a training run")


def run(args: argparse.Namespace) -> int:
    """Write the report, print its path, and return the exit status."""
    from minirpn.errors import InputError
    from minirpn.report import write_report
    from minirpn.training.run_folder import open_run
    from minirpn.training.stored import names_a_model, read_stored

    path = Path(args.source)
    if not path.is_dir() and names_a_model(args.source):
        folder = read_stored(args.source).folder
        if folder is None:
            raise InputError(f"{args.source}: a report is of a run, and this model is in none")
        whole = f"minirpn report {folder.path}"
        raise InputError(f"{args.source}: a report is of a run, not of a checkpoint: {whole}")
    print(write_report(open_run(path).path))
    return 0
