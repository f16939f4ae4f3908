"""Result files of detections in VOC's and in COCO's format."""

import json
from pathlib import Path

import numpy as np
import pytest

from minirpn import results
from minirpn.data.samples import Annotation
from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.evaluation import (
    average_precision,
    read_coco_detections,
    read_voc_results,
    write_coco_detections,
    write_coco_ground_truth,
    write_voc_results,
)

CLASSES = ("cat", "potted plant")
IDS = ("000005", "2008_000007")


def detections(*rows, dtype=np.float32):
    """Return detections from rows of class, score and box."""
    return Detections(
        np.array([row[2:] for row in rows], dtype=dtype).reshape(-1, 4),
        np.array([row[1] for row in rows], dtype=dtype),
        np.array([row[0] for row in rows], dtype=np.int64),
    )


FOUND = [
    detections((0, 0.9, 0, 0, 353, 500), (1, 0.1, 7.25, 10.5, 20, 11)),
    detections((0, 0.9, 47.1, 239.3, 194.7, 370.9)),
]


def test_voc_files_by_hand(tmp_path):
    paths = write_voc_results(tmp_path / "new" / "folder", FOUND, IDS, CLASSES)
    assert [path.name for path in paths] == [
        "comp4_det_test_cat.txt",
        "comp4_det_test_potted plant.txt",
    ]
    # The first box is the whole of an image of 353 x 500; in VOC its corners are 1, 1, 353, 500.
    first, second = paths[0].read_text().splitlines()
    assert first == "000005 0.9 1.0 1.0 353.0 500.0"
    assert second.startswith("2008_000007 0.9 48.0")
    assert paths[1].read_text() == "000005 0.1 8.25 11.5 20.0 11.0\n"


def test_a_class_that_was_not_detected_gets_an_empty_file(tmp_path):
    paths = write_voc_results(tmp_path, FOUND[1:], IDS[1:], CLASSES, split="val")
    assert paths[1].name == "comp4_det_val_potted plant.txt"
    assert paths[1].read_bytes() == b""


def same(ours, others):
    """Assert that detections are the very same numbers, whatever their dtype."""
    for one, other in zip(ours, others, strict=True):
        for mine, yours in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, yours)


def test_voc_files_give_back_what_was_written(tmp_path):
    write_voc_results(tmp_path, FOUND, IDS, CLASSES)
    again = read_voc_results(tmp_path, IDS, CLASSES)
    assert again[0].boxes.dtype == again[0].scores.dtype == np.float64
    same(again, [Detections(f.boxes, [float(str(s)) for s in f.scores], f.classes) for f in FOUND])
    np.testing.assert_array_equal(again[1].scores.astype(np.float32), FOUND[1].scores)


