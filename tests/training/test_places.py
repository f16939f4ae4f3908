"""A run finds its data set from everywhere, and says which flags are needed if it is gone."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from minirpn.errors import InputError
from minirpn.training.config import DataConfig, load_config, save_config
from minirpn.training.places import check_places, with_absolute_places
from minirpn.training.run_folder import open_run
from minirpn.training.train import train


@pytest.fixture
def here(shapes, tmp_path, monkeypatch):
    """The current folder, with a data set in `data`, and its files once more in two others."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shapes, tmp_path / "data")
    shutil.copytree(shapes / "JPEGImages", tmp_path / "pictures")
    shutil.copytree(shapes / "Annotations", tmp_path / "boxes")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def config(small_config, here):
    """Settings without pictures, whose data set is named from the current folder."""
    return with_data(small_config, voc="data")


def with_data(config, **places):
    data = DataConfig(split="train", val_split="val", **places)
    return replace(config, data=data, run=replace(config.run, pictures=False))


def places_of(config):
    data = config.data
    return data.voc, data.image_folder, data.annotation_folder


def test_places_become_absolute_but_in_the_data_set(config, here):
    outside = with_data(
        config, voc="data", image_folder="pictures", annotation_folder=str(here / "boxes")
    )
    expected = tuple(str(here / name) for name in ("data", "pictures", "boxes"))
    assert places_of(with_absolute_places(outside)) == expected
    assert with_absolute_places(with_absolute_places(outside)) == with_absolute_places(outside)
    # What lies in the data set comes before what lies here, and moves with it.
    (here / "JPEGImages").mkdir()
    inside = with_data(config, voc="data", image_folder="JPEGImages")
    assert places_of(with_absolute_places(inside)) == (str(here / "data"), "JPEGImages", None)
    (here / "kit").mkdir()
    shutil.move(here / "data", here / "kit/VOC2007")
    devkit = with_data(config, voc="kit", image_folder="JPEGImages")
    for year in (None, "2007"):
        of_year = replace(devkit, data=replace(devkit.data, year=year))
        assert places_of(with_absolute_places(of_year)) == (str(here / "kit"), "JPEGImages", None)
    other = replace(devkit, data=replace(devkit.data, year="2012"))
    assert places_of(with_absolute_places(other))[1] == str(here / "JPEGImages")


def test_what_is_not_there_stays_as_it_was_typed(config):
    gone = with_data(config, voc="gone", image_folder="lost", annotation_folder="boxes")
    assert places_of(with_absolute_places(gone))[:2] == ("gone", "lost")


def test_generated_shapes_have_no_place(small_config, tmp_path):
    generated = with_data(small_config)
    assert with_absolute_places(generated) is generated
    check_places(generated, tmp_path)


@pytest.mark.usefixtures("no_finish")
def test_a_run_goes_on_from_another_folder(config, new_run, here, monkeypatch, stop_after, capsys):
    folder = new_run("run", config)
    assert load_config(folder.config).data.voc == str(here / "data")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert train(config, folder, progress=False).interrupted
    assert load_config(folder.config).data.voc == str(here / "data")
    before = folder.config.read_bytes()
    monkeypatch.chdir(here / "sub")
    again = open_run(Path("../run"))
    assert train(load_config(again.config), again, resume=True).steps == 6
    assert folder.config.read_bytes() == before
    assert "now read from" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_finish")
def test_a_run_from_before_gets_an_absolute_path(config, new_run, here, capsys):
    folder = new_run("run", config)
    save_config(folder.config, config)
    assert train(config, folder, resume=True).steps == 6
    assert load_config(folder.config).data.voc == str(here / "data")
    assert "now read from" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (["data"], "{0}/data (data set); --voc DIR says where it is now"),
        (["pictures"], "{0}/pictures (images); --images DIR says where it is now"),
        (
            ["data", "pictures", "boxes"],
            "{0}/data (data set), {0}/pictures (images), {0}/boxes (annotations); "
            "--voc DIR and --images DIR and --annotations DIR say where they are now",
        ),
    ],
)
@pytest.mark.usefixtures("no_finish")
def test_what_is_gone_is_told_with_its_flags(config, new_run, here, gone, said):
    config = with_data(config, voc="data", image_folder="pictures", annotation_folder="boxes")
    folder = new_run("run", config)
    for name in gone:
        (here / name).rename(here / f"other {name}")
    line = f"{folder.path}: no such folder: {said.format(here)}"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        train(load_config(folder.config), folder, resume=True, progress=False)
    moved = load_config(folder.config).data
    names = {"data": "voc", "pictures": "image_folder", "boxes": "annotation_folder"}
    moved = replace(moved, **{names[name]: f"other {name}" for name in gone})
    assert train(replace(config, data=moved), folder, resume=True, progress=False).steps == 6


@pytest.mark.usefixtures("no_finish")
def test_a_folder_in_the_data_set_moves_with_it(config, new_run, here):
    config = with_data(config, voc="data", image_folder="JPEGImages")
    folder = new_run("run", config)
    (here / "data").rename(here / "moved")
    stored = load_config(folder.config)
    with pytest.raises(InputError, match=r"data \(data set\); --voc DIR says where it is now$"):
        check_places(with_absolute_places(stored), folder.path)
    moved = replace(stored, data=replace(stored.data, voc="moved"))
    assert train(moved, folder, resume=True, progress=False).steps == 6
    assert places_of(load_config(folder.config)) == (str(here / "moved"), "JPEGImages", None)
    (here / "moved/JPEGImages").rename(here / "moved/img")
    with pytest.raises(InputError, match=r": JPEGImages \(images\); --images DIR says"):
        check_places(load_config(folder.config), folder.path)
