"""`Proposals` and `Detections`: a sequence of boxes, shown, and in files."""

import html
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn import detector
from minirpn.errors import InputError
from minirpn.evaluation import read_coco_detections, read_voc_results
from minirpn.results import (
    Detections,
    Proposals,
    read_json,
    write_coco,
    write_json,
    write_voc,
)

NAMES = ("cat", "potted <plant>")
BOXES = [[0, 0, 10, 10], [1, 2, 30, 35.5], [5, 5, 9, 9]]
SCORES = [0.9, 0.5, 0.25]
PIXELS = np.full((40, 60, 3), 200, np.uint8)
SIZE = (40, 60)


@pytest.fixture
def proposals():
    return Proposals(BOXES, SCORES, image_size=SIZE, image=PIXELS)


@pytest.fixture
def detections():
    return Detections(
        BOXES, SCORES, classes=[1, 0, 1], names=NAMES, image_size=SIZE, image_path=Path("a/b.jpg")
    )


def assert_same(one, other):
    """Assert that two results hold the very same numbers and words."""
    assert type(one) is type(other)
    for name in ("boxes", "scores", "classes"):
        mine, yours = getattr(one, name), getattr(other, name)
        assert mine.dtype == yours.dtype
        np.testing.assert_array_equal(mine, yours)
    assert (one.names, one.image_size, one.image_path) == (
        other.names,
        other.image_size,
        other.image_path,
    )


# --- a sequence ----------------------------------------------------------------------------------


def test_arrays_have_the_promised_types(proposals, detections):
    for found in (proposals, detections):
        assert found.boxes.dtype == found.scores.dtype == np.float32
        assert found.classes.dtype == np.int64
        assert (found.boxes.shape, found.scores.shape) == ((3, 4), (3,))
    assert proposals.names == ("object",)
    assert proposals.classes.tolist() == [0, 0, 0]


def test_iteration_gives_box_score_and_name(detections):
    names = []
    for box, score, name in detections:
        assert box.shape == (4,)
        assert isinstance(score, float)
        names.append(name)
    assert names == ["potted <plant>", "cat", "potted <plant>"]
    assert len(detections) == 3
    assert detections[-1].box.tolist() == BOXES[2]
    assert detections[np.int64(1)].name == "cat"


@pytest.mark.parametrize(
    ("index", "positions"),
    [
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.array([False, True, True]), [1, 2]),
        ([True, False, False], [0]),
        (np.array([2, 0]), [2, 0]),
        ([-1], [2]),
        ([], []),
    ],
)
def test_boxes_scores_and_classes_stay_together(proposals, detections, index, positions):
    for found in (proposals, detections):
        part = found[index]
        assert type(part) is type(found)
        np.testing.assert_array_equal(part.boxes, found.boxes[positions])
        np.testing.assert_array_equal(part.scores, found.scores[positions])
        np.testing.assert_array_equal(part.classes, found.classes[positions])
        assert part.image is found.image
        assert part.image_path == found.image_path


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (3, "no box 3: 3 detections"),
        (-4, "no box -4: 3 detections"),
        ([0, 3], "no box 3: 3 detections"),
        ([True, False], r"a mask of shape \(2,\) for 3 detections"),
        (True, r"a mask of shape \(\) for 3 detections"),
        ([0.5], r"got float64 of shape \(1,\)"),
        ([[0]], r"got int64 of shape \(1, 1\)"),
        ("cat", "expected a position, a slice, a mask or a list of positions"),
    ],
)
def test_an_index_that_is_wrong_is_named(detections, index, reason):
    with pytest.raises(IndexError, match=reason):
        detections[index]


def test_top_and_above(detections):
    backward = detections[::-1]
    assert backward.top(2).scores.tolist() == detections.scores[:2].tolist()
    assert len(detections.top(0)) == 0
    assert len(detections.top(99)) == 3
    assert backward.above(0.25).scores.tolist() == [0.5, detections.scores[0]]
    with pytest.raises(InputError, match="top: expected 0 or more, got -1"):
        detections.top(-1)
    equal = Proposals(BOXES, [0.5, 0.5, 0.5], image_size=SIZE)
    np.testing.assert_array_equal(equal.top(2).boxes, np.float32(BOXES[:2]))


