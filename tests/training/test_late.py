"""What fails late: files that go bad and disks that fill up lose no step that was taken."""

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from minirpn.data.loader import training_order
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.report.records import read_metrics
from minirpn.training import crew
from minirpn.training import train as train_module
from minirpn.training import trainer as trainer_module
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import SharingConfig, load_config
from minirpn.training.run_folder import create_run
from minirpn.training.train import train
from minirpn.training.trainer import Trainer
from minirpn.training.under_way import StoppedError

pytestmark = pytest.mark.slow

TIMES = {"step_seconds", "data_wait_seconds", "seconds"}


def records(folder):
    lines = folder.metrics.read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def assert_same_network(one, other):
    a, b = load_checkpoint(one.last), load_checkpoint(other.last)
    assert (a.step, a.metrics) == (b.step, b.metrics)
    np.testing.assert_equal(a.parameters, b.parameters)
    np.testing.assert_equal(a.velocity, b.velocity)


def assert_same_end(one, other):
    assert_same_network(one, other)
    assert records(one) == records(other)


@pytest.fixture
def own(shapes, tmp_path):
    """A copy of the data set, whose files may go bad."""
    return shutil.copytree(shapes, tmp_path / "own")


@pytest.fixture
def config(small_config, own):
    """Settings without pictures, and with few checkpoints, so that it matters what saves."""
    run = replace(small_config.run, pictures=False, checkpoint_every=100)
    return replace(small_config, data=replace(small_config.data, voc=str(own)), run=run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_config):
    """A run that nothing stopped, on the same images."""
    run = replace(small_config.run, pictures=False, checkpoint_every=100)
    settings = replace(small_config, run=run)
    folder = create_run(tmp_path_factory.mktemp("runs") / "whole", settings)
    train(settings, folder, progress=False)
    return folder


def image_of_step(config, step):
    """Return the file of the training image of a step, counted from 1."""
    dataset = VOCDataset(config.data.voc, split="train")
    order = training_order(
        len(dataset), seed=config.run.seed, augment=config.data.augment, start=step - 1
    )
    return dataset.annotation(next(order).index).image_path


