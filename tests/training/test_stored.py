"""Trained networks on the disk: what names one, and that it comes back as it was written."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn import load
from minirpn.errors import InputError, UntrainedWarning
from minirpn.files import write_npz
from minirpn.training import stored
from minirpn.training.build import load_model
from minirpn.training.checkpoint import load_checkpoint, read_archive, save_checkpoint
from minirpn.training.run_folder import RunFolder, create_run
from minirpn.training.stored import names_a_model, read_stored, shipped_models, write_shipped
from minirpn.training.train import train
from minirpn.training.trainer import Trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_config, without_figures):
    """A finished run with a last and a best checkpoint."""
    folder = create_run(tmp_path_factory.mktemp("runs") / "run", small_config)
    with without_figures():
        train(small_config, folder, progress=False)
    return folder


def test_a_run_is_named_by_its_folder_or_with_best(run):
    last, best = read_stored(run.path), read_stored(f"{run.path}@best")
    assert (last.path, best.path) == (run.last, run.best)
    assert read_stored(run.path, best=True).path == run.best
    assert read_stored(f"{run.path}@last").path == run.last
    assert best.folder == run
    assert best.config == last.config


def test_a_network_that_has_not_learned_warns_where_it_is_used(run, tmp_path, small_config):
    assert read_stored(run.path).step == read_stored(run.last).step == 6
    assert read_stored("shapes").step is None
    early = tmp_path / "early.npz"
    save_checkpoint(early, replace(load_checkpoint(run.last), step=0))
    stored_early = read_stored(early)  # to look at it is no use of it
    assert stored_early.step == 0
    said = rf"^{early}: saved at step 0: the network has not learned anything yet$"
    trainer = Trainer(small_config)
    for use in (
        lambda: load(early),
        lambda: load_model(early),
        lambda: trainer.load_weights(early),
    ):
        with pytest.warns(UntrainedWarning, match=said):
            use()
    load(run.path)  # a warning is an error in these tests


def test_a_checkpoint_has_the_settings_of_its_run(run, tmp_path):
    inside = read_stored(run.best)
    assert inside.folder.path == run.path.absolute()
    alone = read_stored(shutil.copy(run.best, tmp_path / "alone.npz"))
    assert alone.folder is None
    assert alone.config == inside.config == read_stored(run.path).config


def test_a_shipped_model_keeps_its_parameters_to_float16(run, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "SHIPPED", tmp_path)
    before = read_stored(run.path)
    write_shipped(tmp_path / "mine.npz", before, {"licence": "MIT"})
    assert shipped_models() == ("mine",)
    after = read_stored("mine")
    assert after.about == {"licence": "MIT"}
    assert (after.config, after.folder) == (before.config, None)
    for name, value in before.parameters.items():
        np.testing.assert_allclose(after.parameters[name], value, rtol=2**-11, atol=2**-24)
        assert after.parameters[name].dtype == np.float32
    model, _ = load_model("mine")
    assert {p.name for p in model.parameters()} == set(before.parameters)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"about": None}, "about: expected an object"),
        ({"config": None}, "config: expected an object"),
        ({"config": 5}, "config: expected an object"),
        ({"about": {"trained_on": 5}}, "about: trained_on: expected a text"),
        ({"about": {"measured_on": 5}}, "about: measured_on: expected a text"),
        ({"about": {"recall": [], "measured_on": ""}}, "about: recall: expected an object"),
        ({"about": {"recall": {"100": "1"}, "measured_on": ""}}, "100: expected a number"),
        ({"about": {"recall": {"100": float("nan")}, "measured_on": ""}}, "from 0 to 1, got nan"),
        ({"about": {"recall": {"many": 0.5}, "measured_on": ""}}, "by numbers of proposals"),
        ({"about": {"recall": {"100": 0.5}}}, "about: measured_on: missing"),
        ({"about": {"mean_ap": True}}, "about: mean_ap: expected a number"),
    ],
    ids=str,
)
def test_a_damaged_card_is_refused(changes, reason, tmp_path):
    metadata, arrays = read_archive(stored.SHIPPED / "shapes.npz", stored.FORMAT, kind="model")
    path = tmp_path / "model.npz"
    write_npz(path, metadata | changes, arrays)
    with pytest.raises(InputError, match=rf"^{path}: .*{reason}"):
        read_stored(path)


@pytest.mark.parametrize("value", [np.full(3, np.nan, np.float16), np.zeros(3), np.zeros(3, int)])
def test_parameters_that_are_no_float16(value, tmp_path):
    metadata, arrays = read_archive(stored.SHIPPED / "shapes.npz", stored.FORMAT, kind="model")
    path = tmp_path / "model.npz"
    write_npz(path, metadata, arrays | {"conv1.bias": value})
    with pytest.raises(InputError, match=r"conv1\.bias: expected finite float16"):
        read_stored(path)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_parameters_of_another_dtype_are_another_networks(dtype, run, tmp_path):
    checkpoint = load_checkpoint(run.last)
    narrow = dict(checkpoint.parameters)
    name = next(iter(narrow))
    narrow[name] = narrow[name].astype(dtype)
    path = tmp_path / "narrow.npz"
    save_checkpoint(path, replace(checkpoint, parameters=narrow))
    with pytest.raises(InputError, match=rf"^{path}: .*{name}"):
        load(path)


def test_a_shipped_model_in_double_precision(tmp_path):
    shapes = read_stored("shapes")
    double = replace(shapes.config, model=replace(shapes.config.model, dtype="float64"))
    write_shipped(tmp_path / "double.npz", replace(shapes, config=double), shapes.about)
    model, _ = load_model(tmp_path / "double.npz")
    assert {parameter.value.dtype for parameter in model.parameters()} == {np.dtype(np.float64)}


def test_a_model_without_a_recall_is_described_without(tmp_path):
    metadata, arrays = read_archive(stored.SHIPPED / "shapes.npz", stored.FORMAT, kind="model")
    path = tmp_path / "model.npz"
    write_npz(path, metadata | {"about": {"licence": "MIT"}}, arrays)
    assert "\n  recall" not in repr(load(path))


def test_a_number_beyond_float16_is_refused(run, tmp_path):
    checkpoint = load_checkpoint(run.last)
    name = next(iter(checkpoint.parameters))
    great = {**checkpoint.parameters, name: checkpoint.parameters[name] + np.float32(1e5)}
    save_checkpoint(tmp_path / "great.npz", replace(checkpoint, parameters=great))
    with pytest.raises(InputError, match=f"{name}: holds numbers that float16 cannot hold"):
        write_shipped(tmp_path / "x.npz", read_stored(tmp_path / "great.npz"), {})
    assert not (tmp_path / "x.npz").exists()


def test_what_is_no_model_is_named_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/blood").mkdir(parents=True)
    Path("runs/blood/config.toml").touch()
    with pytest.raises(InputError, match=r"^runs/bloood: no such run folder.*mean runs/blood\?$"):
        read_stored("runs/bloood")
    with pytest.raises(InputError, match=r"^shape: no such run folder.*did you mean shapes\?$"):
        read_stored("shape")
    with pytest.raises(InputError, match=r"^a\.npz: no such checkpoint$"):
        read_stored("a.npz")
    Path("photos").mkdir()
    with pytest.raises(InputError, match=r"^photos: not a run folder: no config\.toml in it$"):
        read_stored("photos")


def test_a_run_without_a_best_checkpoint_says_so(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "checkpoints" / "best.npz").unlink()
    with pytest.raises(InputError, match=r"best\.npz: .*never measured a best one"):
        read_stored(f"{copy}@best")


@pytest.mark.parametrize("word", ["shapes@best", "shapes@last"])
def test_only_a_run_has_a_best_checkpoint(word, run):
    with pytest.raises(InputError, match=f"^{word}: only a run has a best checkpoint, and shapes"):
        read_stored(word)
    for source in ("shapes", run.best):
        with pytest.raises(InputError, match=f"^{source}: only a run has a best checkpoint"):
            read_stored(source, best=True)
    with pytest.raises(InputError, match="@last: this is the last checkpoint of the run, not"):
        read_stored(f"{run.path}@last", best=True)


def test_a_copy_of_a_shipped_model_is_read_by_its_content(tmp_path):
    copy = shutil.copy(stored.SHIPPED / "shapes.npz", tmp_path / "copy.npz")
    assert read_stored(copy).about == read_stored("shapes").about


def test_a_checkpoint_outside_a_run_belongs_to_none(run, tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text("[tool]\n")  # of something else
    (tmp_path / "models").mkdir()
    copy = shutil.copy(run.last, tmp_path / "models/copy.npz")
    assert read_stored(copy).folder is None
    monkeypatch.setattr(Path, "absolute", lambda path: Path("/copy.npz"))  # the root has no parent
    assert read_stored(copy).folder is None


def test_words_that_name_a_model(run, tmp_path):
    for word in (run.path, run.last, "shapes", "gone@best", "gone.npz"):
        assert names_a_model(word), word
    for word in (tmp_path, "photo.jpg", "photos/*.jpg", "-"):
        assert not names_a_model(word), word


def test_the_best_checkpoint_is_named_where_the_last_is_damaged(run, tmp_path):
    folder = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    folder.last.write_bytes(b"no archive")
    with pytest.raises(
        InputError, match=rf"not a whole checkpoint: .*; {folder.path}@best is there$"
    ):
        read_stored(folder.path)
    folder.last.unlink()
    with pytest.raises(InputError, match=rf"no such checkpoint; {folder.path}@best is there$"):
        read_stored(folder.path)
    folder.best.unlink()
    with pytest.raises(InputError, match=r"no such checkpoint$"):
        read_stored(folder.path)
