"""Files that are whole or absent: written under another name, synced to disk, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minirpn.errors import InputError


@contextlib.contextmanager
def one_line_errors(path: Path, action: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into an `InputError`: "PATH: cannot ACTION: reason".

    A full disk, no permission, a folder in place of a file: the user can repair these.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot {action}: {reason}") from error


def replace_file(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Give `path` new content, or leave it exactly as it was.

    The content, or what it writes if it is a function, goes to ``.NAME.tmp`` in the same folder and
    reaches the disk (fsync). Then that file is renamed to `path`. So a reader finds the old content
    or the new, even if the process is killed. The next call overwrites what a killed process left.

    Raises
    ------
    InputError
        The disk is full, the folder is missing or read-only.
    """
    aside = path.with_name(f".{path.name}.tmp")
    with one_line_errors(path, "write"):
        try:
            with aside.open("wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    content(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)  # noqa: PTH105  (tests make exactly this call fail)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Allow only one process at a time in such a block for a folder.

    The lock is the operating system's: it ends with the process and leaves no file. Where folders
    cannot be locked (Windows, some network drives), it does nothing.

    Raises
    ------
    InputError
        Another process is in such a block.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    with one_line_errors(folder, "open"):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # of a file system that has no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{folder}: another process is training in it") from None
        yield
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` as indented JSON, whole or not at all; see `replace_file`."""
    replace_file(path, json.dumps(content, indent=2).encode() + b"\n")


def write_npz(path: Path, metadata: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to an ``.npz``, whole or not at all; see `replace_file`.

    `metadata` goes into the member ``metadata``: JSON text as bytes, so that nothing is pickled.

    Raises
    ------
    InputError
        It could not be written.
    """
    encoded = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)

    def write(file: BinaryIO) -> None:
        np.savez(file, allow_pickle=False, metadata=encoded, **arrays)

    replace_file(path, write)


def _sync_folder(folder: Path) -> None:
    """Sync the folder's list of names to disk, so that a rename survives a power failure."""
    if os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
