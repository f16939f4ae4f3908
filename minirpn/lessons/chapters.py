"""The chapters of the tutorials: their order, their parts of the network, their exercises."""

from __future__ import annotations

from typing import NamedTuple

PIPELINE = (
    ("image", "backbone", "head", "proposals", "detector", "score"),
    ("anchors", "labels", "loss", "training"),
)
"""The parts of the network: what an image goes through, and how the network learns."""


class Lesson(NamedTuple):
    """A chapter.

    Parameters
    ----------
    name
        Of its notebook, without the number; its checks are in ``minirpn/lessons/NAME.py``.
    title
        Its title, without the number.
    parts
        The parts of the pipeline that it is about.
    exercises
        The names of the functions to write, in order.
    """

    name: str
    title: str
    parts: tuple[str, ...]
    exercises: tuple[str, ...]

    @property
    def number(self) -> int:
        """Its place in the order, from 0."""
        return CHAPTERS.index(self)

    @property
    def notebook(self) -> str:
        """The name of its file, such as ``00_draw_a_box.ipynb``."""
        return f"{self.number:02}_{self.name}.ipynb"


CHAPTERS = (
    Lesson(
        "draw_a_box",
        "See an image as numbers, draw a box",
        ("image",),
        ("my_area", "my_count", "my_half_open", "my_crop", "my_flip"),
    ),
    Lesson(
        "measure_overlap",
        "Measure overlap",
        ("anchors", "proposals"),
        ("my_pair_iou", "my_iou_loops", "my_iou"),
    ),
    Lesson(
        "lay_anchors",
        "Lay anchors over an image",
        ("anchors",),
        ("my_sides", "my_base_anchors", "my_grid"),
    ),
    Lesson(
        "encode_boxes",
        "Encode a box as four numbers",
        ("anchors", "head"),
        ("my_encode", "my_decode"),
    ),
    Lesson(
        "label_anchors",
        "Decide which anchors are right",
        ("labels",),
        ("my_labels", "my_sample"),
    ),
    Lesson(
        "punish_mistakes",
        "Punish mistakes gently",
        ("loss",),
        ("my_log_loss", "my_log_loss_slope", "my_smooth_l1", "my_smooth_l1_slope", "my_rpn_loss"),
    ),
    Lesson(
        "convolve_by_hand",
        "Convolve by hand, then backwards",
        ("backbone",),
        (
            "my_conv_1d",
            "my_conv_2d",
            "my_conv",
            "my_columns",
            "my_conv_matmul",
            "my_backward",
            "my_dx",
        ),
    ),
    Lesson(
        "pool_rectify_normalise",
        "Pool, rectify, normalise",
        ("backbone",),
        (
            "my_windows",
            "my_pool",
            "my_pool_backward",
            "my_relu_backward",
            "my_lrn",
            "my_lrn_backward",
        ),
    ),
    Lesson(
        "build_the_head",
        "Build the RPN head and overfit one image",
        ("head",),
        ("my_he_std", "my_head", "my_anchor_rows", "my_head_backward"),
    ),
    Lesson(
        "grow_a_tape",
        "Grow a tape",
        ("loss", "training"),
        ("my_multiply_backward", "my_gradients", "my_head"),
    ),
    Lesson(
        "turn_scores_into_proposals",
        "Turn scores into proposals",
        ("proposals",),
        ("my_candidates", "my_nms", "my_fixpoint_nms"),
    ),
    Lesson(
        "train_on_shapes",
        "Train on shapes, then on VOC",
        ("training",),
        ("my_caffe_step", "my_torch_step"),
    ),
    Lesson(
        "put_it_together",
        "Put it together",
        ("image", "backbone", "head", "proposals", "anchors", "labels", "loss", "training"),
        ("my_slopes", "my_training_step", "my_recall"),
    ),
    Lesson(
        "share_features",
        "Share features with Fast R-CNN",
        ("detector",),
        (
            "my_bin",
            "my_roi_pool",
            "my_roi_pool_backward",
            "my_corner_slopes",
            "my_detector_loss",
        ),
    ),
    Lesson(
        "train_in_turns",
        "Train in turns",
        ("backbone", "proposals", "detector", "training"),
        ("my_region_labels", "my_slopes", "my_fits"),
    ),
    Lesson(
        "keep_score",
        "Keep score",
        ("score",),
        ("my_outcomes", "my_curve", "my_eleven_point", "my_area", "my_recalls"),
    ),
    Lesson(
        "make_it_fast",
        "Make it fast without changing it",
        ("backbone",),
        ("my_sides", "my_tile", "my_intensity", "my_thread"),
    ),
    Lesson(
        "read_the_paper",
        "Read the paper with the code open",
        ("image", "backbone", "head", "proposals", "anchors", "labels", "loss", "training"),
        ("my_released_loss", "my_level", "my_focal_loss"),
    ),
)
"""All chapters, in order."""


def lesson(name: str) -> Lesson:
    """Return the chapter of a name such as ``draw_a_box``.

    Raises
    ------
    ValueError
        There is none.
    """
    for chapter in CHAPTERS:
        if chapter.name == name:
            return chapter
    names = ", ".join(chapter.name for chapter in CHAPTERS)
    raise ValueError(f"there is no chapter {name!r}; there are {names}")
