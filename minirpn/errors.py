"""Errors a user can cause, and a warning, each said in one line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

from minirpn.text import MOST_CHARACTERS, message


class InputError(ValueError):
    """Something the user handed over is wrong: a file, a box, a flag.

    The message is one line that names the file, the object and the reason, in this order. The
    command line prints it as it is and exits with code 2; a library caller gets a ``ValueError``.
    What it quotes from a file may be anything, so it is made a line by `minirpn.text.message`.

    Parameters
    ----------
    line
        The message.
    most
        Characters that it may have: more where it holds commands to be typed.
    """

    def __init__(self, line: str, *, most: int = MOST_CHARACTERS) -> None:
        super().__init__(message(line, most))
        self.most = most


class UntrainedWarning(UserWarning):
    """A network is used that has not learned anything: its run was saved before the first step."""


def reason_of(error: Exception) -> str:
    """Return what an error says, in one line; of an ``OSError`` the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean NAME?"`` for the known name nearest to a word, or else ``""``."""
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