def test_voc_files_of_others_are_read(tmp_path):
    """Whole numbers, %f, Windows line ends, blank lines, images in any order."""
    (tmp_path / "comp4_det_test_cat.txt").write_bytes(
        b"2008_000007 0.250000 48 240 195 371\r\n\r\n000005 1e-3 1 1 353 500\n"
        b"2008_000007 .5 1.000000 2.000000 3.000000 4.000000"
    )
    (tmp_path / "comp4_det_test_potted plant.txt").write_bytes(b"2008_000007 0.25 1 1 1 1\n")
    first, second = read_voc_results(tmp_path, IDS, CLASSES)
    same([first], [detections((0, 1e-3, 0, 0, 353, 500), dtype=np.float64)])
    # The highest score first, of equal ones the lower class.
    assert second.scores.tolist() == [0.5, 0.25, 0.25]
    assert second.classes.tolist() == [0, 0, 1]
    assert second.boxes.tolist() == [[0, 1, 3, 4], [47, 239, 195, 371], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("000005 0.5 1 1 5", "expected image_id score xmin ymin xmax ymax, got 5 fields"),
        ("000005 0.5 1 1 5 5 5", "expected image_id score xmin ymin xmax ymax, got 7 fields"),
        ("000006 0.5 1 1 5 5", "image '000006' is not one of the split"),
        ("000005 high 1 1 5 5", "'high' is not a number"),
        ("000005 nan 1 1 5 5", "'nan' is not a finite number up to 3.40282e+38"),
        ("000005 0.5 1 1 inf 5", "'inf' is not a finite number up to 1e+09"),
        ("000005 0.5 1 1 1e10 5", "'1e10' is not a finite number up to 1e+09"),
        ("000005 0.5 5 1 3 5", "the box ends before it begins"),
        ("000005 0.5 1 5 5 3.9", "the box ends before it begins"),
        ("\udcff 0.5 1 5 5 3", "image '\\udcff' is not one of the split"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    write_voc_results(tmp_path, FOUND, IDS, CLASSES)
    path = tmp_path / "comp4_det_test_cat.txt"
    path.write_bytes(b"000005 0.5 1 1 5 5\n" + line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(InputError) as caught:
        read_voc_results(tmp_path, IDS, CLASSES)
    assert str(caught.value) == f"{path}: line 2: {reason}"


def test_a_box_without_width_is_written_and_read(tmp_path):
    # (0.3 + 1) - 1 is more than 0.3
    thin = detections((0, 0.5, 0.3, 1, 0.3, 5), dtype=np.float64)
    write_voc_results(tmp_path, [thin], IDS[:1], CLASSES)
    same(read_voc_results(tmp_path, IDS[:1], CLASSES), [thin])


def test_a_missing_voc_file_is_named(tmp_path):
    path = tmp_path / "comp4_det_test_cat.txt"
    with pytest.raises(InputError, match="cannot read: No such file") as caught:
        read_voc_results(tmp_path, IDS, CLASSES)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_the_voc_format_cannot_hold_is_refused(tmp_path):
    folder = tmp_path / "results"
    with pytest.raises(InputError, match="image 'my cat': VOC's result files hold no id with a"):
        write_voc_results(folder, FOUND, ("my cat", "b"), CLASSES)
    with pytest.raises(InputError, match=r"class '\.\./cat': cannot be part of a file name"):
        write_voc_results(folder, FOUND, IDS, ("../cat", "dog"))
    with pytest.raises(InputError, match=r"class 'a\\x00': cannot be part of a file name"):
        write_voc_results(folder, FOUND, IDS, ("a\0", "dog"))
    assert not folder.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot write: "):
        write_voc_results(tmp_path / "file", FOUND, IDS, CLASSES)


def test_coco_files_by_hand(tmp_path):
    path = tmp_path / "detections.json"
    write_coco_detections(path, FOUND)
    rows = json.loads(path.read_text())
    assert rows[0] == {
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 353, 500],
        "score": float(np.float32(0.9)),
    }
    assert rows[1]["category_id"] == 2
    assert rows[1]["bbox"] == [7.25, 10.5, 12.75, 0.5]
    assert rows[2]["image_id"] == 2
    same(read_coco_detections(path, 2, 2), FOUND)


def test_no_detections_in_a_coco_file(tmp_path):
    path = tmp_path / "detections.json"
    write_coco_detections(path, [detections()])
    assert json.loads(path.read_text()) == []
    same(read_coco_detections(path, 1, 1), [detections()])


def test_coco_ground_truth_by_hand(tmp_path):
    path = tmp_path / "truth.json"
    annotation = Annotation(
        image_id="000005",
        image_path=Path("JPEGImages/000005.jpg"),
        image_size=(375, 500),
        gt_boxes=np.array([[0, 0, 500, 375], [10, 20, 30, 25]], dtype=np.float32),
        gt_classes=np.array([1, 0]),
        difficult=np.array([False, True]),
    )
    write_coco_ground_truth(path, [annotation], CLASSES)
    content = json.loads(path.read_text())
    assert content["images"] == [{"id": 1, "file_name": "000005.jpg", "height": 375, "width": 500}]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "potted plant"}]
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore")
    assert [[row[key] for key in keys] for row in content["annotations"]] == [
        [1, 1, 2, [0, 0, 500, 375], 187500, 0, 0],
        [2, 1, 1, [10, 20, 20, 5], 100, 1, 1],
    ]


def test_coco_files_of_others_are_read(tmp_path):
    """Keys in any order, more keys, whole numbers; the highest score first, then by class."""
    path = tmp_path / "detections.json"
    path.write_text(
        json.dumps(
            [
                {"bbox": [0, 0, 5, 5], "score": 0, "category_id": 1, "image_id": 1, "area": 25},
                {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 1},
                {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1},
            ]
        )
    )
    (found,) = read_coco_detections(path, 1, 2)
    assert found.scores.tolist() == [1, 1, 0]
    assert found.classes.tolist() == [0, 1, 0]
    assert found.boxes.tolist() == [[0, 0, 1, 1], [1, 2, 4, 6], [0, 0, 5, 5]]


