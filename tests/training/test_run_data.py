"""The splits of a run: something to learn from, something to measure, and what they share."""

import re
import shutil
from dataclasses import replace

import pytest

from minirpn.errors import InputError
from minirpn.rpn.targets import LabelConfig
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import DataConfig, SharingConfig, load_config, save_config
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


# --- the same settings ---------------------------------------------------------------------------


@pytest.fixture
def begun(new_run, small_config, monkeypatch, stop_after):
    """A run that was stopped after four of its six steps."""
    config = replace(small_config, run=replace(small_config.run, pictures=False))
    folder = new_run("run", config)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert train(config, folder, progress=False).interrupted
    return folder


def edited(folder, section, **values):
    """Change settings in ``config.toml``, as with an editor, and return them all."""
    config = load_config(folder.config)
    changed = replace(config, **{section: replace(getattr(config, section), **values)})
    save_config(folder.config, changed)
    return changed


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("optimizer", {"lr": 0.5}, "optimizer.lr: is 0.5, but the run was trained with 0.01"),
        ("run", {"seed": 7}, "run.seed: is 7, but the run was trained with 0"),
        (
            "anchors",
            {"scales": (2.0, 5.0)},
            "anchors.scales: is [2.0, 5.0], but the run was trained with [2.0, 4.0]",
        ),
        ("resize", {"short_side": 66}, "resize.short_side: is 66, but the run was trained with 64"),
        (
            "data",
            {"use_difficult": True},
            "data.use_difficult: is True, but the run was trained with False",
        ),
        (
            "model",
            {"weights": "shapes"},
            "model.weights: is 'shapes', but the run was trained with 'none'",
        ),
        (
            "optimizer",
            {"drop_at": 0.5},
            "optimizer.drop_at: is 0.5, but the run was trained with 0.75",
        ),
        ("run", {"patience": 3}, "run.patience: is 3, but the run was trained with 'none'"),
        ("data", {"voc": None}, "data.voc: is 'none', but the run was trained with '"),
    ],
)
def test_settings_that_were_edited_are_refused(begun, section, values, said):
    config = edited(begun, section, **values)
    before = {path: path.read_bytes() for path in begun.path.rglob("*.*")}
    with pytest.raises(InputError) as caught:
        train(config, begun, resume=True, progress=False)
    assert str(caught.value).startswith(f"{begun.config}: {said}")
    assert str(caught.value).endswith(
        f": put that back, or start a new run, with --weights {begun.path}"
    )
    assert {path: path.read_bytes() for path in begun.path.rglob("*.*")} == before


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("run", {"threads": 2, "detect_anomaly": True}),
        ("data", {"skip_bad": True}),
        ("optimizer", {"steps": 8}),
    ],
)
def test_other_settings_may_be_edited(begun, section, values):
    config = edited(begun, section, **values)
    steps = config.optimizer.steps
    assert train(config, begun, resume=True, progress=False).steps == steps


@pytest.mark.usefixtures("no_finish")
def test_a_longer_run_that_was_killed_at_once_can_be_longer_still(
    new_run, small_config, monkeypatch, stop_after
):
    """Its checkpoint has the settings of each start, also if no step was taken in it."""
    optimizer = replace(small_config.optimizer, drop_at=0.68)
    config = replace(
        small_config, optimizer=optimizer, run=replace(small_config.run, pictures=False)
    )
    begun = new_run("run", config)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert train(config, begun, progress=False).interrupted

    def killed(*args):
        raise SystemExit

    # Step 5 would be at the lower rate, so the drop gets another share; then that one stays.
    for total in (5, 20):
        with monkeypatch.context() as patch:
            patch.setattr("minirpn.training.train.take_steps", killed)
            with pytest.raises(SystemExit):
                train(load_config(begun.config), begun, resume=True, steps=total, progress=False)
    assert load_checkpoint(begun.last).step == 4
    assert train(load_config(begun.config), begun, resume=True, progress=False).steps == 20


@pytest.mark.usefixtures("no_finish")
def test_a_setting_that_the_checkpoint_does_not_know_is_not_compared(begun):
    """It is from before there was one."""
    state = load_checkpoint(begun.last)
    table = {**state.config, "run": {**state.config["run"]}}
    del table["run"]["seed"]
    save_checkpoint(begun.last, replace(state, config=table))
    assert train(load_config(begun.config), begun, resume=True, progress=False).steps == 6


@pytest.mark.usefixtures("no_finish")
def test_settings_that_the_training_fills_in_are_its_own(new_run, small_config, stop_after):
    """The classes of a detector, and how its weights want the pixels."""
    config = replace(
        small_config,
        sharing=SharingConfig(kind="approximate-joint"),
        model=replace(small_config.model, weights="shapes", freeze=None),
        anchors=replace(small_config.anchors, scales=(2.0, 4.0, 8.0)),
        run=replace(small_config.run, pictures=False),
    )
    folder = new_run("run", config)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2)
        assert train(config, folder, progress=False).interrupted
    assert train(load_config(folder.config), folder, resume=True, progress=False).steps == 6


def test_a_run_without_a_positive_anchor_says_so(small_config, tmp_path, no_figures, capsys):
    # Anchors larger than the images cross their borders, so that none is labelled.
    large, inside = replace(small_config.anchors, scales=(64.0,)), LabelConfig(inside_only=True)
    config = replace(small_config, anchors=large, labels=inside)
    folder = create_run(tmp_path / "run", config)
    train(config, folder)
    assert "no anchor was positive in 6 steps" in capsys.readouterr().err
    assert "no anchor was positive in 6 steps" in folder.text.read_text()
