"""The data of a run are those it began with, wherever they are; other data are refused by name."""

import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from minirpn.data.layout import Source, find_layout
from minirpn.data.samples import Annotation
from minirpn.errors import InputError
from minirpn.training.config import SharingConfig, load_config
from minirpn.training.fingerprint import (
    Fingerprint,
    difference,
    fingerprint,
    load_fingerprints,
    of_annotation,
    save_fingerprints,
)
from minirpn.training.train import train

pytestmark = pytest.mark.usefixtures("no_finish")


def annotation(**changes):
    plain = Annotation(
        image_id="a",
        image_path=Path("a.jpg"),
        image_size=(60, 80),
        gt_boxes=np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32),
        gt_classes=np.array([0, 1]),
        difficult=np.array([False, True]),
    )
    return replace(plain, **changes)


BOX = np.array([[0, 0, 7, 7]], np.float32)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": (80, 60)},
        {"gt_boxes": annotation().gt_boxes + np.float32(0.5)},
        {"gt_boxes": annotation().gt_boxes[::-1]},
        {"difficult": np.array([True, True])},
        {"ignored": BOX},
        {"gt_classes": np.array([1, 1])},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_learned_from_counts(changes):
    names = ("cat", "dog")
    assert of_annotation(annotation(), names) != of_annotation(annotation(**changes), names)


def test_neither_the_place_nor_the_numbers_of_classes_count():
    moved = annotation(image_path=Path("there/a.png"), gt_classes=np.array([1, 2]))
    same = of_annotation(annotation(), ("cat", "dog")), of_annotation(moved, ("ant", "cat", "dog"))
    assert same[0] == same[1]
    # The RPN does not use classes.
    named = of_annotation(annotation(), None), of_annotation(annotation(), ("cat", "ox"))
    assert named[0] != named[1]
    assert named[0] == of_annotation(annotation(gt_classes=np.array([3, 3])), None)


A = Fingerprint({"a": "8x6 00", "b": "8x6 11", "c": "8x6 22"})


def of(images, left_out=()):
    return Fingerprint(images, left_out)


def differs(before, now, *, skip_bad=False):
    return difference({"train": before}, {"train": now}, {"train": "training"}, skip_bad=skip_bad)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (of({"a": "8x6 00"}), "2 of 3 training images, 'b' first, are no longer in split 'train'"),
        (
            of({**A.images, "d": "8x6 33"}),
            "1 of 4 training images, 'd', is new in split 'train'",
        ),
        (of({**A.images, "b": "8x6 99"}), "training image 'b' has other objects"),
        (of({**A.images, "b": "8x6 99 aa"}), "training image 'b' has other objects"),
        # A run from before there were hashes of files, or the other way round.
        (of({one: f"{words} aa" for one, words in A.images.items()}), None),
        (
            of(dict.fromkeys("abc", "9x6 99")),
            "training image 'a' has size 9x6, not 8x6, and so have 2 more",
        ),
        (
            of(dict(sorted(A.images.items(), reverse=True))),
            "the training images are in another order, 'c' is the first to differ",
        ),
        (A, None),
    ],
)
def test_what_differs_is_named(now, said):
    assert differs(A, now) == said


def test_the_file_counts_where_both_tell():
    before = of({"a": "8x6 00 aa", "b": "8x6 11 aa", "c": "8x6 22"})
    now = of({"a": "8x6 00 aa", "b": "8x6 11 bb", "c": "8x6 22 cc"})
    assert differs(before, now) == "training image 'b' has another image file than before"
    assert differs(before, before) is None


def test_bad_images_may_be_missing_only_if_they_may_be_left_out():
    now = of({"a": "8x6 00", "c": "8x6 22"}, left_out=("b",))
    assert differs(A, now, skip_bad=True) is None
    assert differs(A, now, skip_bad=False) is not None
    gone = of({"a": "8x6 00", "c": "8x6 22"})
    assert differs(A, gone, skip_bad=True) is not None
    # One that was bad at the start may be back.
    assert differs(now, A, skip_bad=True) is None


