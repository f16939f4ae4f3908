"""The folders that data sets come in, and the lists of their images: all of them are found."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from minirpn.data import Kind, VOCDataset, check_dataset
from minirpn.data.layout import Source, find_layout
from minirpn.errors import InputError

TEN = tuple(f"img_{number}" for number in range(10))


def ids(root, split="all", **settings):
    return VOCDataset(root, split=split, **settings).image_ids


# --- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "annotations"),
    [
        ("images", "annotations"),
        ("Images", "Annotation"),
        ("IMG", "annots"),
        ("image", "xmls"),
        ("images", "labels"),
        ("photos", "xml"),
        ("JPEGIMAGES", "ANNOTATIONS"),
    ],
)
def test_common_names_of_folders_in_any_case(tmp_path, write_voc, images, annotations):
    root = write_voc(tmp_path / "data")
    (root / "JPEGImages").rename(root / images)
    (root / "Annotations").rename(root / annotations)
    assert ids(root) == ("a", "b", "c")
    assert check_dataset(root).images == 3


def test_xml_in_the_folder_of_images(tmp_path, write_voc):
    root = write_voc(tmp_path / "data/images", side_by_side=True).parent
    assert ids(root) == ("a", "b", "c")


def test_folders_that_are_named(tmp_path, write_voc):
    root = write_voc(tmp_path / "data")
    (root / "JPEGImages").rename(root / "pixels")
    (root / "Annotations").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"no VOC annotation .* it holds pixels/; looked for XML"):
        VOCDataset(root)
    named = {"images": "pixels", "annotations": tmp_path / "elsewhere"}
    assert ids(root, **named) == ("a", "b", "c")
    with pytest.raises(InputError, match=r"nowhere: images: no such folder, here or in "):
        VOCDataset(root, **named | {"images": "nowhere"})


def test_folders_in_folders(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=())
    for task in ("task_0", "task_1"):
        part = write_voc(tmp_path / task, ids=("frame 000",))
        for name in ("JPEGImages", "Annotations"):
            shutil.move(part / name, root / name / task)
    assert ids(root) == ("task_0/frame 000", "task_1/frame 000")


def test_hidden_files_are_no_data(tmp_path, write_voc):
    root = write_voc(tmp_path / "data")
    for name in ("Annotations/._a.xml", "JPEGImages/._a.jpg", "JPEGImages/.DS_Store"):
        (root / name).write_bytes(b"\0\5\26\7")
    (root / "JPEGImages/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "__MACOSX/Annotations").mkdir(parents=True)
    shutil.copy(root / "Annotations/a.xml", root / "__MACOSX/Annotations/z.xml")
    report = check_dataset(root)
    assert (report.images, report.findings) == (3, ())


@pytest.mark.parametrize(
    ("ending", "kind"), [("gif", "GIF"), ("jfif", "JPEG"), ("JPE", "JPEG"), ("TIF", "TIFF")]
)
def test_endings_of_images_and_of_xml(tmp_path, write_voc, ending, kind):
    root = write_voc(tmp_path / "data", ids=("a",))
    path = root / "JPEGImages/a.jpg"
    Image.open(path).save(path.with_suffix(f".{ending}"), format=kind)
    path.unlink()
    (root / "Annotations/a.xml").rename(root / "Annotations/a.XML")
    assert VOCDataset(root)[0].image.shape == (30, 40, 3)


def test_an_image_that_pillow_cannot_read_is_said_to_be_one(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("a",))
    (root / "JPEGImages/a.jpg").rename(root / "JPEGImages/a.heic")
    (root / "JPEGImages/a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InputError, match=r"a\.heic: image: not of a format Pillow reads"):
        VOCDataset(root)


# --- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_folder_without_splits_gets_two(tmp_path, write_voc, side_by_side):
    root = write_voc(tmp_path / "data", ids=TEN, side_by_side=side_by_side)
    train, val = ids(root, "train"), ids(root, "val")
    assert (len(train), len(val)) == (8, 2)
    assert sorted(train + val) == sorted(TEN) == sorted(ids(root, "trainval"))
    assert (train, val) == (ids(root, "train"), ids(root, "val"))  # always the same
    note = VOCDataset(root, split="val").note
    assert note == "train 8 and val 2 of 10 images, drawn at random, always the same"
    assert note in check_dataset(root).table()


def test_a_new_image_moves_at_most_one_other(tmp_path, write_voc):
    many = tuple(f"img_{number}" for number in range(60))
    before = set(ids(write_voc(tmp_path / "data", ids=many[:59]), "val"))
    after = set(ids(write_voc(tmp_path / "data", ids=many), "val"))
    assert (len(before), len(after)) == (12, 12)
    assert len(before - after) <= 1


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("val", ["valid", "val", "validation", "Valid"])
def test_folders_of_splits(tmp_path, write_voc, val, inner):
    for name, members in (("train", "abc"), (val, "a"), ("test", "de")):
        root = write_voc(tmp_path / "data" / name, ids=tuple(members), side_by_side=not inner)
        if inner:
            (root / "JPEGImages").rename(root / "images")
            (root / "Annotations").rename(root / "labels")
    root = tmp_path / "data"
    assert ids(root, "train") == ("train/a", "train/b", "train/c")
    assert ids(root, "val") == ids(root, "valid") == (f"{val}/a",)
    assert ids(root, "test") == ("test/d", "test/e")
    assert len(ids(root, "trainval")) == 4
    assert "the splits are its folders" in check_dataset(root).table()


def test_folders_of_splits_in_the_folder_of_images(tmp_path, write_voc):
    root = tmp_path / "data"
    for name, members in (("train", "abc"), ("val", "de")):
        part = write_voc(tmp_path / name, ids=tuple(members))
        for kind in ("JPEGImages", "Annotations"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            shutil.move(part / kind, root / kind / name)
    assert ids(root, "train") == ("train/a", "train/b", "train/c")
    assert ids(root, "val") == ("val/d", "val/e")


def test_a_folder_of_one_split_is_divided(tmp_path, write_voc):
    write_voc(tmp_path / "data/train", ids=TEN, side_by_side=True)
    assert (len(ids(tmp_path / "data", "train")), len(ids(tmp_path / "data", "val"))) == (8, 2)


def test_trainval_is_divided_and_test_left_alone(tmp_path, write_voc):
    splits = {"trainval": TEN[:5], "test": TEN[5:]}
    root = write_voc(tmp_path / "data", ids=TEN, splits=splits)
    assert set(ids(root, "train") + ids(root, "val")) == set(TEN[:5])
    (root / "ImageSets/Main/trainval.txt").unlink()
    assert set(ids(root, "train") + ids(root, "val")) == set(TEN[:5])


def test_lists_that_name_train_are_left_as_they_are(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=TEN, splits={"train": TEN[:5], "test": TEN[5:]})
    assert ids(root, "train") == TEN[:5]
    with pytest.raises(
        InputError, match=r"split 'val': not there; there is test, train, trainval, all"
    ):
        VOCDataset(root, split="val")


def test_trainval_is_both_where_no_list_says_it(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", splits={"train": ("c",), "val": ("a",)})
    assert ids(root, "trainval") == ("a", "c")


def test_an_image_that_is_listed_twice_counts_once(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", splits={"train": ("c", "a", "c.jpg 1")})
    dataset = VOCDataset(root, split="train")
    assert dataset.image_ids == ("c", "a")
    assert [str(one) for one in dataset.findings] == [
        f"{root}/ImageSets/Main/train.txt: c: 2 times"
    ]
    assert check_dataset(root, splits=["train"]).images == 2


def test_a_file_of_an_image_that_is_no_image(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("a",))
    (root / "JPEGImages/a.jpg").rename(root / "JPEGImages/a.cr2")
    (root / "JPEGImages/b.jpg").write_text("another")
    message = r"JPEGImages/a: image: only a\.cr2, which has no ending of an image"
    with pytest.raises(InputError, match=message):
        VOCDataset(root)


@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets", "imagesets/main", "."])
def test_where_lists_are(tmp_path, write_voc, folder):
    root = write_voc(tmp_path / "data")
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "train.txt").write_text("c\na\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    assert ids(root, "train") == ("c", "a")
    assert find_layout(Source(root)).splits == ["train", "trainval"]


@pytest.mark.parametrize(
    "line",
    [
        "b",
        "b 1",
        "b  0",
        "b\t1",
        "b.jpg",
        "b.xml",
        "JPEGImages/b.jpg",
        "/home/me/data/JPEGImages/b.jpg",
        "C:\\data\\JPEGImages\\b.jpg",
        '"b.jpg"',
        "./b",
    ],
)
def test_how_lists_name_an_image(tmp_path, write_voc, line):
    root = write_voc(tmp_path / "data", splits={"train": ("a", line)})
    assert ids(root, "train") == ("a", "b")


@pytest.mark.parametrize("line", ["task_0/frame 000", "frame 000", "x\\task_0\\frame 000.jpg 1"])
def test_how_lists_name_an_image_in_a_folder(tmp_path, write_voc, line):
    root = write_voc(tmp_path / "data", ids=())
    part = write_voc(tmp_path / "part", ids=("frame 000",))
    for name in ("JPEGImages", "Annotations"):
        shutil.move(part / name, root / name / "task_0")
    (root / "train.txt").write_text(f"{line}\n")
    assert ids(root, "train") == ("task_0/frame 000",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_of_lists(tmp_path, write_voc, encoding):
    root = write_voc(tmp_path / "data", ids=("a", "ü"), splits={"train": ()})
    (root / "ImageSets/Main/train.txt").write_bytes("ü\r\na\r\n".encode(encoding))
    assert ids(root, "train") == ("ü", "a")


def test_an_underline_makes_no_list_of_a_class(tmp_path, write_voc):
    splits = {"train": ("a",), "t1_train": ("b",), "cat_train": ("a -1", "c  1")}
    root = write_voc(tmp_path / "data", splits=splits)
    assert find_layout(Source(root)).splits == ["t1_train", "train", "trainval"]
    assert ids(root, "t1_train") == ("b",)


def test_an_image_that_a_list_names_and_that_is_not_there(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", splits={"train": ("a", "ghost.jpg 1")})
    with pytest.raises(InputError, match=r"JPEGImages/ghost: image: no such file, of any format"):
        VOCDataset(root, split="train")


def test_lists_of_other_names_divide_nothing(tmp_path, write_voc):
    """As CVAT writes them."""
    root = write_voc(tmp_path / "data", ids=TEN, splits={"default": TEN})
    assert (len(ids(root, "train")), len(ids(root, "val"))) == (8, 2)
    report = check_dataset(root)
    assert report.findings == ()
    assert report.splits == {"default": 10, "train": 8, "trainval": 10, "val": 2}


def test_nothing_is_drawn_from_what_is_tested(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", splits={"test": ("a", "b", "c")})
    assert find_layout(Source(root)).splits == ["test"]
    with pytest.raises(InputError, match=r"split 'train': not there; there is test, all"):
        VOCDataset(root, split="train")


def test_lists_of_single_classes_alone(tmp_path, write_voc):
    splits = {"cat_train": ("a  1", "c -1"), "dog_train": ("a -1", "c  1"), "cat_val": ("b -1",)}
    root = write_voc(tmp_path / "data", splits=splits)
    assert (ids(root, "train"), ids(root, "val")) == (("a", "c"), ("b",))
    report = check_dataset(root)
    assert report.note == "splits are made of the lists of single classes"
    assert report.splits == {"train": 2, "trainval": 3, "val": 1}
    assert report.findings == ()


def test_forms_of_unicode(tmp_path, write_voc):
    """An archive of macOS has an umlaut as a letter and two dots."""
    composed, parted = "\u00fc", "u\u0308"
    root = write_voc(tmp_path / "data", ids=(composed,), splits={"train": (parted,)})
    (root / f"JPEGImages/{composed}.jpg").rename(root / f"JPEGImages/{parted}.jpg")
    assert ids(root, "train") == (parted,)


def test_xml_with_the_ending_of_the_image(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("a", "b"), side_by_side=True)
    (root / "a.xml").rename(root / "a.jpg.xml")
    assert ids(root) == ("a", "b")


def test_folders_of_splits_with_annotations_in_one_folder(tmp_path, write_voc):
    for name, members in (("train", "abc"), ("val", "de")):
        part = write_voc(tmp_path / "part" / name, ids=tuple(members))
        shutil.copytree(part / "JPEGImages", tmp_path / "data" / name)
        shutil.copytree(part / "Annotations", tmp_path / "data/annotations", dirs_exist_ok=True)
    root = tmp_path / "data"
    assert ids(root, "train") == ("train/a", "train/b", "train/c")
    assert ids(root, "val") == ("val/d", "val/e")


def test_folders_that_are_not_read_are_told(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("a", "b"), side_by_side=True)
    write_voc(root / "extra", ids=("c",), side_by_side=True)
    (one,) = check_dataset(root).findings
    assert (one.kind, one.path) == (Kind.NOT_READ, root / "extra")
    assert one.reason == "1 images and 1 XML files in it are not read"


@pytest.mark.parametrize("folder", ["ImageSets/Main", "."])
@pytest.mark.parametrize(("train", "val"), [("Train", "Val"), ("train", "valid"), ("TRAIN", "VAL")])
def test_names_of_lists(tmp_path, write_voc, folder, train, val):
    root = write_voc(tmp_path / "data")
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{train}.txt").write_text("c\n")
    (root / folder / f"{val}.txt").write_text("a\n")
    assert (ids(root, "train"), ids(root, "val")) == (("c",), ("a",))
    assert ids(root, "trainval") == ("a", "c")


def test_a_list_of_images_without_annotation(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", splits={"test": ("b",)})
    (root / "Annotations/b.xml").unlink()
    with pytest.raises(
        InputError, match=r"test\.txt: split 'test': lists no image that has an ann"
    ):
        VOCDataset(root, split="test", no_annotation="skip")
    (error,) = check_dataset(Source(root, no_annotation="skip")).errors
    assert error.kind is Kind.EMPTY_SPLIT


def test_files_beside_folders_of_splits(tmp_path, write_voc):
    write_voc(tmp_path / "data", ids=("stray",), side_by_side=True)
    for name, members in (("train", "abc"), ("valid", "de")):
        write_voc(tmp_path / "data" / name, ids=tuple(members), side_by_side=True)
    assert ids(tmp_path / "data", "train") == ("train/a", "train/b", "train/c")
    assert check_dataset(tmp_path / "data").images == 5


def test_links_to_folders_are_followed_once(tmp_path, write_voc):
    part = write_voc(tmp_path / "part")
    root = write_voc(tmp_path / "data", ids=("z",))
    for name in ("JPEGImages", "Annotations"):
        (root / name / "day").symlink_to(part / name)
        (root / name / "round").symlink_to(root / name)
    assert ids(root) == ("day/a", "day/b", "day/c", "z")


def test_two_images_of_one_name_are_told(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("a",))
    Image.new("RGB", (60, 60)).save(root / "JPEGImages/a.png")
    for findings in (VOCDataset(root).findings, check_dataset(root).findings):
        (one,) = findings
        assert (one.kind, one.path.name) == (Kind.SAME_NAME, "a.png")


def test_annotations_in_other_folders_than_images(tmp_path, write_voc):
    root = write_voc(tmp_path / "data")
    (root / "JPEGImages").rename(root / "set")
    (root / "images").mkdir()
    (root / "set").rename(root / "images/set")
    assert ids(root) == ("set/a", "set/b", "set/c")


def test_a_name_with_a_backslash(tmp_path, write_voc):
    root = write_voc(tmp_path / "data", ids=("d\\f",), splits={"train": ("d\\f",)})
    assert ids(root, "train") == ("d\\f",)


def test_the_folder_around_a_devkit(tmp_path, write_voc):
    write_voc(tmp_path / "data/VOCdevkit/VOC2007")
    with pytest.raises(InputError, match=r"perhaps name .*data/VOCdevkit$"):
        VOCDataset(tmp_path / "data")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"box_format": "coco"}, "box_format: expected one of voc, zero-based, half-open"),
        ({"no_annotation": "negativ"}, "no_annotation: expected one of error, skip, negative"),
    ],
)
def test_settings_that_there_are_not(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        VOCDataset(tmp_path, **settings)


def test_a_source_says_it_all(tmp_path, write_voc):
    root = write_voc(tmp_path / "data")
    source = Source(root, box_format="zero-based")
    assert VOCDataset(source).annotation(0).gt_boxes[0].tolist() == [3, 5, 21, 16]


# --- images without XML ---------------------------------------------------------------------------


def test_images_without_annotation(tmp_path, write_voc):
    root = write_voc(tmp_path / "data")
    (root / "Annotations/b.xml").unlink()
    with pytest.raises(InputError, match=r"b\.xml: annotation: no such file; --no-annotation skip"):
        VOCDataset(root)
    assert "--no-annotation skip leaves out" in check_dataset(root).table()
    for split in ("all", "trainval"):
        assert ids(root, split, no_annotation="skip") == ("a", "c")
    assert "of 2 images" in VOCDataset(root, no_annotation="skip").note
    (root / "train.txt").write_text("a\nb\nghost\n")
    assert ids(root, "train", no_annotation="skip") == ("a",)
    (root / "train.txt").unlink()
    negative = VOCDataset(root, no_annotation="negative")
    assert negative.image_ids == ("a", "b", "c")
    assert negative.annotation(1).gt_boxes.shape == (0, 4)
    assert negative.annotation(1).image_size == (30, 40)
    for choice in ("skip", "negative"):
        report = check_dataset(Source(root, no_annotation=choice), splits=["all"])
        assert (report.images, report.errors) == (3 if choice == "negative" else 2, ())


# --- what is no data set --------------------------------------------------------------------------


def test_the_error_says_what_is_there(tmp_path, write_voc):
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "b.csv", "notes.txt"):
        (tmp_path / "data" / name).write_text("hello")
    write_voc(tmp_path / "data/tomato")
    with pytest.raises(InputError) as caught:
        VOCDataset(tmp_path / "data")
    told = str(caught.value)
    assert "it holds tomato/, files: 2 of .csv, 1 of .txt; looked for XML files" in told
    assert told.endswith(f"; perhaps name {tmp_path}/data/tomato")
    with pytest.raises(InputError, match=r"notes\.txt: data set: a file, not a folder"):
        VOCDataset(tmp_path / "data/notes.txt")


def test_the_formats_of_other_tools_are_named(tmp_path):
    images = tmp_path / "data/images"
    images.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(images / "a.jpg")
    (images.parent / "labels").mkdir()
    (images.parent / "labels/a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    with pytest.raises(InputError) as caught:
        VOCDataset(images.parent)
    assert "are YOLO's: `globox convert " in str(caught.value)
    (images.parent / "instances.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError) as caught:
        VOCDataset(images.parent)
    assert "instances.json is COCO's: `globox convert " in str(caught.value)
    assert "--box-format half-open" in str(caught.value)
    assert "\n" not in str(caught.value)
