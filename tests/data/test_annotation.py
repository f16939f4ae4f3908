"""Annotation files: what is read, what is refused and in which words."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.data import VOCObject, read_annotation, write_annotation
from minirpn.data.findings import Kind, Severity
from minirpn.errors import InputError

# Trusted archives alone are unpacked here; before Python 3.11.4 there is no filter for others.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
OBJECT = """<object><name>cat</name><pose>Left</pose><truncated>1</truncated>
<difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>5</ymin><xmax>20</xmax><ymax>15</ymax></bndbox></object>"""
XML = f"""<annotation><filename>a.jpg</filename>
<size><width>40</width><height>30</height><depth>3</depth></size>{OBJECT}</annotation>"""


@pytest.fixture
def read(tmp_path):
    """Write a text to a.xml and read it as an annotation."""

    def read_text(text: str | bytes):
        path = tmp_path / "a.xml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_annotation(path)

    return read_text


def test_what_an_ordinary_file_says(read):
    file = read(XML)
    assert file.image_size == (30, 40)
    assert file.objects == ((1, VOCObject("cat", (3, 5, 20, 15), truncated=True)),)
    assert file.findings == ()


def test_a_box_on_all_four_edges_is_ordinary(read):
    xml = XML.replace("<xmin>3<", "<xmin>1<").replace("<ymin>5<", "<ymin>1<")
    xml = xml.replace("<xmax>20<", "<xmax>40<").replace("<ymax>15<", "<ymax>30<")
    ((_, item),) = read(xml).objects
    assert item.corners == (1, 1, 40, 30)


def test_boxes_of_parts_are_no_objects(read):
    part = (
        "<part><name>head</name><bndbox><xmin>900</xmin><ymin>1</ymin>"
        "<xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    )
    # Once behind the object's own box, and once before it.
    for xml in (
        XML.replace("</bndbox>", f"</bndbox>{part}"),
        XML.replace("<bndbox>", f"{part}<bndbox>"),
    ):
        assert read(xml).objects == read(XML).objects
        assert read(xml).problems == ()


def test_coordinates_may_be_fractions(read):
    ((_, item),) = read(XML.replace("<ymin>5<", "<ymin>5.70000076293945<")).objects
    assert item.corners[1] == 5.70000076293945


def test_missing_flags_mean_zero(read):
    xml = XML.replace("<difficult>0</difficult>", "").replace("<truncated>1</truncated>", "")
    ((_, item),) = read(xml.replace("<pose>Left</pose>", "")).objects
    assert (item.difficult, item.truncated) == (False, False)


def test_blanks_around_texts_are_dropped(read):
    xml = XML.replace("<name>cat<", "<name> cat\n <").replace("<xmin>3<", "<xmin> 3 <")
    assert read(xml).objects == read(XML).objects


def test_an_image_without_objects_is_ordinary(read):
    file = read(XML.replace(OBJECT, ""))
    assert (file.objects, file.problems) == ((), ())
    assert [found.kind for found in file.findings] == [Kind.NO_OBJECTS]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<xmin>3<", "<xmin>0<", "(cat): xmin 0 is below 1, where VOC pixels start (0-based?)"),
        ("<ymin>5<", "<ymin>-2<", "(cat): ymin -2 is below 1, where VOC pixels start (0-based?)"),
        ("<xmax>20<", "<xmax>41<", "(cat): xmax 41 is beyond the image's width 40"),
        ("<ymax>15<", "<ymax>31<", "(cat): ymax 31 is beyond the image's height 30"),
        ("<xmax>20<", "<xmax>3<", "(cat): xmin 3 >= xmax 3, a box without width"),
        ("<ymax>15<", "<ymax>4<", "(cat): ymin 5 >= ymax 4, a box without height"),
        ("<xmin>3<", "<xmin>three<", "(cat): <bndbox/xmin> is 'three', not a number"),
        ("<xmin>3<", "<xmin>nan<", "(cat): <bndbox/xmin> is 'nan', not a finite number"),
        ("<xmax>20<", "<xmax>1e999<", "(cat): <bndbox/xmax> is '1e999', not a finite number"),
        ("<ymax>15</ymax>", "", "(cat): no <bndbox/ymax>"),
        ("bndbox>", "polygon>", "(cat): no <bndbox/xmin>"),
        ("<name>cat</name>", "", "(no name): no <name>"),
        ("<name>cat<", "<name> <", "(no name): no <name>"),
        ("<difficult>0<", "<difficult>yes<", "(cat): <difficult> is 'yes', neither 0 nor 1"),
    ],
)
def test_a_bad_object_is_named_and_the_others_stay(read, tmp_path, old, new, reason):
    xml = XML.replace(OBJECT, OBJECT + OBJECT.replace(old, new) + OBJECT)
    file = read(xml)
    assert [number for number, _ in file.objects] == [1, 3]
    assert [str(error) for error in file.problems] == [f"{tmp_path}/a.xml: object 2 {reason}"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<width>40</width>", "", "image size: no <size/width>"),
        ("size>", "format>", "image size: no <size/height>"),
        ("<height>30<", "<height>0<", "image size: <size/height> is 0, not a positive whole"),
        ("<height>30<", "<height>30.5<", "image size: <size/height> is 30.5, not a positive whole"),
        ("annotation>", "note>", "annotation: the root element is <note>, not <annotation>"),
        ("</annotation>", "", "annotation: not readable as XML"),
        ("<annotation>", "<!DOCTYPE annotation><annotation>", "DTD"),
        ("<annotation>", "<!DOCTYPE a [<!ENTITY x 'y'>]><annotation>&x;", "DTD"),
        ("<annotation>", "<!DOCTYPE a SYSTEM 'file:///etc/hosts'><annotation>", "DTD"),
        ("<annotation>", "<annotation>&x;", "undefined entity"),
        ("<annotation>", "<?xml version='1.0' encoding='klingon'?><annotation>", "encoding"),
    ],
)
def test_a_bad_file_is_one_line(read, old, new, reason):
    with pytest.raises(InputError, match=r"a\.xml: ") as caught:
        read(XML.replace(old, new))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "corners", "said"),
    [
        ("<ymax>15<", "<ymax>30.5<", (3, 5, 20, 30), "ymax 30.5: clipped to the height 30"),
        ("<xmax>20<", "<xmax>40.9<", (3, 5, 40, 15), "xmax 40.9: clipped to the width 40"),
        ("<xmin>3<", "<xmin>3.5<", (3.5, 5, 20, 15), "xmin 3.5: read as written"),
        ("<xmin>3<", "<xmin>3.0<", (3, 5, 20, 15), "xmin 3.0: read as written"),
        ("<truncated>1</truncated>", "", (3, 5, 20, 15), "taken: 0 for <truncated>"),
        (
            "<pose>Left</pose><truncated>1</truncated>",
            "<truncated/>",
            (3, 5, 20, 15),
            "taken: Unspecified for <pose>, 0 for <truncated>",
        ),
        ("<name>cat<", "<name> cat\n<", (3, 5, 20, 15), r"<name> is ' cat\n', read as 'cat'"),
    ],
)
def test_what_is_safe_is_repaired_and_said(read, tmp_path, old, new, corners, said):
    file = read(XML.replace(old, new))
    ((_, item),) = file.objects
    assert item.name == "cat"
    assert item.corners == corners
    assert {found.severity for found in file.findings} == {Severity.REPAIRED}
    # Of a clipped coordinate it is said as well that it was no whole number.
    assert str(file.findings[-1]) == f"{tmp_path}/a.xml: object 1 (cat): {said}"
    assert file.problems == ()


def test_a_box_that_clipping_leaves_nothing_of_is_refused(read):
    file = read(XML.replace("<xmin>3<", "<xmin>40.2<").replace("<xmax>20<", "<xmax>40.7<"))
    assert [found.kind for found in file.problems] == [Kind.SWAPPED]


def test_the_same_box_twice_is_suspicious(read):
    file = read(XML.replace(OBJECT, OBJECT + OBJECT.replace(">cat<", ">dog<")))
    assert [number for number, _ in file.objects] == [1, 2]
    (found,) = file.findings
    assert (found.kind, found.part) == (Kind.SAME_BOX, "object 2 (dog)")
    assert found.reason == "the same box as object 1 (cat)"


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.xml: annotation: no such file$"):
        read_annotation(tmp_path / "none.xml")


def test_a_file_of_bytes_that_are_no_text(read):
    with pytest.raises(InputError, match="not readable as XML"):
        read(bytes(range(256)))


def test_mutations_give_objects_or_an_input_error(read, rng):
    original = np.frombuffer(XML.encode(), dtype=np.uint8)
    pieces = [b"<", b">", b"/", b"&", b"&#0;", b"\0", b"-", b"1e9", b"<part>", b"]]>", b"\xff"]
    outcomes, messages = set(), []
    for _ in range(600):
        at, length = rng.integers(0, original.size), rng.integers(0, 12)
        piece = pieces[rng.integers(len(pieces))] if rng.random() < 0.6 else b""
        try:
            file = read(original[:at].tobytes() + piece + original[at + length :].tobytes())
        except InputError as error:
            messages.append(str(error))
            outcomes.add("bad file")
        else:
            outcomes.add("bad object" if file.problems else "sound")
    assert not any("\n" in message for message in messages)
    assert outcomes == {"bad file", "bad object", "sound"}


@st.composite
def voc_objects(draw: st.DrawFn) -> VOCObject:
    """Draw an object within an image of 2000x1000 (width x height)."""
    xs = draw(st.lists(st.integers(1, 2000), min_size=2, max_size=2, unique=True))
    ys = draw(st.lists(st.floats(1, 1000, width=32), min_size=2, max_size=2, unique=True))
    name = draw(st.text("abcåß<>&\"'", min_size=1))
    corners = (min(xs), min(ys), max(xs), max(ys))
    return VOCObject(name, corners, draw(st.booleans()), draw(st.booleans()))


@given(objects=st.lists(voc_objects(), max_size=4))
def test_what_is_written_is_read_back(tmp_path_factory, objects):
    path = tmp_path_factory.mktemp("round") / "a.xml"
    write_annotation(path, "a.jpg", (1000, 2000), objects)
    file = read_annotation(path)
    assert file.image_size == (1000, 2000)
    assert {found.kind for found in file.findings} <= {
        Kind.NO_OBJECTS,
        Kind.FRACTION,
        Kind.SAME_BOX,
    }
    read_back = [item for _, item in file.objects]
    assert [item.name for item in read_back] == [item.name for item in objects]
    # Nine digits tell every float32 apart, and in float32 the boxes are kept.
    as_float32 = [np.float32(item.corners).tolist() for item in read_back]
    assert as_float32 == [np.float32(item.corners).tolist() for item in objects]
    assert [item[2:] for item in read_back] == [item[2:] for item in objects]


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **SAFELY)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("year", "split", "total", "ordinary"),
    [
        ("2007", "trainval", 15662, 12608),
        ("2007", "test", 14976, 12032),
        ("2012", "trainval", 31561, 27450),
    ],
)
def test_every_annotation_of_voc_is_sound(shared, tmp_path_factory, year, split, total, ordinary):
    folder = tmp_path_factory.getbasetemp() / f"VOC{year}"
    if not folder.is_dir():
        unpack(shared / "data" / "annotations" / f"VOC{year}-annotations.tar.xz", folder)
    files = [
        read_annotation(folder / "Annotations" / f"{image_id}.xml")
        for image_id in (folder / f"ImageSets/Main/{split}.txt").read_text().split()
    ]
    assert not any(file.problems for file in files)
    objects = [item for file in files for _, item in file.objects]
    assert len(objects) == total
    assert sum(not item.difficult for item in objects) == ordinary
