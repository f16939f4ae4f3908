"""``minirpn``: run the command; an error that the user can repair is one line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise, takewhile
from typing import Any, NoReturn

import minirpn
from minirpn.cli import (
    anchors,
    bench,
    check,
    completion,
    convert,
    detect,
    download,
    evaluate,
    explain,
    export,
    info,
    propose,
    report,
    study,
    train,
)
from minirpn.cli.settings import DISTRIBUTED, as_typed, count_training_images
from minirpn.cli.words import (
    command_hint,
    complaint,
    is_flag,
    known_flags,
    nearest_flags,
    unknown_flags,
    unknown_word,
)
from minirpn.console import consoles, occupy_closed_handles
from minirpn.errors import InputError, UntrainedWarning, did_you_mean, reason_of
from minirpn.launcher import end_all, have_met, launched
from minirpn.text import MOST_CHARACTERS
from minirpn.text import message as one_line

USER_ERROR, OWN_ERROR, INTERRUPTED = 2, 3, 130

COMMANDS = (
    download,
    check,
    anchors,
    convert,
    train,
    evaluate,
    propose,
    detect,
    export,
    report,
    study,
    explain,
    bench,
    info,
    completion,
)

# The commands whose work several processes share; the first of them prints for all.
SHARED = {module.NAME for module in (train, evaluate, propose, study)}


class _Notes(logging.Handler):
    """Prints the library's log messages to stderr, so that a wait does not look like a hang."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message as a line; stderr is looked up each time, since tests replace it."""
        print(f"minirpn: {record.getMessage()}", file=sys.stderr)


