"""Errors a user can cause, each said in one line."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user handed over is wrong: a file, a box, a flag.

    The message is one line that names the file, the object and the reason, in this order. The
    command line prints it as it is and exits with code 2; a library caller gets a ``ValueError``.
    """
