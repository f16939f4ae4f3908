"""Files made to do harm: each is one line, and takes neither long nor much memory."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from minirpn.data import Kind, VOCDataset, VOCObject, check_dataset, read_annotation, voc
from minirpn.data.annotation import MOST_OBJECTS, VOCFile
from minirpn.data.voc import Entry, odd_classes
from minirpn.errors import InputError

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
    assert all(str(found).isprintable() for found in file.findings)


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
