"""The parsers of the command line for ``sphinx_argparse_cli``, with links to the settings."""

from __future__ import annotations

import argparse

from minirpn.cli.main import build_parser


def linked_parser() -> argparse.ArgumentParser:
    """Return the parser of `minirpn`, in which the help of a flag names the setting it gives."""
    parser = build_parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                # A description is a paragraph here, not lines for a terminal.
                command.formatter_class = argparse.HelpFormatter
                command.description = (command.description or "").replace("`", "")
                for argument in command._actions:
                    argument.help = _linked(argument)
    return parser


def _linked(argument: argparse.Action) -> str:
    """Return the help of an argument, with all its choices and its setting."""
    text = argument.help or ""
    hidden = [str(choice) for choice in argument.choices or () if argument.metavar]
    if not all(choice in text for choice in hidden):
        text += f"; one of {', '.join(hidden)}"
    if "." in argument.dest:
        text += f" (setting :ref:`{argument.dest} <setting-{argument.dest}>`)"
    return text
