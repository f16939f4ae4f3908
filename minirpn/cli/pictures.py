"""Commands that are given pictures: the flags, a line for each box, and the output files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from minirpn.data.samples import Example
    from minirpn.training.build import Pipeline


class Found(NamedTuple):
    """The boxes in one picture, in its pixels."""

    summary: str
    boxes: np.ndarray  # (R, 4)
    scores: np.ndarray  # (R,)
    draw: Callable[[np.ndarray], Any]  # draws them on the picture, and returns axes
    classes: list[str] | None = None  # the class of each box, if boxes have one


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the flags that say where output files go: into RUN/WHAT or into a folder."""
    parser.add_argument("--save", action="store_true", help=f"write into RUN/{what}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write into DIR")


def output_folder(args: argparse.Namespace, what: str) -> Path | None:
    """Return the folder that the flags of `add_output` give, or None without them."""
    folder: Path | None = args.out
    return folder or (args.folder / what if args.save else None)


def show_pictures(
    args: argparse.Namespace, pipeline: Pipeline, what: str, find: Callable[[Example], Found]
) -> None:
    """Print what `find` returns for each picture, and with --save or --out also write it."""
    from minirpn.data.images import read_image
    from minirpn.data.samples import unannotated

    folder = output_folder(args, what)
    for path, name in zip(args.images, output_names(args.images), strict=True):
        image = read_image(path)
        found = find(pipeline.example(unannotated(path, image)))
        print(f"{path}: {found.summary}")
        classes = found.classes or []
        wide = max(map(len, classes), default=0)
        for index, (box, score) in enumerate(zip(found.boxes, found.scores, strict=True)):
            first = f"{classes[index]:<{wide}}  " if classes else ""
            print(f"  {first}{score:.3f}  " + " ".join(f"{value:7.1f}" for value in box))
        if folder is not None:
            print(f"  saved: {_save(folder, name, path, image, found)}")


def output_names(images: list[Path]) -> list[str]:
    """Return a file name without suffix for each picture; equal names are numbered from 2."""
    names: list[str] = []
    for path in images:
        name, number = path.stem, 2
        while name in names:
            name, number = f"{path.stem}-{number}", number + 1
        names.append(name)
    return names


def _save(folder: Path, name: str, path: Path, image: np.ndarray, found: Found) -> Path:
    """Write NAME.json and NAME.png into the folder, and return the path of the latter."""
    from minirpn import viz
    from minirpn.files import one_line_errors, write_json

    content = {
        "image": str(path),
        "image_size": {"height": image.shape[0], "width": image.shape[1]},
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
    }
    if found.classes is not None:
        content["classes"] = found.classes
    with one_line_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        # Not with_suffix: a picture may be called "a.b.jpg".
        write_json(folder / f"{name}.json", content)
        return viz.save(found.draw(image), folder / f"{name}.png")
