"""The pictures that come with minirpn can be read, and say where they come from."""

import hashlib

import pytest

from minirpn import samples
from minirpn.data import VOCDataset
from minirpn.data.images import read_image

SIZES = {"astronaut": (512, 512), "chelsea": (300, 451), "coffee": (400, 600)}


def test_each_photograph_is_read_in_color_and_listed_with_its_licence():
    photos = samples.photos()
    assert {name: read_image(path).shape[:2] for name, path in photos.items()} == SIZES
    listed = (samples.BLOOD.parent / "README.md").read_text()
    for path in photos.values():
        assert f"`photos/{path.name}`" in listed


@pytest.mark.parametrize(("split", "images"), [("train", 4), ("val", 2), ("test", 2)])
def test_the_blood_cells_are_a_data_set_without_mistakes(split, images):
    dataset = VOCDataset(samples.BLOOD, split=split)
    assert (len(dataset), dataset.findings) == (images, ())
    assert set(dataset.classes) <= {"Platelets", "RBC", "WBC"}


def test_the_blood_cells_are_those_of_the_data_set_with_its_licence(shared):
    for path in [samples.BLOOD / "LICENSE", *samples.BLOOD.glob("*/BloodImage_*")]:
        original = shared / "data/bccd" / path.relative_to(samples.BLOOD)
        digests = [hashlib.sha256(file.read_bytes()).digest() for file in (path, original)]
        assert digests[0] == digests[1], path
