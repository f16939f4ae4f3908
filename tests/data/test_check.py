"""The check of a data set: each thing that can be wrong is found, named and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.data import (
    Kind,
    Severity,
    VOCDataset,
    VOCObject,
    check,
    check_dataset,
    write_annotation,
)
from minirpn.errors import InputError

SPLITS = {"train": ("a",), "val": ("b",), "trainval": ("a", "b"), "test": ("c",)}
CAT = VOCObject("cat", (3, 5, 20, 15))
GRADIENT = Image.linear_gradient("L")


@pytest.fixture
def voc(tmp_path, write_voc):
    """A data set that nothing is wrong with: three images in four splits."""
    return write_voc(tmp_path / "data", splits=SPLITS)


def edit(root, old, new, image_id="b"):
    """Replace a text in an annotation."""
    path = root / "Annotations" / f"{image_id}.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def found(report):
    """Return severity, kind and the text of each finding, seen from the data set's folder."""
    return [
        (one.severity, one.kind, str(one).removeprefix(f"{report.root}/"))
        for one in report.findings
    ]


def test_a_clean_data_set(voc):
    report = check_dataset(voc)
    assert report.findings == ()
    assert (report.root, report.images) == (voc, 3)
    assert report.splits == {"test": 1, "train": 1, "trainval": 2, "val": 1}
    assert report.classes == {"cat": 3, "dog": 3}
    assert "Nothing is wrong." in report.table()


# --- one annotation -------------------------------------------------------------------------------

XML = "Annotations/b.xml"


@pytest.mark.parametrize(
    ("old", "new", "kind", "text"),
    [
        ("<xmin>3<", "<xmin>0<", Kind.CLIPPED, "object 1 (cat): xmin 0: clipped to 1"),
        ("<xmin>3<", "<xmin>-7<", Kind.OUTSIDE, "object 1 (cat): xmin -7 is beyond the image"),
        ("<xmax>20<", "<xmax>41<", Kind.CLIPPED, "object 1 (cat): xmax 41: clipped to 40"),
        ("<xmax>20<", "<xmax>42<", Kind.OUTSIDE, "object 1 (cat): xmax 42 is beyond the image"),
        ("<xmax>20<", "<xmax>2<", Kind.SWAPPED, "object 1 (cat): xmin 3 > xmax 2"),
        ("<xmax>20<", "<xmax>3<", Kind.NO_AREA, "object 1 (cat): xmin 3 >= xmax 3"),
        ("<xmax>20<", "<xmax>x<", Kind.UNREADABLE_OBJECT, "object 1 (cat): <bndbox/xmax> is 'x'"),
        ("<width>40<", "<width>50<", Kind.WRONG_SIZE, "image size: width 50, height 30; but b.jpg"),
        ("<width>40<", "<width>no<", Kind.UNREADABLE_XML, "image size: <size/width> is 'no'"),
        ("</annotation>", "", Kind.UNREADABLE_XML, "annotation: not readable as XML"),
        ("<xmax>40<", "<xmax>40.4<", Kind.CLIPPED, "object 2 (dog): xmax 40.4: clipped"),
        ("<xmin>3<", "<xmin>3.5<", Kind.FRACTION, "object 1 (cat): xmin 3.5: read as written"),
        ("<name>cat<", "<name>cat <", Kind.BLANKS, "object 1 (cat): <name> is 'cat ', read as"),
        ("<name>cat<", "<name>Cat<", Kind.ODD_CLASS, "object 1 (Cat): written 'cat' more often"),
        ("<name>cat</name>", "", Kind.NO_NAME, "object 1 (no name): no <name>, so its class is"),
    ],
)
def test_what_is_wrong_with_an_annotation(voc, old, new, kind, text):
    edit(voc, old, new)
    report = check_dataset(voc)
    severities, kinds, texts = zip(*found(report), strict=True)
    assert kind in kinds
    at = kinds.index(kind)
    assert severities[at] is kind.severity
    assert texts[at].startswith(f"{XML}: {text}")
    # A fraction that is clipped is a fraction besides; nothing else hides behind the one mistake.
    assert len(set(kinds) - {Kind.FRACTION}) <= 1
    assert {one.path.name for one in report.findings} == {"b.xml"}


