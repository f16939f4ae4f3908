"""Recall on hand-made cases, its JSON and its table."""

import json
import math

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.evaluation import COUNTS, IOU_THRESHOLDS, RecallResult, proposal_recall

# Heights of 10 and widths that overlap: the IoU of two boxes from x = 0 is the ratio of the widths.
WIDE, HALF, NARROW = [0.0, 0, 20, 10], [0.0, 0, 10, 10], [0.0, 0, 8, 10]
FAR = [100.0, 100, 120, 110]


def boxes(*rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def recall_of(proposals, gt_boxes, iou=0.5, count=100, **options):
    result = proposal_recall(
        [proposals], [gt_boxes], counts=[count], iou_thresholds=[iou], **options
    )
    return result.recall.item()


def test_the_default_measures_the_paper_counts_and_coco_thresholds():
    result = proposal_recall([boxes(WIDE)], [boxes(WIDE)])
    assert result.counts == COUNTS
    assert result.iou_thresholds == IOU_THRESHOLDS == tuple(np.arange(50, 100, 5) / 100)
    assert (result.recall == 1).all()
    assert (result.average_recall == 1).all()


def test_an_iou_equal_to_the_threshold_finds():
    # 13/20 = 0.65, in float32 too
    near = boxes([0, 0, 13, 10]).astype(np.float32)
    wide = boxes(WIDE).astype(np.float32)
    assert recall_of(near, wide, iou=0.65) == 1
    assert recall_of(near, wide, iou=0.66) == 0


def test_only_the_first_proposals_count():
    proposals = boxes(FAR, FAR, WIDE)
    result = proposal_recall([proposals], [boxes(WIDE)], counts=(3, 2), iou_thresholds=[0.5])
    assert result.counts == (2, 3)
    assert result.recall.tolist() == [[0], [1]]


def test_one_proposal_finds_one_object_or_any():
    # IoU of HALF with NARROW 0.8, with WIDE 0.5
    assert recall_of(boxes(HALF), boxes(WIDE, NARROW)) == 0.5
    assert recall_of(boxes(HALF), boxes(WIDE, NARROW), matching="any") == 1


def test_the_better_proposal_takes_first_and_the_next_takes_what_is_free():
    # First HALF takes NARROW (0.8); the second HALF finds NARROW taken and takes WIDE (0.5).
    assert recall_of(boxes(HALF, HALF), boxes(WIDE, NARROW)) == 1
    # At 0.6 WIDE is out of reach.
    assert recall_of(boxes(HALF, HALF), boxes(WIDE, NARROW), iou=0.6) == 0.5


def test_matching_starts_afresh_at_each_threshold():
    # WIDE reaches HALF with 0.5 and NARROW with 0.4; HALF reaches NARROW with 0.8.
    result = proposal_recall(
        [boxes(WIDE, HALF)], [boxes(HALF, NARROW)], counts=[2], iou_thresholds=[0.4, 0.5, 0.9]
    )
    assert result.recall.tolist() == [[1, 1, 0.5]]  # at 0.9 HALF takes HALF


def test_of_tied_objects_the_last_is_taken():
    # Proposal A overlaps both objects by 1/2; proposal B overlaps only the object given first, or
    # only the one given last. If A takes the last, then B finds the first.
    a, b = [0.0, 0, 20, 10], [0.0, 0, 10, 10]
    left, right = [0.0, 0, 10, 10], [10.0, 0, 20, 10]
    assert recall_of(boxes(a, b), boxes(left, right)) == 1
    assert recall_of(boxes(a, b), boxes(right, left)) == 0.5


def test_difficult_objects_are_left_out_and_harm_nothing():
    gt_boxes = boxes(WIDE, FAR)
    difficult = [np.array([False, True])]
    assert recall_of(boxes(FAR, WIDE), gt_boxes, difficult=difficult) == 1
    assert recall_of(boxes(FAR), gt_boxes, difficult=difficult) == 0
    assert recall_of(boxes(HALF), boxes(HALF, HALF), difficult=difficult) == 1


def test_without_objects_recall_is_nan():
    result = proposal_recall([boxes(WIDE)], [boxes()])
    assert result.gt_count == 0
    assert np.isnan(result.recall).all()
    assert np.isnan(result.average_recall).all()
    assert " - " in result.table()
    assert math.isnan(proposal_recall([], []).at(50))
    only_difficult = proposal_recall([boxes(FAR)], [boxes(FAR)], difficult=[np.array([True])])
    assert np.isnan(only_difficult.recall).all()


@pytest.mark.parametrize("matching", ["one-to-one", "any"])
def test_without_proposals_recall_is_zero(matching):
    assert recall_of(boxes(), boxes(WIDE), matching=matching) == 0


def test_sizes_are_cocos():
    squares = [boxes([0, 0, side, side]) for side in (31.9, 32, 95.9, 96)]
    result = proposal_recall([*squares[:2], boxes(), boxes()], squares)
    assert result.gt_count_by_size == {"small": 1, "medium": 2, "large": 1}
    assert {size: r[0, 0] for size, r in result.recall_by_size.items()} == {
        "small": 1,
        "medium": 0.5,
        "large": 0,
    }


def test_a_size_is_matched_as_if_no_other_were_there():
    # The only proposal prefers the large object; it finds the medium one when large ones are away.
    large, medium = [0.0, 0, 100, 100], [0.0, 0, 80, 100]
    result = proposal_recall([boxes([0, 0, 95, 100])], [boxes(large, medium)])
    assert result.at(50) == 0.5
    assert result.recall_by_size["medium"][0, 0] == result.recall_by_size["large"][0, 0] == 1


def test_every_world_gives_the_same_numbers(world, rng):
    corners = rng.uniform(0, 60, (4, 30, 2))
    proposals = np.concatenate([corners, corners + rng.uniform(5, 60, (4, 30, 2))], axis=-1)
    gt_boxes = proposals[:, :6] + 3
    difficult = rng.random((4, 6)) < 0.3
    expected = proposal_recall(list(proposals), list(gt_boxes), difficult=list(difficult))
    found = proposal_recall(
        [world.array(p) for p in proposals],
        [world.array(g) for g in gt_boxes],
        difficult=[world.array(d, dtype=bool) for d in difficult],
    )
    np.testing.assert_array_equal(found.recall, expected.recall)


def test_json_and_back(rng):
    proposals = rng.uniform(0, 50, (20, 4))
    proposals[:, 2:] += 100  # at least 50 x 50: no object is small, so there is nan
    result = proposal_recall([proposals], [proposals[5:8] + 1])
    text = json.dumps(result.to_dict() | {"split": "test", "images": 1}, allow_nan=False)
    again = RecallResult.from_dict(json.loads(text))
    assert again.to_dict() == result.to_dict()
    np.testing.assert_array_equal(again.recall, result.recall)
    assert np.isnan(again.recall_by_size["small"]).all()
    assert again.counts == result.counts


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("counts", [300, 100], "counts: expected 1 to 1000 numbers, ascending"),
        ("counts", [100, 100], "counts: expected 1 to 1000 numbers, ascending"),
        ("counts", [], "counts: expected 1 to 1000 numbers, ascending"),
        ("counts", [0, 1], "counts: 1: expected a whole number from 1"),
        ("counts", [1], "recall_by_size: small: expected 1 values, got 2"),
        ("iou_thresholds", [0.5, None], "iou_thresholds: 2: expected a number from 0 to 1"),
        ("iou_thresholds", [0.5], "recall_by_size: small: 1: expected 1 values, got 2"),
        ("recall", [[0.5, 0.5]], "recall: expected 2 values, got 1"),
        ("recall", [[0.5, 0.5], [0.5, 1.5]], "recall: 2: 2: expected a number from 0 to 1"),
        ("recall", [[0.5, 0.5], [0.5, 10**400]], "recall: 2: 2: expected a number from 0 to 1"),
        ("recall", [0.5, 0.5], "recall: 1: expected a list, got 0.5"),
        ("recall_by_size", 5, "recall_by_size: expected an object, got 5"),
        ("gt_count", 1.5, "gt_count: expected a whole number"),
        ("gt_count_by_size", {"small": -1}, "gt_count_by_size: small: expected a whole number"),
        ("matching", "all", "matching: expected 'one-to-one' or 'any', got 'all'"),
    ],
)
def test_json_of_no_recall_is_refused(key, value, reason):
    thresholds = (0.5, 0.75)
    result = proposal_recall([boxes(WIDE)], [boxes(WIDE)], counts=(1, 3), iou_thresholds=thresholds)
    with pytest.raises(InputError) as caught:
        RecallResult.from_dict(result.to_dict() | {key: value}, "recall.json")
    assert str(caught.value).startswith(f"recall.json: {reason}")


