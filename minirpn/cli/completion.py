"""``minirpn completion``: make the shell complete commands, flags, their values, and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NAME = "completion"
SUMMARY = "print what makes your shell complete commands and flags"
DESCRIPTION = """\
Print a script that makes a shell complete commands, flags, their values, and file names.

- bash: `minirpn completion bash > ~/.minirpn.bash && echo '. ~/.minirpn.bash' >> ~/.bashrc`
- zsh: `minirpn completion zsh > FOLDER/_minirpn`, where FOLDER is one of `$fpath`
- tcsh: `minirpn completion tcsh > ~/.minirpn.tcsh && echo 'source ~/.minirpn.tcsh' >> ~/.tcshrc`

It takes effect in the next shell.
"""

# Arguments that are files without being paths: --weights may name a model, too.
_FILES = ("FILE", "FROM", "IMAGE", "PICTURE", "RUN")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    parser.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), metavar="SHELL", help="bash, zsh or tcsh"
    )


def run(args: argparse.Namespace) -> int:
    """Print the script, and return the exit status."""
    import shtab

    from minirpn.cli.main import build_parser

    parser = build_parser()
    for command, subparser in commands_of(parser).items():
        for action in subparser._actions:
            _describe(action, command)
    print(shtab.complete(parser, args.shell))
    return 0


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands.choices)


def _describe(action: Any, command: str) -> None:
    """Tell shtab what may follow an argument: one of some names, a folder or a file."""
    import shtab

    if action.nargs == 0 or action.choices is not None:
        return
    names = _names(command, action.dest)
    if names:
        action.choices = tuple(names)
    elif action.metavar == "DIR":
        action.complete = shtab.DIRECTORY
    elif action.type is Path or action.metavar in _FILES:
        action.complete = shtab.FILE


def _names(command: str, argument: str) -> Iterable[str]:
    """Return the names that an argument of a command takes; none if it takes other words."""
    from minirpn.backbones import BACKBONES
    from minirpn.data.download import DOWNLOADS
    from minirpn.studies import STUDIES
    from minirpn.weights import PRESETS

    known: dict[tuple[str, str], Iterable[str]] = {
        ("download", "names"): DOWNLOADS,
        ("study", "name"): STUDIES,
        ("convert", "network"): BACKBONES,
        ("convert", "preset"): PRESETS,
    }
    settings = {"model.backbone": BACKBONES, "model.preprocessing": PRESETS}
    return known.get((command, argument)) or settings.get(argument) or ()
