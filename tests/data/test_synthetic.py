"""Generated shapes: a sound VOC folder, the same every time, with boxes that fit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from minirpn.data import SHAPES, SyntheticConfig, VOCDataset, generate, read_annotation
from minirpn.data import shapes as shapes_module
from minirpn.data.shapes import draw_picture
from minirpn.errors import InputError


def digests(root) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("synthetic") / "shapes", SyntheticConfig(images=60))


def test_it_is_a_sound_voc_folder(shapes):
    datasets = {
        name: VOCDataset(shapes, split=name) for name in ("train", "val", "trainval", "test")
    }
    assert {name: len(dataset) for name, dataset in datasets.items()} == {
        "train": 36,
        "val": 12,
        "trainval": 48,
        "test": 12,
    }
    ids = {name: dataset.image_ids for name, dataset in datasets.items()}
    assert ids["train"] + ids["val"] == ids["trainval"]
    assert not set(ids["trainval"]) & set(ids["test"])
    whole = VOCDataset(shapes, split="all")
    assert whole.classes == SHAPES
    assert whole[0].image.shape == (240, 320, 3)


def test_all_classes_many_sizes_and_some_hidden(shapes):
    whole = VOCDataset(shapes, split="all")
    annotations = [whole.annotation(index) for index in range(len(whole))]
    assert all(1 <= len(annotation.gt_boxes) <= 4 for annotation in annotations)
    assert set(np.concatenate([one.gt_classes for one in annotations])) == set(range(len(SHAPES)))
    x1, y1, x2, y2 = np.concatenate([one.gt_boxes for one in annotations]).T
    sides = np.sqrt((x2 - x1) * (y2 - y1))
    assert np.percentile(sides, 10) < 40
    assert np.percentile(sides, 90) > 90
    ratios = (x2 - x1) / (y2 - y1)
    assert np.percentile(ratios, 10) < 0.7
    assert np.percentile(ratios, 90) > 1.4
    assert 0 < np.concatenate([one.difficult for one in annotations]).mean() < 0.1
    files = [read_annotation(path) for path in (shapes / "Annotations").iterdir()]
    truncated = [item.truncated for file in files for _, item in file.objects]
    assert 0.05 < np.mean(truncated) < 0.5


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    config = SyntheticConfig(images=6, image_size=(60, 80), min_side=10)
    first = digests(generate(tmp_path / "1" / "shapes", config))
    assert digests(generate(tmp_path / "2" / "shapes", config)) == first
    other = SyntheticConfig(images=6, image_size=(60, 80), min_side=10, seed=1)
    again = digests(generate(tmp_path / "3" / "shapes", other))
    assert again["JPEGImages/000001.jpg"] != first["JPEGImages/000001.jpg"]


def test_more_images_leave_the_first_as_they_are(tmp_path):
    few, more = (
        digests(generate(tmp_path / f"{n}" / "shapes", SyntheticConfig(n, (60, 80), min_side=10)))
        for n in (5, 8)
    )
    kept = {name: digest for name, digest in few.items() if not name.startswith("ImageSets")}
    assert kept.items() <= more.items()


def test_boxes_are_tight_around_what_is_painted():
    # The ground is drawn first, so the same seed gives it without the shape.
    size = (96, 128)
    for seed in range(30):
        ground = shapes_module._background(np.random.default_rng(seed), size).clip(0, 255)
        image, (shape,) = draw_picture(
            np.random.default_rng(seed), size, names=SHAPES, max_objects=1, side_range=(20, 60)
        )
        changed = np.abs(image - ground).sum(axis=2) > 40
        rows, columns = np.nonzero(changed)
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        # Pixels covered by less than half may show outside, and faint ones inside may not.
        np.testing.assert_allclose(shape.box, extent, atol=2)


def test_only_the_classes_asked_for(tmp_path):
    config = SyntheticConfig(10, (80, 100), classes=("ring", "star"))
    dataset = VOCDataset(generate(tmp_path / "shapes", config), split="all")
    assert dataset.classes == ("ring", "star")


def test_nothing_is_overwritten(tmp_path):
    with pytest.raises(InputError, match=r": generated shapes: the folder exists already$"):
        generate(tmp_path)


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match=r"\.jpg: cannot write: No space left on device$"):
        generate(tmp_path / "shapes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"images": 4},
        {"image_size": (0, 10)},
        {"max_objects": 0},
        {"classes": ()},
        {"classes": ("circle", "hexagon")},
        {"min_side": 3},
        {"min_side": 200},
        {"max_share": 1.1},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}"):
        SyntheticConfig(**settings)
