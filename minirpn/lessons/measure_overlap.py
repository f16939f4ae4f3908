"""The checks of chapter 01: overlap of two boxes, and of two lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from minirpn.testing import Verdict, check_iou

CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_pair_iou": partial(check_iou, pairwise=True),
    "my_iou_loops": check_iou,
    "my_iou": check_iou,
}