def test_the_table_has_a_row_for_each_count():
    result = proposal_recall([boxes(HALF)], [boxes(HALF, FAR)], counts=(1, 300))
    head, *rows, foot = result.table().splitlines()
    wanted = "proposals IoU 0.5 IoU 0.7 IoU 0.9 AR AR small AR medium AR large"
    assert " ".join(head.split()) == wanted
    assert [row.split()[0] for row in rows] == ["1", "300"]
    assert rows[0].split() == ["1", "0.500", "0.500", "0.500", "0.500", "0.500", "-", "-"]
    assert foot == "Recall of 2 objects (2 small, 0 medium, 0 large), matched one-to-one."
    assert len({len(line) for line in (head, *rows)}) == 1


def test_what_was_not_measured_is_refused():
    result = proposal_recall([boxes(HALF)], [boxes(HALF)], counts=[10])
    assert result.at(10, 0.75) == 1
    with pytest.raises(ValueError, match="no recall of 20 proposals"):
        result.at(20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proposals": []}, "proposals of 0 images, gt_boxes of 1"),
        ({"difficult": []}, "proposals of 1 images, difficult of 0"),
        ({"difficult": [np.zeros(2, bool)]}, r"difficult\[0\]: expected shape \(1\)"),
        ({"gt_boxes": [np.zeros(4)]}, r"gt_boxes\[0\]: expected shape \(N, 4\)"),
        ({"counts": [0]}, "counts"),
        ({"counts": []}, "counts"),
        ({"iou_thresholds": [0.0]}, "iou_thresholds"),
        ({"iou_thresholds": [50]}, "iou_thresholds"),
        ({"matching": "hungarian"}, "one-to-one or any, got 'hungarian'"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"proposals": [boxes(HALF)], "gt_boxes": [boxes(HALF)]} | change
    with pytest.raises(ValueError, match=message):
        proposal_recall(arguments.pop("proposals"), arguments.pop("gt_boxes"), **arguments)


def test_whole_number_boxes_are_refused():
    with pytest.raises(TypeError, match=r"proposals\[0\]"):
        proposal_recall([np.zeros((1, 4), dtype=np.uint16)], [boxes(HALF)])