@pytest.mark.parametrize("skip_bad", [False, True])
def test_training_stops_on_the_very_errors(voc, skip_bad):
    edit(voc, "<xmin>3<", "<xmin>-3<")
    edit(voc, "<width>40<", "<width>50<", "a")
    edit(voc, "<ymin>5<", "<ymin>5.5<", "a")
    report = check_dataset(voc, splits=["trainval"])
    assert len(report.errors) == 2
    if skip_bad:
        dataset = VOCDataset(voc, split="trainval", skip_bad=True)
        assert set(dataset.skipped) == {str(one) for one in report.errors}
        assert set(dataset.findings) == set(report.findings)
    else:
        with pytest.raises(InputError) as caught:
            VOCDataset(voc, split="trainval")
        assert str(caught.value).split(" (and 1 more")[0] in {str(one) for one in report.errors}


def test_no_objects_and_the_same_box_twice(voc):
    write_annotation(voc / "Annotations/a.xml", "a.jpg", (30, 40), [])
    write_annotation(voc / "Annotations/b.xml", "b.jpg", (30, 40), [CAT, CAT._replace(name="dog")])
    assert found(check_dataset(voc)) == [
        (
            Severity.ERROR,
            Kind.NO_OBJECT_AT_ALL,
            "ImageSets/Main/train.txt: split 'train': no object that is not marked difficult in 1 "
            "images",
        ),
        (Severity.WARNING, Kind.NO_OBJECTS, "Annotations/a.xml: annotation: has no object"),
        (
            Severity.WARNING,
            Kind.SAME_BOX,
            "Annotations/b.xml: object 2 (dog): the same box as object 1 (cat)",
        ),
    ]


# --- one image ------------------------------------------------------------------------------------


def test_a_truncated_image(voc, rng):
    path = voc / "JPEGImages/b.jpg"
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    ((severity, kind, text),) = found(check_dataset(voc))
    assert (severity, kind) == (Severity.ERROR, Kind.UNREADABLE_IMAGE)
    assert text.startswith("JPEGImages/b.jpg: image: truncated, damaged or unreadable")


def test_both_files_of_an_image_are_looked_at(voc):
    (voc / "JPEGImages/b.jpg").write_text("no image")
    edit(voc, "<xmin>3<", "<xmin>-3<")
    assert {kind for _, kind, _ in found(check_dataset(voc))} == {
        Kind.UNREADABLE_IMAGE,
        Kind.OUTSIDE,
    }


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("I;16", "png"), ("RGBA", "png"), ("1", "png")],
)
def test_images_that_are_not_rgb(voc, mode, ending):
    (voc / "JPEGImages/b.jpg").unlink()
    GRADIENT.resize((40, 30)).convert(mode).save(voc / f"JPEGImages/b.{ending}")
    ((severity, kind, text),) = found(check_dataset(voc))
    assert (severity, kind) == (Severity.REPAIRED, Kind.NOT_RGB)
    note = "; values up to 251: read as 8 bits" if mode == "I;16" else ""
    assert text == f"JPEGImages/b.{ending}: image: mode {mode}, read as RGB{note}"


def test_an_image_that_shows_nothing(voc):
    Image.new("RGB", (40, 30), (7, 7, 7)).save(voc / "JPEGImages/b.jpg")
    assert found(check_dataset(voc)) == [
        (Severity.WARNING, Kind.BLANK_IMAGE, "JPEGImages/b.jpg: image: all pixels are (7, 7, 7)")
    ]


