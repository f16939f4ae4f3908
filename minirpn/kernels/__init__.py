"""The ladders: one file an operation, its rungs from plain loops to the fastest.

`use_rung` forces a rung, for teaching, debugging and tests; `available` lists what this machine
has. The public functions live one layer up (`minirpn.boxes`, `minirpn.nn`, `minirpn.rpn`). So does
the ladder of SGD: it is beside its formula in `minirpn.nn.optim`, and known with `minirpn.nn`.
"""

from minirpn.kernels._ladder import Ladder, Rung, available, ladders, use_rung

# isort: split
# Imported so that every ladder is known as soon as one is.
from minirpn.kernels import (
    assign,
    conv2d,
    iou,
    losses,
    lrn,
    max_pool2d,
    nms,
    relu,
    roi_align,
    roi_pool,
    square_sums,
)

__all__ = [
    "Ladder",
    "Rung",
    "assign",
    "available",
    "conv2d",
    "iou",
    "ladders",
    "losses",
    "lrn",
    "max_pool2d",
    "nms",
    "relu",
    "roi_align",
    "roi_pool",
    "square_sums",
    "use_rung",
]
