"""``minirpn export``: write the RPN of a trained network as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from minirpn.cli.model import add_run

NAME = "export"
SUMMARY = "write a trained RPN as an ONNX file, for other programs"
DESCRIPTION = """\
Write the backbone and the RPN head of a trained network as one ONNX graph. From a picture that is
resized and normalised, it computes objectness and deltas of all anchors.

Anchors, decoding and NMS stay outside the graph, and so does a detector. The numbers that they and
the preparation of a picture need are in the metadata of the file. It needs the package onnx:
pip install 'minirpn[onnx]'.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_run(parser)
    parser.add_argument("target", type=Path, metavar="DST.onnx", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Write the file, say what is in it and what is not, and return the exit status."""
    from minirpn.errors import InputError
    from minirpn.models import load

    if args.target.suffix.lower() != ".onnx":
        raise InputError(f"{args.target}: expected a name that ends in .onnx")
    model = load(args.source, device="cpu", best=args.best)
    model.export(args.target)
    if model.config.model.dtype != "float32":
        print(f"rounded to float32: the parameters, which are {model.config.model.dtype}")
    if model.has_detector:
        print(f"left out: the detector of {model.name}")
    print(f"written: {args.target}")
    print("outside the graph: anchors, decoding, NMS; their numbers are in the metadata")
    return 0