@pytest.mark.parametrize(
    ("stored", "orientation", "annotated", "kind"),
    [
        ((40, 30), 1, (30, 40), None),
        ((30, 40), 6, (30, 40), Kind.TURNED),  # stored 30 wide, shown 40 wide: as annotated
        ((40, 30), 6, (30, 40), Kind.UNTURNED),  # annotated as stored
        ((40, 30), 3, (30, 40), Kind.MAYBE_UNTURNED),  # upside down: the size cannot tell
        ((40, 20), 6, (30, 40), Kind.WRONG_SIZE),
    ],
)
def test_exif_orientation(voc, stored, orientation, annotated, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    GRADIENT.resize(stored).convert("RGB").save(voc / "JPEGImages/b.jpg", exif=exif)
    write_annotation(voc / "Annotations/b.xml", "b.jpg", annotated, [CAT])
    assert [one.kind for one in check_dataset(voc).findings] == ([kind] if kind else [])


# --- files, splits, classes -----------------------------------------------------------------------


def test_missing_and_orphan_files(voc):
    (voc / "JPEGImages/a.jpg").unlink()
    (voc / "Annotations/b.xml").unlink()
    (voc / "ImageSets/Main/test.txt").write_text("c\nghost\n")
    # No split names these two, so they stop no training.
    (voc / "JPEGImages/lonely.png").write_text("no image")
    write_annotation(voc / "Annotations/forgotten.xml", "forgotten.jpg", (30, 40), [CAT])
    report = check_dataset(voc)
    error, warning, missing = Severity.ERROR, Severity.WARNING, Kind.MISSING_FILE
    no_image, no_xml = "image: no such file, of any format", "annotation: no such file"
    assert found(report) == [
        (error, missing, f"JPEGImages/a: {no_image}"),
        (error, missing, f"JPEGImages/ghost: {no_image}"),
        (error, Kind.NO_ANNOTATION, f"Annotations/b.xml: {no_xml}"),
        (error, Kind.NO_ANNOTATION, f"Annotations/ghost.xml: {no_xml}"),
        (
            warning,
            Kind.UNREADABLE_IMAGE,
            "JPEGImages/lonely.png: image: not of a format Pillow reads (in no split)",
        ),
        (warning, Kind.ORPHAN, f"Annotations/lonely.xml: {no_xml} (in no split)"),
        (warning, Kind.ORPHAN, f"JPEGImages/forgotten: {no_image} (in no split)"),
    ]
    assert report.images == 6
    assert check_dataset(voc, splits=["test"]).images == 2


def test_without_splits_every_file_counts(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", side_by_side=True)
    (root / "b.xml").unlink()
    for splits in (None, ["all"]):
        (error,) = check_dataset(root, splits=splits).findings
        assert (error.severity, error.kind) == (Severity.ERROR, Kind.NO_ANNOTATION)


def test_lists_of_ids(voc):
    (voc / "ImageSets/Main/val.txt").write_text("b\nb\n")
    (voc / "ImageSets/Main/test.txt").write_text("\n")
    (voc / "ImageSets/Main/cat_val.txt").write_text("a -1\nb  1\n")
    assert found(check_dataset(voc)) == [
        (Severity.ERROR, Kind.EMPTY_SPLIT, "ImageSets/Main/test.txt: split 'test': lists no image"),
        (Severity.WARNING, Kind.LISTED_TWICE, "ImageSets/Main/val.txt: b: 2 times"),
    ]


def test_an_id_in_two_splits(voc):
    (voc / "ImageSets/Main/test.txt").write_text("c\na\n")
    assert found(check_dataset(voc)) == [
        (Severity.WARNING, Kind.LEAKAGE, "ImageSets/Main/test.txt: a: in split train as well")
    ]


def test_the_same_bytes_in_two_splits(voc):
    (voc / "JPEGImages/c.jpg").write_bytes((voc / "JPEGImages/a.jpg").read_bytes())
    ((severity, kind, text),) = found(check_dataset(voc))
    assert (severity, kind) == (Severity.WARNING, Kind.LEAKAGE)
    assert text == ("JPEGImages/c.jpg: image: the same bytes as a.jpg; in test, and in train")
    # Within what is trained on, it is no leak.
    for name in ("val", "test"):
        (voc / f"ImageSets/Main/{name}.txt").unlink()
    (voc / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
    (one,) = check_dataset(voc).findings
    assert (one.kind, one.reason) == (Kind.SAME_IMAGE, "the same bytes as a.jpg")


def test_class_names_that_are_given(voc):
    edit(voc, "<name>cat<", "<name>kat<")
    report = check_dataset(voc, classes=["Cat_s", "dog"])
    reasons = {(one.part, one.reason) for one in report.errors}
    listed = "the classes are Cat_s, dog"
    assert reasons == {
        ("object 1 (cat)", f"unknown class, perhaps 'Cat_s'; {listed}"),
        ("object 1 (kat)", f"unknown class; {listed}"),
    }
    # In no split, it stops no training.
    (voc / "ImageSets/Main/val.txt").unlink()
    (voc / "ImageSets/Main/trainval.txt").write_text("a\n")
    edit(voc, "<name>cat<", "<name>dog<", "a")
    edit(voc, "<name>cat<", "<name>dog<", "c")
    (found_outside,) = check_dataset(voc, classes=["dog"]).findings
    assert (found_outside.severity, found_outside.part) == (Severity.WARNING, "object 1 (kat)")
    assert found_outside.reason.endswith("(in no split)")


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (("RBC", "WBC", "Platelets"), {}),
        (("RBC", "RBC", "rbc"), {"rbc": "written 'RBC' more often"}),
        (("traffic light", "traffic light", "Traffic-Light"), {"Traffic-Light": "written"}),
        # The data's own majority decides, not VOC's names.
        ((*["tomato"] * 20, "tomatto"), {"tomatto": "perhaps 'tomato', which 20 objects are"}),
        (("tomato", "tomatto"), {}),
        ((*["class1"] * 20, "class2"), {}),
        ((*["car"] * 20, "chair"), {}),
        (("cat", "zebra"), {}),
    ],
)
def test_class_names_that_are_odd(tmp_path, write_voc, names, odd):
    objects = [VOCObject(name, (i + 1, 1, 40, 9)) for i, name in enumerate(names)]
    root = write_voc(tmp_path / "data", ids=("a",), objects=tuple(objects))
    findings = check_dataset(root).findings
    assert {one.kind for one in findings} == ({Kind.ODD_CLASS} if odd else set())
    assert {one.part.split("(")[1][:-1] for one in findings} == set(odd)
    for one, reason in zip(findings, odd.values(), strict=True):
        assert one.reason.startswith(reason)


# --- the report -----------------------------------------------------------------------------------


def test_the_report_counts_and_shows_the_first(voc):
    for image_id in "abc":
        edit(voc, "<xmin>3<", "<xmin>-3<", image_id)
        edit(voc, "<xmax>40<", "<xmax>39.5<", image_id)
    report = check_dataset(voc)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["counts"] == {
        "error": {"box outside the image": 3},
        "warning": {},
        "repaired": {"coordinate not whole": 3},
    }
    assert [one["object"] for one in plain["findings"][:3]] == ["object 1 (cat)"] * 3
    assert plain["findings"][0]["file"] == str(voc / "Annotations/a.xml")
    lines = report.table(first=2).splitlines()
    assert "3 errors (3 box outside the image); 3 repaired (3 coordinate not whole)" in lines
    at = next(i for i, line in enumerate(lines) if line.startswith("error"))
    assert lines[at].split() == ["error", "box", "outside", "the", "image", "3"]
    assert lines[at + 1].startswith("  Annotations/a.xml: object 1 (cat): xmin -3")
    assert lines[at + 3] == "  ... and 1 more"
    assert "... and" not in report.table(first=3)


def test_threads_and_progress_change_nothing(voc):
    edit(voc, "<xmin>3<", "<xmin>-3<", "a")
    seen = []

    def track(items, total):
        for item in items:
            seen.append(total)
            yield item

    reports = [check_dataset(voc, threads=n, track=track).to_dict() for n in (1, 3)]
    assert reports[0] == reports[1]
    assert seen == [3] * 6


def test_processes_find_the_same(voc, monkeypatch):
    edit(voc, "<xmin>3<", "<xmin>-3<", "a")
    (voc / "JPEGImages/b.jpg").write_text("no image")
    (voc / "Annotations/c.xml").unlink()
    here = check_dataset(voc)
    monkeypatch.setattr(check, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(check, "_CHUNK", 2)
    elsewhere = check_dataset(voc, processes=2)
    assert elsewhere.to_dict() == here.to_dict()
    assert len(here.findings) == 3


def test_what_cannot_be_checked(tmp_path, voc):
    with pytest.raises(InputError, match=r"none: data set: no such folder$"):
        check_dataset(tmp_path / "none")
    with pytest.raises(InputError, match=r"split 'nosuch': not there; there is test"):
        check_dataset(voc, splits=["nosuch"])


class TestRealData:
    def test_the_voc2007_subset_is_clean(self, shared):
        report = check_dataset(shared / "data/voc2007-subset/VOCdevkit")
        assert report.findings == ()
        assert report.images == 942 + 483

    def test_bccd_has_two_boxes_without_area(self, shared):
        report = check_dataset(shared / "data/bccd")
        assert [one.path.stem for one in report.findings] == [
            "BloodImage_00338",
            "BloodImage_00343",
        ]
        assert {one.kind for one in report.findings} == {Kind.NO_AREA}


def test_every_kind_is_in_the_guide():
    guide = Path(__file__).parents[2] / "docs/howto/check-your-data.md"
    head = guide.read_text().partition("\n### ")[0]
    rows = [line for line in head.splitlines() if line.startswith("| ")]
    for kind in Kind:
        (row,) = (row for row in rows if row.startswith(f"| {kind.severity} |"))
        assert kind.label in row
