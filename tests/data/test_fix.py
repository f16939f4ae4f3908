"""The corrected copy of a data set: a training sees the same in it, and nothing is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from minirpn.data import Kind, VOCDataset, VOCObject, check_dataset
from minirpn.data.box_format import CONVENTIONS, BoxFormat
from minirpn.data.fix import _new_name, write_corrected
from minirpn.data.layout import Source
from minirpn.errors import InputError


@pytest.fixture
def faulty(tmp_path, write_voc):
    """A data set with much that is wrong, in folders of splits."""
    objects = (
        VOCObject("cat", (0, 0, 20, 15)),  # one pixel outside: clipped
        VOCObject("cat", (-9, 3, 8, 9)),  # far outside: left out
        VOCObject(" dog", (5, 5, 41, 30), difficult=True),
    )
    root = tmp_path / "faulty"
    write_voc(root / "train", ids=("a b", "c", "d", "e"), objects=objects, side_by_side=True)
    write_voc(root / "valid", ids=("a_b", "turned"), side_by_side=True)
    (root / "train/c.xml").write_text("<annotation>")
    Image.new("L", (40, 30), 90).save(root / "train/d.jpg")
    wide = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    (root / "train/e.jpg").unlink()
    Image.fromarray(wide).save(root / "train/e.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40), "red").save(root / "valid/turned.jpg", exif=exif)
    return root


def test_the_copy_is_what_a_training_sees(tmp_path, faulty):
    fixed = write_corrected(Source(faulty), tmp_path / "fixed")
    assert (fixed.images, len(fixed.left_out)) == (5, 1)
    renamed = {"train/a b": "train_a_b", "valid/a_b": "valid_a_b"}
    for split in ("train", "val", "trainval"):
        before = VOCDataset(faulty, split=split, skip_bad=True)
        after = VOCDataset(tmp_path / "fixed", split=split)  # nothing in it stops a training
        assert after.image_ids == tuple(
            renamed.get(one, one.replace("/", "_")) for one in before.image_ids
        )
        assert after.classes == before.classes
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(new.image, old.image)
            for name in ("image_size", "gt_boxes", "gt_classes", "difficult", "ignored"):
                np.testing.assert_array_equal(
                    getattr(new.annotation, name), getattr(old.annotation, name)
                )
    assert any(len(one.annotation.ignored) for one in VOCDataset(tmp_path / "fixed"))


def test_nothing_is_wrong_in_the_copy(tmp_path, faulty):
    write_corrected(Source(faulty), tmp_path / "fixed")
    report = check_dataset(tmp_path / "fixed")
    # Two images are the same in both; a gray one stays gray.
    left = {Kind.NOT_RGB, Kind.BLANK_IMAGE, Kind.LEAKAGE, Kind.SAME_IMAGE}
    assert {one.kind for one in report.findings} <= left
    page = (tmp_path / "fixed/CHANGES.md").read_text()
    for text in (
        "| repaired | box clipped | 9 |",
        "| error | box outside the image | 3 |",
        "## Images that are not in the copy: 1",
        "c.xml: annotation: not readable as XML",
        "train/a b -> train_a_b",
        "valid_turned.png",
        "`voc` (pixels from 1, the last one included)",
    ):
        assert text in page


def test_another_convention_becomes_vocs(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", objects=(VOCObject("cat", (0, 0, 19, 14)),))
    source = Source(root, box_format="zero-based")
    write_corrected(source, tmp_path / "fixed")
    boxes = VOCDataset(tmp_path / "fixed").annotation(0).gt_boxes
    np.testing.assert_array_equal(boxes, [[0, 0, 20, 15]])


def test_objects_of_other_classes_are_ignored_regions(tmp_path, write_voc):
    root = write_voc(tmp_path / "data")
    write_corrected(Source(root), tmp_path / "fixed", classes=["cat"])
    annotation = VOCDataset(tmp_path / "fixed").annotation(0)
    np.testing.assert_array_equal(annotation.gt_boxes, [[2, 4, 20, 15]])
    np.testing.assert_array_equal(annotation.ignored, [[0, 0, 40, 30]])


def test_nothing_is_written_over_and_no_half_copy_stays(tmp_path, write_voc, monkeypatch):
    root = write_voc(tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"full: there is something already; name a new folder$"):
        write_corrected(Source(root), tmp_path / "full")
    with pytest.raises(InputError, match=r"fixed: inside the data set .*data; name a folder outs"):
        write_corrected(Source(root), root / "fixed")

    def fail(*args):
        raise OSError("no space left")

    def write_another(*args):
        (tmp_path / "fixed/notes.txt").write_text("mine")
        fail()

    with monkeypatch.context() as failing:
        failing.setattr(shutil, "copyfileobj", fail)
        with pytest.raises(InputError, match=r"a\.jpg: cannot write: no space left"):
            write_corrected(Source(root), tmp_path / "fixed")
        assert not (tmp_path / "fixed").exists()
        # A folder that was there stays, and so does what somebody else put into it meanwhile.
        (tmp_path / "there").mkdir()
        with pytest.raises(InputError, match="no space left"):
            write_corrected(Source(root), tmp_path / "there")
        assert list((tmp_path / "there").iterdir()) == []
        failing.setattr(shutil, "copyfileobj", write_another)
        with pytest.raises(InputError, match="no space left"):
            write_corrected(Source(root), tmp_path / "fixed")
        assert [one.name for one in (tmp_path / "fixed").iterdir()] == ["notes.txt"]
    (tmp_path / "fixed/notes.txt").unlink()
    for path in root.glob("Annotations/*.xml"):
        path.write_text("<annotation>")
    with pytest.raises(InputError, match=r"data: every file in it is bad: .*a\.xml"):
        write_corrected(Source(root), tmp_path / "fixed")


@pytest.mark.parametrize("at", ["JPEGImages", "Annotations", "ImageSets", "CHANGES.md"])
def test_the_page_comes_last_and_a_stop_before_leaves_nothing(tmp_path, write_voc, monkeypatch, at):
    root, there = write_voc(tmp_path / "data"), []
    rename = Path.rename

    def stopped(path, target):
        if path.parent.name.startswith(".minirpn-") and path.name == at:
            there.extend(one.name for one in target.parent.iterdir() if one.name[0] != ".")
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_corrected(Source(root), tmp_path / "fixed")
    order = ["JPEGImages", "Annotations", "ImageSets", "CHANGES.md"]
    assert sorted(there) == sorted(order[: order.index(at)])
    assert not (tmp_path / "fixed").exists()


def test_what_a_killed_call_left_is_removed(tmp_path, write_voc):
    root, fixed = write_voc(tmp_path / "data"), tmp_path / "fixed"
    (fixed / ".minirpn-ab_1cd2e/JPEGImages").mkdir(parents=True)
    for other in ("notes.txt", ".minirpn-notes", ".minirpn-ab_1cd2f"):  # the last is no folder
        (fixed / other).write_text("mine")
        with pytest.raises(InputError, match="there is something already"):
            write_corrected(Source(root), fixed)
        (fixed / other).unlink()
    assert (fixed / ".minirpn-ab_1cd2e/JPEGImages").exists()
    write_corrected(Source(root), fixed)
    names = ["Annotations", "CHANGES.md", "ImageSets", "JPEGImages"]
    assert sorted(one.name for one in fixed.iterdir()) == names


def test_no_link_is_followed(tmp_path, write_voc):
    """A copy goes to where a link to an empty folder points; what is in it later stays apart."""
    root = write_voc(tmp_path / "data", splits={"train": ("a", "b"), "val": ("c",)})
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert write_corrected(Source(root), tmp_path / "link").images == 3
    names = ["Annotations", "CHANGES.md", "ImageSets", "JPEGImages"]
    assert sorted(one.name for one in (tmp_path / "there").iterdir()) == names
    (tmp_path / "dangling").symlink_to("gone")
    with pytest.raises(InputError, match="dangling: cannot write: "):
        write_corrected(Source(root), tmp_path / "dangling")
    assert not (tmp_path / "gone").exists()
    # Lists and images may be links: they are read.
    (root / "ImageSets").rename(tmp_path / "sets")
    (root / "ImageSets").symlink_to(tmp_path / "sets")
    image = root / "JPEGImages/a.jpg"
    image.rename(tmp_path / "a.jpg")
    image.symlink_to(tmp_path / "a.jpg")
    fixed = write_corrected(Source(root), tmp_path / "fixed")
    assert len(VOCDataset(fixed.folder, split="train")) == 2
    assert not (fixed.folder / "JPEGImages/a.jpg").is_symlink()


def test_a_link_that_a_stranger_puts_there_meanwhile(tmp_path, write_voc, monkeypatch):
    root, treasure = write_voc(tmp_path / "data"), tmp_path / "treasure.md"
    treasure.write_text("mine")
    folder = tmp_path / "fixed"

    def track(items, total):
        yield from items
        (folder / "CHANGES.md").symlink_to(treasure)

    write_corrected(Source(root), folder, track=track)
    assert treasure.read_text() == "mine"
    assert not (folder / "CHANGES.md").is_symlink()


def test_long_names_and_many_of_one_name(tmp_path, write_voc):
    deep = ("x" * 100 + "/") * 3
    root = write_voc(tmp_path / "data")
    for folder in ("JPEGImages", "Annotations"):
        (root / folder / deep).mkdir(parents=True)
        for path in list((root / folder).glob("[ab].*")):
            path.rename(root / folder / deep / path.name)
    fixed = write_corrected(Source(root), tmp_path / "fixed")
    names = sorted(one.stem for one in (fixed.folder / "Annotations").iterdir())
    assert names == ["c", *(f"{'x' * 100}_{'x' * 49}{end}" for end in ("", "_2"))]
    taken: dict[str, int] = {}
    assert [_new_name("a b", taken) for _ in range(20_000)][-1] == "a_b_20000"
    assert _new_name("a b_7", taken) == "a_b_7_2"


@pytest.mark.parametrize("box_format", get_args(BoxFormat))
def test_every_convention_and_fraction_is_kept_to_the_bit(tmp_path, write_voc, rng, box_format):
    near = rng.uniform(0, 15, (40, 2))
    boxes = np.concatenate([near, near + rng.uniform(0.1, 14, (40, 2))], axis=1)
    corners = boxes + CONVENTIONS[box_format].first
    if box_format == "normalized":
        corners = boxes / [40, 30, 40, 30]
    objects = tuple(VOCObject("cat", tuple(row)) for row in corners.tolist())
    root = write_voc(tmp_path / "data", ids=("a",), objects=objects)
    source = Source(root, box_format=box_format)
    write_corrected(source, tmp_path / "fixed")
    before = VOCDataset(source, skip_bad=True).annotation(0)
    after = VOCDataset(tmp_path / "fixed").annotation(0)  # nothing in it is refused
    assert len(before.gt_boxes) > 20
    np.testing.assert_array_equal(after.gt_boxes, before.gt_boxes)
    np.testing.assert_array_equal(after.ignored, before.ignored)


def test_the_page_lists_what_is_not_a_copy(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("a", "b"))
    (root / "JPEGImages/a.jpg").rename(root / "JPEGImages/a.jpeg")
    (root / "JPEGImages/b.jpg").unlink()
    Image.radial_gradient("L").resize((40, 30)).convert("P").save(root / "JPEGImages/b.png")
    write_corrected(Source(root), tmp_path / "fixed", classes=["cat"])
    page = (tmp_path / "fixed/CHANGES.md").read_text()
    assert "## Images that are written as PNG, upright and RGB: 1\n\n- b.png\n" in page
    assert "| error | unknown class | 2 |" in page


def test_only_the_splits_that_are_named(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", splits={"train": ("a",), "val": ("b",)})
    assert write_corrected(Source(root), tmp_path / "fixed", splits=["train"]).images == 1
    assert VOCDataset(tmp_path / "fixed", split="train").image_ids == ("a",)
    assert [one.name for one in (tmp_path / "fixed/ImageSets/Main").iterdir()] == ["train.txt"]