def test_what_does_not_fit_together_is_refused(detections):
    with pytest.raises(InputError, match=r"proposals: expected boxes \(R, 4\).*got \(3, 4\), \(1,"):
        Proposals(BOXES, [0.5], image_size=SIZE)
    with pytest.raises(InputError, match="detections: a class is not one of the 2 names"):
        replace(detections, classes=np.array([0, 1, 2]))
    with pytest.raises(AttributeError):
        detections.scores = None


def test_a_part_can_be_replaced(proposals):
    again = replace(proposals, boxes=proposals.boxes + 1)
    assert again.classes.tolist() == [0, 0, 0]
    assert again.boxes[0].tolist() == [1, 1, 11, 11]


# --- shown ---------------------------------------------------------------------------------------


def test_repr_says_how_many_where_and_the_first(detections):
    assert repr(detections).splitlines() == [
        "Detections: 3 detections in a/b.jpg (60 x 40 pixels)",
        "  potted <plant>  0.900      0.0     0.0    10.0    10.0",
        "  cat             0.500      1.0     2.0    30.0    35.5",
        "  potted <plant>  0.250      5.0     5.0     9.0     9.0",
    ]
    many = Proposals(BOXES * 3, SCORES * 3, image_size=SIZE)
    assert repr(many).splitlines()[-1] == "  and 4 more"
    assert repr(many[:1]).startswith("Proposals: 1 proposal (60 x 40 pixels)")


def test_plot_draws_the_image_and_the_boxes(proposals, detections):
    for found in (proposals, replace(detections, image=PIXELS)):
        ax = found.plot()
        assert len(ax.images) == 1
        (outlines,) = ax.collections
        assert len(outlines.get_segments()) == 3
        assert found.plot(ax) is ax
    (outlines,) = proposals.plot(top=2).collections
    assert len(outlines.get_segments()) == 2
    assert "1 of 1 objects" in proposals.plot(gt_boxes=[BOXES[0]]).get_title()
    assert len(replace(detections, image=PIXELS).plot(score_threshold=0.5).texts) == 2


def test_pixels_of_a_file_are_read_again(tmp_path, detections):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    of_file = replace(detections, image_path=path)
    np.testing.assert_array_equal(of_file.pixels(), PIXELS)
    assert of_file.image is None
    with pytest.raises(InputError, match="it is \\(40, 60\\) pixels high and wide, but"):
        replace(of_file, image_size=(60, 40)).plot()
    with pytest.raises(InputError, match="detections: neither pixels nor a file"):
        replace(detections, image_path=None).pixels()


def test_a_notebook_shows_a_table_and_the_picture(proposals, detections):
    shown = replace(detections, image=PIXELS)._repr_html_()
    assert "<td>potted &lt;plant&gt;</td>" in shown
    assert "src='data:image/png;base64,iVBOR" in shown
    assert proposals._repr_png_().startswith(b"\x89PNG")
    # The file is gone, the table stays.
    assert detections._repr_png_() is None
    assert "<img" not in detections._repr_html_()
    assert detections._repr_html_().count("<tr>") == 4
    many = Proposals(BOXES * 5, SCORES * 5, image_size=SIZE)
    assert "15 proposals (60 x 40 pixels), the first 10:" in many._repr_html_()


# --- files ---------------------------------------------------------------------------------------


def test_json_has_the_keys_of_the_command_line(tmp_path, proposals, detections):
    path = tmp_path / "found.json"
    text = proposals.to_json(path)
    assert path.read_text() == text
    assert json.loads(text) == {
        "image": None,
        "image_size": {"height": 40, "width": 60},
        "boxes": BOXES,
        "scores": np.float32(SCORES).tolist(),
    }
    content = json.loads(detections.to_json())
    assert content["image"] == str(Path("a/b.jpg"))
    assert content["classes"] == ["potted <plant>", "cat", "potted <plant>"]
    assert content["names"] == list(NAMES)


