"""Which picture is meant, and where its ground truth is."""

import shutil

import numpy as np
import pytest

from minirpn.data import Source, VOCDataset
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
    assert said(run_folder.path).startswith(f"{run_folder.path}: image: no such file")
    assert said("gone", voc=Source(shapes)).endswith(
        f"none of that name in {shapes / 'JPEGImages'}"
    )
    xml = shapes / "Annotations/lone.xml"
    assert said(lone, voc=Source(shapes)) == f"{xml}: annotation: no such file"
    assert said("000001", voc=Source(lone.parent / "nowhere")).endswith("data set: no such folder")
    (shapes / "Annotations/000001.xml").write_text("<annotation>")
    assert "not readable as XML" in said(shapes / "JPEGImages/000001.jpg")
    lone.write_text("no picture")
    assert said(lone) == f"{lone}: image: not of a format Pillow reads"


def test_a_name_once_the_data_of_the_run_is_gone(settings, tmp_path):
    with pytest.raises(InputError, match=r"^000001: image: no such file$"):
        find_picture("000001", RunFolder(tmp_path), settings().data)


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
