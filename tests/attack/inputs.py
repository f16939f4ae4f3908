"""Readers, and what is put in the place of the files that they read."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.attack.mutators import GRAMMARS

PREFIX = "minirpn-attack-"  # of temporary folders


class Reader(NamedTuple):
    """Something of minirpn that reads a file.

    Parameters
    ----------
    name
        On the command line.
    seeds
        Return the bytes of sound files.
    grammars
        Keys of `GRAMMARS`; one is drawn first, so that a key named twice is drawn twice as often.
    read
        Read the file at a path and use what it says.
    file
        Where the file is put, in the folder of this reader.
    share
        Of how many inputs it gets, beside the others.
    folder
        Make the folder around the file; None for an empty one.
    fresh
        Whether it is made anew for each input, because reading changes what is in it.
    free_name
        Whether the file may have any name; else odd names are those of the folder.
    is_file
        Whether minirpn opens the file itself, so that it could be something else than a file.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    grammars: tuple[str, ...]
    read: Callable[[Path], object]
    file: str = "input"
    share: float = 10.0
    folder: Callable[[Path], object] | None = None
    fresh: bool = False
    free_name: bool = True
    is_file: bool = True


# --- what is put there ---------------------------------------------------------------------------

ODD_NAMES = (
    b"\xff\xfe", b"a\nb", b"\x1b[2J", b"$\\frac{$", b"\xc2\x9b31m", "\u202eflip".encode(), b"-x",
    b"--set", b"%s", b" ", b"a b", b"'\"`$(x)", "\u00e9".encode(), "e\u0301".encode(), b"x" * 200,
    b"~", b"#", b"a@best", b"x.npz", b"x.toml", b"NUL", b"\\", b"<b>", b"\x7f", b"\xed\xa0\x80",
)  # fmt: skip


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link_to(target: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.symlink_to(target)

    return link


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**32 + 4096)


def _sparse_after(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)
        os.truncate(path, 2**32 - 4096)

    return write


SECRET = b"Nobody outside of this file may read it, nor write over it.\n" * 40


def _outside(path: Path) -> None:
    """Link to a file that is none of the reader's business; `attack_one` looks at it afterwards."""
    target = secret_of(path)
    target.write_bytes(SECRET)
    path.symlink_to(target)


def secret_of(path: Path) -> Path:
    work = next(one for one in path.parents if one.parent.name.startswith(PREFIX))
    return work.parent / f"secret-{work.name}"


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


# Not /dev/tty and the like: what is there depends on who calls.
KINDS: dict[str, Callable[[Path], None]] = {
    "fifo": _fifo,
    "zero": _link_to("/dev/zero"),
    "null": _link_to("/dev/null"),
    "sparse": _sparse,
    "folder": Path.mkdir,
    "dangling": _link_to("nowhere"),
    "loop": _loop,
    "outside": _outside,
    "proc": _link_to("/proc/self/environ"),
    "absent": lambda path: None,
}


class Input(NamedTuple):
    """What is put in the place of a sound file."""

    how: str  # the name of its mutator
    content: bytes | None  # None for what is no file
    place: Callable[[Path], None] | None = None
    name: bytes | None = None  # an odd one


def input_of(reader: Reader, seeds: Sequence[bytes], number: int, seed: int) -> Input:
    """Return an input by its number."""
    rng = random.Random(f"{seed}:{reader.name}:{number}")
    sound = rng.choice(seeds)
    chance = rng.random()
    if chance < 0.012 and reader.is_file:
        kind = rng.choice([*KINDS, "sparse after"])
        place = _sparse_after(sound) if kind == "sparse after" else KINDS[kind]
        return Input(kind, None, place)
    name = rng.choice(ODD_NAMES) if chance < 0.03 and reader.is_file else None
    if name is not None and rng.random() < 0.4:
        return Input("name", sound, name=name)
    grammar = rng.choice(reader.grammars)
    mutator = rng.choice(GRAMMARS[grammar])
    try:
        content = mutator(rng, sound, seeds)
        if rng.random() < 0.1:
            blind = rng.choice(GRAMMARS["bytes"])
            content = blind(rng, content, seeds)
    except (ValueError, LookupError, RecursionError) as error:
        raise RuntimeError(f"{reader.name}:{number}: {mutator.__name__} is broken") from error
    return Input(mutator.__name__, content, name=name)


def away(path: Path) -> None:
    """Remove whatever is at a path."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()


def put(reader: Reader, given: Input, work: Path, prepared: dict[str, Path]) -> Path:
    """Put an input in its place, and return its path."""
    folder = work / reader.name
    if given.name is not None and not reader.free_name:
        folder = work / os.fsdecode(given.name)
        away(folder)
    if reader.fresh or folder != prepared.get(reader.name):
        away(folder)
        folder.mkdir(parents=True)
        if reader.folder is not None:
            reader.folder(folder)
        if folder.name == reader.name:
            prepared[reader.name] = folder
    path = folder / reader.file
    if given.name is not None and reader.free_name:
        path = folder / "odd" / os.fsdecode(given.name)
        away(path.parent)
        path.parent.mkdir()
    away(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if given.place is not None:
        given.place(path)
    elif given.content is not None:
        path.write_bytes(given.content)
    return path