B = Fingerprint({"x": "8x6 33", "y": "8x6 44"})


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        # The lists were edited.
        ("ac", "bxy", "1 of 3 training images, 'b', is now in split 'val'"),
        ("abcx", "y", "1 of 2 validation images, 'x', is now in split 'train'"),
        ("abcx", "xy", "1 of 4 training images, 'x', is new in split 'train'"),
        # Drawn splits: the cause is told, and not the image that is moved by it.
        ("ac", "by", "1 of 2 validation images, 'x', is no longer in split 'val'"),
        ("bcx", "y", "1 of 3 training images, 'a', is no longer in split 'train'"),
        ("ac", "bxyz", "1 of 4 validation images, 'z', is new in split 'val'"),
        ("abcxz", "y", "1 of 5 training images, 'z', is new in split 'train'"),
        ("abc", "xy", None),
    ],
)
def test_an_image_in_the_other_split_is_not_called_gone(train, val, said):
    known = {**A.images, **B.images, "z": "8x6 55"}
    now = {"train": of({one: known[one] for one in train}), "val": of({o: known[o] for o in val})}
    kinds = {"train": "training", "val": "validation"}
    assert difference({"train": A, "val": B}, now, kinds, skip_bad=False) == said


def test_a_bad_image_in_the_other_split_is_not_called_gone():
    now = {"train": of({"a": "8x6 00", "c": "8x6 22"}), "val": of(B.images, left_out=("b",))}
    kinds = {"train": "training", "val": "validation"}
    said = difference({"train": A, "val": B}, now, kinds, skip_bad=True)
    assert said == "1 of 3 training images, 'b', is now in split 'val'"


