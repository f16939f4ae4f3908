"""The reference of the command line, from the parsers that read it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from docs.extensions import DOCS, heading, write
from minirpn.cli.main import build_parser

PAGE = DOCS / "reference" / "commands.rst"
_WIDTH = 88


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Yield title and arguments of each group that has arguments, without ``--help``."""
    for group in parser._action_groups:
        shown = [
            action
            for action in group._group_actions
            if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        ]
        if shown:
            yield group.title or "", shown


def argument(action: argparse.Action) -> str:
    """Return the entry of one argument: its names, what it does, and its default."""
    names = ", ".join(f"{flag}{_value(action)}" for flag in action.option_strings)
    names = names or str(action.metavar)
    words = [f"{_sentence(action.help or '')}"]
    if action.choices:
        words.append(f"One of {', '.join(f'``{choice}``' for choice in action.choices)}.")
    default = action.default
    if default not in (None, False, argparse.SUPPRESS) and "default" not in (action.help or ""):
        words.append(f"Default: ``{default}``.")
    if "." in action.dest:
        words.append(f"Setting: :ref:`{action.dest} <setting-{action.dest}>`.")
    return f".. option:: {names}\n\n   {' '.join(words)}\n"


def _value(action: argparse.Action) -> str:
    """Return what follows a flag, such as `` DIR``; nothing for a switch."""
    if action.nargs == 0:
        return ""
    name = action.metavar or ("VALUE" if action.choices else action.dest.upper())
    if action.nargs == "+":
        return f" {name}..."
    return f" [{name}]" if action.nargs == "?" else f" {name}"


def _sentence(text: str) -> str:
    text = text.replace("*", r"\*").replace("`", "``").replace("%%", "%")
    if text.partition(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def command(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the section of one command."""
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    lines = [f".. _command-{name}:\n", heading(f"minirpn {name}", "-")]
    lines.append(f"{(parser.description or '').strip().replace('`', '``')}\n")
    lines.append(f".. code-block:: text\n\n{_wrapped(usage, _WIDTH)}\n")
    lines.append(f".. program:: minirpn {name}\n")
    for title, arguments in groups(parser):
        lines.append(f".. rubric:: {title[:1].upper()}{title[1:]}\n")
        lines += [argument(action) for action in arguments]
    return "\n".join(lines)


def _wrapped(usage: str, width: int) -> str:
    """Break a usage line between its arguments, which may be in brackets."""
    words: list[str] = []
    for word in usage.split(" "):
        if words and words[-1].count("[") > words[-1].count("]"):
            words[-1] += f" {word}"
        else:
            words.append(word)
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(f"   {line}" for line in lines)


def page() -> str:
    """Return the reference of all commands."""
    parser = build_parser()
    lines = [heading("Commands", "=")]
    lines.append(
        "``minirpn COMMAND --help`` prints the same. The exit status is 0 for success, 2 for an "
        "error that you can correct (one line on stderr names file, object and reason), 130 after "
        "Ctrl-C. ``minirpn check`` also returns 1, for data that would stop a training; ``minirpn "
        "propose`` and ``minirpn detect`` return 1 if some pictures were left out.\n"
    )
    lines.append(".. list-table::\n   :widths: 25 75\n")
    described = {
        choice.dest: choice.help
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for choice in action._choices_actions
    }
    lines += [
        f"   * - :ref:`minirpn {name} <command-{name}>`\n     - {described[name]}"
        for name in subparsers(parser)
    ]
    lines.append("\n.. program:: minirpn\n")
    lines += [argument(action) for _, actions in groups(parser) for action in actions]
    lines += [command(name, sub) for name, sub in subparsers(parser).items()]
    return "\n".join(lines)


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx write this page before it looks for pages."""
    app.connect("builder-inited", lambda app: write(PAGE, page()))
    return {"parallel_read_safe": True}
