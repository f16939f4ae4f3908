"""Annotation files: what is read, what is refused and in which words."""

from __future__ import annotations

import re
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
    assert read(xml).findings == ()


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
        (
            "<ymin>5<",
            "<ymin>-2<",
            "(cat): ymin -2 is beyond the image: its height is 30, counted from 1 to 30",
        ),
        (
            "<xmax>20<",
            "<xmax>42<",
            "(cat): xmax 42 is beyond the image: its width is 40, counted from 1 to 40",
        ),
        ("<xmax>20<", "<xmax>3<", "(cat): xmin 3 >= xmax 3, a box without width"),
        ("<ymax>15<", "<ymax>4<", "(cat): ymin 5 > ymax 4, corners of a box without height"),
        ("<xmin>3<", "<xmin>three<", "(cat): <bndbox/xmin> is 'three', not a number"),
        ("<xmin>3<", "<xmin>nan<", "(cat): <bndbox/xmin> is 'nan', not a finite number"),
        ("<xmax>20<", "<xmax>1e999<", "(cat): <bndbox/xmax> is '1e999', not a finite number"),
        ("<ymax>15</ymax>", "", "(cat): no <bndbox/ymax>"),
        ("bndbox>", "polygon>", "(cat): no <bndbox/xmin>"),
        ("bndbox>", "BndBox>", "(cat): no <bndbox/xmin>; there is <BndBox>"),
        ("xmax>", "Xmax>", "(cat): no <bndbox/xmax>; there is <Xmax>"),
        ("</bndbox>", "</bndbox><bndbox/>", "(cat): has 2 <bndbox>, one is expected"),
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
        ("object>", "Object>", "annotation: <Object> is no element of VOC's; <object> is"),
        ("object>", "objects>", "annotation: <objects> is no element of VOC's; <object> is"),
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
        ("<ymax>15<", "<ymax>30.5<", (3, 5, 20, 30), "ymax 30.5: clipped to 30"),
        ("<xmax>20<", "<xmax>41<", (3, 5, 40, 15), "xmax 41: clipped to 40"),
        ("<xmin>3<", "<xmin>0<", (1, 5, 20, 15), "xmin 0: clipped to 1"),
        ("<ymin>5<", "<ymin>0.995<", (3, 1, 20, 15), "ymin 0.995: clipped to 1"),
        ("<xmin>3<", "<xmin>3.5<", (3.5, 5, 20, 15), "xmin 3.5: read as written"),
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
    assert [found.kind for found in file.problems] == [Kind.NO_AREA]


def test_whole_numbers_with_a_point_are_whole(read):
    xml = XML.replace("<xmin>3<", "<xmin>3.0<").replace("<ymax>15<", "<ymax>15.00<")
    assert read(xml).objects == read(XML).objects
    assert read(xml).findings == ()


@pytest.mark.parametrize("name", ["<name/>", "<name> </name>", ""])
def test_an_object_without_a_name_is_an_object(read, name):
    file = read(XML.replace("<name>cat</name>", name))
    ((_, item),) = file.objects
    assert (item.name, item.corners) == ("unnamed", (3, 5, 20, 15))
    (found,) = file.findings
    assert (found.kind, found.severity) == (Kind.NO_NAME, Severity.WARNING)


def test_a_misspelled_flag_is_named(read):
    file = read(XML.replace("difficult>", "dificult>"))
    assert file.objects == read(XML).objects
    reasons = [one.reason for one in file.findings if one.kind is Kind.ODD_TAG]
    assert reasons == ["<dificult> is not read; <difficult> would be"]


def test_a_misspelled_name_is_named_and_so_are_elements_beside_sound_ones(read):
    file = read(
        XML.replace("name>", "Name>").replace("</annotation>", "<objects>3</objects></annotation>")
    )
    reasons = [one.reason for one in file.findings if one.kind is Kind.ODD_TAG]
    assert reasons == [
        "<objects> is no element of VOC's; <object> is",
        "<Name> is not read; <name> would be",
    ]
    assert len(file.objects) == 1


@pytest.mark.parametrize(
    ("text", "is_difficult"),
    [("Unspecified", False), ("false", False), ("True", True), ("1", True), ("", False)],
)
def test_flags_in_words(read, text, is_difficult):
    ((_, item),) = read(XML.replace("<difficult>0<", f"<difficult>{text}<")).objects
    assert item.difficult is is_difficult


