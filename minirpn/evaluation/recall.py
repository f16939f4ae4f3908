"""Recall of proposals: the share of objects that the first N proposals of an image find.

The paper measures proposals so (section 4.1, figure 4): recall over the IoU that counts as found,
for several N. The mean over the IoU thresholds 0.5, 0.55 ... 0.95 is COCO's average recall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minirpn import boxes
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.evaluation.recall_result import Matching, RecallResult

# 300, 1,000 and 2,000 as in figure 4; 50 and 100 tell how good the head of the list is.
COUNTS = (50, 100, 300, 1000, 2000)
# Written out, because an IoU of 13/20 equals 0.65 and a running sum of 0.05 may not.
IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# COCO's sizes: a small object covers less than 32 x 32 pixels, a large one 96 x 96 or more.
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, math.inf)}


def proposal_recall(
    proposals: Sequence[Array],
    gt_boxes: Sequence[Array],
    *,
    difficult: Sequence[Array] | None = None,
    counts: Sequence[int] = COUNTS,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    matching: Matching = "one-to-one",
) -> RecallResult:
    """Return the share of objects found by the first N proposals of their image.

    Parameters
    ----------
    proposals
        For each image (R, 4), the best first: half-open pixel coordinates. An image may have fewer
        proposals than are counted.
    gt_boxes
        For each image (M, 4), in the same coordinates. Those must be pixels of the *original* image
        for the sizes to be COCO's; IoU, and so all else, is the same in any scale.
    difficult
        For each image (M,), true for objects left out, as VOC does. A proposal on such an object
        does no harm: recall counts objects, not proposals.
    counts
        The numbers of proposals N.
    iou_thresholds
        The IoU that counts as found, reached or exceeded.
    matching
        ``"one-to-one"``: every proposal finds at most one object, as COCO counts.
        ``"any"``: an object is found if any of the proposals covers it; two objects may share one.

    Returns
    -------
    RecallResult
        nan where there is no object at all to be found.

    Raises
    ------
    ValueError
        The lists differ in length, an array in shape; a count is below 1; no such matching.
    TypeError
        Boxes are not floating point.

    Notes
    -----
    One-to-one matching is greedy, for each threshold alone: in the order of their scores, each
    proposal takes the object it overlaps most among those still free and at or over the threshold.
    Ties, as in COCO's code: the object that comes last in `gt_boxes`. py-faster-rcnn and
    mmdetection take the pair of highest IoU first instead, which can differ, but not on the
    recorded results of all three.

    COCO counts an object of just 32 x 32 pixels as small and as medium; here each has one size.
    The work is done on the host in float64.

    Examples
    --------
    >>> box = np.array([[0.0, 0, 10, 10]])
    >>> proposal_recall([box], [box], counts=[1], iou_thresholds=[0.5]).recall.item()
    1.0
    """
    _check_arguments(proposals, gt_boxes, difficult, counts, iou_thresholds, matching)
    counts, iou_thresholds = tuple(sorted(counts)), tuple(sorted(iou_thresholds))
    no_image = np.zeros((0, 0)), np.zeros(0)
    found_at = [_found_at_by_size(*no_image, iou_thresholds, matching)]
    for index in range(len(gt_boxes)):
        objects = to_host(gt_boxes[index]).astype(np.float64)
        if difficult is not None:
            objects = objects[~to_host(difficult[index]).astype(bool)]
        # Proposals after the last one counted find nothing that counts.
        candidates = to_host(proposals[index])[: counts[-1]].astype(np.float64)
        iou = boxes.iou(candidates, objects)  # (R, M)
        found_at.append(_found_at_by_size(iou, boxes.area(objects), iou_thresholds, matching))
    found = {group: np.concatenate([f[group] for f in found_at], axis=1) for group in found_at[0]}
    recall = {group: _share_found(ranks, counts) for group, ranks in found.items()}
    return RecallResult(
        counts=counts,
        iou_thresholds=iou_thresholds,
        recall=recall.pop("all"),
        gt_count=found["all"].shape[1],
        recall_by_size=recall,
        gt_count_by_size={size: found[size].shape[1] for size in SIZES},
        matching=matching,
    )


def _found_at_by_size(
    iou: np.ndarray, area: np.ndarray, thresholds: tuple[float, ...], matching: Matching
) -> dict[str, np.ndarray]:
    """Return the rank of the proposal that finds each object, for all objects and for each size.

    The objects of a size are matched as if no others were there: a proposal that would rather have
    an object of another size is not lost to them.
    """
    find = _FOUND_AT[matching]
    groups = {size: (area >= low) & (area < high) for size, (low, high) in SIZES.items()}
    return {
        "all": find(iou, thresholds),
        **{size: find(iou[:, of_size], thresholds) for size, of_size in groups.items()},
    }


def _found_one_to_one(iou: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """Return (thresholds, M): the rank of the proposal that takes each object, or _NEVER.

    The greedy matching, turned round: of the objects still free, find the first proposal that
    reaches any, give it the one it overlaps most, and repeat. Proposals passed over reached no free
    object, and never will, for free objects only become fewer.
    """
    ranks = np.flatnonzero((iou >= min(thresholds)).any(axis=1))
    # Reversed, because argmax takes the first of ties.
    iou = iou[ranks, ::-1]  # (R, M) -> (candidates, M)
    M = iou.shape[1]
    found_at = np.full((len(thresholds), M), _NEVER)
    for row, threshold in enumerate(thresholds):
        reach = np.where(iou >= threshold, iou, 0.0)
        for _ in range(M):
            reaching = reach.any(axis=1)
            if not reaching.any():
                break
            first = int(reaching.argmax())
            taken = int(reach[first].argmax())
            found_at[row, taken] = ranks[first]
            reach[first] = 0.0
            reach[:, taken] = 0.0
    return found_at[:, ::-1]


def _found_by_any(iou: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """Return (thresholds, M): the rank of the first proposal that covers each object, or _NEVER."""
    if not len(iou):
        return np.full((len(thresholds), iou.shape[1]), _NEVER)
    covers = iou >= np.array(thresholds)[:, None, None]  # (thresholds, R, M)
    return np.where(covers.any(axis=1), covers.argmax(axis=1), _NEVER)


_NEVER = np.iinfo(np.int64).max
_FOUND_AT = {"one-to-one": _found_one_to_one, "any": _found_by_any}


def _share_found(found_at: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Return recall (counts, thresholds) from the ranks (thresholds, M); nan without objects."""
    if not found_at.shape[1]:
        return np.full((len(counts), len(found_at)), np.nan)
    return np.stack([(found_at < count).mean(axis=1) for count in counts])