def test_a_file_of_one_image_does_not_wait_for_the_folder(tmp_path, proposals, monkeypatch):
    # To look through a folder of thousands at each file would take longer than to write it.
    monkeypatch.setattr("minirpn.files._remove_leftovers", None)
    monkeypatch.setattr("minirpn.files.os.fsync", None)
    proposals.to_json(tmp_path / "found.json")
    assert_same(Proposals.from_json(tmp_path / "found.json"), proposals)


def test_json_is_read_from_text_and_from_a_file(tmp_path, proposals, detections):
    for found in (proposals, detections, detections[:0]):
        path = tmp_path / "found.json"
        assert_same(type(found).from_json(found.to_json(path)), found)
        assert_same(type(found).from_json(path), found)


def test_json_of_earlier_versions_has_no_names(detections):
    content = json.loads(detections.to_json())
    del content["names"]
    again = Detections.from_json(json.dumps(content))
    assert again.names == ("cat", "potted <plant>")
    assert again.classes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (Proposals, {"classes": []}, "it has classes, so these are detections"),
        (Detections, {}, "classes: missing"),
        (Proposals, {"boxes": [1, 2]}, "boxes: expected 3 values, got 2"),
        (Proposals, {"boxes": BOXES[:1]}, "boxes: expected 3 values, got 1"),
        (Proposals, {"image_size": 3}, "image_size: expected an object, got 3"),
        (Detections, {"classes": ["cow"] * 3, "names": ["cat"]}, "class 'cow' is not one of its"),
        (
            Detections,
            {"classes": ["cat"] * 3, "names": [1]},
            "names: 1: expected a text of at most",
        ),
        (Detections, {"classes": ["cat"] * 3, "names": ["cat"] * 2}, "names: expected each once"),
        (Detections, {"classes": ["cat"]}, "classes: expected 3 values, got 1"),
        (Proposals, {"scores": [0.5, 1, 1e39]}, "scores: 3: expected a number from -3.40282e+38"),
        (Proposals, {"image_size": {"height": 0}}, "image_size: height: expected a whole number"),
    ],
)
def test_json_of_something_else_is_refused(tmp_path, proposals, kind, change, reason):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(json.loads(proposals.to_json()) | change))
    with pytest.raises(InputError) as caught:
        kind.from_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_a_notebook_draws_the_picture_once(proposals, monkeypatch):
    drawn, plot = [], Proposals.plot
    monkeypatch.setattr(Proposals, "plot", lambda found: drawn.append(1) or plot(found))
    assert proposals._repr_png_() is not None
    assert "<img" in proposals._repr_html_()
    assert len(drawn) == 1


def test_what_is_no_json_is_refused(tmp_path):
    for source, reason in (
        ("{", "not JSON.*a file is named by a Path"),
        ("[]", r"proposals: expected an object, got \[\]"),
    ):
        with pytest.raises(InputError, match=reason):
            Proposals.from_json(source)
    with pytest.raises(InputError, match="cannot read"):
        Proposals.from_json(tmp_path / "no.json")


def test_many_images_in_one_json_file(tmp_path, proposals, detections):
    path = tmp_path / "all.json"
    written = [proposals, detections, proposals[:0]]
    write_json(path, written)
    for before, after in zip(written, read_json(path), strict=True):
        assert_same(before, after)
    path.write_text('[{"boxes": []}]')
    with pytest.raises(InputError, match=r"all\.json: image 1: scores: missing"):
        read_json(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="expected a JSON list"):
        read_json(path)


def test_coco_rows(tmp_path, proposals):
    path = tmp_path / "coco.json"
    rows = proposals.to_coco(7, path)
    assert rows[1] == {"image_id": 7, "category_id": 1, "bbox": [1, 2, 29, 33.5], "score": 0.5}
    assert json.loads(path.read_text()) == rows


def test_coco_of_many_images_says_which_is_which(tmp_path, detections):
    path = tmp_path / "found.json"
    nameless = replace(detections, image_path=None)
    assert write_coco(path, [detections, nameless[:1]]) == tmp_path / "found_images.json"
    first, second = read_coco_detections(path, 2, 2)
    np.testing.assert_array_equal(first.boxes.astype(np.float32), detections.boxes)
    assert len(second.scores) == 1
    about = json.loads((tmp_path / "found_images.json").read_text())
    assert about["images"] == [
        {"id": 1, "file_name": "a/b.jpg", "height": 40, "width": 60},
        {"id": 2, "file_name": "000002", "height": 40, "width": 60},
    ]
    assert about["categories"] == [
        {"id": 1, "name": "cat"},
        {"id": 2, "name": "potted <plant>"},
    ]
    assert about["annotations"] == []


