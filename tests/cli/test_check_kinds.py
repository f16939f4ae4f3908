"""Every kind of finding, planted in a data set and found from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import Kind, Severity
from minirpn.data.synthetic import SyntheticConfig, generate


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that nothing is wrong with: images of 80 x 60 (width x height)."""
    return generate(
        tmp_path_factory.mktemp("sound") / "VOC2007", SyntheticConfig(images=8, image_size=(60, 80))
    )


@pytest.fixture
def voc(sound: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return shutil.copytree(sound, tmp_path / "VOC2007")


def ids(root: Path, split: str) -> list[str]:
    return (root / f"ImageSets/Main/{split}.txt").read_text().split()


def xml_of(root: Path, split: str = "train") -> Path:
    return root / "Annotations" / f"{ids(root, split)[0]}.xml"


def image_of(root: Path, split: str = "train") -> Path:
    return root / "JPEGImages" / f"{ids(root, split)[0]}.jpg"


def put(tag: str, text: str | None) -> Callable[[Path], None]:
    """Plant a text in the first annotation of the training split, or take the element out."""

    def spoil(root: Path) -> None:
        tree = ElementTree.parse(xml_of(root))
        parent = tree.getroot()
        *outer, name = tag.split("/")
        for step in outer:
            parent = parent.find(step)
        element = parent.find(name)
        if text is None:
            parent.remove(element)
        else:
            element.text = text
        tree.write(xml_of(root))

    return spoil


def corners(xmin: float, ymin: float, xmax: float, ymax: float) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for name, value in zip(
            ("xmin", "ymin", "xmax", "ymax"), (xmin, ymin, xmax, ymax), strict=True
        ):
            put(f"object/bndbox/{name}", str(value))(root)

    return spoil


def turned(orientation: int, size: tuple[int, int]) -> Callable[[Path], None]:
    """Store the image as a camera does that was held in another way."""

    def spoil(root: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", size, "red").save(image_of(root), exif=exif)

    return spoil


def rewritten(of: Callable[[Path], Path], content: bytes) -> Callable[[Path], None]:
    return lambda root: of(root).write_bytes(content)


def listed(split: str, lines: Callable[[Path], list[str]]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(lines(root)) + "\n")

    return spoil


def same_bytes(split: str) -> Callable[[Path], None]:
    """Give the last image of a split the bytes of the first one of the training split."""

    def spoil(root: Path) -> None:
        shutil.copy(image_of(root), root / "JPEGImages" / f"{ids(root, split)[-1]}.jpg")

    return spoil


def only_one_box(root: Path) -> None:
    """Put the box of the first object around the object a second time."""
    tree = ElementTree.parse(xml_of(root))
    tree.getroot().append(tree.getroot().find("object"))
    tree.write(xml_of(root))


def without_objects(root: Path) -> None:
    tree = ElementTree.parse(xml_of(root))
    for element in tree.getroot().findall("object"):
        tree.getroot().remove(element)
    tree.write(xml_of(root))


# Kind, how it is planted, and what the line says of it.
CASES: dict[str, tuple[Kind, Callable[[Path], object], str]] = {
    "no-annotation": (Kind.MISSING_FILE, lambda root: xml_of(root).unlink(), "no such file"),
    "no-image": (Kind.MISSING_FILE, lambda root: image_of(root).unlink(), "no such file, of any"),
    "no-such-id": (
        Kind.MISSING_FILE,
        listed("val", lambda root: [*ids(root, "val"), "ghost"]),
        "no such file",
    ),
    "no-xml": (Kind.UNREADABLE_XML, rewritten(xml_of, b"<annotation>"), "not readable as XML"),
    "no-number": (Kind.UNREADABLE_OBJECT, put("object/bndbox/xmin", "x"), "not a number"),
    "truncated": (
        Kind.UNREADABLE_IMAGE,
        lambda root: image_of(root).write_bytes(image_of(root).read_bytes()[:-200]),
        "truncated",
    ),
    "another-size": (Kind.WRONG_SIZE, put("size/width", "90"), "width 90, height 60; but "),
    "unturned": (Kind.UNTURNED, turned(6, (80, 60)), "shown upright, has 60, 80"),
    "0-based": (Kind.ZERO_BASED, corners(0, 5, 20, 20), "xmin 0 is below 1"),
    "left-outside": (Kind.OUTSIDE, corners(-5, 5, 20, 20), "xmin -5 is below 1"),
    "right-outside": (Kind.OUTSIDE, corners(5, 5, 99, 20), "xmax 99 is beyond"),
    "below-outside": (Kind.OUTSIDE, corners(5, 5, 20, 61), "ymax 61 is beyond"),
    "x1>x2": (Kind.SWAPPED, corners(30, 5, 20, 20), "xmin 30 >= xmax 20"),
    "y1>y2": (Kind.SWAPPED, corners(5, 30, 20, 20), "ymin 30 >= ymax 20"),
    "x1=x2": (Kind.NO_AREA, corners(20, 5, 20, 20), "a box without width"),
    "empty-split": (Kind.EMPTY_SPLIT, listed("val", lambda root: []), "lists no image"),
    "id-in-two-splits": (
        Kind.LEAKAGE,
        listed("test", lambda root: [*ids(root, "test"), ids(root, "train")[0]]),
        "in split train as well",
    ),
    "bytes-in-two-splits": (Kind.LEAKAGE, same_bytes("test"), "the same bytes as"),
    "bytes-twice": (Kind.SAME_IMAGE, same_bytes("train"), "the same bytes as"),
    "id-twice": (
        Kind.LISTED_TWICE,
        listed("val", lambda root: ids(root, "val") * 2),
        "2 times",
    ),
    "orphan-image": (
        Kind.ORPHAN,
        lambda root: Image.new("RGB", (9, 9)).save(root / "JPEGImages/lonely.jpg"),
        "no such file (in no split)",
    ),
    "orphan-annotation": (
        Kind.ORPHAN,
        lambda root: shutil.copy(xml_of(root), root / "Annotations/lonely.xml"),
        "no such file, of any format (in no split)",
    ),
    "no-objects": (Kind.NO_OBJECTS, without_objects, "has no object"),
    "box-twice": (Kind.SAME_BOX, only_one_box, "the same box as object"),
    "case": (Kind.ODD_CLASS, put("object/name", "Circle"), "written 'circle' more often"),
    "upside-down": (Kind.MAYBE_UNTURNED, turned(3, (80, 60)), "were the boxes drawn with it?"),
    "clipped": (Kind.CLIPPED, corners(5, 5, 80.4, 20), "xmax 80.4: clipped to the width 80"),
    "fraction": (Kind.FRACTION, corners(5.5, 5, 20, 20), "xmin 5.5: read as written"),
    "blanks": (Kind.BLANKS, put("object/name", " circle "), "is ' circle ', read as 'circle'"),
    "no-difficult": (Kind.MISSING_TAG, put("object/difficult", None), "0 for <difficult>"),
    "no-truncated": (Kind.MISSING_TAG, put("object/truncated", None), "0 for <truncated>"),
    "no-pose": (Kind.MISSING_TAG, put("object/pose", None), "Unspecified for <pose>"),
    "turned": (Kind.TURNED, turned(6, (60, 80)), "turned upright as its EXIF orientation says"),
    "gray": (
        Kind.NOT_RGB,
        lambda root: Image.new("L", (80, 60)).save(image_of(root)),
        "mode L, read as RGB",
    ),
}


def check(root: Path, tmp_path: Path, *words: str) -> tuple[int, list[dict[str, str]]]:
    numbers = tmp_path / "findings.json"
    status = main(["check", "--voc", str(root), "--json", str(numbers), *words])
    return status, json.loads(numbers.read_text())["findings"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_planted_is_found(
    voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    kind, spoil, words = CASES[name]
    spoil(voc)
    status, findings = check(voc, tmp_path)
    found = [one for one in findings if one["kind"] == kind.label]
    assert found
    assert all(one["severity"] == kind.severity for one in found)
    assert any(words in one["reason"] for one in found)
    assert status == (1 if kind.severity is Severity.ERROR else 0)
    captured = capsys.readouterr()
    assert any(line.split("  ")[0] == kind.severity for line in captured.out.splitlines())
    assert words in captured.out
    assert captured.err.startswith("image ")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("Circle", "unknown class, perhaps 'circle'"),
        ("circel", "unknown class, perhaps 'circle'"),
        ("zebra", "unknown class; the classes are"),
    ],
)
def test_unknown_classes_name_the_nearest(voc: Path, tmp_path: Path, written: str, reason: str):
    put("object/name", written)(voc)
    status, findings = check(voc, tmp_path, "--classes", "circle,square,triangle,ring,star,cross")
    assert status == 1
    named = [one for one in findings if one["object"] == f"object 1 ({written})"]
    assert [one["kind"] for one in named] == [Kind.UNKNOWN_CLASS.label]
    assert named[0]["reason"].startswith(reason)


def test_every_kind_is_planted_here():
    assert {kind for kind, _, _ in CASES.values()} | {Kind.UNKNOWN_CLASS} == set(Kind)


def test_training_stops_with_the_list(
    voc: Path, tmp_path: Path, small_config: Path, capsys: pytest.CaptureFixture[str]
):
    corners(0, 5, 20, 20)(voc)
    image_of(voc).unlink()
    words = ["train", "--config", small_config, "--voc", voc, "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert [line.startswith("error: ") for line in lines] == [True, True, False]
    assert any("xmin 0 is below 1" in line for line in lines[:2])
    assert any("no such file, of any format" in line for line in lines[:2])
    assert lines[2].startswith("minirpn: error: ")
    assert "(and 1 more bad files or boxes" in lines[2]
    assert not (tmp_path / "run").exists()


def test_training_repairs_what_is_safe_and_says_so(
    voc: Path, tmp_path: Path, small_config: Path, no_pictures: None
):
    corners(5.5, 5, 80.4, 20)(voc)
    put("object/difficult", None)(voc)
    run = tmp_path / "run"
    words = ["train", "--config", small_config, "--voc", voc, "--out", run, "--steps", 1]
    assert main([str(word) for word in words]) == 0
    said = (run / "log.txt").read_text()
    assert "3 repaired (1 box clipped, 1 coordinate not whole, 1 missing tag)" in said
