"""Recall of proposals: the share of objects that the first N proposals of an image find.

The paper measures proposals in this way (section 4.1, figure 4): recall as a function of the IoU
threshold, for several N. The mean over the thresholds 0.5, 0.55 ... 0.95 is COCO's average recall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from minirpn import boxes
from minirpn._checks import check_box_list, check_shape
from minirpn._typing import Array
from minirpn.backend import to_host
from minirpn.fields import Fields, choice, list_of, measured, number, table_of, whole

#: 300, 1,000 and 2,000 as in figure 4; 50 and 100 show how good the top of the list is.
COUNTS = (50, 100, 300, 1000, 2000)
#: Written out, because an IoU of 13/20 equals 0.65 and a running sum of 0.05 may not.
IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# COCO's sizes: a small object covers less than 32 x 32 pixels, a large one 96 x 96 or more.
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, math.inf)}

Matching = Literal["one-to-one", "any"]
"""Whether a proposal finds one object at most, or any number of them."""

_NEVER = np.iinfo(np.int64).max  # the rank of the proposal that finds an object, if none does
_TABLE_THRESHOLDS = (0.5, 0.7, 0.9)  # columns of the printed table, if they were measured
_MOST_MEASURED = 1000  # counts or thresholds in a file


def proposal_recall(
    proposals: Sequence[Array],
    gt_boxes: Sequence[Array],
    *,
    difficult: Sequence[Array] | None = None,
    counts: Sequence[int] = COUNTS,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    matching: Matching = "one-to-one",
) -> RecallResult:
    r"""Return the share of objects found by the first N proposals of their image.

    .. math:: \text{recall}(N, t) = \text{objects found by } N \text{ at IoU } \ge t
              \; / \; \text{objects}

    Parameters
    ----------
    proposals
        For each image (R, 4), the best first: half-open pixel coordinates. An image may have fewer
        proposals than are counted.
    gt_boxes
        For each image (M, 4), in the same coordinates. For COCO's sizes these must be pixels of the
        *original* image; IoU, and so everything else, is the same at any scale.
    difficult
        For each image (M,), true for objects left out, as VOC does. A proposal on such an object
        does no harm: recall counts objects, not proposals.
    counts
        The numbers of proposals N.
    iou_thresholds
        An object counts as found at this IoU or more.
    matching
        ``"one-to-one"``: every proposal finds at most one object, as COCO counts.
        ``"any"``: an object is found if any of the proposals covers it; two objects may share one.

    Returns
    -------
    RecallResult
        nan where there is no object to find.

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
    find = _found_one_to_one if matching == "one-to-one" else _found_by_any
    nothing = np.full((len(iou_thresholds), 0), _NEVER)
    # (thresholds, M) of each image: the rank of the proposal that finds each object.
    found_at = {group: [nothing] for group in ("all", *SIZES)}
    for index in range(len(gt_boxes)):
        objects = to_host(gt_boxes[index]).astype(np.float64)
        if difficult is not None:
            objects = objects[~to_host(difficult[index]).astype(bool)]
        # Proposals after the last one counted find nothing that counts.
        candidates = to_host(proposals[index])[: counts[-1]].astype(np.float64)
        iou, area = boxes.iou(candidates, objects), boxes.area(objects)  # (R, M), (M,)
        found_at["all"].append(find(iou, iou_thresholds))
        # The objects of one size are matched as if there were no others: they can also have a
        # proposal that fits an object of another size better.
        for size, (low, high) in SIZES.items():
            of_size = (area >= low) & (area < high)
            found_at[size].append(find(iou[:, of_size], iou_thresholds))
    ranks = {group: np.concatenate(of_images, axis=1) for group, of_images in found_at.items()}
    recall = {group: _share_found(of_group, counts) for group, of_group in ranks.items()}
    return RecallResult(
        counts=counts,
        iou_thresholds=iou_thresholds,
        recall=recall.pop("all"),
        gt_count=ranks["all"].shape[1],
        recall_by_size=recall,
        gt_count_by_size={size: ranks[size].shape[1] for size in SIZES},
        matching=matching,
    )