def test_voc_files(tmp_path, proposals, detections):
    (path,) = proposals.to_voc(tmp_path / "one")
    assert path.name == "comp4_det_test_object.txt"
    assert path.read_text().splitlines()[1] == "000001 0.5 2.0 3.0 30.0 35.5"
    (path,) = proposals.to_voc(tmp_path / "one", "dog", split="val")
    assert path.name == "comp4_det_val_object.txt"
    assert path.read_text().startswith("dog 0.9 ")
    other = replace(detections, image_path=Path("c/b.png"))
    write_voc(tmp_path / "many", [detections, other[:1]])
    first, second = read_voc_results(tmp_path / "many", ("b", "b-2"), NAMES)
    np.testing.assert_array_equal(first.boxes.astype(np.float32), detections.boxes)
    assert second.classes.tolist() == [1]


def test_results_of_different_classes_are_not_mixed(tmp_path, proposals, detections):
    for write in (write_coco, write_voc):
        with pytest.raises(InputError, match="results of different classes cannot be in one file"):
            write(tmp_path / "x", [proposals, detections])


def test_no_results_make_empty_files(tmp_path):
    write_json(tmp_path / "a.json", [])
    assert read_json(tmp_path / "a.json") == []
    write_coco(tmp_path / "b.json", [])
    assert read_coco_detections(tmp_path / "b.json", 0, 0) == []


# --- supervision ---------------------------------------------------------------------------------


def test_supervision_is_given_boxes_scores_classes_and_names(monkeypatch, detections):
    given = {}
    fake = types.ModuleType("supervision")
    fake.Detections = lambda **arguments: given.update(arguments) or "made"
    monkeypatch.setitem(sys.modules, "supervision", fake)
    assert detections.to_supervision() == "made"
    assert given["xyxy"] is detections.boxes
    assert given["confidence"] is detections.scores
    assert given["class_id"] is detections.classes
    assert given["data"]["class_name"].tolist() == ["potted <plant>", "cat", "potted <plant>"]


def test_without_supervision_one_line_says_what_to_install(monkeypatch, proposals):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match=r"to_supervision: .*: pip install supervision"):
        proposals.to_supervision()


def test_the_real_supervision(detections):
    supervision = pytest.importorskip("supervision")
    given = detections.to_supervision()
    assert isinstance(given, supervision.Detections)
    np.testing.assert_array_equal(given.xyxy, detections.boxes)
    assert len(given[given.confidence > 0.4]) == 2


def test_the_networks_own_tuples_stay():
    assert detector.Detections._fields == ("boxes", "scores", "classes")


def test_names_are_shown_as_printable_text():
    name = "\x1b[2J\u202e<b>\udcff" + "x" * 10_000
    found = Detections(
        np.array([[1.0, 2, 9, 9]]),
        np.array([0.5]),
        classes=np.array([0]),
        names=(name,),
        image_size=(16, 16),
        image=np.zeros((16, 16, 3), np.uint8),
    )
    shown = r"\x1b[2J\u202e<b>\xffxxx"
    (line,) = found.lines()
    assert line.startswith(shown)
    assert len(line) < 150
    assert shown in repr(found)
    table = found._repr_html_()
    assert html.escape(shown) in table
    for text in (repr(found), table):
        assert text.replace("\n", "").isprintable()
    found = replace(found, image_path=Path("a\x1b.png"))
    assert repr(found).splitlines()[0].endswith(r"in a\x1b.png (16 x 16 pixels)")


def test_a_letter_that_the_font_lacks_is_no_warning_in_a_notebook():
    found = Detections(
        np.array([[1.0, 2, 9, 9]]),
        np.array([0.5]),
        classes=np.array([0]),
        names=("\u4eba $\\frac{$",),
        image_size=(16, 16),
        image=np.zeros((16, 16, 3), np.uint8),
    )
    assert found._repr_png_().startswith(b"\x89PNG")
