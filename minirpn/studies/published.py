"""Numbers that the paper prints, each with its place.

Ren, He, Girshick, Sun: *Faster R-CNN*, arXiv:1506.01497, third version (PAMI 39(6), 2017).
"""

from __future__ import annotations

from collections.abc import Mapping

from minirpn.studies.study import Published

_DETECTOR = "mAP (%) of the detector on VOC 2007 test, VGG-16, trained on VOC 2007 trainval"

TABLE_8 = Published(
    "Table 8",
    _DETECTOR,
    {
        "small-1-ratio": 65.8,
        "middle-1-ratio": 66.7,
        "small-3-ratios": 68.8,
        "middle-3-ratios": 67.9,
        "3-scales-1-ratio": 69.8,
        "3-scales-3-ratios": 69.9,
    },
)
"""Scales and ratios of the anchors; small is 128 x 128 pixels, middle 256."""

TABLE_9 = Published(
    "Table 9",
    _DETECTOR,
    {"lambda-0.1": 67.2, "lambda-1": 68.9, "lambda-10": 69.9, "lambda-100": 69.1},
)
"""lambda of eq. 1, the weight of the box term."""

TABLE_1: Mapping[tuple[int, float], tuple[int, int]] = {
    (128, 0.5): (188, 111),
    (128, 1.0): (113, 114),
    (128, 2.0): (70, 92),
    (256, 0.5): (416, 229),
    (256, 1.0): (261, 284),
    (256, 2.0): (174, 332),
    (512, 0.5): (768, 437),
    (512, 1.0): (499, 501),
    (512, 2.0): (355, 715),
}
"""Side of the anchor and height over width -> mean width and height of its proposals.

ZF, pixels at a shorter side of 600. The table calls 2:1 what is twice as wide as high.
"""

PAPER_SHORT_SIDE = 600
"""The shorter side of the images, in pixels, that anchors and `TABLE_1` are for (section 3.3)."""
