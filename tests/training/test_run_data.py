"""The splits of a run: something to learn from, something to measure, and what they share."""

import re
import shutil
from dataclasses import replace

import pytest

from minirpn.errors import InputError
from minirpn.rpn.targets import LabelConfig
from minirpn.training.config import DataConfig
from minirpn.training.run_data import open_splits, shared_images, untrained_classes
from minirpn.training.run_folder import RunFolder, create_run
from minirpn.training.train import train


@pytest.fixture
def own(shapes, tmp_path):
    """A copy of the data set that may be changed."""
    return shutil.copytree(shapes, tmp_path / "own")


def change(own, split, words, *, but=0):
    """Put other words in place of `<object>`, or of `<difficult>0<`, in all images but some."""
    old, new = words
    ids = (own / f"ImageSets/Main/{split}.txt").read_text().split()
    for image_id in ids[but:]:
        path = own / "Annotations" / f"{image_id}.xml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new).replace(f"/{old[1:]}", f"/{new[1:]}"))


UNKNOWN, DIFFICULT = ("<object>", "<Thing>"), ("<difficult>0", "<difficult>1")


def opened(config, own, tmp_path, **data):
    changed = replace(config.data, voc=str(own), **data)
    return open_splits(replace(config, data=changed), RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("split", "words", "data", "said"),
    [
        (
            "train",
            UNKNOWN,
            {},
            "'train': no object to learn from in its 8 images; `minirpn check --voc ",
        ),
        ("train", DIFFICULT, {}, r"images; \d+ are marked difficult, --use-difficult trains on"),
        ("train", DIFFICULT, {"use_difficult": True}, None),
        ("val", UNKNOWN, {}, "split 'val': no object to measure in its 2 images$"),
        ("val", DIFFICULT, {}, r"to measure in its 2 images, \d+ are marked difficult$"),
        ("val", DIFFICULT, {"use_difficult": True}, "to measure in its 2 images"),
        ("val", UNKNOWN, {"val_split": None}, None),
        ("test", UNKNOWN, {}, None),
    ],
)
def test_a_split_without_objects_is_an_error(small_config, own, tmp_path, split, words, data, said):
    change(own, split, words)
    if said is None:
        assert len(opened(small_config, own, tmp_path, **data).train) == 8
    else:
        with pytest.raises(InputError, match=said) as caught:
            opened(small_config, own, tmp_path, **data)
        assert str(caught.value).startswith(f"{own}: split {split!r}: no object to ")


def test_the_images_that_are_validated_on_have_objects(small_config, own, tmp_path):
    """A validation looks at the first few."""
    change(own, "train", UNKNOWN)
    lists = own / "ImageSets/Main"
    ids = [(lists / f"{name}.txt").read_text().split() for name in ("train", "val")]
    (lists / "val.txt").write_text("\n".join([*ids[0], ids[1][0]]))
    few = replace(small_config, run=replace(small_config.run, validation_images=5))
    with pytest.raises(InputError, match="no object to measure in the first 5 images"):
        opened(few, own, tmp_path, split="test")
    assert opened(small_config, own, tmp_path, split="test").val is not None


@pytest.mark.usefixtures("no_finish")
def test_images_without_objects_are_background(small_config, own, new_run):
    """Some of them; they teach what is no object."""
    change(own, "train", UNKNOWN, but=1)
    run = replace(small_config.run, pictures=False)
    config = replace(small_config, data=replace(small_config.data, voc=str(own)), run=run)
    assert train(config, new_run("run", config), progress=False).steps == 6


def test_shared_images_are_counted(small_config, shapes, tmp_path):
    assert shared_images(opened(small_config, shapes, tmp_path)) is None
    both = opened(small_config, shapes, tmp_path, split="trainval")
    assert shared_images(both) == "2 of the 2 validation images are also trained on"
    assert shared_images(opened(small_config, shapes, tmp_path, val_split=None)) is None


@pytest.mark.usefixtures("no_finish")
def test_a_run_warns_of_them(small_config, new_run, capsys):
    data = DataConfig(voc=small_config.data.voc, split="trainval", val_split="val")
    run = replace(small_config.run, pictures=False)
    config = replace(small_config, data=data, run=run)
    folder = new_run("run", config)
    train(config, folder)
    told = "warning: 2 of the 2 validation images are also trained on"
    assert told in capsys.readouterr().err.splitlines()
    assert told in folder.text.read_text()


def test_classes_that_only_the_validation_shows(small_config, own, tmp_path):
    assert untrained_classes(opened(small_config, own, tmp_path, val_split="train")) is None
    for image_id in (own / "ImageSets/Main/val.txt").read_text().split():
        path = own / f"Annotations/{image_id}.xml"
        path.write_text(re.sub("<name>[a-z]*<", "<name>zebra<", path.read_text()))
    told = "only the validation images have objects of: zebra"
    assert untrained_classes(opened(small_config, own, tmp_path)) == told
    assert untrained_classes(opened(small_config, own, tmp_path, val_split=None)) is None


def test_a_run_without_a_positive_anchor_says_so(small_config, tmp_path, no_figures, capsys):
    # Anchors larger than the images cross their borders, so that none is labelled.
    large, inside = replace(small_config.anchors, scales=(64.0,)), LabelConfig(inside_only=True)
    config = replace(small_config, anchors=large, labels=inside)
    folder = create_run(tmp_path / "run", config)
    train(config, folder)
    assert "no anchor was positive in 6 steps" in capsys.readouterr().err
    assert "no anchor was positive in 6 steps" in folder.text.read_text()