def _check_arguments(
    proposals: Sequence[Array],
    gt_boxes: Sequence[Array],
    difficult: Sequence[Array] | None,
    counts: Sequence[int],
    iou_thresholds: Sequence[float],
    matching: str,
) -> None:
    """Raise on the first argument of `proposal_recall` that is wrong."""
    if len(proposals) != len(gt_boxes):
        raise ValueError(f"proposals of {len(proposals)} images, gt_boxes of {len(gt_boxes)}")
    if difficult is not None and len(difficult) != len(gt_boxes):
        raise ValueError(f"difficult of {len(difficult)} images, gt_boxes of {len(gt_boxes)}")
    if not counts or min(counts) < 1:
        raise ValueError(f"counts: expected at least one of at least 1, got {tuple(counts)}")
    if not iou_thresholds or min(iou_thresholds) <= 0 or max(iou_thresholds) > 1:
        raise ValueError(f"iou_thresholds: expected some in (0, 1], got {tuple(iou_thresholds)}")
    if matching not in _FOUND_AT:
        raise ValueError(f"matching: expected {' or '.join(_FOUND_AT)}, got {matching!r}")
    for index in range(len(gt_boxes)):
        check_box_list(proposals[index], f"proposals[{index}]")
        check_box_list(gt_boxes[index], f"gt_boxes[{index}]")
        if difficult is not None:
            check_shape(difficult[index], (gt_boxes[index].shape[0],), f"difficult[{index}]")
