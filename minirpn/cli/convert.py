"""``minirpn convert``: weights of any kind into an ``.npz`` that tells what it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from minirpn.cli.settings import preset

NAME = "convert"
SUMMARY = "turn pretrained weights of any kind into an .npz"
DESCRIPTION = """\
Read weights (.npz, PyTorch's .pth of any age, .caffemodel, .safetensors, Keras' .h5, whatever the
file is called), find out which network they are of, say what became of every array, and write an
.npz in minirpn's names. It tells its network, the order of the channels, mean and scale of the
pixels, and where it comes from. Nothing in SRC is run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of this command."""
    parser.add_argument("source", type=Path, metavar="SRC", help="weights file")
    parser.add_argument("target", type=Path, metavar="DST.npz", help="file to write")
    parser.add_argument(
        "--network", metavar="NAME", help="backbone (default: found by names and shapes)"
    )
    parser.add_argument(
        "--preset",
        type=preset,
        metavar="NAME",
        help="how pixels are prepared, where the file does not tell: torchvision, girshick, ...",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, report, and return the exit status."""
    from minirpn.errors import InputError
    from minirpn.files import replace_file
    from minirpn.training.config import ModelConfig
    from minirpn.training.tables import from_table
    from minirpn.weights import convert, read_weights, write_weights

    if args.target.suffix != ".npz":
        raise InputError(f"{args.target}: expected a name that ends in .npz")
    asked = {} if args.preset is None else {"preprocessing": args.preset}
    if args.network is not None:
        asked["backbone"] = args.network
    model = from_table(ModelConfig, asked, "command line", origins={"backbone": "--network"})
    converted = convert(
        read_weights(args.source), network=args.network, preprocessing=model.preprocessing
    )
    for line in converted.lines():
        print(line)
    replace_file(args.target, lambda file: write_weights(file, converted))
    print(f"written: {args.target}")
    return 0
