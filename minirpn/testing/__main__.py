"""``python -m minirpn.testing my_module.py``: run every check that applies to a file.

A check applies when the file has functions of the names it looks for, with or without ``my_`` in
front; ``--list`` shows them. The exit code is 0 if every function is right, 1 if one is wrong or
open, 2 if there is nothing to check.
"""

from __future__ import annotations

import argparse
import ast
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from minirpn.testing.known import KNOWN
from minirpn.testing.run_file import Options, check_file


def main(arguments: list[str] | None = None) -> int:
    """Check the file named on the command line, print a line for each check, return the code."""
    parser = argparse.ArgumentParser(
        prog="python -m minirpn.testing",
        description="Run every check that applies to a file. A function is found by its name, with "
        "or without my_ in front.",
    )
    parser.add_argument("file", type=Path, nargs="?", help="a Python file with functions of yours")
    parser.add_argument("--list", action="store_true", help="list what can be checked, and exit")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="stop a function that takes longer (60; 0: never)",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="FUNCTION:NAME=VALUE",
        help="an option of a check, such as nms:ties=any",
    )
    asked = parser.parse_args(arguments)
    if asked.list:
        print(listing())
        return 0
    if asked.file is None:
        parser.error("name a file, or ask for --list")
    if not asked.file.is_file():
        what = "is a folder: name a Python file" if asked.file.is_dir() else "no such file"
        print(f"{asked.file}: {what}", file=sys.stderr)
        return 2
    kinds = []
    for kind, words in check_file(
        asked.file, timeout=asked.timeout or None, options=_by_function(asked.option)
    ):
        print(words, file=sys.stderr if kind in ("note", "none") else sys.stdout, flush=True)
        kinds.append(kind)
    if "none" in kinds:
        return 2
    return 1 if {"open", "wrong"} & set(kinds) else 0


def listing() -> str:
    """Return a line for each function that can be checked: how it is called, what it returns."""
    lines = []
    for known in KNOWN:
        for call, returns in zip(known.calls, known.returns, strict=True):
            lines.append(f"{call}\n    -> {returns}")
    return "\n".join(lines)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text}")
    return seconds


def _option(text: str) -> tuple[str, str, Any]:
    function, _, setting = text.partition(":")
    name, equals, value = setting.partition("=")
    known = next((known for known in KNOWN if known.names[0] == function), None)
    if known is None or not equals:
        raise argparse.ArgumentTypeError(
            f"expected FUNCTION:NAME=VALUE with a function of --list, got {text}"
        )
    if name not in known.options:
        names = ", ".join(known.options) or "no option"
        raise argparse.ArgumentTypeError(f"{function} takes {names}, got {name}")
    try:
        return function, name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return function, name, value


def _by_function(options: list[tuple[str, str, Any]]) -> Options:
    by_function: dict[str, dict[str, Any]] = defaultdict(dict)
    for function, name, value in options:
        by_function[function][name] = value
    return by_function


if __name__ == "__main__":
    sys.exit(main())
