"""``minirpn detect``: print, draw and save the detections of a run on pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.cli.settings import add_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from minirpn.detector import Detections, FasterRCNN
    from minirpn.training.config import TrainConfig

NAME = "detect"
SUMMARY = "show what the detector of a run finds on pictures"
DESCRIPTION = """\
Print the detections in pictures, best first, as class, score and (x1, y1, x2, y2) in pixels of the
picture. With --save or --out, also draw them (PNG) and write them to a file (JSON). The run must
have been trained with a detector (minirpn train --sharing).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="picture files")
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        metavar="T",
        help="only detections that score above T (default: 0.5)",
    )
    parser.add_argument(
        "--save", action="store_true", help="write PNG and JSON into RUN/detections"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write PNG and JSON into DIR")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Detect, print, perhaps save, and return the exit status."""
    from minirpn.cli.pictures import output_names
    from minirpn.data.images import read_image
    from minirpn.data.samples import unannotated
    from minirpn.training.build import build_pipeline
    from minirpn.training.inference import detections_in_original_pixels

    model, config = _load(args)
    classes = config.data.classes or ()
    target = args.out or (args.folder / "detections" if args.save else None)
    pipeline = build_pipeline(config, model.rpn)
    for path, name in zip(args.images, output_names(args.images), strict=True):
        image = read_image(path)
        example = pipeline.example(unannotated(path, image))
        detections = model.detect(
            example.image,
            scale=example.scale,
            proposals=config.proposals,
            config=config.detections,
        )
        found = detections_in_original_pixels(*detections, example).detections
        print(f"{path}: {len(found.scores)} detections above {args.score_threshold:g}")
        _print(found, classes)
        if target is not None:
            print(f"  saved: {_save(target / name, path, image, found, classes)}")
    return 0


def _load(args: argparse.Namespace) -> tuple[FasterRCNN, TrainConfig]:
    """Return the model of the run, and its settings with the threshold of the flag.

    Raises
    ------
    InputError
        There is no such run, it has no detector, or the threshold is no number in [0, 1].
    """
    from minirpn.detector import FasterRCNN
    from minirpn.devices import open_device
    from minirpn.errors import InputError
    from minirpn.training.build import load_model
    from minirpn.training.config import override

    model, config = load_model(args.folder, open_device(args.device))
    if not isinstance(model, FasterRCNN):
        raise InputError(
            f"{args.folder}: it has no detector; minirpn train --sharing 4-step trains one"
        )
    key = "detections.score_threshold"
    config = override(config, {key: args.score_threshold}, origins={key: "--score-threshold"})
    return model, config


def _print(found: Detections, classes: Sequence[str]) -> None:
    """Print a line for each detection."""
    names = [classes[label] for label in found.classes.tolist()]
    wide = max(map(len, names), default=0)
    rows = zip(names, found.scores.tolist(), found.boxes.tolist(), strict=True)
    for name, score, box in rows:
        print(f"  {name:<{wide}}  {score:.3f}  " + " ".join(f"{value:7.1f}" for value in box))


def _save(
    target: Path, path: Path, image: np.ndarray, found: Detections, classes: Sequence[str]
) -> Path:
    """Write the detections and their drawing, and return the path of the drawing."""
    from minirpn import viz
    from minirpn.cli.pictures import save_result

    numbers = {
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "classes": [classes[label] for label in found.classes.tolist()],
    }
    return save_result(target, path, image, numbers, viz.draw_detections(image, found, classes))
