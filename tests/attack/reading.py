"""What the readers have in common: where they are entered, and how a command is run."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.attack.inputs import Reader
from tests.attack.judging import FindingError, trouble_with

READERS: list[Reader] = []
STATUSES = (0, 1, 2, 130)  # that are documented, but for 3: a mistake of minirpn's


def enter(
    name: str,
    made: Callable[[], Sequence[bytes]],
    grammars: tuple[str, ...],
    read: Callable[[Path], object],
    **more: Any,
) -> None:
    READERS.append(Reader(name, made, grammars, read, **more))


def command(*words: object) -> object:
    """Run a command in this process, and judge its status and what it prints."""
    from minirpn.cli.main import main
    from minirpn.errors import InputError

    # As strict as a terminal's: what UTF-8 does not have is an error.
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status: object = main([*map(str, words)])
        except SystemExit as end:  # of argparse
            status = end.code
    printed, said = (one.buffer.getvalue().decode() for one in (output, errors))
    last = said.splitlines()[-1] if said else ""
    if status not in STATUSES:
        # Once more for the place; what was in the folder may be another now.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main([*map(str, words), "--debug"])
        raise FindingError(f"status {status} of {words[0]}", last)
    if "Traceback" in said or "not enough memory" in said:
        raise FindingError(f"a traceback on the console of {words[0]}", last)
    for line in (printed + said).split("\n"):
        if trouble := trouble_with(line.replace("\t", " ").replace("\r", " ")):
            raise FindingError(f"{trouble} on the console of {words[0]}", line)
    if status == 2:
        if not last:
            raise FindingError("status 2 without a word")
        raise InputError(last)
    return status


def json_seeds(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value, indent=2).encode() for value in values]


def text_seeds(*texts: bytes) -> Callable[[], list[bytes]]:
    return lambda: [*texts]
