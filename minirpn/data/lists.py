"""The lists of images that splits are made of: where they lie, and what their lines name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from minirpn.data.findings import BadFileError, Kind
from minirpn.data.folders import SPLITS, by_name, is_litter, subfolders, without_ending
from minirpn.files import read_file

_SHOWS = {"1", "0", "-1"}  # VOC's second column: shown, only as a difficult object, not shown
_MOST_LINES = 1_000_000  # of a list
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # those of `str.splitlines`
_MOST_ABSENT = 100_000  # of them that name no image; each one is a finding or two
_USUAL = {**SPLITS, "trainval": "trainval"}


class Lists(NamedTuple):
    """The files that list images."""

    splits: dict[str, Path]  # by the name of the split
    classes: dict[str, list[Path]]  # VOC's lists of one class each, such as ``cat_train``, by split


def find_lists(path: Path) -> Lists:
    """Return the lists of a data set in the folder `path`.

    They are those of ``ImageSets/Main`` or ``ImageSets``, whatever their names are, or else
    ``train.txt``, ``val.txt`` and the like in `path` itself.
    """
    sets = {one.name.lower(): one for one in subfolders(path)}.get("imagesets")
    if sets is not None:
        main = {one.name.lower(): one for one in subfolders(sets)}.get("main", sets)
        for folder in (main, sets):
            if files := _text_files(folder):
                return _sorted_out(files)
    beside = _text_files(path)
    named = {name: file for name, file in beside.items() if name.lower() in _USUAL}
    return Lists(_by_split(named), {})


def _text_files(folder: Path) -> dict[str, Path]:
    """Return the text files in a folder by name, without the ending."""
    files = (one for one in sorted(folder.iterdir()) if one.suffix.lower() == ".txt")
    return {one.stem: one for one in files if one.is_file() and not is_litter(one.name)}


def _by_split(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return lists by the name of their split: ``valid.txt`` and ``Val.txt`` are those of val."""
    named = {_USUAL.get(name.lower(), name): path for name, path in files.items()}
    exact = {name: path for name, path in files.items() if name in named}
    return named | exact


def _sorted_out(files: Mapping[str, Path]) -> Lists:
    """Return which lists are splits, and which are VOC's of one class."""
    classes: dict[str, list[Path]] = {}
    splits = dict(files)
    for name, path in files.items():
        of_class, _, split = name.rpartition("_")
        if of_class and (split in files or split in _USUAL):
            columns = [line.split()[-1:] for line in _lines(path)]
            known = all(last and last[0] in _SHOWS for last in columns)
            # Without a list of the split itself, only "-1" tells a class from a split.
            if known and (split in files or ["-1"] in columns):
                classes.setdefault(split, []).append(path)
                del splits[name]
    return Lists(_by_split(splits), classes)


class IdFinder:
    """Finds the image that a user or a line of a list names, among the ids of a data set."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = set(known)

    def find(self, text: str) -> str | None:
        """Return the id that a text names: an id, a file, or a path of any system; else None."""
        named = self.named(text)
        return named[0] if len(named) == 1 else None

    def named(self, text: str) -> list[str]:
        """Return the ids that a text may name: several, if several folders have that file name."""
        if text in self._known:
            return [text]
        parts = text.strip("\"'").replace("\\", "/").split("/")
        # The whole path first, then without its outer folders; but nothing longer than any id.
        for start in range(max(0, len(parts) - self._depth), len(parts)):
            tail = "/".join(parts[start:])
            if len(tail) > self._longest:
                continue
            for name in (tail, without_ending(tail)):
                composed = unicodedata.normalize("NFC", name)
                if (known := self._composed.get(composed)) is not None:
                    return [known]
        return self._by_name.get(without_ending(parts[-1]), [])

    @cached_property
    def _composed(self) -> dict[str, str]:
        """The ids by their composed form: macOS writes an umlaut as two characters."""
        return {unicodedata.normalize("NFC", one): one for one in self._known}

    @cached_property
    def _depth(self) -> int:
        """The parts of an id at most."""
        return 1 + max((one.count("/") for one in self._known), default=0)

    @cached_property
    def _longest(self) -> int:
        """The characters of a file's path at most: its ending counts, and each mark of a letter."""
        return 4 * max(map(len, self._known), default=0) + 20

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return by_name(sorted(self._known))


def read_list(path: Path, finder: IdFinder, *, every_line: bool = False) -> list[str]:
    """Return the image ids that a list names, in its order.

    A line may have VOC's second column. Images that do not show the class ("-1") are left out, but
    not with `every_line`. Of an image that is not there, the id is the line without its ending.

    A BadFileError says if it cannot be read, or names more than any list does.
    """
    ids, absent = [], 0
    for line in _lines(path):
        known = finder.find(line)  # an id may have blanks
        if known is None and not line.isascii():
            line = _as_windows_has_it(line).strip()  # a blank of Windows may be all there is
            if not line:
                continue
            known = finder.find(line)
        *names, last = line.rsplit(None, 1)
        if known is None and names and last in _SHOWS:
            if last == "-1" and not every_line:
                continue
            line = names[0]
            known = finder.find(line)
        ids.append(known or without_ending(line))
        absent += known is None
        if absent > _MOST_ABSENT:
            raise _bad(path, f"{absent:,} of its lines name no image; is it of another data set?")
    return ids


def _lines(path: Path) -> list[str]:
    """Return the lines of a list that are not blank, whatever its encoding is."""
    try:
        data = read_file(path)
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror or error})") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", errors="replace")
    elif b"\0" in data[:256]:  # UTF-16 that does not say so
        text = data.decode("utf-16-le", errors="replace")
    else:
        # -sig: some editors put a byte order mark in front. The names of files may be any bytes.
        text = data.decode("utf-8-sig", errors="surrogateescape")
    if sum(map(text.count, _LINE_ENDS)) > _MOST_LINES:
        raise _bad(path, f"has more than {_MOST_LINES:,} lines")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _as_windows_has_it(line: str) -> str:
    """Return a line with the bytes that are no UTF-8 read as Western Windows writes them."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return line.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return line


def _bad(path: Path, reason: str) -> BadFileError:
    return BadFileError(Kind.EMPTY_SPLIT, path, "list", reason)
