"""Commands that are given pictures: which ones, and a line for each box."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minirpn.cli.output import Output
from minirpn.text import message

if TYPE_CHECKING:
    from minirpn.results import Found

HELP = """\
An IMAGE is a file, a folder (the picture files in it), a pattern such as `photos/*.jpg` or
`photos/**` (with all folders below), or - for a list on stdin, one a line. What cannot be read is
left out and counted. With more than 10 pictures, one line is printed for each, and no boxes. The
exit status is 0 if all were done, 1 if some were left out, 2 if none could be done.
"""

SOME_LEFT_OUT = 1
_FEW = 10  # pictures whose boxes are printed
_VIDEOS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"))
_INSTEAD = dict.fromkeys(
    _VIDEOS, "a video: save its frames as pictures first, such as: ffmpeg -i FILE frames/%05d.jpg"
) | {
    ".pdf": "a document: save its pages as pictures first",
    ".xml": "an annotation: name its picture",
}


# --- which pictures ------------------------------------------------------------------------------


def named_words(args: argparse.Namespace) -> list[str]:
    """Return the words that are no flags: a model perhaps, then pictures."""
    return [*filter(None, [args.source]), *args.images]


class Pictures(NamedTuple):
    """The pictures that words stand for, and a line for each word that stands for none."""

    paths: list[Path]
    left_out: list[str]


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add the argument for pictures, which may stand before and after any flag."""
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="files, folders, patterns; - for a list"
    )
    parse = parser.parse_known_args

    def parse_anywhere(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        # argparse fills a list of words only once, and returns those after a later flag as unknown.
        given, unknown = argparse.ArgumentParser.parse_known_args(parser, args, namespace)
        if any(word.startswith("-") and word != "-" for word in unknown):
            return parse(args, namespace)
        given.images = [*given.images, *unknown]
        return given, []

    parser.parse_known_args = parse_anywhere  # type: ignore[method-assign]


def may_be_pictures(word: str) -> bool:
    """Tell whether a word is meant to stand for pictures, though they may not be there."""
    path = Path(word)
    try:
        if path.is_dir():
            return next(_in_folder(path), None) is not None
        if word == "-" or path.exists() or _is_pattern(word):
            return True
    except OSError:  # it is there, but may not be read
        return True
    return _has_ending(path) or path.suffix.lower() in _INSTEAD


def find_pictures(words: Iterable[str]) -> Pictures:
    """Return the pictures that words stand for, in their order, and the words that stand for none.

    A word is a file, a folder, a pattern (with ``**`` for all folders below), or ``-``: more words
    on stdin, one a line. A file is not looked at: it may be missing or damaged. If all words
    together are one that stands for none, an InputError says so.
    """
    from minirpn.errors import InputError

    found = Pictures([], [])
    for word in words:
        _add(word, found)
    if not found.paths and len(found.left_out) == 1:
        raise InputError(found.left_out[0])
    return found


def _add(word: str, found: Pictures) -> None:
    """Add the pictures that a word stands for, or why it stands for none."""
    try:
        _look(word, found)
    except OSError as error:
        found.left_out.append(f"{word}: {error.strerror}")


def _look(word: str, found: Pictures) -> None:
    """Add the pictures that a word stands for, if its place can be looked at."""
    import glob

    path = Path(word)
    if word == "-":
        listed = [line for line in _lines_of_stdin() if line not in ("", "-")]
        for line in listed:
            _add(line, found)
        if not listed:
            found.left_out.append("-: no path of a picture on stdin")
    elif "\0" in word:
        found.left_out.append(f"{word}: no file is called so")
    elif path.is_dir():
        inside = sorted(_in_folder(path))
        found.paths.extend(inside)
        if not inside:
            found.left_out.append(no_pictures(path))
    elif _is_pattern(word) and not path.exists():
        matches = map(Path, sorted(glob.glob(word, recursive=True)))  # noqa: PTH207 (any folder)
        fitting = [
            match
            for match in matches
            # The pattern may name another ending; `**` names none.
            if match.is_file() and (_has_ending(match) or match.suffix == (path.suffix or None))
        ]
        found.paths.extend(fitting)
        if not fitting:
            found.left_out.append(f"{word}: no picture is called so")
    else:
        found.paths.append(path)


def no_pictures(folder: Path) -> str:
    """Return what is wrong with a folder without pictures that is no run either."""
    below = any(path.is_dir() for path in folder.iterdir())
    others = f"; '{folder}/**' names those in the folders below" if below else ""
    return f"{folder}: neither a run folder (no config.toml in it) nor one with pictures{others}"


def _in_folder(folder: Path) -> Iterator[Path]:
    """Yield the picture files of a folder, without hidden ones."""
    return (
        path
        for path in folder.iterdir()
        if _has_ending(path) and path.is_file() and not path.name.startswith(".")
    )


def _is_pattern(word: str) -> bool:
    return any(letter in word for letter in "*?[")


def _has_ending(path: Path) -> bool:
    from minirpn.data.folders import IMAGE_ENDINGS

    return path.suffix.lower() in IMAGE_ENDINGS


def _lines_of_stdin() -> list[str]:
    """Return the lines of stdin, each as the operating system would name a file.

    An InputError says if they are more than any list of pictures.
    """
    from minirpn.errors import InputError
    from minirpn.files import MOST_TEXT

    if sys.stdin is None:  # closed
        return []
    listed = sys.stdin.buffer.read(MOST_TEXT + 1)
    if len(listed) > MOST_TEXT:
        raise InputError(f"-: more than {MOST_TEXT:,} bytes, as no list of pictures has")
    return [os.fsdecode(line.rstrip(b"\r")) for line in listed.split(b"\n")]


# --- one after the other -------------------------------------------------------------------------


def show_pictures(
    pictures: Pictures,
    find: Callable[[Path], Found],
    summary: Callable[[Found], str],
    output: Output,
) -> int:
    """Print what `find` returns for each picture, write the files, and return the exit status.

    A picture for which `find` raises an InputError is left out. If it is the only one, or if all
    are, an InputError says so.
    """
    from minirpn.errors import InputError
    from minirpn.results import picture_names
    from minirpn.training.terminal import Progress

    paths, names = pictures.paths, picture_names(pictures.paths)
    total = len(paths) + len(pictures.left_out)
    output.prepare(names, paths)
    for line in pictures.left_out:
        print(message(f"left out: {line}"), file=sys.stderr)
    results: list[Found] = []
    bar, told = len(paths) > 1 and sys.stderr.isatty(), False
    try:
        with Progress(len(paths), unit="picture", show=bar) as progress:
            for path, name in zip(paths, names, strict=True):
                try:
                    found = find(path)
                except InputError as error:
                    if total == 1:
                        raise InputError(_with_advice(error, path)) from error
                    progress.write(f"left out: {_with_advice(error, path)}", sys.stderr)
                else:
                    if not told and (note := _range_note(path)):
                        told = True
                        more = "; others by their own numbers" if total > 1 else ""
                        progress.write(f"note: {path}: {note}{more}", sys.stderr)
                    results.append(found)
                    saved = output.save(found, name)
                    for line in _lines(path, found, summary(found), saved, few=total <= _FEW):
                        progress.write(line, sys.stdout)
                progress.advance()
    except KeyboardInterrupt:
        print(f"stopped after {len(results)} of {total} pictures", file=sys.stderr)
        raise
    finally:
        # Also after an error or Ctrl-C: what was found is not lost.
        if results:
            output.save_all(results)
        if output.folder is not None and results and total > _FEW:
            print(f"saved: {output.folder}")
    return _status(len(results), total)


def _status(done: int, total: int) -> int:
    """Say how many pictures were left out, and return the exit status."""
    from minirpn.errors import InputError

    if done == total:
        return 0
    if not done:
        raise InputError(f"none of the {total} pictures could be read")
    print(f"{total - done} of {total} pictures were left out", file=sys.stderr)
    return SOME_LEFT_OUT


def _with_advice(error: Exception, path: Path) -> str:
    """Return the line of an error, and what to do with a file that is no picture."""
    advice = _INSTEAD.get(path.suffix.lower())
    return f"{error}; it is {advice}" if advice and path.exists() else str(error)


def _range_note(path: Path) -> str:
    """Return how a 16-bit or float picture was read, or "" for another one, or a pipe."""
    from minirpn.data.images import range_note

    return range_note(path) if path.is_file() else ""


def _lines(path: Path, found: Found, summary: str, saved: Path | None, *, few: bool) -> list[str]:
    """Return the lines that are printed for a picture."""
    lines = [f"{path}: {summary}"]
    if few:
        lines += [f"  {line}" for line in found.lines()]
        if saved is not None:
            lines.append(f"  saved: {saved}")
    return lines
