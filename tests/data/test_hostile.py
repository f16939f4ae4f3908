"""Files made to do harm: each is one line, and takes neither long nor much memory."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from minirpn.data import Kind, VOCDataset, VOCObject, check_dataset, read_annotation, voc
from minirpn.data.annotation import MOST_OBJECTS, VOCFile
from minirpn.data.fix import write_corrected
from minirpn.data.layout import Source
from minirpn.data.lists import IdFinder, read_list
from minirpn.data.voc import Entry, odd_classes
from minirpn.errors import InputError
from minirpn.text import printable

HEAD = "<annotation><size><width>500</width><height>400</height></size>"
BOX = "<bndbox><xmin>3</xmin><ymin>5</ymin><xmax>20</xmax><ymax>15</ymax></bndbox>"
OBJECT = f"<object><name>cat</name>{BOX}</object>"


@pytest.fixture
def read(tmp_path):
    """Write a text to a.xml and read it as an annotation."""

    def read_text(text: str | bytes, **settings):
        path = tmp_path / "a.xml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_annotation(path, **settings)

    return read_text


# --- annotations ----------------------------------------------------------------------------------

TOO_MUCH = {
    "objects": (OBJECT * (MOST_OBJECTS + 1), "holds 5,001 boxes; at most 5,000"),
    "boxes of one object": (f"<object>{BOX * 6000}</object>", "holds 6,000 boxes"),
    "ignored": (f"<ignored>{BOX}</ignored>" * 6000, "holds 6,000 boxes"),
    "elements": ("<a/>" * 500_000, "more elements than any annotation"),
    "nested": ("<a>" * 300_000 + "</a>" * 300_000, "more elements than any annotation"),
    "tags": ("".join(f"<objec{n}/>" for n in range(2000)), "more different tags than any"),
    "bytes": (" " * 2**24, "more than 16,777,216 bytes"),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_a_file_with_more_than_any_annotation_is_refused(read, kind):
    inside, reason = TOO_MUCH[kind]
    with pytest.raises(InputError, match=reason):
        read(f"{HEAD}{inside}</annotation>")


def test_as_many_objects_as_can_be_learned(read):
    assert len(read(f"{HEAD}{OBJECT * MOST_OBJECTS}</annotation>").objects) == MOST_OBJECTS


def test_a_tag_of_a_megabyte_is_like_no_other(read):
    file = read(f"{HEAD}<{'object' * 200_000}/>{OBJECT}</annotation>")
    assert (len(file.objects), file.findings) == (1, ())


@pytest.mark.parametrize("text", ["1_0", "１", "٣", "1e", "0x1", "in_f"])
def test_what_only_python_reads_is_no_number(read, text):
    (found,) = read(f"{HEAD}{OBJECT.replace('>3<', f'>{text}<')}</annotation>").findings
    assert found.reason == f"<bndbox/xmin> is {text!r}, not a number"


@pytest.mark.parametrize("text", ["9" * 5000, "1e308", "-1e308", "1e-320", "x" * 10**6])
@pytest.mark.parametrize("box_format", ["voc", "zero-based", "half-open", "normalized"])
def test_an_odd_number_is_one_short_line(read, text, box_format):
    text = f"{HEAD}{OBJECT.replace('>20<', f'>{text}<')}</annotation>"
    file = read(text, box_format=box_format)
    assert file.objects == ()
    assert np.isfinite(file.ignored).all()
    assert all(len(str(found)) <= 1000 for found in file.findings)


@pytest.mark.parametrize("width", ["1e308", "1e20", "5000000000"])
def test_no_image_is_as_wide(read, width):
    with pytest.raises(InputError, match=r"image size: <size/width> is .*, more pixels than"):
        read(f"{HEAD}</annotation>".replace("500", width))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a&#10;b", "a b"),
        ("a\u202eb\u200f", "ab"),
        ("a&#x9b;2Jb", "a2Jb"),
        ("\ufeffcat", "cat"),
        ("a \u202e b", "a b"),
        ("می\u200cشود", "می\u200cشود"),  # Persian is written with the joiner
    ],
)
def test_a_class_name_is_one_line_of_glyphs(read, written, name):
    file = read(f"{HEAD}{OBJECT.replace('cat', written)}</annotation>")
    assert [item.name for _, item in file.objects] == [name]
    assert [found.kind for found in file.findings] == [Kind.BLANKS] * (name != written)
    assert all(printable(str(found)) == str(found) for found in file.findings)


def test_a_class_name_of_marks_alone_is_none(read):
    file = read(f"{HEAD}{OBJECT.replace('cat', chr(0x202E))}</annotation>")
    assert [found.kind for found in file.findings] == [Kind.NO_NAME]


def test_a_class_name_of_a_million_letters_is_an_error(read):
    (found,) = read(f"{HEAD}{OBJECT.replace('cat', 'n' * 10**6)}</annotation>").findings
    assert found.kind is Kind.UNREADABLE_OBJECT
    assert found.reason == "<name> has 1,000,000 characters, at most 200 are read"
    assert len(str(found)) <= 1000


@pytest.mark.parametrize("codec", ["punycode", "idna", "hex", "zlib_codec", "rot13", "undefined"])
def test_a_codec_that_is_no_encoding_of_files(read, codec):
    text = f"<?xml version='1.0' encoding='{codec}'?>{HEAD}{OBJECT}</annotation>"
    with pytest.raises(InputError, match=f"{codec[:3]}.*|no element found|not well-formed"):
        read(text.encode() + b"-" + b"9" * 100_000)


# --- many class names -----------------------------------------------------------------------------


def entries_of(names):
    objects = enumerate((VOCObject(name, (1, 1, 9, 9)) for name in names), start=1)
    return [Entry("a", Path("a.jpg"), Path("a.xml"), VOCFile((9, 9), tuple(objects), ()))]


def test_too_many_names_are_not_compared(monkeypatch):
    names = ["person"] * 40 + ["persn", "zebra", "zebar"]
    assert [one.part for one in odd_classes(entries_of(names))] == ["object 41 (persn)"]
    monkeypatch.setattr(voc, "_MOST_COMPARED", 10)
    (found,) = odd_classes(entries_of(names))
    assert found.reason == "4 different names, too many to look for typing errors in all"


def test_a_data_set_where_every_object_has_a_class_of_its_own():
    names = [f"class {number}" for number in range(60_000)]
    start = process_time()
    assert odd_classes(entries_of(names)) == []
    assert process_time() - start < 30  # a second; comparing each with each takes five minutes


# --- what is no file ------------------------------------------------------------------------------


def fifo(path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(path)


def zeros(path):
    if not Path("/dev/zero").exists():
        pytest.skip("no such device here")
    path.symlink_to("/dev/zero")


def bound_socket(path):
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no such sockets here")
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


ODD_FILES = {
    "pipe": fifo,
    "device": zeros,
    "socket": bound_socket,
    "folder": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to("gone"),
    "loop": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_an_annotation_that_is_no_file(tmp_path, write_voc, kind):
    root = write_voc(tmp_path / "data")
    xml = root / "Annotations" / "b.xml"
    xml.unlink()
    ODD_FILES[kind](xml)
    (found,) = check_dataset(root).errors
    assert found.part == "annotation"
    with pytest.raises(InputError, match=r"b\.xml: annotation: "):
        VOCDataset(root, split=None)


@pytest.mark.parametrize("kind", ODD_FILES)
def test_an_image_that_is_no_file(tmp_path, write_voc, kind):
    root = write_voc(tmp_path / "data")
    image = root / "JPEGImages" / "b.jpg"
    image.unlink()
    ODD_FILES[kind](image)
    (found,) = check_dataset(root).errors
    assert found.part == "image"
    with pytest.raises(InputError, match=r"b(\.jpg)?: image: "):
        VOCDataset(root, split=None)
    assert VOCDataset(root, split=None, skip_bad=True).left_out == ("b",)


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_list_that_is_no_file(tmp_path, write_voc, kind):
    root = write_voc(tmp_path / "data", splits={"train": ("a",), "val": ("b",)})
    path = root / "ImageSets" / "Main" / "train.txt"
    path.unlink()
    ODD_FILES[kind](path)
    check_dataset(root)  # it lists nothing, so there is no such list
    with pytest.raises(InputError, match=r"split 'train': not there"):
        VOCDataset(root, split="train")


def test_a_list_that_becomes_a_pipe(tmp_path):
    fifo(tmp_path / "train.txt")
    with pytest.raises(InputError, match=r"train\.txt: list: cannot be read \(not a file, but"):
        read_list(tmp_path / "train.txt", IdFinder(["a"]))


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "dangling link", "loop"])
@pytest.mark.parametrize("name", ["instances.json", "labels.txt"])
def test_what_is_no_file_is_of_no_other_format(tmp_path, kind, name):
    ODD_FILES[kind](tmp_path / name)
    with pytest.raises(InputError, match="no VOC annotation"):
        check_dataset(tmp_path)


# --- lists ----------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path, write_voc):
    """Return a data set whose train.txt has these bytes."""

    def write(content: bytes, ids=("a", "b")) -> Path:
        root = write_voc(tmp_path / "data", ids=ids, splits={"train": (), "val": (ids[-1],)})
        (root / "ImageSets" / "Main" / "train.txt").write_bytes(content)
        return root

    return write


@pytest.mark.parametrize("line", ["/", "..", ".", "a/..", "//", "\0", "\x1b[2J", "\u202e"])
def test_a_line_that_names_no_image_is_two_findings(listed, line):
    root = listed(line.encode() + b"\na\n")
    errors = check_dataset(root).errors
    assert {one.kind for one in errors} == {Kind.MISSING_FILE, Kind.NO_ANNOTATION}
    assert all(printable(str(one)) == str(one) for one in errors)
    with pytest.raises(InputError):
        VOCDataset(root, split="train")


def test_a_line_that_is_a_blank_of_windows(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"a\n\xa0\nb\n")
    assert read_list(path, IdFinder(["a", "b"])) == ["a", "b"]


def test_a_line_of_a_million_folders(listed):
    report = check_dataset(listed(b"x/" * 10**6 + b"a\n"))
    assert (report.errors, report.splits["train"]) == ((), 1)


def test_a_line_of_a_million_marks(listed):
    line = "a" + "\u0315\u0316" * 10**6  # to sort them takes the square of their number
    assert len(check_dataset(listed(line.encode())).errors) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\n" * 1_000_001, "has more than 1,000,000 lines"),
        (b"".join(b"%d\n" % n for n in range(100_001)), "100,001 of its lines name no image"),
        (b" " * (2**26 + 1), "more than 67,108,864 bytes"),
    ],
    ids=["lines", "absent", "bytes"],
)
def test_a_list_of_more_than_there_can_be(listed, content, reason):
    (found,) = check_dataset(listed(content)).errors
    assert (found.kind, found.part) == (Kind.EMPTY_SPLIT, "list")
    assert reason in found.reason


# --- names of any bytes ---------------------------------------------------------------------------

ODD_NAMES = [
    b"\xff",
    b"line\nbreak",
    b"\x1b[2J",
    b"qu\"o'te",
    rb"$\frac{$",
    "\u202eturned".encode(),
    "\u017e".encode(),
]


def with_odd_names(write_voc, root: Path) -> Path:
    """Write a data set with such names, if the file system has them."""
    ids = tuple(os.fsdecode(name) for name in ODD_NAMES)
    try:
        for name in ids:
            Path(root.parent, name).mkdir()
    except (OSError, UnicodeError):
        pytest.skip("a file system whose names are text")
    return write_voc(root, ids=ids)


def test_images_may_have_any_name(tmp_path, write_voc):
    root = with_odd_names(write_voc, tmp_path / os.fsdecode(b"d\xffa\n\x1bta"))
    report = check_dataset(root)
    assert (report.errors, report.images) == ((), len(ODD_NAMES))
    assert report.table(9)
    assert json.dumps(report.to_dict())
    whole = VOCDataset(root, split=None)
    assert sorted(whole.image_ids) == sorted(os.fsdecode(name) for name in ODD_NAMES)
    assert [sample.image.shape for sample in whole] == [(30, 40, 3)] * len(ODD_NAMES)
    assert len(VOCDataset(root, split="train")) > len(VOCDataset(root, split="val")) > 0
    copy = write_corrected(Source(root), tmp_path / "copy")
    assert copy.images == len(ODD_NAMES)
    assert check_dataset(copy.folder).findings == ()
    for path in copy.folder.rglob("*"):
        assert str(path.relative_to(copy.folder)).isprintable()


def test_a_list_may_name_files_by_their_bytes(tmp_path, write_voc):
    root = with_odd_names(write_voc, tmp_path / "data")
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True)
    names = [name for name in ODD_NAMES if b"\n" not in name]
    (main / "train.txt").write_bytes(b"\n".join(names))
    (main / "val.txt").write_bytes(b"\x9e")  # Western Windows writes U+017E so
    assert len(VOCDataset(root, split="train")) == len(names)
    assert VOCDataset(root, split="val").image_ids == ("\u017e",)


def test_every_finding_about_them_is_a_printable_line(tmp_path, write_voc):
    root = with_odd_names(write_voc, tmp_path / "data")
    for path in (root / "Annotations").iterdir():
        path.write_bytes(b"<annotation>\x1b")
    report = check_dataset(root)
    assert len(report.errors) >= len(ODD_NAMES)
    assert all(printable(str(one)) == str(one) for one in report.findings)
    with pytest.raises(InputError) as caught:
        VOCDataset(root, split=None)
    assert str(caught.value).isprintable()