GOOD = {"image_id": 1, "category_id": 2, "bbox": [0, 0, 5, 5], "score": 0.5}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 0}, "image_id: expected a whole number from 1 to 2"),
        ({"image_id": 3}, "image_id: expected a whole number from 1 to 2"),
        ({"image_id": "1"}, "image_id: expected a whole number from 1 to 2"),
        ({"image_id": True}, "image_id: expected a whole number from 1 to 2"),
        ({"category_id": 3}, "category_id: expected a whole number from 1 to 2"),
        ({"category_id": None}, "category_id: expected a whole number from 1 to 2"),
        ({"score": "high"}, "score: expected a number from -3.40282e+38 to 3.4"),
        (
            {"score": float("nan")},
            "score: expected a number from -3.40282e+38 to 3.40282e+38, got ",
        ),
        ({"score": 10**400}, "score: expected a number from -3.40282e+38 to 3.4"),
        ({"bbox": [0, 0, 5]}, "bbox: expected 4 values, got 3"),
        ({"bbox": [0, 0, 5, None]}, "bbox: 4: expected a number from -1e+09 to 1e+09, got None"),
        ({"bbox": [0, 0, 5, float("inf")]}, "bbox: 4: expected a number from -1e+09 to 1e+09, "),
        ({"bbox": {"x": 0}}, "bbox: expected a list, got {'x': 0}"),
        ({"bbox": [0, 0, -1, 5]}, "bbox: negative width or height"),
    ],
)
def test_a_bad_detection_is_named(tmp_path, change, reason):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD, GOOD | change]))
    with pytest.raises(InputError) as caught:
        read_coco_detections(path, 2, 2)
    assert str(caught.value).startswith(f"{path}: detection 2: {reason}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON: Expecting value"),
        (b"\xff\xff", "not JSON: "),
        (b"[" * 100_000, "it is nested too deep"),
        (b'{"annotations": []}', "expected a list of detections"),
        (b"[1]", "detection 1: expected an object, got 1"),
    ],
)
def test_a_bad_coco_file_is_named(tmp_path, content, reason):
    path = tmp_path / "detections.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_coco_detections(path, 2, 2)
    assert str(caught.value).startswith(f"{path}: {reason}")
    with pytest.raises(InputError, match="cannot read"):
        read_coco_detections(tmp_path / "gone.json", 2, 2)


def test_files_are_judged_as_what_was_written(tmp_path):
    objects = [np.array([[0.0, 0, 353, 480]]), np.array([[47.0, 240, 195, 371]])]
    labels = [np.array([0]), np.array([0])]
    write_voc_results(tmp_path, FOUND, IDS, CLASSES)
    write_coco_detections(tmp_path / "coco.json", FOUND)
    expected = average_precision(FOUND, objects, labels, classes=CLASSES).to_dict()["mean_ap"]
    for found in (
        read_voc_results(tmp_path, IDS, CLASSES),
        read_coco_detections(tmp_path / "coco.json", 2, 2),
    ):
        again = average_precision(found, objects, labels, classes=CLASSES)
        assert again.to_dict()["mean_ap"] == expected
    assert expected == {"voc07": 1, "area": 1}


def test_what_is_written_has_few_values_for_its_bytes(tmp_path):
    # A reader allows a value for 5 bytes, so it takes whatever a writer makes.
    boxes, zeros = np.array([[1, 1, 2, 2]] * 1000, np.float32), np.zeros(1000, int)
    write_coco_detections(tmp_path / "coco.json", [Detections(boxes, zeros / 1, zeros)])
    found = results.Detections(boxes, zeros, classes=zeros, names=("a",), image_size=(5, 5))
    results.write_json(tmp_path / "found.json", [found])
    for name in ("coco.json", "found.json"):
        content = (tmp_path / name).read_bytes()
        values = sum(map(content.count, (b",", b"[", b"{", b":")))
        assert 6000 < values < len(content) / 5


def test_many_detections_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("minirpn.budget._FEW_VALUES", 10)  # as if this were a large file
    boxes, zeros = np.array([[1, 1, 2, 2]] * 1000, np.float32), np.zeros(1000, int)
    write_coco_detections(tmp_path / "coco.json", [Detections(boxes, zeros / 1, zeros)])
    assert len(read_coco_detections(tmp_path / "coco.json", 1, 1)[0].scores) == 1000
    found = results.Detections(boxes, zeros, classes=zeros, names=("a",), image_size=(5, 5))
    results.write_json(tmp_path / "found.json", [found])
    assert len(results.read_json(tmp_path / "found.json")[0]) == 1000
    (tmp_path / "found.json").write_text(f"[{'[],' * 1000}[]]")
    with pytest.raises(InputError, match="it holds more values than any"):
        results.read_json(tmp_path / "found.json")