def _found_one_to_one(iou: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """Return (thresholds, M): the rank of the proposal that takes each object, or _NEVER.

    Find the first proposal that reaches a free object, give it the one it overlaps most, and
    repeat. The proposals before it reach no free object, and never will, because free objects only
    become fewer. So this is the same as the greedy matching, in fewer steps.
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


def _share_found(ranks: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Return recall (counts, thresholds) from the ranks (thresholds, M); nan without objects."""
    if not ranks.shape[1]:
        return np.full((len(counts), len(ranks)), np.nan)
    return np.stack([(ranks < count).mean(axis=1) for count in counts])


def check_image_counts(**lists: Sequence[Any] | None) -> None:
    """Raise ValueError unless all lists that are given have one entry for each image."""
    counts = {name: len(one) for name, one in lists.items() if one is not None}
    (first, count), *others = counts.items()
    for name, other in others:
        if other != count:
            raise ValueError(f"{first} of {count} images, {name} of {other}")


def _check_arguments(
    proposals: Sequence[Array],
    gt_boxes: Sequence[Array],
    difficult: Sequence[Array] | None,
    counts: Sequence[int],
    iou_thresholds: Sequence[float],
    matching: str,
) -> None:
    """Raise on the first argument of `proposal_recall` that is wrong."""
    check_image_counts(proposals=proposals, gt_boxes=gt_boxes, difficult=difficult)
    if not counts or min(counts) < 1:
        raise ValueError(f"counts: expected at least one of at least 1, got {tuple(counts)}")
    if not iou_thresholds or min(iou_thresholds) <= 0 or max(iou_thresholds) > 1:
        raise ValueError(f"iou_thresholds: expected some in (0, 1], got {tuple(iou_thresholds)}")
    if matching not in {"one-to-one", "any"}:
        raise ValueError(f"matching: expected one-to-one or any, got {matching!r}")
    for index in range(len(gt_boxes)):
        check_box_list(proposals[index], f"proposals[{index}]")
        check_box_list(gt_boxes[index], f"gt_boxes[{index}]")
        if difficult is not None:
            check_shape(difficult[index], (gt_boxes[index].shape[0],), f"difficult[{index}]")


@dataclass(frozen=True, eq=False)
class RecallResult:
    """Recall by number of proposals, by IoU threshold and by size of the object.

    Parameters
    ----------
    counts
        The numbers of proposals per image, ascending.
    iou_thresholds
        An object counts as found at this IoU or more; ascending.
    recall
        (counts, thresholds), from 0 to 1; nan if there was no object to find.
    gt_count
        How many objects there were to find.
    recall_by_size
        The same for the ``"small"``, ``"medium"`` and ``"large"`` objects alone.
    gt_count_by_size
        How many objects of each size there were.
    matching
        What counts as found; see `proposal_recall`.
    """

    counts: tuple[int, ...]
    iou_thresholds: tuple[float, ...]
    recall: np.ndarray
    gt_count: int
    recall_by_size: dict[str, np.ndarray] = field(default_factory=dict)
    gt_count_by_size: dict[str, int] = field(default_factory=dict)
    matching: Matching = "one-to-one"

    @property
    def average_recall(self) -> np.ndarray:
        """Mean recall over the IoU thresholds, (counts,)."""
        return self.recall.mean(axis=1)

    @property
    def average_recall_by_size(self) -> dict[str, np.ndarray]:
        """Mean recall over the IoU thresholds for each size, (counts,)."""
        return {size: recall.mean(axis=1) for size, recall in self.recall_by_size.items()}

    def at(self, count: int, iou_threshold: float = 0.5) -> float:
        """Return the recall of the first `count` proposals at one IoU threshold.

        Raises
        ------
        ValueError
            It was not measured for this count or threshold.
        """
        if count not in self.counts or iou_threshold not in self.iou_thresholds:
            raise ValueError(
                f"no recall of {count} proposals at IoU {iou_threshold:g} was measured"
            )
        row, column = self.counts.index(count), self.iou_thresholds.index(iou_threshold)
        return float(self.recall[row, column])

    def to_dict(self) -> dict[str, Any]:
        """Return lists and numbers for JSON, nan as None; `from_dict` is the inverse."""
        return {
            "matching": self.matching,
            "counts": list(self.counts),
            "iou_thresholds": list(self.iou_thresholds),
            "recall": to_plain(self.recall),
            "average_recall": to_plain(self.average_recall),
            "gt_count": self.gt_count,
            "recall_by_size": {size: to_plain(r) for size, r in self.recall_by_size.items()},
            "gt_count_by_size": dict(self.gt_count_by_size),
        }

    @classmethod
    def from_dict(cls, plain: Any, where: str = "recall") -> RecallResult:
        """Return the result that `to_dict` wrote; other keys are ignored.

        Parameters
        ----------
        plain
            What the JSON file says.
        where
            The file, and the place in it, for messages.

        Raises
        ------
        InputError
            A key that `to_dict` writes is missing, or its value cannot be what was measured.
        """
        read = Fields(plain, where)
        counts = read.get("counts", list_of(whole(1)))
        thresholds = read.get("iou_thresholds", list_of(number(0, 1)))
        for key, values in (("counts", counts), ("iou_thresholds", thresholds)):
            if not 1 <= len(values) <= _MOST_MEASURED or sorted(set(values)) != values:
                raise read.wrong(f"{key}: expected 1 to {_MOST_MEASURED} numbers, ascending")
        table = list_of(list_of(measured(0, 1), len(thresholds)), len(counts))
        sizes = read.get("recall_by_size", table_of(table))
        return cls(
            counts=tuple(counts),
            iou_thresholds=tuple(thresholds),
            recall=np.array(read.get("recall", table)),
            gt_count=read.get("gt_count", whole()),
            recall_by_size={size: np.array(recall) for size, recall in sizes.items()},
            gt_count_by_size=read.get("gt_count_by_size", table_of(whole())),
            matching=read.get("matching", choice(*get_args(Matching))),
        )

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns of a summary table: heading -> one number for each count."""
        measured = self.iou_thresholds
        chosen = [t for t in _TABLE_THRESHOLDS if t in measured] or measured
        columns = {f"IoU {t:g}": self.recall[:, measured.index(t)] for t in chosen}
        columns["AR"] = self.average_recall
        return columns | {f"AR {size}": r for size, r in self.average_recall_by_size.items()}

    def table(self) -> str:
        """Return a table for the terminal: a row for each count, "-" for nan."""
        columns = self.columns()
        lines = ["".join([f"{'proposals':>9}", *(f"{heading:>11}" for heading in columns)])]
        for row, count in enumerate(self.counts):
            cells = (f"{share_text(values[row]):>11}" for values in columns.values())
            lines.append("".join([f"{count:>9}", *cells]))
        sizes = ", ".join(f"{n} {size}" for size, n in self.gt_count_by_size.items())
        lines.append(f"Recall of {self.gt_count} objects ({sizes}), matched {self.matching}.")
        return "\n".join(lines)


def share_text(value: float) -> str:
    """Return a share in three digits, or "-" for nan."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def to_plain(values: np.ndarray | float) -> Any:
    """Return a number or nested lists of numbers, with None for nan, which JSON cannot write."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [to_plain(row) for row in values]
    return None if np.isnan(values) else float(values)