def truncate(path):
    """Cut an image file short, and return a function that mends it."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return lambda: path.write_bytes(content)


def stops(config, folder, **options):
    """Return the line with which a training that had begun stops."""
    with pytest.raises(StoppedError) as caught:
        train(config, folder, progress=False, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- an image ------------------------------------------------------------------------------------


def test_the_command_that_goes_on_is_whole_however_long_the_path_is(new_run, config):
    folder = new_run(f"{'a' * 150}/{'b' * 150}/{'c' * 150}/{'d' * 150}/run", config)
    truncate(image_of_step(config, 2))
    message = stops(config, folder)
    assert len(message) > 1000
    assert f"minirpn train --resume {folder.path}; or without the bad image" in message


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_bad_training_image_keeps_the_steps_before_it(new_run, config, whole, step):
    folder, path = new_run("run", config), image_of_step(config, step)
    mend = truncate(path)
    message = stops(config, folder)
    kept = {1: "no step is done yet", 2: "the first step is kept"}.get(step, "all 4 steps are kept")
    command = f"minirpn train --resume {folder.path}"
    assert message.startswith(f"{path}: image: truncated, damaged or unreadable")
    assert message.endswith(
        f"; {kept} in {folder.path}; once this is mended, go on with: {command}"
        f"; or without the bad image: {command} --skip-bad"
    )
    assert load_checkpoint(folder.last).step == step - 1
    assert f"stopped after step {step - 1}: {path}: image: trunc" in folder.text.read_text()
    last = records(folder)[-1]
    assert last["kind"] == "warning"
    assert last["message"].startswith(f"stopped: {path}: image: truncated")
    mend()
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, whole)


def test_a_bad_validation_image_keeps_the_steps_before_it(new_run, config, whole):
    folder = new_run("run", config)
    path = VOCDataset(config.data.voc, split="val").annotation(0).image_path
    mend = truncate(path)
    message = stops(config, folder)
    assert message.startswith(f"{path}: image: truncated")
    assert f"; all 3 steps are kept in {folder.path}; " in message
    assert load_checkpoint(folder.last).metrics == {
        "best": -1,
        "since_best": 0,
        "to_measure": ["validate"],
    }
    # A second try does not get further, and loses nothing either.
    assert stops(config, folder, resume=True) == message
    mend()
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, whole)
    assert "to_measure" not in load_checkpoint(folder.last).metrics


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize(("where", "name"), [(crew, "validate"), (train_module, "draw_samples")])
def test_killed_while_it_measures_it_ends_as_ever(new_run, small_config, monkeypatch, where, name):
    """Nothing but the checkpoint before the measurement is left."""
    config = replace(small_config, run=replace(small_config.run, checkpoint_every=100))
    undisturbed, folder = new_run("undisturbed", config), new_run("run", config)
    train(config, undisturbed, progress=False)
    original, calls = getattr(where, name), []

    def killed(*args, **options):
        calls.append(name)
        if len(calls) == (1 if name == "validate" else 2):  # the first pictures are of step 0
            raise SystemExit
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(SystemExit):
            train(config, folder, progress=False)
    assert load_checkpoint(folder.last).step == 3
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, undisturbed)


@pytest.mark.parametrize("kinds", ["all", [[]], ["validate", 5]])
def test_an_unknown_measurement_is_one_line(new_run, config, kinds):
    folder = new_run("run", config)
    train(config, folder, progress=False)
    state = load_checkpoint(folder.last)
    save_checkpoint(folder.last, replace(state, metrics={**state.metrics, "to_measure": kinds}))
    with pytest.raises(InputError, match=r"last\.npz: not a whole checkpoint: to_measure is "):
        train(config, folder, resume=True, progress=False)


# --- something else ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [MemoryError("too little"), OSError(errno.EIO, "broken", "a")])
def test_any_error_between_steps_keeps_them(new_run, config, whole, monkeypatch, error):
    folder, path = new_run("run", config), image_of_step(config, 5)
    read = VOCDataset.__getitem__

    def fails(dataset, index):
        if dataset.annotation(index).image_path == path:
            raise error
        return read(dataset, index)

    with monkeypatch.context() as patch:
        patch.setattr(VOCDataset, "__getitem__", fails)
        message = stops(config, folder)
    said = {
        OSError: "a: broken",
        MemoryError: "not enough memory: too little; smaller images need less: in the settings, "
        "resize.short_side is 64 and resize.max_side 96",
    }
    assert message.startswith(f"{said[type(error)]}; all 4 steps are kept in ")
    assert "--skip-bad" not in message
    assert "stopped after step 4: " in folder.text.read_text()
    assert load_checkpoint(folder.last).step == 4
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, whole)


@pytest.mark.parametrize(
    ("where", "kept"), [("mean_of", "all 4 steps"), ("sgd_update", "3 of 4 steps")]
)
def test_an_error_within_a_step_keeps_what_is_whole(
    new_run, config, whole, monkeypatch, where, kept
):
    """While parameters change, what the trainer holds may be half of a step."""
    folder, calls = new_run("run", config), []
    work = getattr(trainer_module, where)

    def fails(*args, **options):
        calls.append(1)
        if len(calls) == 5:
            raise OSError("half")
        return work(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, where, fails)
        assert stops(config, folder).startswith(f"half; {kept} are kept in ")
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, whole)


@pytest.mark.usefixtures("no_finish")
def test_proposals_that_cannot_be_saved_lose_no_phase(new_run, config, monkeypatch):
    config = replace(
        config,
        sharing=SharingConfig(kind="4-step", pre_nms=60, post_nms=30),
        optimizer=replace(config.optimizer, steps=6),
    )
    undisturbed, folder = new_run("undisturbed", config), new_run("run", config)
    train(config, undisturbed, progress=False)

    def full(path, *args):
        raise InputError(f"{path}: cannot write: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "save_proposals", full)
        message = stops(config, folder)
    assert message.startswith(f"{folder.proposals('detector-1')}: cannot write: No space")
    assert "; all 2 steps are kept in " in message
    train(load_config(folder.config), folder, resume=True, progress=False)
    assert_same_end(folder, undisturbed)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "target",
    [
        f"{crew.__name__}.evaluate_split",
        f"{train_module.__name__}.write_json",
        f"{train_module.__name__}.draw_final_pictures",
        "minirpn.report.write_report",
    ],
)
def test_what_fails_after_the_last_step_is_done_again(new_run, small_config, monkeypatch, target):
    folder = new_run("run")

    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")

    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        message = stops(small_config, folder)
    assert message.startswith("file: No space left on device; all 6 steps are kept in ")
    assert not folder.report.exists()
    before = folder.last.read_bytes()
    result = train(small_config, folder, resume=True, progress=False)
    assert (result.steps, result.interrupted) == (6, False)
    assert result.recall is not None
    assert (folder.path / "recall.json").is_file()
    assert folder.report.is_file()
    assert folder.last.read_bytes() == before


def test_records_that_cannot_be_written_lose_no_step(new_run, config, monkeypatch):
    folder = new_run("run", config)
    write = train_module.Records.write

    def full(records, record):
        if record["step"] == 5:
            raise InputError("metrics.jsonl: cannot write: No space left on device")
        write(records, record)

    with monkeypatch.context() as patch:
        patch.setattr(train_module.Records, "write", full)
        assert "; all 5 steps are kept in " in stops(config, folder)
    assert train(config, folder, resume=True, progress=False).steps == 6


# --- without the bad image -----------------------------------------------------------------------


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_run_goes_on_without_a_bad_image(new_run, config, split):
    folder, path = new_run("run", config), image_of_step(config, 5)
    if split == "val":
        path = VOCDataset(config.data.voc, split="val").annotation(0).image_path
    truncate(path)
    stops(config, folder)
    lenient = replace(config, data=replace(config.data, skip_bad=True))
    assert train(lenient, folder, resume=True, progress=False).steps == 6
    assert load_config(folder.config) == lenient
    assert "bad images are left out from now on" in folder.text.read_text()
    assert "its data set is now" not in folder.text.read_text()
    assert f"left out: {path}: image: truncated" in folder.text.read_text()
    used = {record.get("image") for record in records(folder)}
    assert path.stem not in used
    # It goes on so by itself, too.
    assert train(load_config(folder.config), folder, resume=True, progress=False).steps == 6


@pytest.fixture
def goes_bad(monkeypatch):
    """Return a function that lets an image go bad before a step, and one that mends it."""

    def prepare(path, at=0):
        take, content = Trainer.train_step, path.read_bytes()

        def spoils(trainer, *args):
            if trainer.step == at and path.stat().st_size == len(content):
                truncate(path)
            return take(trainer, *args)

        monkeypatch.setattr(Trainer, "train_step", spoils)
        return lambda: path.write_bytes(content)

    return prepare


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("split", ["train", "val"])
def test_with_skip_bad_an_image_that_goes_bad_is_left_out(
    new_run, config, goes_bad, split, capsys, monkeypatch, stop_after
):
    config = replace(config, data=replace(config.data, skip_bad=True))
    path = image_of_step(config, 6)
    if split == "val":
        path = VOCDataset(config.data.voc, split="val").annotation(1).image_path
    mend = goes_bad(path)
    one, other, third = (new_run(name, config) for name in ("one", "other", "third"))
    assert train(config, one).steps == 6
    step = 5 if split == "train" else 3
    told = f"left out from step {step} on: {path}: image: truncated"
    assert f"warning: {told}" in capsys.readouterr().err
    assert told in one.text.read_text()
    warnings = [r["message"] for r in records(one) if r["kind"] == "warning"]
    assert any(message.startswith(told) for message in warnings)
    left = {"train": "7 training and 2", "val": "8 training and 1"}[split]
    assert f"{left} validation images are left" in one.text.read_text()
    # The same again, and also if it is stopped and resumed on the way.
    mend()
    train(config, other, progress=False)
    assert_same_end(one, other)
    mend()
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        assert train(config, third, progress=False).interrupted
    train(config, third, resume=True, progress=False)
    assert_same_network(one, third)


@pytest.mark.usefixtures("no_finish")
def test_images_of_both_splits_that_go_bad_are_left_out_at_once(
    new_run, config, goes_bad, monkeypatch, stop_after
):
    """They are met by a validation; from then on, the order is that of the images that are left."""
    config = replace(config, data=replace(config.data, skip_bad=True))
    config = replace(config, optimizer=replace(config.optimizer, steps=12))
    val_image = VOCDataset(config.data.voc, split="val").annotation(1).image_path
    paths = [image_of_step(config, 12), val_image]
    mends = [goes_bad(path, at=2) for path in paths]
    one, other = new_run("one", config), new_run("other", config)
    assert train(config, one, progress=False).steps == 12
    for path in paths:
        assert f"left out from step 3 on: {path}: image: truncated" in one.text.read_text()
    assert "7 training and 1 validation images are left" in one.text.read_text()
    later = {r["image"] for r in records(one) if r["kind"] == "train" and r["step"] > 3}
    assert paths[0].stem not in later
    for mend in mends:
        mend()
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert train(config, other, progress=False).interrupted
    train(config, other, resume=True, progress=False)
    assert_same_network(one, other)


@pytest.mark.usefixtures("no_finish")
def test_an_error_that_is_not_of_an_image_is_not_left_out(new_run, config, monkeypatch):
    config = replace(config, data=replace(config.data, skip_bad=True))

    def fails(dataset, index):
        raise InputError("odd")

    folder = new_run("run", config)
    monkeypatch.setattr(VOCDataset, "__getitem__", fails)
    assert stops(config, folder).startswith("odd; no step is done yet")


# --- mistakes of minirpn's, too little memory, Ctrl-C ---------------------------------------------


@pytest.mark.usefixtures("no_finish")
def test_a_mistake_has_its_traceback_in_the_log(new_run, config, whole, monkeypatch):
    """The console may be gone."""
    folder = new_run("run", config)

    def mistaken(*args):
        raise KeyError("odd\n\x1b[2J")

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "measure", mistaken)
        with pytest.raises(KeyError):
            train(config, folder, progress=False)
    lines = folder.text.read_text().splitlines()
    assert "Traceback (most recent call last):" in lines
    assert any("in train_phase" in line for line in lines)
    assert lines[-1].startswith("KeyError: ")
    assert all(line.isprintable() for line in lines)
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, whole)


@pytest.mark.usefixtures("no_finish")
def test_a_long_message_of_a_mistake_leaves_the_records_readable(new_run, config, monkeypatch):
    folder = new_run("run", config)

    def mistaken(*args):
        raise ValueError("odd " * 9000)

    monkeypatch.setattr(train_module, "measure", mistaken)
    with pytest.raises(ValueError, match="odd"):
        train(config, folder, progress=False)
    assert read_metrics(folder.metrics)[-1]["message"].startswith("stopped: odd odd")
    (line,) = [one for one in folder.text.read_text().splitlines() if "stopped after" in one]
    assert len(line) < 1100


def test_so_has_a_mistake_at_the_start(new_run, config, monkeypatch):
    folder = new_run("run", config)

    def mistaken(*args):
        raise IndexError("odd")

    monkeypatch.setattr(train_module, "open_splits", mistaken)
    with pytest.raises(IndexError):
        train(config, folder, progress=False)
    assert folder.text.read_text().endswith("IndexError: odd\n")


def test_too_little_memory_at_the_start_names_what_can_be_smaller(new_run, config, monkeypatch):
    folder = new_run("run", config)

    def large(*args):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(train_module, "Trainer", large)
    with pytest.raises(InputError) as caught:
        train(config, folder, progress=False)
    assert str(caught.value) == (
        "not enough memory: Unable to allocate 9 TiB; smaller images need less: in the settings, "
        "resize.short_side is 64 and resize.max_side 96"
    )
    assert "Traceback" not in folder.text.read_text()


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "numpy.savez", "os.open"])
@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_at_once_while_it_saves(new_run, config, whole, monkeypatch, call, after):
    """The second one, which does not wait for the end of a step."""
    folder = new_run("run", config)
    module, name = call.split(".")
    original, calls = getattr({"os": os, "numpy": np}[module], name), []

    def pressed(*args, **options):
        # Not all files are synced by their names.
        is_last = name in ("savez", "fsync") or "last.npz" in str(args[0])
        calls.extend([name] * is_last)
        if is_last and len(calls) > after:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(call, pressed)
        with pytest.raises(KeyboardInterrupt):
            train(config, folder, progress=False)
    train(config, folder, resume=True, progress=False)
    assert_same_end(folder, whole)
    assert not list(folder.path.rglob("*.tmp"))


# --- before the first checkpoint -----------------------------------------------------------------


@pytest.mark.usefixtures("no_finish")
def test_a_run_that_was_killed_before_its_first_checkpoint_begins(
    new_run, config, whole, monkeypatch, capsys
):
    folder = new_run("run", config)

    def killed(*args):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("minirpn.training.under_way.save_checkpoint", killed)
        with pytest.raises(SystemExit):
            train(config, folder, progress=False)
    assert not folder.last.exists()
    folder.environment.unlink()  # killed as early as that
    train(config, folder, resume=True)
    assert folder.environment.is_file()
    told = "it was stopped before its first checkpoint: it starts at step 0"
    assert told in capsys.readouterr().err
    assert told in folder.text.read_text()
    assert_same_end(folder, whole)
    # Also with a new total.
    other = new_run("other", config)
    assert train(config, other, resume=True, steps=7, progress=False).steps == 7
    assert load_config(other.config).optimizer.steps == 7