_NOTES = _Notes()


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, as all errors of the program are."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.color = False  # Python 3.14 colors its help with codes, and `Console` escapes them

    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2]
        where = f"{command}: " if command else ""
        line = one_line(f"{where}{message.removeprefix('argument ')} (see {self.prog} --help)")
        self.exit(USER_ERROR, f"minirpn: error: {line}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Replace argparse's sentence about a wrong choice, which each Python words differently."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = did_you_mean(str(value).lower(), choices)
            reason = f"unknown {value!r}; there are {', '.join(choices)}{near}"
            raise argparse.ArgumentError(action, reason)


class _ProgramParser(_Parser):
    """The parser of the whole command line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, unless there is no such command, or a flag before it that is not known."""
        words = list(args)
        before = list(takewhile(is_flag, words))
        for unknown in unknown_flags(before, known_flags(self))[0]:
            self.error(f"unrecognized {unknown.typed}{_flag_hint(unknown.flag, words, self)}")
        names = [command.NAME for command in COMMANDS]
        for word in words[len(before) : len(before) + 1]:
            if word not in names:
                self.error(f"unknown command {word!r}{command_hint(word, names)}")
        return super().parse_known_args(args, namespace)


class _CommandParser(_Parser):
    """The parser of one command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, unless there are words that are not known: say what they all may have meant."""
        words = list(args)
        unknown, rest = unknown_flags(words, known_flags(self))
        if not unknown or {"-h", "--help"} & set(words):
            parsed, left = super().parse_known_args(words, namespace)
            unknown = [unknown_word(word) for word in left]
            if not unknown:
                return parsed, left
        count = partial(self._training_images, rest)
        self.error(complaint(unknown, self, images=count, others=_commands_with))

    def _training_images(self, words: Sequence[str]) -> int | None:
        """Return how many images a training with these words reads; None if that is not clear."""
        self.exit_on_error = False  # raise instead
        try:
            return count_training_images(super().parse_known_args(words)[0])
        except Exception:  # whatever is wrong with the settings, it is not what to say here
            return None


def _flag_hint(flag: str, words: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Return what to say about a flag before the command that only commands have."""
    names = _commands_with(flag)
    if not names:
        near = nearest_flags(flag, known_flags(parser))
        return f"; did you mean {near[0]}?" if near else ""
    name = next((name for name in names if name in words), names[0])
    return f"; it comes after the command: minirpn {name} {flag}"


def _commands_with(flag: str) -> list[str]:
    """Return the names of the commands that have a flag."""
    names = []
    for command in COMMANDS:
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        names += [command.NAME] * (flag in known_flags(parser))
    return names


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Given the words of a command line, only the commands among them get their arguments: those of
    ``train`` load NumPy, and the help of others should be quick.
    """
    parser = _ProgramParser(
        prog="minirpn",
        description="The Region Proposal Network of Faster R-CNN in NumPy.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minirpn {minirpn.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_CommandParser)
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
    """Run the command line and return the exit status.

    It is 0, 2 for an error that the user can repair, 3 for a mistake of minirpn's, 130 if
    interrupted. ``check`` also returns 1, if the data set would stop a training; ``propose`` and
    ``detect``, if pictures were left out. It tells how the work went, whether or not anybody could
    read about it; but output that a full disk has lost is an error.

    Parameters
    ----------
    argv
        The words after ``minirpn``; None for those of the process.
    """
    if argv is None:  # this is the program: nothing opens a window, whatever the backend is
        os.environ["MPLBACKEND"] = "agg"
    occupy_closed_handles()
    words = sys.argv[1:] if argv is None else argv
    is_shared = shares_work(words) and launched().size > 1
    with consoles(silent=is_shared and launched().rank > 0) as (output, _):
        status = _run(words, is_shared=is_shared)
        output.flush()
        lost = output.lost
        if lost is not None and not isinstance(lost, BrokenPipeError):
            # Nobody closed it: somebody waits for what is missing.
            print(f"minirpn: error: stdout: cannot write: {lost.strerror}", file=sys.stderr)
            status = status or USER_ERROR
    return status


def shares_work(words: Sequence[str]) -> bool:
    """Tell whether several processes with this command line do one piece of work together."""
    command = next((word for word in words if not is_flag(word)), None)
    is_off = f"{DISTRIBUTED}=off" in words or (DISTRIBUTED, "off") in pairwise(words)
    return command in SHARED and not is_off


def _run(words: Sequence[str], *, is_shared: bool) -> int:
    """Run the command of these words, and return the exit status.

    If other processes share the work, they wait for this one. So if it ends in a way that they have
    not been told of, it ends them too.
    """
    parser = build_parser(words)
    try:
        args = parser.parse_args(words)
    except SystemExit as ended:  # argparse has said all there is to say
        return int(ended.code or 0)
    except Exception as error:
        if "--debug" in words:
            raise
        return _report(error, argparse.Namespace())
    logger = logging.getLogger("minirpn")
    logger.addHandler(_NOTES)
    logger.setLevel(logging.INFO)
    if "run" not in args:
        parser.print_help(sys.stderr)
        return USER_ERROR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UntrainedWarning)
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            status: int = args.run(args)
        return status
    except KeyboardInterrupt:
        if is_shared:
            end_all(INTERRUPTED, is_asked=True)
        return INTERRUPTED
    except Exception as error:
        if is_shared and _is_interrupt(error):
            end_all(INTERRUPTED, is_asked=True)
        is_awaited = is_shared and not getattr(error, "is_told", False)
        if is_awaited and (launched().rank > 0 or have_met()):
            _end_all(error, args)
        if args.debug:
            raise
        return _report(error, args)


def _end_all(error: Exception, args: argparse.Namespace) -> NoReturn:
    """Tell of an error that the other processes wait in vain to hear of, and end them all."""
    status, line = _line_about(error, args, who=f"rank {launched().rank}: ")
    trace = traceback.format_exc() if args.debug else ""
    sys.stdout.flush()
    os.write(2, f"{trace}{line}\n".encode(errors="backslashreplace"))  # sys.stderr may be silent
    end_all(status)


def _report(error: Exception, args: argparse.Namespace) -> int:
    """Print an error as one line, and return the exit status."""
    if _is_interrupt(error):
        return INTERRUPTED
    status, line = _line_about(error, args)
    print(line, file=sys.stderr)
    return status


def _line_about(error: Exception, args: argparse.Namespace, *, who: str = "") -> tuple[int, str]:
    """Return the exit status for an error, and the line that tells of it."""
    status, reason = USER_ERROR, reason_of(error)
    if isinstance(error, InputError | OSError):
        reason = as_typed(reason, args)
    elif isinstance(error, MemoryError):
        reason = f"not enough memory: {reason}"
    elif isinstance(error, UnicodeEncodeError) and error.encoding != "utf-8":
        # All files are written as UTF-8, so it is the name of one.
        reason = f"{error.object}: no name for a file in this locale; try PYTHONUTF8=1"
    else:
        status = OWN_ERROR
        reason = (
            f"{type(error).__name__}: {reason}; this is a mistake of minirpn's: please report it, "
            "with what --debug shows"
        )
    most = error.most if isinstance(error, InputError) else MOST_CHARACTERS
    return status, one_line(f"minirpn: error: {who}{reason}", most)


def _is_interrupt(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: Python 3.11 wraps what comes in a class body."""
    return isinstance(error, KeyboardInterrupt) or (
        error is not None and _is_interrupt(error.__cause__)
    )


def _show_warning(
    usual: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **options: Any,
) -> None:
    """Print a warning of the program as one line, any other as Python does."""
    if issubclass(category, UntrainedWarning):
        print(f"warning: {message}", file=sys.stderr)
    else:
        usual(message, category, *where, **options)