def test_they_come_back_from_the_file_and_damage_is_one_line(tmp_path):
    path = tmp_path / "data.json"
    assert load_fingerprints(path) == {}
    splits = {"train": A, "ü": of({}, left_out=("x y",))}
    save_fingerprints(path, splits)
    assert load_fingerprints(path) == splits
    for content in ("[", "{}", "[]", '{"format": "minirpn data", "version": 9}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"data\.json: (not JSON|expected|format|version)"):
            load_fingerprints(path)


def test_many_images(tmp_path):
    class Many:
        classes = ("cat", "dog")
        left_out = ()

        def __len__(self):
            return 3000

        def annotation(self, index):
            return replace(one, image_id=f"{index:06}")

    (tmp_path / "a.jpg").write_bytes(b"pixels")
    one = annotation(image_path=tmp_path / "a.jpg")
    found = fingerprint(Many(), with_classes=True)
    save_fingerprints(tmp_path / "data.json", {"train": found})
    assert differs(load_fingerprints(tmp_path / "data.json")["train"], found) is None


# --- a run ---------------------------------------------------------------------------------------


@pytest.fixture
def own(shapes, tmp_path):
    """A copy of the data set that may be changed."""
    return shutil.copytree(shapes, tmp_path / "own")


@pytest.fixture
def config(small_config, own):
    """Settings without pictures."""
    run = replace(small_config.run, pictures=False)
    return replace(small_config, data=replace(small_config.data, voc=str(own)), run=run)


@pytest.fixture
def folder(new_run, config):
    """A finished run."""
    made = new_run("run", config)
    train(config, made, progress=False)
    (made.path / "recall.json").write_text("precious")
    return made


def files_of(folder):
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def refused(config, folder, **options):
    """Return what is said of other data; nothing of the run is changed."""
    before = files_of(folder)
    with pytest.raises(InputError) as caught:
        train(config, folder, resume=True, progress=False, **options)
    assert files_of(folder) == before
    said, advice = str(caught.value).split("; ")
    assert advice == (
        "go on with the data that it began with, or train on these in a new run, "
        f"with --weights {folder.path}"
    )
    assert "\n" not in said
    return said


def placed(config, voc):
    return replace(config, data=replace(config.data, voc=str(voc)))


def ids_of(voc, split):
    return (voc / f"ImageSets/Main/{split}.txt").read_text().split()


def edit(voc, image_id, change):
    """Change the annotation of an image."""
    path = voc / "Annotations" / f"{image_id}.xml"
    tree = ET.parse(path)
    change(tree.getroot())
    tree.write(path)


def test_a_run_notes_its_data(folder, own):
    splits = json.loads(folder.data.read_text())["splits"]
    assert list(splits) == ["train", "val"]
    assert list(splits["train"]["images"]) == ids_of(own, "train")
    first = splits["train"]["images"][ids_of(own, "train")[0]]
    assert re.fullmatch(r"80x64 [0-9a-f]{16} [0-9a-f]{16}", first)


@pytest.mark.parametrize("steps", [None, 9])
def test_another_data_set_is_refused(folder, config, own, tmp_path, steps):
    other = shutil.copytree(own, tmp_path / "other")
    first = ids_of(other, "train")[0]
    lists = other / "ImageSets/Main/train.txt"
    lists.write_text(lists.read_text().replace(first, ids_of(other, "test")[0]))
    said = refused(placed(config, other), folder, steps=steps)
    assert said == (
        f"{folder.path}: {other} is another data set: "
        f"1 of 8 training images, {first!r}, is no longer in split 'train'"
    )


def test_an_image_gone_from_drawn_splits_is_the_one_that_is_named(new_run, config, own):
    """Another has taken its place."""
    shutil.rmtree(own / "ImageSets")
    folder = new_run("run", config)
    train(config, folder, progress=False)
    splits = load_fingerprints(folder.data)
    image_id = next(iter(splits["val"].images))
    for name in (f"JPEGImages/{image_id}.jpg", f"Annotations/{image_id}.xml"):
        (own / name).unlink()
    now = find_layout(Source(own))
    assert set(now.ids("val")) & set(splits["train"].images)
    said = refused(config, folder)
    total = len(splits["val"].images)
    assert said.endswith(
        f": 1 of {total} validation images, {image_id!r}, is no longer in split 'val'"
    )


def test_other_boxes_are_refused(folder, config, own):
    image_id = ids_of(own, "val")[1]

    def change(root):
        root.find("object/bndbox/xmin").text = "1"
        root.find("object/bndbox/ymin").text = "2"

    edit(own, image_id, change)
    said = refused(config, folder)
    assert said.endswith(f"is another data set: validation image {image_id!r} has other objects")


@pytest.mark.parametrize("kind", ["rpn-only", "approximate-joint"])
def test_the_name_of_a_class_counts_where_it_is_learned(new_run, config, own, kind):
    config = replace(config, sharing=SharingConfig(kind=kind))
    folder = new_run("run", config)
    train(config, folder, progress=False)
    image_id = ids_of(own, "train")[0]
    classes = load_config(folder.config).data.classes

    def change(root):
        name = root.find("object/name")
        name.text = next(one for one in classes or ("new",) if one != name.text)

    edit(own, image_id, change)
    config = load_config(folder.config)
    if kind == "rpn-only":
        assert train(config, folder, resume=True, progress=False).steps == 6
    else:
        said = refused(config, folder)
        assert f"training image {image_id!r} has other objects" in said


def test_a_data_set_that_was_moved_goes_on(folder, config, own, tmp_path, capsys):
    own.rename(tmp_path / "moved")
    here = placed(config, tmp_path / "moved")
    assert train(here, folder, resume=True).steps == 6
    assert load_config(folder.config) == here
    told = f"its data set is now read from {tmp_path / 'moved'}\n"
    assert told in capsys.readouterr().err
    assert told in folder.text.read_text()


def test_a_run_from_before_gets_a_fingerprint(folder, config):
    folder.data.unlink()
    train(config, folder, resume=True, progress=False)
    assert "no data.json before: the data could not be compared" in folder.text.read_text()
    assert len(load_fingerprints(folder.data)["train"].images) == 8


def test_another_data_set_is_refused_before_the_first_checkpoint_too(folder, config, own):
    """Of a run that was killed there."""
    folder.last.unlink()
    folder.best.unlink()
    folder.metrics.unlink()
    edit(own, ids_of(own, "train")[3], lambda root: root.remove(root.find("object")))
    assert "is another data set: training image" in refused(config, folder)


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_pixels_are_refused(folder, config, own, split):
    """Ids, sizes and boxes are as they were."""
    image_id = ids_of(own, split)[1]
    path = own / f"JPEGImages/{image_id}.jpg"
    before = path.read_bytes()
    with Image.open(path) as image:
        ImageOps.invert(image).save(path)
    kind = {"train": "training", "val": "validation"}[split]
    assert refused(config, folder) == (
        f"{folder.path}: {own} is another data set: "
        f"{kind} image {image_id!r} has another image file than before"
    )
    path.write_bytes(before)
    assert train(config, folder, resume=True, progress=False).steps == 6


def test_a_run_from_before_there_were_hashes_of_files_gets_them(folder, config, own):
    noted = load_fingerprints(folder.data)
    old = {
        name: replace(one, images={key: v.rpartition(" ")[0] for key, v in one.images.items()})
        for name, one in noted.items()
    }
    save_fingerprints(folder.data, old)
    train(config, folder, resume=True, progress=False)
    assert load_fingerprints(folder.data) == noted
    told = "had no hash of them: 10; it has one now"
    assert folder.text.read_text().count(told) == 1
    train(config, folder, resume=True, progress=False)
    assert folder.text.read_text().count(told) == 1
    path = own / f"JPEGImages/{ids_of(own, 'val')[1]}.jpg"
    with Image.open(path) as image:
        ImageOps.invert(image).save(path)
    assert "another image file than before" in refused(config, folder)


def test_before_the_first_checkpoint_a_file_may_become_another(folder, config, own):
    """Nothing has been learned from it; one that is damaged is mended then."""
    for path in (folder.last, folder.best, folder.metrics):
        path.unlink()
    path = own / f"JPEGImages/{ids_of(own, 'train')[1]}.jpg"
    with Image.open(path) as image:
        ImageOps.invert(image).save(path)
    assert train(config, folder, resume=True, progress=False).steps == 6
    # From now on, it is this one.
    assert train(config, folder, resume=True, progress=False).steps == 6


def test_a_file_that_cannot_be_read_is_not_called_another(folder, config, own):
    """The line about the damage helps more, and comes when the image is read."""
    path = own / f"JPEGImages/{ids_of(own, 'train')[1]}.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    assert train(config, folder, resume=True, progress=False).steps == 6


def test_shapes_that_are_generated_anew_are_the_same(new_run, small_config, tmp_path):
    shapes = replace(small_config.synthetic, images=10, image_size=(64, 80), min_side=14)
    config = replace(
        small_config,
        data=replace(small_config.data, voc=None),
        synthetic=shapes,
        run=replace(small_config.run, pictures=False),
    )
    folder = new_run("run", config)
    train(config, folder, progress=False)
    shutil.rmtree(folder.path / "shapes")
    assert train(config, folder, resume=True, steps=7, progress=False).steps == 7
    lists = folder.path / "shapes/ImageSets/Main/train.txt"
    lists.write_text("\n".join(reversed(lists.read_text().split())))
    said = refused(load_config(folder.config), folder)
    where = os.path.join(folder.path, "shapes")  # noqa: PTH118
    assert said.startswith(
        f"{folder.path}: {where} is another data set: the training images are in"
    )
