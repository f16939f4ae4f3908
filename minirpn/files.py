"""Files: read as far as they are files, and written so that they are whole or absent.

Reading opens nothing but regular files, and counts the bytes while they come: the size that the
file system tells may be old. Writing goes to a new file beside the target, which is synced to the
disk and then renamed. No link at the place of the target is followed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minirpn.errors import InputError

MOST_TEXT = 2**26
"""Bytes of a file of text at most: settings, records, annotations, lists."""

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{16}\.tmp", re.DOTALL)  # a name may have any characters
# By the platform's name: JupyterLite's kernel has an empty module fcntl.
_HAS_LOCKS = sys.platform not in ("win32", "emscripten")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe is opened without waiting for its other end
_BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it


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


def open_regular(path: str | Path, *, follow: bool = True) -> BufferedReader:
    """Return a file opened for reading, if it is a regular file: no folder, pipe or device.

    Parameters
    ----------
    path
        The file.
    follow
        Follow a link at `path`. Without it, a link is no regular file.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    """
    handle = _open(path, os.O_RDONLY | _AT_ONCE | _BINARY, follow=follow)
    _expect_regular(handle, path)
    return os.fdopen(handle, "rb")


def _expect_regular(handle: int, path: str | Path) -> None:
    """Close the handle and raise an OSError if it is of no regular file."""
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return
    os.close(handle)
    raise _no_file(mode, path)


def _no_file(mode: int, path: str | Path) -> OSError:
    if stat.S_ISDIR(mode):
        return OSError(errno.EISDIR, "it is a folder", str(path))
    return OSError(errno.EINVAL, "not a file, but a pipe or a device", str(path))


def _open(path: str | Path, flags: int, *, follow: bool) -> int:
    """Return a handle of a file; an OSError says if `path` is a link, and none is followed."""
    try:
        return os.open(path, flags | (0 if follow else _NO_LINK), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(
                errno.ELOOP, "a link, and links are not followed here", str(path)
            ) from None
        raise


def read_file(path: str | Path, *, most: int = MOST_TEXT, follow: bool = True) -> bytes:
    """Return the bytes of a regular file; see `open_regular`.

    Raises
    ------
    OSError
        It cannot be read, is no regular file, or has more than `most` bytes.
    """
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= most:
            content = file.read(size + 1)
            if len(content) > size:  # it has grown, or the file system does not tell sizes
                content += file.read(most - len(content) + 1)
            if len(content) <= most:
                return content
    raise OSError(errno.EFBIG, f"more than {most:,} bytes, as no file of this kind has", str(path))


def replace_file(
    path: Path, content: bytes | Callable[[BinaryIO], object], *, durable: bool = True
) -> None:
    """Give `path` new content, or leave it exactly as it was.

    The content, or what it writes if it is a function, goes to a new file ``.NAME.RANDOM.tmp`` in
    the same folder and reaches the disk (fsync). Then that file is renamed to `path`. So a reader
    finds the old content or the new, even if the process is killed. The next call removes what a
    killed process left (not without `durable`: to look for it among a thousand files takes longer
    than to write one). A link at `path` is replaced, and what it points to stays as it is.

    Parameters
    ----------
    path
        The file.
    content
        Bytes, or a function that writes them to the file that it is given.
    durable
        Wait until it has reached the disk; without it, a power failure may lose the content. For
        many files that are easily made again.

    Raises
    ------
    InputError
        The disk is full, the folder is missing or read-only.
    """
    with one_line_errors(path, "write"):
        _expect_place(path)
        if durable:
            _remove_leftovers(path)
        aside, file = _new_file_beside(path)
        try:
            with file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    content(file)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                if os.name == "nt":  # it cannot be renamed while it is open
                    file.close()
                os.replace(aside, path)  # noqa: PTH105  (tests make exactly this call fail)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(path.parent)


def _expect_place(path: Path) -> None:
    """Raise an OSError if a device, a pipe or a folder is at `path`, or a link leads to one."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _no_file(mode, path)


def _new_file_beside(path: Path) -> tuple[Path, BinaryIO]:
    """Return a new, locked file in the folder of `path`, and its path.

    The lock tells the next `_remove_leftovers` that a process is still writing it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    while True:
        aside = path.with_name(f"{_beginning_of(path)}{secrets.token_hex(8)}.tmp")
        file = os.fdopen(os.open(aside, flags, 0o666), "w+b")
        _lock(file, wait=True)  # for a `_remove_leftovers` that has it for a moment
        if os.path.lexists(aside):  # not removed before it was locked
            return aside, file
        file.close()


def _beginning_of(path: Path) -> str:
    """Return how the names of new files beside `path` begin; its own may be as long as may be."""
    return f".{path.name[:40]}."


def is_unfinished(name: str) -> bool:
    """Tell whether a file has the name of one that `replace_file` has begun to write."""
    return _UNFINISHED.fullmatch(name) is not None


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left when they wrote `path`: files that nobody has locked."""
    beginning = _beginning_of(path)
    with os.scandir(path.parent) as entries:
        left = [one for one in entries if one.name.startswith(beginning)]
    for one in left:
        if not is_unfinished(one.name):
            continue
        with contextlib.suppress(OSError):
            if not _HAS_LOCKS or one.is_symlink():  # Windows removes no file that is open
                os.unlink(one.path)  # noqa: PTH108
                continue
            with open_regular(one.path, follow=False) as file:
                if _lock(file):
                    os.unlink(one.path)  # noqa: PTH108


def _lock(file: BinaryIO, *, wait: bool = False) -> bool:
    """Lock an open file as long as it is open; tell whether nobody else has."""
    if not _HAS_LOCKS:
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another has, or the file system has no locks, so that nobody knows
        return False
    return True


def own_file(path: Path, wait: Callable[[], object]) -> BufferedRandom:
    """Return a file that no other process has, opened for reading and writing; made if need be.

    It is this process's until it is closed. Where files cannot be locked (Windows, some network
    drives), nobody is kept out. A link at `path` is not followed.

    Parameters
    ----------
    path
        The file.
    wait
        Called before the wait for a process that has it.

    Raises
    ------
    OSError
        It cannot be written, or is no regular file.
    """
    while True:
        handle = _open(path, os.O_RDWR | os.O_CREAT | _AT_ONCE | _BINARY, follow=False)
        _expect_regular(handle, path)
        file = os.fdopen(handle, "r+b")
        if _HAS_LOCKS:
            import fcntl

            with contextlib.suppress(OSError):  # of a file system that has no locks
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    wait()
                    fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.lstat(path)):
                return file
        file.close()  # while it was waited for, it was renamed or removed


def append_text(path: Path, text: str) -> None:
    """Append to a file, which is made if there is none; a link at `path` is not followed.

    Bytes of file names that are no UTF-8 are written as they were.

    Raises
    ------
    InputError
        It cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _AT_ONCE | _BINARY
    with (
        one_line_errors(path, "write"),
        os.fdopen(_open(path, flags, follow=False), "ab") as file,
    ):
        file.write(text.encode(errors="surrogateescape"))


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
    if not _HAS_LOCKS:
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
    ValueError
        An array holds Python objects.
    """
    encoded = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)
    members: dict[str, Any] = {"metadata": encoded, **arrays}
    for name, array in members.items():
        # NumPy would pickle them, and only newer versions can be told not to.
        if array.dtype.hasobject:
            raise ValueError(f"{name}: expected numbers, got an array of Python objects")

    def write(file: BinaryIO) -> None:
        np.savez(file, **members)

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
