"""Commands that are given pictures: which ones, a line for each box, and the output files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minirpn.results import Found
    from minirpn.training.run_folder import RunFolder

HELP = """\
A PICTURE is a file, a folder (the picture files in it), a pattern such as `photos/*.jpg` or
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
        "images", nargs="*", metavar="PICTURE", help="files, folders, patterns; - for a list"
    )
    parse = parser.parse_known_args

    def parse_anywhere(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        # argparse fills a list of words only once, and returns those after a later flag as unknown.
        given, unknown = parse(args, namespace)
        flags = [word for word in unknown if word.startswith("-") and word != "-"]
        given.images = [*given.images, *(word for word in unknown if word not in flags)]
        return given, flags

    parser.parse_known_args = parse_anywhere  # type: ignore[method-assign]


def may_be_pictures(word: str) -> bool:
    """Tell whether a word is meant to stand for pictures, though they may not be there."""
    path = Path(word)
    if path.is_dir():
        return next(_in_folder(path), None) is not None
    if word == "-" or path.exists() or _is_pattern(word):
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
    """Add the pictures that a word stands for."""
    import glob

    path = Path(word)
    if word == "-":
        listed = [line for line in _lines_of_stdin() if line not in ("", "-")]
        for line in listed:
            _add(line, found)
        if not listed:
            found.left_out.append("-: no path of a picture on stdin")
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
            if match.is_file() and (_has_ending(match) or match.suffix == path.suffix)
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
    from minirpn.data.voc import IMAGE_ENDINGS

    return path.suffix.lower() in IMAGE_ENDINGS


def _lines_of_stdin() -> list[str]:
    """Return the lines of stdin, each as the operating system would name a file."""
    return [os.fsdecode(line.rstrip(b"\r")) for line in sys.stdin.buffer.read().split(b"\n")]


# --- the output files ----------------------------------------------------------------------------


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the flags that say which files are written; WHAT is the folder of ``--save``."""
    parser.add_argument(
        "--save",
        action="store_true",
        help=f"draw each picture (PNG), and write its numbers (JSON), into RUN/{what}; "
        f"without a run into {what}",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the same as --save, but into DIR")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the numbers of all pictures to FILE"
    )
    parser.add_argument(
        "--coco",
        type=Path,
        metavar="FILE",
        help=f"write the {what} in the format of COCO's tools, and the list of images beside them",
    )
    parser.add_argument(
        "--voc-results",
        type=Path,
        metavar="DIR",
        help=f"write the {what} in the format of VOC's tools",
    )


def output_folder(args: argparse.Namespace, run: RunFolder | None, what: str) -> Path | None:
    """Return the folder that ``--save`` and ``--out`` give, or None without them."""
    folder: Path | None = args.out
    inside = Path(what) if run is None else run.path / what
    return folder or (inside if args.save else None)


def output_of(args: argparse.Namespace, run: RunFolder | None, what: str) -> Output:
    """Return what the flags of `add_output` ask for."""
    return Output(output_folder(args, run, what), args.json, args.coco, args.voc_results)


@dataclass
class Output:
    """Where the results go: two files for each picture, and files for all of them together."""

    folder: Path | None  # NAME.png and NAME.json for each picture
    json: Path | None
    coco: Path | None
    voc_results: Path | None

    def prepare(self, names: Sequence[str]) -> None:
        """Make the folders now, so that an error there comes before the work, not after it."""
        from minirpn.errors import InputError
        from minirpn.files import one_line_errors

        files = [file for file in (self.json, self.coco) if file is not None]
        folders = [self.folder, self.voc_results, *(file.parent for file in files)]
        for folder in filter(None, folders):
            with one_line_errors(folder, "write"):
                folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file.is_dir():
                raise InputError(f"{file}: cannot write: it is a folder")
        if self.voc_results is not None:
            for name in names:
                if name.split() != [name]:
                    reason = "VOC's result files hold no name with a blank"
                    raise InputError(f"--voc-results: picture {name!r}: {reason}")

    def save(self, found: Found, name: str) -> Path | None:
        """Write what was found in one picture, and return the path of the drawing."""
        from minirpn import viz
        from minirpn.files import one_line_errors

        if self.folder is None:
            return None
        # Not with_suffix: a picture may be called "a.b.jpg".
        found.to_json(self.folder / f"{name}.json")
        with one_line_errors(self.folder, "write"):
            return viz.save(found.plot(), self.folder / f"{name}.png")

    def save_all(self, results: Sequence[Found]) -> list[Path]:
        """Write what was found in all pictures, and return the paths."""
        from minirpn.results import write_coco, write_json, write_voc

        paths: list[Path] = []
        if self.json is not None:
            write_json(self.json, results)
            paths.append(self.json)
        if self.coco is not None:
            paths += [self.coco, write_coco(self.coco, results)]
        if self.voc_results is not None:
            write_voc(self.voc_results, results)
            paths.append(self.voc_results)
        return paths


def output_names(images: Sequence[Path]) -> list[str]:
    """Return a file name without suffix for each picture; equal names are numbered from 2."""
    names: dict[str, None] = {}
    for path in images:
        name, number = path.stem, 2
        while name in names:
            name, number = f"{path.stem}-{number}", number + 1
        names[name] = None
    return list(names)


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
    from minirpn.training.terminal import Progress

    paths, names = pictures.paths, output_names(pictures.paths)
    total = len(paths) + len(pictures.left_out)
    output.prepare(names)
    for line in pictures.left_out:
        print(f"left out: {line}", file=sys.stderr)
    results: list[Found] = []
    bar = len(paths) > 1 and sys.stderr.isatty()
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
        for path in output.save_all(results) if results else []:
            print(f"written: {path}")
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
    print(f"{total - done} of {total} pictures could not be read", file=sys.stderr)
    return SOME_LEFT_OUT


def _with_advice(error: Exception, path: Path) -> str:
    """Return the line of an error, and what to do with a file that is no picture."""
    advice = _INSTEAD.get(path.suffix.lower())
    return f"{error}; it is {advice}" if advice and path.exists() else str(error)


def _lines(path: Path, found: Found, summary: str, saved: Path | None, *, few: bool) -> list[str]:
    """Return the lines that are printed for a picture."""
    from minirpn.results import Detections

    lines = [f"{path}: {summary}"]
    if few:
        named = isinstance(found, Detections)
        wide = max((len(found.names[label]) for label in found.classes.tolist()), default=0)
        for box, score, name in found:
            first = f"{name:<{wide}}  " if named else ""
            lines.append(f"  {first}{score:.3f}  " + " ".join(f"{value:7.1f}" for value in box))
        if saved is not None:
            lines.append(f"  saved: {saved}")
    return lines
