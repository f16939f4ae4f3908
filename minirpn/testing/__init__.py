"""Check your own boxes, anchors, losses and layers: in a notebook, a test, or a shell.

``check_iou(my_iou)`` and the other checks ask a function a few hundred questions. A wrong answer
raises `CheckError`, with the smallest counterexample, and with a hint if the mistake is a common
one. A function that still returns ``...`` is open: the `Verdict` is false, and says so. In a test,
write ``assert check_iou(my_iou)``. ``python -m minirpn.testing my_module.py`` runs all checks that
apply to a file. `strategies` for Hypothesis and `exact` oracles are public too.

>>> from hypothesis import given
>>> from minirpn.testing import strategies
>>> test = given(strategies.boxes())(lambda boxes: None)
"""

from __future__ import annotations

import sys

try:
    import hypothesis as _hypothesis  # noqa: F401 - asked for here to say what is missing
except ModuleNotFoundError as missing:
    words = "minirpn.testing needs Hypothesis: pip install hypothesis"
    if sys.orig_argv[1:3] == ["-m", "minirpn.testing"]:
        sys.exit(words)  # one line for a user of the command, and no traceback
    raise ModuleNotFoundError(words) from missing

from minirpn.testing import exact, strategies
from minirpn.testing.check_align import check_roi_align
from minirpn.testing.check_anchors import check_base_anchors, check_grid_anchors
from minirpn.testing.check_boxes import check_clip, check_iou, check_min_size
from minirpn.testing.check_conv import check_conv2d
from minirpn.testing.check_cross_entropy import (
    check_sigmoid_cross_entropy,
    check_softmax_cross_entropy,
)
from minirpn.testing.check_deltas import (
    check_bbox_transform_inv,
    check_decode,
    check_encode,
    check_encode_decode,
)
from minirpn.testing.check_dense import check_linear, check_relu
from minirpn.testing.check_equal import check_equal, reveal
from minirpn.testing.check_head import check_anchor_rows, check_rpn_head
from minirpn.testing.check_labels import check_label_anchors
from minirpn.testing.check_losses import check_rpn_loss, check_smooth_l1
from minirpn.testing.check_optim import check_sgd_step
from minirpn.testing.check_pool import check_max_pool2d
from minirpn.testing.check_precision import check_average_precision
from minirpn.testing.check_roi import check_roi_pool
from minirpn.testing.check_suppression import check_batched_nms, check_nms
from minirpn.testing.examine import CheckError, Verdict

__all__ = [
    "CheckError",
    "Verdict",
    "check_anchor_rows",
    "check_average_precision",
    "check_base_anchors",
    "check_batched_nms",
    "check_bbox_transform_inv",
    "check_clip",
    "check_conv2d",
    "check_decode",
    "check_encode",
    "check_encode_decode",
    "check_equal",
    "check_grid_anchors",
    "check_iou",
    "check_label_anchors",
    "check_linear",
    "check_max_pool2d",
    "check_min_size",
    "check_nms",
    "check_relu",
    "check_roi_align",
    "check_roi_pool",
    "check_rpn_head",
    "check_rpn_loss",
    "check_sgd_step",
    "check_sigmoid_cross_entropy",
    "check_smooth_l1",
    "check_softmax_cross_entropy",
    "exact",
    "reveal",
    "strategies",
]
