"""The files that a command writes: where they go, and whether they can be written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.text import message

if TYPE_CHECKING:
    from minirpn.results import Found
    from minirpn.training.run_folder import RunFolder


def make_folders(folders: Iterable[Path | None], files: Iterable[Path | None]) -> None:
    """Make the folders, and those of the files, so that an error comes before the work.

    An InputError says if nothing can be written there. None is left out.
    """
    import tempfile

    from minirpn.errors import InputError
    from minirpn.files import one_line_errors

    named = [file for file in files if file is not None]
    for folder in [*filter(None, folders), *(file.parent for file in named)]:
        with one_line_errors(folder, "write"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    for file in named:
        if file.is_dir():
            raise InputError(f"{file}: cannot write: it is a folder")


def check_apart(files: Iterable[Path], pictures: Iterable[Path] = ()) -> None:
    """Raise InputError if a file would be written over one of the pictures, or twice."""
    from minirpn.errors import InputError

    inputs, targets = {path.resolve() for path in pictures}, set()
    for path in files:
        target = path.resolve()
        if target in inputs:
            raise InputError(f"{path}: it is one of the pictures, and would be overwritten")
        if target in targets:
            raise InputError(f"{path}: two outputs would be written there")
        targets.add(target)


def write_each(outputs: Iterable[Callable[[], list[Path]]]) -> None:
    """Call functions that write files, and print the paths that they return.

    Each is called, whether or not another one failed. Then the first error is raised, and the
    others are printed.
    """
    errors: list[Exception] = []
    for write in outputs:
        try:
            for path in write():
                print(f"written: {path}")
        except Exception as error:
            errors.append(error)
    for other in errors[1:]:
        print(f"error: {message(str(other))}", file=sys.stderr)
    if errors:
        raise errors[0]


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
    if args.out is not None or not args.save:
        return args.out
    return Path(what) if run is None else run.path / what


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

    def prepare(self, names: Sequence[str], pictures: Sequence[Path]) -> None:
        """Make the folders now, so that an error there comes before the work, not after it.

        An InputError also says if a file would be written over a picture, or twice.
        """
        from minirpn.evaluation.result_files import check_voc_ids

        check_apart(self._files(names), pictures)
        make_folders([self.folder, self.voc_results], [self.json, self.coco])
        if self.voc_results is not None:
            check_voc_ids(names, "--voc-results")

    def _files(self, names: Sequence[str]) -> list[Path]:
        """Return the files that are written, but for those of VOC's tools."""
        files = [file for file in (self.json, self.coco) if file is not None]
        if self.coco is not None:
            files.append(self.coco.with_name(f"{self.coco.stem}_images.json"))
        if self.folder is not None:
            files += [self.folder / f"{name}.{kind}" for name in names for kind in ("png", "json")]
        return files

    def save(self, found: Found, name: str) -> Path | None:
        """Write what was found in one picture, and return the path of the drawing."""
        from minirpn import viz
        from minirpn.files import one_line_errors
        from minirpn.results import Proposals

        if self.folder is None:
            return None
        axes = found.plot(top=len(found)) if isinstance(found, Proposals) else found.plot()
        # Not with_suffix: a picture may be called "a.b.jpg".
        found.to_json(self.folder / f"{name}.json")
        with one_line_errors(self.folder, "write"):
            return viz.save(axes, self.folder / f"{name}.png")

    def save_all(self, results: Sequence[Found]) -> None:
        """Write what was found in all pictures, and print the paths; see `write_each`."""
        write_each(self._writers(results))

    def _writers(self, results: Sequence[Found]) -> Iterator[Callable[[], list[Path]]]:
        """Yield a function for each output; it writes, and returns the paths."""
        from minirpn.results import write_coco, write_json, write_voc

        if (file := self.json) is not None:
            yield lambda: _written(write_json, file, results)
        if (coco := self.coco) is not None:
            yield lambda: [coco, write_coco(coco, results)]
        if (folder := self.voc_results) is not None:
            yield lambda: _written(write_voc, folder, results)


def _written(
    write: Callable[[Path, Sequence[Found]], object], path: Path, results: Sequence[Found]
) -> list[Path]:
    """Write results to a path, and return it."""
    write(path, results)
    return [path]