@pytest.mark.parametrize(
    ("box_format", "corners"),
    [
        ("voc", (5, 5, 5, 9)),
        ("zero-based", (5, 5, 9, 5)),
        ("half-open", (5, 5, 6, 9)),
        ("half-open", (5, 5, 9, 5.5)),
        ("one-based-half-open", (5, 5, 9, 6)),
        ("normalized", (0.5, 0.5, 0.52, 0.9)),
    ],
)
def test_a_box_of_a_pixel_or_less_is_none_in_any_convention(tmp_path, box_format, corners):
    path = tmp_path / "a.xml"
    write_annotation(path, "a.jpg", (30, 40), [VOCObject("cat", corners)])
    (problem,) = read_annotation(path, box_format=box_format).problems
    assert problem.kind is Kind.NO_AREA


def test_tags_of_other_tools_are_no_misspelled_ones(read):
    extra = "<occluded>0</occluded><polygon/><actions/><point/><id>7</id></object>"
    assert read(XML.replace("</object>", extra)).findings == ()
    assert read(XML.replace("<size>", "<source/><owner/><path/><segmented>0</segmented><size>"))


@pytest.mark.parametrize("size", ["<width>0</width><height>30</height>", "<depth>3</depth>", ""])
def test_a_size_that_is_missing_is_the_images(tmp_path, read, size):
    xml = re.sub("<size>.*</size>", f"<size>{size}</size>" if size else "", XML)
    path = tmp_path / "a.xml"
    path.write_text(xml)
    file = read_annotation(path, image_size=(30, 40))
    assert (file.image_size, file.objects) == ((30, 40), read(XML).objects)
    assert [one.kind for one in file.findings] == [Kind.SIZE_FROM_IMAGE]


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "shift_jis", "big5", "cp1251", "utf-16"])
def test_files_in_encodings_of_python(read, encoding):
    name = {"cp1251": "кот"}.get(encoding, "中")
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + XML.replace(">cat<", f">{name}<")
    ((_, item),) = read(text.encode(encoding)).objects
    assert item.name == name


def test_bytes_that_their_encoding_does_not_have(read):
    data = f'<?xml version="1.0" encoding="gb2312"?>{XML}'.encode().replace(b"cat", b"\xff\xff")
    with pytest.raises(InputError, match="not readable as XML"):
        read(data)


# --- what is left out shows something, so it is no background -------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "ignored"),
    [
        ("<xmin>3<", "<xmin>-9<", [(1, 5, 20, 15)]),
        ("<xmax>20<", "<xmax>99<", [(3, 5, 40, 15)]),
        ("<xmax>20<", "<xmax>2<", [(2, 5, 3, 15)]),
        ("<xmax>20<", "<xmax>3<", [(3, 5, 3, 15)]),
        ("<difficult>0<", "<difficult>yes<", [(3, 5, 20, 15)]),
        ("<xmin>3<", "<xmin>three<", []),
        ("<xmin>3<", "<xmin>300<", [(20, 5, 40, 15)]),
        ("</bndbox>", "</bndbox>" + OBJECT[OBJECT.index("<bndbox>") : -len("</object>")], 2),
    ],
)
def test_the_region_of_an_object_that_is_left_out(read, old, new, ignored):
    file = read(XML.replace(old, new))
    assert (file.objects, len(file.problems)) == ((), 1)
    assert list(file.ignored) == ([(3, 5, 20, 15)] * 2 if ignored == 2 else ignored)


def test_far_boxes_are_clipped_if_asked(tmp_path, read):
    path = tmp_path / "a.xml"
    path.write_text(XML.replace("<xmin>3<", "<xmin>-9<").replace("<xmax>20<", "<xmax>99<"))
    file = read_annotation(path, clip_boxes=True)
    ((_, item),) = file.objects
    assert item.corners == (1, 5, 40, 15)
    assert [one.kind for one in file.findings] == [Kind.CLIPPED] * 2
    # What lies beside the image cannot be clipped to it.
    path.write_text(XML.replace("<xmin>3<", "<xmin>50<").replace("<xmax>20<", "<xmax>99<"))
    (problem,) = read_annotation(path, clip_boxes=True).problems
    assert problem.kind is Kind.OUTSIDE


def test_ignored_regions_are_read_back(tmp_path):
    path = tmp_path / "a.xml"
    objects = [VOCObject("cat", (3, 5, 20, 15))]
    write_annotation(path, "a.jpg", (30, 40), objects, [(1, 1, 9, 9.5)])
    file = read_annotation(path)
    assert file.ignored == ((1, 1, 9, 9.5),)
    assert file.findings == ()
    assert [item for _, item in file.objects] == objects


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
    ys = draw(st.lists(st.floats(1, 1000), min_size=2, max_size=2, unique=True))
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
    assert [item.corners for item in read_back] == [item.corners for item in objects]
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
