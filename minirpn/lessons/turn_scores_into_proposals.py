"""The checks of chapter 10: from the head's output to proposals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minirpn import boxes as box_ops
from minirpn import rpn
from minirpn.lessons import parts
from minirpn.testing import CheckError, Verdict, check_equal, check_nms
from minirpn.testing.check_boxes import rows
from minirpn.testing.check_suppression import NOT_GONE
from minirpn.testing.pictures import draw_boxes_of


def _candidates(
    anchors: np.ndarray,
    objectness: np.ndarray,
    deltas: np.ndarray,
    image_size: tuple[int, int],
    min_size: float,
    count: int,
    *,
    clips: str = "decoded",
    enough: Callable[[np.ndarray, np.ndarray, float], np.ndarray] = lambda width, height, least: (
        (width >= least) & (height >= least)
    ),
    order: Callable[[np.ndarray], np.ndarray] = lambda scores: np.argsort(-scores, kind="stable"),
    best_first: bool = False,
    score: int = 1,
    drops: bool = True,
) -> np.ndarray:
    """Return box and score of the best; each option spoils one step."""
    if clips in ("anchors", "both"):
        anchors = box_ops.clip(anchors, image_size)
    decoded = box_ops.decode(anchors, deltas)
    clipped = box_ops.clip(decoded, image_size) if clips in ("decoded", "last", "both") else decoded
    scores = rpn.object_scores(objectness if score == 1 else objectness[:, ::-1])
    sized = decoded if clips == "last" else clipped
    width, height = sized[:, 2] - sized[:, 0], sized[:, 3] - sized[:, 1]
    large = enough(width, height, min_size) if drops else np.ones(len(scores), dtype=bool)
    best = order(scores)
    best = best[:count][large[best[:count]]] if best_first else best[large[best]][:count]
    return np.column_stack([clipped[best], scores[best]])


def _check_candidates(f: Callable[..., Any]) -> Verdict:
    def with_option(**options: Any) -> Callable[..., Any]:
        return partial(_candidates, **options)

    def by_logit(
        anchors: np.ndarray, objectness: np.ndarray, deltas: np.ndarray, *rest: Any
    ) -> np.ndarray:
        answer = parts.candidates(anchors, objectness, deltas, *rest)
        scores = rpn.object_scores(objectness)
        answer[:, 4] = [objectness[scores == score, 1][0] for score in answer[:, 4]]
        return answer

    mistakes: dict[str, Callable[..., Any]] = {
        "The best come first: sort by -scores.": with_option(order=np.argsort),
        "Sort before you cut: the best `count`, not the first ones.": with_option(
            order=lambda scores: np.arange(len(scores))
        ),
        'Of equal scores the earlier anchor comes first: kind="stable", and -scores.': with_option(
            order=lambda scores: np.argsort(scores, kind="stable")[::-1]
        ),
        "Drop what is too small before you take the best `count`.": with_option(best_first=True),
        "A side of exactly `min_size` is large enough: >=, not >.": with_option(
            enough=lambda width, height, least: (width > least) & (height > least)
        ),
        "Both sides must reach `min_size`: one is not enough.": with_option(
            enough=lambda width, height, least: (width >= least) | (height >= least)
        ),
        "`min_size` is a side in pixels, not an area.": with_option(
            enough=lambda width, height, least: width * height >= least
        ),
        "`min_size` is one side: did you compare the area with its square?": with_option(
            enough=lambda width, height, least: width * height >= least**2
        ),
        "Clip the decoded boxes, not the anchors.": with_option(clips="anchors"),
        "Clip the decoded boxes alone, not the anchors before.": with_option(clips="both"),
        "Where do you clip the boxes to the image?": with_option(clips="nothing"),
        "Measure the sides after clipping: a box may lose most of itself.": with_option(
            clips="last"
        ),
        "Where do you drop the small boxes?": with_option(drops=False),
        "`rpn.object_scores` gives probabilities: use those, not the second number.": by_logit,
    }
    size = (20, 30)
    none = np.zeros((4, 4))
    large = rows((0, 0, 8, 8), (2, 2, 12, 12), (4, 4, 10, 16), (20, 10, 28, 18))
    narrow = rows((0, 0, 4, 9), (0, 0, 20, 2), (5, 5, 15, 15), (26, 6, 36, 16))
    tiny = rows((0, 0, 1, 2), (0, 0, 3, 3), (5, 5, 15, 15), (0, 0, 20, 2))
    logits = np.array([[0.0, 1], [1, 2.5], [0, -1], [2, 2]])
    moved = np.array([[0.0, 0, 0, 0], [0.5, 0, 0, 0], [2, 0, 0, 0], [0, 1, 0, 0]])
    calls = (
        (large, logits, none, size, 4, 3),
        (narrow, logits, none, size, 4, 3),
        (narrow, logits, none, size, 5, 1),
        (narrow, logits[::-1], none, size, 4, 1),
        (large, 0 * logits, none, size, 4, 2),
        (large, logits, moved, size, 4, 4),
        (tiny, logits, none, size, 4, 4),
        (narrow, logits, moved, size, 4, 4),
        (narrow, logits, -moved[[1, 0, 3, 2]], size, 4, 4),
    )
    return check_equal(f, parts.candidates, *calls, mistakes=mistakes)


def _check_fixpoint_nms(f: Callable[..., Any]) -> Verdict:
    try:
        return check_nms(f)
    except CheckError as error:
        if error.hint != NOT_GONE:
            raise
        hint = "One round is not enough: decide every box anew, what went may come back."
        raise CheckError(
            str(error).replace(error.hint, hint),
            arguments=error.arguments,
            hint=hint,
            draw=draw_boxes_of,
        ) from None


CHECKS: dict[str, Callable[..., Verdict]] = {
    "my_candidates": _check_candidates,
    "my_nms": check_nms,
    "my_fixpoint_nms": _check_fixpoint_nms,
}
