"""``python -m minirpn.testing my_module.py``: run every check that applies to a file.

A check applies when the file has functions of the names it looks for, with or without ``my_`` in
front. The exit code is 0 if every function is right, 1 if one is wrong or open, 2 if there is
nothing to check.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minirpn import testing


class Applicable(NamedTuple):
    """A check and the names of the functions that it needs."""

    check: Callable[..., testing.Verdict]
    names: tuple[str, ...]


CHECKS = (
    Applicable(testing.check_iou, ("iou",)),
    Applicable(partial(testing.check_iou, pairwise=True), ("pair_iou",)),
    Applicable(testing.check_encode, ("encode",)),
    Applicable(testing.check_decode, ("decode",)),
    Applicable(testing.check_nms, ("nms",)),
    Applicable(testing.check_label_anchors, ("label_anchors",)),
    Applicable(testing.check_smooth_l1, ("smooth_l1", "smooth_l1_slope")),
    Applicable(testing.check_smooth_l1, ("smooth_l1",)),
    Applicable(testing.check_conv2d, ("conv2d_forward", "conv2d_backward")),
    Applicable(testing.check_conv2d, ("conv2d_forward",)),
    Applicable(testing.check_max_pool2d, ("max_pool2d_forward", "max_pool2d_backward")),
    Applicable(testing.check_max_pool2d, ("max_pool2d_forward",)),
    Applicable(testing.check_roi_pool, ("roi_pool_forward", "roi_pool_backward")),
    Applicable(testing.check_roi_pool, ("roi_pool_forward",)),
    Applicable(testing.check_rpn_loss, ("rpn_loss", "rpn_loss_slopes")),
    Applicable(testing.check_rpn_loss, ("rpn_loss",)),
    Applicable(testing.check_anchor_rows, ("anchor_rows",)),
    Applicable(testing.check_rpn_head, ("head_forward", "head_backward")),
    Applicable(testing.check_rpn_head, ("head_forward",)),
    Applicable(testing.check_sgd_step, ("sgd_step",)),
    Applicable(partial(testing.check_sgd_step, rule="torch"), ("torch_sgd_step",)),
    Applicable(testing.check_average_precision, ("eleven_point",)),
    Applicable(partial(testing.check_average_precision, method="area"), ("area_under_curve",)),
)


def main(arguments: list[str] | None = None) -> int:
    """Check the file named on the command line, print a line for each check, return the code."""
    parser = argparse.ArgumentParser(prog="python -m minirpn.testing", description=__doc__)
    parser.add_argument("file", type=Path, help="a Python file with functions of yours")
    file = parser.parse_args(arguments).file
    if not file.is_file():
        print(f"{file}: no such file", file=sys.stderr)
        return 2
    contents = runpy.run_path(str(file))
    applicable = _applicable(contents)
    if not applicable:
        names = ", ".join(dict.fromkeys(name for check in CHECKS for name in check.names))
        print(f"{file}: no function to check; known names are {names}", file=sys.stderr)
        return 2
    right = True
    for check, functions in applicable:
        try:
            verdict = check(*functions)
            print(verdict)
            right = right and bool(verdict)
        except testing.CheckError as error:
            print(f"✗ {error}")
            right = False
    return 0 if right else 1


def _applicable(
    contents: dict[str, Any],
) -> list[tuple[Callable[..., testing.Verdict], list[Callable[..., Any]]]]:
    """Return the checks whose functions are there, one for each first name."""
    applicable = []
    seen: set[str] = set()
    for check, names in CHECKS:
        candidates = [contents.get(f"my_{name}", contents.get(name)) for name in names]
        functions = [function for function in candidates if callable(function)]
        if names[0] not in seen and len(functions) == len(names):
            seen.add(names[0])
            applicable.append((check, functions))
    return applicable


if __name__ == "__main__":
    sys.exit(main())
