"""``minirpn download``: data sets and pretrained weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minirpn.data.download import RemoteFile

NAME = "download"
SUMMARY = "fetch PASCAL VOC or pretrained weights"
DESCRIPTION = """\
Fetch voc2007 (trainval and test), voc2012 (trainval), or ImageNet weights of squeezenet or vgg16.
Mirrors are tried in turn, a broken download continues where it stopped, every file is verified
(SHA-256), and data sets are unpacked.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="voc2007, voc2012, squeezenet or vgg16"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="target folder (default: data)",
    )


def run(args: argparse.Namespace) -> int:
    """Fetch, unpack, print the next command, and return the exit status."""
    from minirpn.data.download import DOWNLOADS, unpack
    from minirpn.errors import InputError, did_you_mean

    for name in args.names:
        if name not in DOWNLOADS:
            known = f"there are {', '.join(DOWNLOADS)}{did_you_mean(name, DOWNLOADS)}"
            raise InputError(f"{name}: nothing to download; {known}")
    for name in args.names:
        for remote in DOWNLOADS[name]:
            path = _fetch(remote, args.out)
            if remote.is_archive:
                unpack(path, args.out)
            print(f"{path}: {remote.size} bytes, as expected")
        print(f"try next: {_next(name, args.out, DOWNLOADS[name][0])}")
    return 0


def _fetch(remote: RemoteFile, folder: Path) -> Path:
    """Fetch a file, with a progress bar, and return its path."""
    from tqdm import tqdm

    from minirpn.console import for_bar, say
    from minirpn.data.download import fetch

    def wait() -> None:
        say(f"{folder / remote.name}: another process is downloading it, waiting for its end")

    # disable=None: no bar where there is no terminal.
    with tqdm(
        desc=remote.name,
        total=remote.size,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
        file=for_bar(sys.stderr),
    ) as bar:
        # The count may go back: a download may start again.
        return fetch(remote, folder, advance=lambda count: bar.update(count - bar.n), wait=wait)


def _next(name: str, folder: Path, remote: RemoteFile) -> str:
    """Return the command that trains with what was downloaded."""
    if remote.is_archive:
        year = name.removeprefix("voc")
        return f"minirpn train --voc {folder / 'VOCdevkit'} --year {year}"
    return f"minirpn train --voc DIR --backbone {name} --weights {folder / remote.name}"
