"""``minirpn``: run the command; an error that the user can repair is one line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import minirpn
from minirpn.cli import (
    anchors,
    bench,
    check,
    convert,
    detect,
    download,
    evaluate,
    explain,
    info,
    propose,
    report,
    study,
    train,
)
from minirpn.errors import InputError

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130

COMMANDS = (
    download,
    check,
    anchors,
    convert,
    train,
    evaluate,
    propose,
    detect,
    report,
    study,
    explain,
    bench,
    info,
)


class _Notes(logging.Handler):
    """Prints the library's log messages to stderr, so that a wait does not look like a hang."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message as a line; stderr is looked up each time, since tests replace it."""
        print(f"minirpn: {record.getMessage()}", file=sys.stderr)


_NOTES = _Notes()


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, as all errors of the program are."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"minirpn: error: {message} (see {self.prog} --help)\n")


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Given the words of a command line, only the commands among them get their arguments: those of
    ``train`` load NumPy, and the help of others should be quick.
    """
    parser = _Parser(
        prog="minirpn",
        description="The Region Proposal Network of Faster R-CNN in NumPy.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minirpn {minirpn.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        subparser = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if words is None or command.NAME in words:
            command.add_arguments(subparser)
        # SUPPRESS: without it the subcommand's own default would undo a --debug before it.
        subparser.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the traceback of an error",
        )
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 2 for an error, 130 if interrupted.

    ``check`` also returns 1, if the data set would stop a training.

    Parameters
    ----------
    argv
        The words after ``minirpn``; None for those of the process.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser(words)
    args = parser.parse_args(words)
    logger = logging.getLogger("minirpn")
    logger.addHandler(_NOTES)
    logger.setLevel(logging.INFO)
    if "run" not in args:
        parser.print_help(sys.stderr)
        return USER_ERROR
    try:
        status: int = args.run(args)
        sys.stdout.flush()  # a closed pipe is noticed here, not when Python ends
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe (`minirpn info | head`). Nothing more may be written to
        # stdout, not even when Python closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (InputError, OSError) as error:
        if args.debug:
            raise
        print(f"minirpn: error: {_one_line(error)}", file=sys.stderr)
        return USER_ERROR


def _one_line(error: Exception) -> str:
    """Return the message of an error; for an ``OSError`` the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
