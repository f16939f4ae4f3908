"""Data sets in VOC layout: which files belong to them, and what is said when some are bad."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from minirpn.data import VOC_CLASSES, VOCDataset, VOCObject, half_open, voc_corners
from minirpn.errors import InputError


def test_a_box_by_hand(tmp_path, write_voc):
    dataset = VOCDataset(write_voc(tmp_path / "data"), split="all")
    annotation = dataset.annotation(0)
    # Columns 3..20 counted from 1 are columns 2..19 counted from 0: half-open 2 to 20, 18 wide.
    np.testing.assert_array_equal(annotation.gt_boxes, [[2, 4, 20, 15], [0, 0, 40, 30]])
    assert annotation.gt_boxes.dtype == np.float32
    # The classes of the data are the classes, although VOC has more.
    assert dataset.classes == ("cat", "dog")
    assert [dataset.classes[number] for number in annotation.gt_classes] == ["cat", "dog"]
    assert annotation.gt_classes.dtype == np.int64
    assert annotation.difficult.tolist() == [False, True]
    assert annotation.image_size == (30, 40)


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.integers(-9999, 9999).map(float)),
    st.sampled_from([np.float32, np.float64]),
)
def test_corners_and_half_open_boxes_are_inverse(boxes, dtype):
    boxes = boxes.astype(dtype)
    boxes.setflags(write=False)
    corners = voc_corners(boxes)
    assert corners.dtype == half_open(corners).dtype == dtype
    np.testing.assert_array_equal(half_open(corners), boxes)
    np.testing.assert_array_equal(voc_corners(half_open(boxes)), boxes)
    # The inclusive width xmax - xmin + 1 is the half-open width x2 - x1.
    np.testing.assert_array_equal(corners[:, 2] - corners[:, 0] + 1, boxes[:, 2] - boxes[:, 0])


def test_a_sample_holds_its_image(tmp_path, write_voc):
    dataset = VOCDataset(write_voc(tmp_path / "data"), split="all")
    sample = dataset[1]
    assert sample.annotation is dataset.annotation(1)
    assert sample.image.shape == (30, 40, 3)
    with Image.open(sample.annotation.image_path) as image:
        np.testing.assert_array_equal(sample.image, image)
    assert (
        [one.annotation.image_id for one in dataset] == list(dataset.image_ids) == ["a", "b", "c"]
    )


def test_an_image_without_objects(tmp_path, write_voc):
    annotation = VOCDataset(write_voc(tmp_path / "data", objects=()), split="all").annotation(0)
    assert annotation.gt_boxes.shape == (0, 4)
    assert annotation.gt_classes.shape == annotation.difficult.shape == (0,)
    assert annotation.gt_boxes.dtype == np.float32


# cat_test is of the kind that lists one class, with 1 or -1 behind each id.
SPLITS = {"trainval": ("c", "a"), "test": ("b",), "cat_test": ("b  1",)}


class TestLayouts:
    def test_a_split_keeps_the_order_of_its_file(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", splits=SPLITS)
        assert VOCDataset(root).image_ids == ("c", "a")
        assert VOCDataset(str(root), split="test").image_ids == ("b",)
        assert VOCDataset(root, split="all").image_ids == ("a", "b", "c")

    def test_a_split_written_by_a_windows_editor(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", splits=SPLITS)
        (root / "ImageSets/Main/trainval.txt").write_bytes(b"\xef\xbb\xbfb\r\na\r\n\r\n")
        assert VOCDataset(root).image_ids == ("b", "a")

    def test_the_only_year_of_a_devkit_is_found(self, tmp_path, write_voc):
        write_voc(tmp_path / "VOC2007", splits=SPLITS)
        for year in (None, 2007, "2007"):
            assert len(VOCDataset(tmp_path, year=year)) == 2
        assert len(VOCDataset(tmp_path / "VOC2007", year=2007)) == 2

    def test_one_of_several_years_is_chosen(self, tmp_path, write_voc):
        write_voc(tmp_path / "VOC2007", splits=SPLITS)
        write_voc(tmp_path / "VOC2012", ids=("x",), splits={"trainval": ("x",)})
        assert VOCDataset(tmp_path, year=2012).image_ids == ("x",)
        with pytest.raises(InputError, match=r"year: several there, choose one of 2007, 2012$"):
            VOCDataset(tmp_path)
        with pytest.raises(InputError, match=r"year 2010: not there; there is 2007, 2012$"):
            VOCDataset(tmp_path, year=2010)

    def test_a_year_of_a_folder_that_is_no_devkit(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "cells", splits=SPLITS)
        with pytest.raises(InputError, match=r"cells: year 2007: no folder VOC2007 in it$"):
            VOCDataset(root, year=2007)

    @pytest.mark.parametrize("side_by_side", [True, False])
    def test_a_folder_without_splits_is_taken_whole(self, tmp_path, write_voc, side_by_side):
        root = write_voc(tmp_path / "data", side_by_side=side_by_side)
        for split in (None, "all"):
            assert VOCDataset(root, split=split).image_ids == ("a", "b", "c")

    def test_images_of_other_formats(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", ids=("a", "b", "c"))
        for image_id, ending in (("a", "png"), ("b", "JPEG"), ("c", "bmp")):
            path = root / "JPEGImages" / f"{image_id}.jpg"
            Image.open(path).save(path.with_suffix(f".{ending}"))
            path.unlink()
        endings = [sample.annotation.image_path.suffix for sample in VOCDataset(root, split="all")]
        assert endings == [".png", ".JPEG", ".bmp"]

    def test_jpg_is_preferred(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", ids=("a",))
        for ending in ("bmp", "png"):
            Image.new("RGB", (40, 30)).save(root / "JPEGImages" / f"a.{ending}")
        assert VOCDataset(root, split="all").annotation(0).image_path.suffix == ".jpg"

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"none: data set: no such folder$"):
            VOCDataset(tmp_path / "none")

    def test_a_folder_of_something_else(self, tmp_path):
        message = r"no VOC annotation \(XML\) found; it holds nothing; looked for XML files"
        with pytest.raises(InputError, match=message):
            VOCDataset(tmp_path)

    def test_annotations_without_an_image_folder(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data")
        shutil.rmtree(root / "JPEGImages")
        with pytest.raises(InputError, match=r"has annotations, but no images; it holds Annotat"):
            VOCDataset(root)

    def test_a_wrong_split_lists_those_there_are(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", splits=SPLITS)
        message = r"split 'tests': not there; there is test, train, trainval, val, all; did"
        with pytest.raises(InputError, match=message):
            VOCDataset(root, split="tests")

    def test_an_empty_split(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", splits={"val": ()})
        with pytest.raises(InputError, match=r"val\.txt: split 'val': lists no image$"):
            VOCDataset(root, split="val")


class TestBadFiles:
    """Each is one line; with skip_bad it is left out and counted."""

    def spoil(self, root, what: str) -> None:
        xml, jpg = root / "Annotations" / "b.xml", root / "JPEGImages" / "b.jpg"
        if what == "no xml":
            xml.unlink()
        elif what == "no image":
            jpg.unlink()
        elif what == "bad xml":
            xml.write_text("<annotation>")
        elif what == "other size":
            Image.new("RGB", (30, 40)).save(jpg)
        elif what == "no image at all":
            jpg.write_text("hello")

    @pytest.mark.parametrize(
        ("what", "message"),
        [
            ("no xml", r"/b\.xml: annotation: no such file(; --no-annotation skip .*)?$"),
            ("no image", r"/JPEGImages/b: image: no such file, of any format$"),
            ("bad xml", r"/b\.xml: annotation: not readable as XML"),
            ("other size", r"/b\.xml: image size: width 40, height 30; but b\.jpg, .* has 30, 40$"),
            ("no image at all", r"/b\.jpg: image: not of a format Pillow reads$"),
        ],
    )
    def test_named_or_skipped(self, tmp_path, write_voc, what, message):
        root = write_voc(tmp_path / "data", splits={"trainval": ("a", "b", "c")})
        self.spoil(root, what)
        for split in ("trainval", "all"):
            with pytest.raises(InputError, match=message):
                VOCDataset(root, split=split)
            dataset = VOCDataset(root, split=split, skip_bad=True)
            assert dataset.image_ids == ("a", "c")
            (reason,) = dataset.skipped
            with pytest.raises(InputError, match=message):
                raise InputError(reason)

    def test_a_truncated_image(self, tmp_path, write_voc, rng):
        root = write_voc(tmp_path / "data")
        path = root / "JPEGImages" / "b.jpg"
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:-300])
        dataset = VOCDataset(root, split="all")
        with pytest.raises(InputError, match=r"b\.jpg: image: truncated, damaged or unreadable"):
            dataset[1]
        assert VOCDataset(root, split="all", skip_bad=True).image_ids == ("a", "c")

    def test_an_image_exchanged_after_the_check(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data")
        dataset = VOCDataset(root, split="all")
        Image.new("RGB", (30, 40)).save(root / "JPEGImages" / "b.jpg")
        with pytest.raises(InputError, match=r"b\.jpg: image: changed since it was checked$"):
            dataset[1]

    def test_a_bad_box_leaves_its_file(self, tmp_path, write_voc):
        objects = (VOCObject("cat", (3, 5, 20, 15)), VOCObject("dog", (-5, 1, 9, 9)))
        root = write_voc(tmp_path / "data", objects=objects)
        message = (
            r"a\.xml: object 2 \(dog\): xmin -5 is beyond the image.*"
            r" \(and 2 more bad files or boxes; `minirpn check` lists them\)$"
        )
        with pytest.raises(InputError, match=message):
            VOCDataset(root, split="all")
        dataset = VOCDataset(root, split="all", skip_bad=True)
        assert len(dataset) == len(dataset.skipped) == 3
        for index in range(3):
            annotation = dataset.annotation(index)
            assert len(annotation.gt_boxes) == 1
            # It shows something, so it is no background.
            np.testing.assert_array_equal(annotation.ignored, [[0, 0, 9, 9]])

    def test_nothing_left(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", ids=("b",))
        self.spoil(root, "bad xml")
        with pytest.raises(InputError, match=r"data: split 'all': every file in it is bad$"):
            VOCDataset(root, split="all", skip_bad=True)


class TestClasses:
    OBJECTS = (VOCObject("rat", (3, 5, 20, 15)), VOCObject("cat", (1, 1, 9, 9)))

    def test_other_names_than_vocs_are_sorted(self, tmp_path, write_voc):
        names = ("rat", "gnu", "elk", "cat", "yak")
        objects = tuple(VOCObject(name, (3, 5, 20, 15)) for name in names)
        dataset = VOCDataset(write_voc(tmp_path / "data", objects=objects), split="all")
        assert dataset.classes == ("cat", "elk", "gnu", "rat", "yak")
        assert dataset.annotation(0).gt_classes.tolist() == [3, 2, 1, 0, 4]

    def test_given_names_keep_their_order(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", objects=self.OBJECTS)
        dataset = VOCDataset(root, split="all", classes=["rat", "bat", "cat"])
        assert dataset.classes == ("rat", "bat", "cat")
        assert dataset.annotation(0).gt_classes.tolist() == [0, 2]

    def test_a_name_that_was_not_given(self, tmp_path, write_voc):
        root = write_voc(tmp_path / "data", ids=("a",), objects=self.OBJECTS)
        message = r"a\.xml: object 1 \(rat\): unknown class; the classes are cat$"
        with pytest.raises(InputError, match=message):
            VOCDataset(root, split="all", classes=["cat"])
        dataset = VOCDataset(root, split="all", classes=["cat"], skip_bad=True)
        np.testing.assert_array_equal(dataset.annotation(0).gt_boxes, [[0, 0, 9, 9]])


class TestRealData:
    @pytest.mark.parametrize(
        ("split", "count"), [("train", 482), ("val", 460), ("trainval", 942), ("test", 483)]
    )
    def test_voc2007_subset(self, shared, split, count):
        dataset = VOCDataset(shared / "data/voc2007-subset/VOCdevkit", year=2007, split=split)
        assert len(dataset) == count
        assert set(dataset.classes) <= set(VOC_CLASSES)
        assert dataset[0].image.shape[:2] == dataset.annotation(0).image_size

    def test_bccd_has_two_boxes_without_area(self, shared):
        root = shared / "data/bccd"
        message = r"BloodImage_00338\.xml: object 13 \(RBC\): xmin 504 >= xmax 504, .* 1 more"
        with pytest.raises(InputError, match=message):
            VOCDataset(root, split="all")
        dataset = VOCDataset(root, split="all", skip_bad=True)
        assert (len(dataset), len(dataset.skipped)) == (364, 2)
        annotations = [dataset.annotation(index) for index in range(len(dataset))]
        assert sum(len(annotation.gt_boxes) for annotation in annotations) == 4888 - 2
        far_edge = [
            np.any(annotation.gt_boxes[:, 2:] == annotation.image_size[::-1], axis=1).sum()
            for annotation in annotations
        ]
        assert sum(far_edge) == 545
