"""``python -m docs.figures [NAME...]``: draw all figures of the documentation, or some."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.extensions import DOCS
from docs.figures import draw, figures
from docs.figures.tools import ToolMissingError


def main() -> None:
    """Draw the figures named on the command line."""
    known = figures()
    parser = argparse.ArgumentParser(
        prog="python -m docs.figures",
        description="Draw the figures of the documentation.",
        epilog="\n".join(f"{name:12} {figure.summary}" for name, figure in known.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    parser.add_argument("--out", type=Path, default=DOCS, metavar="DIR", help="default: docs/")
    args = parser.parse_args()
    for name in args.names:
        if name not in known:
            parser.error(f"no figure {name!r}; there are {', '.join(known)}")
    left_out = []
    for name in args.names or known:
        try:
            paths = draw([name], args.out)
        except ToolMissingError as error:
            left_out.append(f"{name}: left out, {error}")
            continue
        for path in paths:
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)
    if left_out:
        sys.exit("\n".join(left_out))


if __name__ == "__main__":
    main()
