"""``minirpn convert``: turn weights of any format into an ``.npz`` that describes itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from minirpn.cli.settings import preset

NAME = "convert"
SUMMARY = "turn pretrained weights of any known format into an .npz"
DESCRIPTION = """\
Read weights, recognise their network, print what became of every array, and write an .npz with
minirpn's names. It records its network, the order of the channels, mean and scale of the pixels,
and its source. SRC may be an .npz, PyTorch's old or new .pth, .caffemodel, .safetensors or Keras'
.h5 or .keras, whatever its name. No code in SRC is run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument("source", type=Path, metavar="SRC", help="weights file")
    parser.add_argument("target", type=Path, metavar="DST.npz", help="file to write")
    parser.add_argument(
        "--network", metavar="NAME", help="backbone (default: recognised by names and shapes)"
    )
    parser.add_argument(
        "--preset",
        type=preset,
        metavar="NAME",
        help="how pixels are prepared, if that is unknown: torchvision, girshick, ...",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, report, and return the exit status."""
    from minirpn.errors import InputError
    from minirpn.training.config import ModelConfig
    from minirpn.training.tables import from_table
    from minirpn.weights import convert, read_weights, write_weights

    if args.target.suffix != ".npz":
        raise InputError(f"{args.target}: expected a name that ends in .npz")
    values = {} if args.preset is None else {"preprocessing": args.preset}
    if args.network is not None:
        values["backbone"] = args.network
    model = from_table(ModelConfig, values, "command line", origins={"backbone": "--network"})
    converted = convert(
        read_weights(args.source), network=args.network, preprocessing=model.preprocessing
    )
    for line in converted.lines():
        print(line)
    write_weights(args.target, converted)
    print(f"written: {args.target}")
    return 0
