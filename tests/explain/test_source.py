"""Which picture is meant, and where its ground truth is."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minirpn.data import Source, VOCDataset, VOCObject, write_annotation
from minirpn.errors import InputError
from minirpn.explain import find_picture
from minirpn.training.run_folder import RunFolder


@pytest.fixture
def shapes(run_folder, tmp_path):
    """A copy of the shapes, to be changed."""
    return shutil.copytree(run_folder.path / "shapes", tmp_path / "data")


def assert_annotated(picture, root):
    expected = VOCDataset(root, split="all").annotation(0)
    annotation = picture.sample.annotation
    assert picture.no_truth is None
    assert annotation.image_path == root / "JPEGImages/000001.jpg"
    np.testing.assert_array_equal(annotation.gt_boxes, expected.gt_boxes)
    assert len(picture.classes) > max(annotation.gt_classes)


@pytest.mark.parametrize("image", ["000001", "000001.jpg"])
def test_a_name_in_the_data_of_the_run(run_folder, settings, image):
    picture = find_picture(image, run_folder, settings().data)
    assert_annotated(picture, run_folder.path / "shapes")
    assert picture.sample.image.shape == (80, 96, 3)


def test_a_name_in_the_voc_folder_of_the_run(shapes, settings, tmp_path):
    data = settings(data__voc=str(shapes)).data
    assert_annotated(find_picture("000001", RunFolder(tmp_path), data), shapes)


def test_a_file_of_a_data_set(run_folder, shapes, settings):
    path = shapes / "JPEGImages/000001.jpg"
    assert_annotated(find_picture(str(path), run_folder, settings().data), shapes)


def test_a_name_in_another_data_set(run_folder, shapes, settings):
    devkit = shapes.parent / "devkit"
    years = [shutil.copytree(shapes, devkit / f"VOC{year}") for year in (2007, 2012)]
    data = settings().data
    assert_annotated(find_picture("000001", run_folder, data, voc=Source(devkit, "2012")), years[1])
    with pytest.raises(InputError, match=r"year: several there, choose one of 2007, 2012"):
        find_picture("000001", run_folder, data, voc=Source(devkit))


def test_an_annotation_next_to_the_file(run_folder, shapes, settings, lone_image):
    path = lone_image("mine.jpg")
    shutil.copy(shapes / "Annotations/000001.xml", path.with_suffix(".xml"))
    picture = find_picture(str(path), run_folder, settings().data)
    assert picture.no_truth is None
    assert len(picture.sample.annotation.gt_boxes) > 0


def test_another_data_set_may_annotate_a_file_from_elsewhere(
    run_folder, shapes, settings, lone_image
):
    path = lone_image("000001.jpg")
    picture = find_picture(str(path), run_folder, settings().data, voc=Source(shapes))
    assert picture.no_truth is None
    assert picture.sample.annotation.image_path == path


def test_no_annotation_is_no_ground_truth(run_folder, shapes, settings, lone_image):
    path = lone_image("lone.jpg")
    picture = find_picture(str(path), run_folder, settings().data)
    assert picture.no_truth == f"{path}: there is no annotation beside it"
    assert picture.sample.annotation.gt_boxes.shape == (0, 4)
    path = shapes / "JPEGImages/000001.jpg"
    xml = shapes / "Annotations/000001.xml"
    xml.unlink()
    picture = find_picture(str(path), run_folder, settings().data)
    assert picture.no_truth == f"{path}: there is no annotation {xml}"


def test_what_is_wrong_is_said_in_one_line(run_folder, shapes, settings, lone_image):
    data, lone = settings().data, lone_image("lone.jpg")

    def said(*words, **values):
        with pytest.raises(InputError) as error:
            find_picture(*map(str, words), run_folder, data, **values)
        return str(error.value)

    own = run_folder.path / "shapes/JPEGImages"
    assert said("gone.jpg") == f"gone.jpg: image: no such file, and none of that name in {own}"
    a_folder = run_folder.path
    assert said(a_folder).startswith(f"{a_folder}: image: a folder, not a picture, and none")
    assert said("gone", voc=Source(shapes)).endswith(
        f"none of that name in {shapes / 'JPEGImages'}"
    )
    folder = shapes / "Annotations"
    assert said(lone, voc=Source(shapes)) == f"{lone}: annotation: none of that name in {folder}"
    assert said("000001", voc=Source(lone.parent / "nowhere")).endswith("data set: no such folder")
    (shapes / "Annotations/000001.xml").write_text("<annotation>")
    assert "not readable as XML" in said(shapes / "JPEGImages/000001.jpg")
    lone.write_text("no picture")
    assert said(lone) == f"{lone}: image: not of a format Pillow reads"


def test_a_name_once_the_data_of_the_run_is_gone(settings, tmp_path):
    with pytest.raises(InputError, match=r"^000001: image: no such file$"):
        find_picture("000001", RunFolder(tmp_path), settings().data)
    with pytest.raises(InputError, match=r": image: a folder, not a picture$"):
        find_picture(str(tmp_path), RunFolder(tmp_path), settings().data)


def test_bad_boxes_stop_it_as_they_stop_a_training(run_folder, shapes, settings):
    xml, path = shapes / "Annotations/000001.xml", shapes / "JPEGImages/000001.jpg"
    objects = xml.read_text().count("<object>")
    one = "<object><name>square</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax>"
    text = xml.read_text().replace("</annotation>", f"{one}<ymax>9</ymax></bndbox></object>")
    xml.write_text(f"{text}</annotation>")
    with pytest.raises(InputError, match=rf"000001.xml: object {objects + 1} \(square\)"):
        find_picture(str(path), run_folder, settings().data)
    picture = find_picture(str(path), run_folder, settings(data__skip_bad=True).data)
    assert len(picture.sample.annotation.gt_boxes) == objects


# Which image of a data set is meant.


@pytest.fixture
def write_image():
    """Write an image of 40x30 and an annotation with one box; None leaves one of them out."""

    def write(image, xml, left=1):
        for path in (image, xml):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
        if image is not None:
            Image.fromarray(np.full((30, 40, 3), 10 * left, np.uint8)).save(image)
        if xml is not None:
            name = "none" if image is None else image.name
            write_annotation(xml, name, (30, 40), [VOCObject("cat", (left, 1, 20, 15))])

    return write


def left_of(picture):
    """Return the left edges of the boxes; the one of `write_image` is at `left` - 1."""
    return picture.sample.annotation.gt_boxes[:, 0].tolist()


def test_the_annotation_is_that_of_the_same_folder(write_image, run_folder, settings, tmp_path):
    root, data = tmp_path / "set", settings().data
    write_image(root / "images/b/f1.png", root / "annotations/b/f1.xml", left=5)
    write_image(None, root / "annotations/f1.xml", left=9)
    for image in (str(root / "images/b/f1.png"), "b/f1", "b/f1.png", "f1"):
        picture = find_picture(image, run_folder, data, voc=Source(root))
        assert left_of(picture) == [4]
        assert picture.sample.annotation.image_id == "b/f1"
    # A file from elsewhere has only its name, here that of one annotation.
    write_image(tmp_path / "elsewhere/f1.png", None)
    picture = find_picture(str(tmp_path / "elsewhere/f1.png"), run_folder, data, voc=Source(root))
    assert left_of(picture) == [8]


@pytest.fixture
def split_folders(write_image, tmp_path):
    """A data set of folders of splits: images and XML files side by side."""
    root = tmp_path / "rf"
    for split, name, left in (("train", "a", 3), ("valid", "a", 5), ("train", "b", 7)):
        write_image(root / split / f"{name}.jpg", root / split / f"{name}.xml", left=left)
    return root


def test_folders_of_splits(split_folders, write_image, run_folder, settings, tmp_path, monkeypatch):
    data, voc = settings().data, Source(split_folders)

    def found(image):
        picture = find_picture(str(image), run_folder, data, voc=voc)
        return picture.sample.annotation.image_id, left_of(picture)

    assert found(split_folders / "train/a.jpg") == ("train/a", [2])
    assert found("valid/a") == ("valid/a", [4])
    assert found("b.jpg") == ("train/b", [6])
    with pytest.raises(InputError) as error:
        found("a")
    assert str(error.value) == "a: image: several have that name: train/a, valid/a"
    write_image(tmp_path / "a.jpg", None)
    with pytest.raises(InputError, match=r"a.jpg: image: several have that name: train/a, valid/a"):
        found(tmp_path / "a.jpg")
    # The folder that it lies in is part of the name.
    monkeypatch.chdir(split_folders / "valid")
    assert found("a.jpg") == ("valid/a", [4])
    (tmp_path / "link.jpg").symlink_to(split_folders / "train/b.jpg")
    assert found(tmp_path / "link.jpg") == ("train/b", [6])


def test_an_image_of_the_data_set_does_not_take_the_annotation_of_another(
    split_folders, run_folder, settings
):
    (split_folders / "train/a.xml").unlink()
    data, image = settings().data, str(split_folders / "train/a.jpg")
    with pytest.raises(InputError) as error:
        find_picture(image, run_folder, data, voc=Source(split_folders))
    assert str(error.value) == f"{split_folders / 'train/a.xml'}: annotation: no such file"
    skipping = Source(split_folders, no_annotation="skip")
    with pytest.raises(InputError) as error:
        find_picture(image, run_folder, data, voc=skipping)
    assert str(error.value) == f"{image}: annotation: none of that name in {split_folders}"
    negatives = Source(split_folders, no_annotation="negative")
    picture = find_picture(image, run_folder, data, voc=negatives)
    assert (picture.no_truth, left_of(picture)) == (None, [])
    assert picture.sample.annotation.image_id == "train/a"


# The data of the run.


@pytest.fixture
def as_written(write_image, tmp_path):
    """A data set whose boxes count from 0."""
    root = tmp_path / "own"
    write_image(root / "images/a.png", root / "annotations/a.xml", left=3)
    return root


def test_a_file_of_the_runs_data_is_read_as_the_run_reads_it(as_written, settings, tmp_path):
    data = settings(data__voc=str(as_written), data__box_format="half-open").data
    picture = find_picture(str(as_written / "images/a.png"), RunFolder(tmp_path), data)
    assert left_of(picture) == [3]
    (as_written / "annotations/a.xml").rename(as_written / "annotations/b.xml")
    picture = find_picture(str(as_written / "images/a.png"), RunFolder(tmp_path), data)
    image, xml = as_written / "images/a.png", as_written / "annotations/a.xml"
    assert picture.no_truth == f"{image}: there is no annotation {xml}"
    negative = replace(data, no_annotation="negative")
    assert find_picture(str(image), RunFolder(tmp_path), negative).no_truth is None


def test_a_file_from_elsewhere_is_read_as_vocs(as_written, write_image, settings, tmp_path):
    data = settings(data__voc=str(as_written), data__box_format="half-open").data
    write_image(tmp_path / "mine.png", tmp_path / "mine.xml", left=7)
    image = str(tmp_path / "mine.png")
    assert left_of(find_picture(image, RunFolder(tmp_path), data)) == [6]
    half_open = Source(tmp_path, box_format="half-open")
    assert left_of(find_picture(image, RunFolder(tmp_path), data, beside=half_open)) == [7]
    (tmp_path / "mine.xml").unlink()
    assert find_picture(image, RunFolder(tmp_path), data).no_truth is not None
    negative = Source(tmp_path, no_annotation="negative")
    assert find_picture(image, RunFolder(tmp_path), data, beside=negative).no_truth is None
    # In the folder of the data set, but not one of its images.
    write_image(as_written / "other/c.png", as_written / "other/c.xml", left=9)
    image = str(as_written / "other/c.png")
    assert left_of(find_picture(image, RunFolder(tmp_path), data)) == [8]


def test_a_file_from_elsewhere_does_not_need_the_runs_data(
    as_written, write_image, settings, tmp_path, monkeypatch
):
    data = settings(data__voc=str(as_written)).data
    write_image(tmp_path / "mine.png", tmp_path / "mine.xml", left=7)
    (as_written / "images/a.png").unlink()
    image = str(tmp_path / "mine.png")
    assert left_of(find_picture(image, RunFolder(tmp_path), data)) == [6]
    with pytest.raises(InputError, match="has annotations, but no images"):
        find_picture("a", RunFolder(tmp_path), data)
    monkeypatch.setattr("minirpn.explain.source.find_layout", pytest.fail)
    assert left_of(find_picture(image, RunFolder(tmp_path), data)) == [6]


def test_the_images_of_the_runs_data_may_lie_elsewhere(as_written, settings, tmp_path):
    images = (as_written / "images").rename(tmp_path / "pictures")
    data = settings(data__voc=str(as_written), data__box_format="half-open").data
    data = replace(data, image_folder=str(images))
    picture = find_picture(str(images / "a.png"), RunFolder(tmp_path), data)
    assert left_of(picture) == [3]
