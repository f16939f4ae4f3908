"""``minirpn detect``: print, draw and save the detections of a run on pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.cli.pictures import Found, add_output, show_pictures
from minirpn.cli.settings import add_device

if TYPE_CHECKING:
    from minirpn.data.samples import Example

NAME = "detect"
SUMMARY = "show what the detector of a run finds on pictures"
DESCRIPTION = """\
Print the detections in pictures, best first, as class, score and (x1, y1, x2, y2) in pixels of the
picture. With --save or --out, also draw them (PNG) and write them to a file (JSON). The run must
have been trained with a detector (minirpn train --sharing).
"""

_FOLDER = "detections"


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
    add_output(parser, _FOLDER)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Detect, print, perhaps save, and return the exit status."""
    from functools import partial

    from minirpn import viz
    from minirpn.detector import FasterRCNN
    from minirpn.devices import open_device
    from minirpn.errors import InputError
    from minirpn.training.build import build_pipeline, load_model
    from minirpn.training.config import override
    from minirpn.training.evaluate import detections_in_original_pixels

    model, config = load_model(args.folder, open_device(args.device))
    if not isinstance(model, FasterRCNN):
        raise InputError(
            f"{args.folder}: it has no detector; minirpn train --sharing 4-step trains one"
        )
    detector, key = model, "detections.score_threshold"
    config = override(config, {key: args.score_threshold}, origins={key: "--score-threshold"})
    classes = config.data.classes or ()

    def find(example: Example) -> Found:
        detected = detector.detect(
            example.image, scale=example.scale, proposals=config.proposals, config=config.detections
        )
        detections = detections_in_original_pixels(*detected, example).detections
        return Found(
            f"{len(detections.scores)} detections above {args.score_threshold:g}",
            detections.boxes,
            detections.scores,
            partial(viz.draw_detections, detections=detections, classes=classes),
            [classes[label] for label in detections.classes.tolist()],
        )

    show_pictures(args, build_pipeline(config, model.rpn), _FOLDER, find)
    return 0
