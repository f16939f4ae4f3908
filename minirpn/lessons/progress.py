"""What a learner has done: one small file beside the notebooks."""

from __future__ import annotations

import warnings
from pathlib import Path

from minirpn import fields
from minirpn.errors import InputError
from minirpn.files import write_json

FILE = Path("progress.json")
"""In the current folder, which for a notebook is its own: {chapter: {exercise: state}}."""
STATES = ("right", "wrong", "open")

Progress = dict[str, dict[str, str]]
_CHECK = fields.table_of(fields.table_of(fields.choice(*STATES)))


def read_progress() -> Progress:
    """Return the state of every exercise that was checked, by chapter; empty without a file.

    A file that cannot be read is told as a warning, and counts as none.
    """
    if not FILE.exists():
        return {}
    try:
        return _CHECK(fields.read_json(FILE), str(FILE))
    except InputError as error:
        warnings.warn(f"{error}; delete the file to begin anew", stacklevel=2)
        return {}


def keep(chapter: str, exercise: str, state: str) -> None:
    """Write down the state of an exercise.

    A folder that cannot be written to is told as a warning: checks work without the file.
    """
    progress = read_progress()
    progress.setdefault(chapter, {})[exercise] = state
    try:
        write_json(FILE, progress)
    except InputError as error:
        warnings.warn(f"{error}; your progress is not kept", stacklevel=2)
