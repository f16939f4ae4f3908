"""Disks, folders and files that are not as they should be: one line each, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.files import folder_lock
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.run_folder import create_run, open_run
from minirpn.training.tables import to_table
from minirpn.training.train import train
from minirpn.training.trainer import Trainer


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Leave out what comes after the last step."""
    monkeypatch.setattr("minirpn.training.train.finish_run", lambda *args: (None, None))


@pytest.fixture
def begun(new_run, small_config, monkeypatch):
    """A run that died after four of its six steps, two of them saved."""
    folder = new_run("begun")
    with monkeypatch.context() as patch:
        take = Trainer.train_step

        def dies(trainer, *args):
            if trainer.step == 4:
                raise RuntimeError("killed")
            return take(trainer, *args)

        patch.setattr(Trainer, "train_step", dies)
        with pytest.raises(RuntimeError):
            train(small_config, folder, progress=False)
    assert load_checkpoint(folder.last).step == 4
    return folder


def files_of(folder):
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def fails(config, folder, **options):
    """Return the one line with which a training stops."""
    with pytest.raises(InputError) as caught:
        train(config, folder, progress=False, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_ends_as_ever(folder, config, tmp_path):
    """Resume a run, and compare its end with that of one that had no trouble."""
    train(config, folder, resume=True, progress=False)
    quiet = create_run(tmp_path / "quiet", config)
    train(config, quiet, progress=False)
    ends = [load_checkpoint(run.last) for run in (folder, quiet)]
    assert ends[0].step == ends[1].step == config.optimizer.steps
    np.testing.assert_equal(ends[0].parameters, ends[1].parameters)
    assert len(folder.metrics.read_text().splitlines()) == len(
        quiet.metrics.read_text().splitlines()
    )


# --- the disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_is_full_when_saving(begun, small_config, tmp_path, monkeypatch, call):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"write": "numpy.savez", "fsync": "os.fsync", "replace": "os.replace"}[call]
    before = {path: path.read_bytes() for path in begun.path.rglob("*.npz")}
    assert begun.last in before
    with monkeypatch.context() as patch:
        # What is dropped from the records on resuming is written before.
        patch.setattr(
            "minirpn.training.run_folder.RunFolder.drop_records_after", lambda *args: None
        )
        patch.setattr("minirpn.training.train.is_due", lambda *args: True)  # save each step
        patch.setattr(target, full)
        message = fails(small_config, begun, resume=True)
    assert message == (
        f"{begun.last}: cannot write: No space left on device; 4 of 5 steps are kept in "
        f"{begun.path}; once this is mended, go on with: minirpn train --resume {begun.path}"
    )
    assert {path: path.read_bytes() for path in begun.path.rglob("*.npz")} == before
    assert_ends_as_ever(begun, small_config, tmp_path)


@pytest.mark.parametrize("name", ["metrics.jsonl", "log.txt"])
def test_a_disk_that_is_full_when_recording(new_run, small_config, monkeypatch, name):
    opened = os.open

    def full(path, flags, *args, **kwargs):
        if flags & os.O_APPEND and Path(path).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, flags, *args, **kwargs)

    folder = new_run("full")
    monkeypatch.setattr(os, "open", full)
    config = replace(small_config, model=replace(small_config.model, backbone="squeezenet"))
    assert fails(config, folder) == f"{folder.path / name}: cannot write: No space left on device"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_a_place_where_no_folder_can_be_made(small_config):
    with pytest.raises(InputError, match=r"^/proc/run: cannot make the run folder: "):
        create_run(Path("/proc/run"), small_config)


def test_a_folder_that_cannot_be_written_to(begun, small_config, tmp_path, monkeypatch):
    """Rights do not stop the superuser, whom tests may run as; so opening is made to fail."""
    opened = os.open

    def read_only(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR) and Path(path).is_relative_to(begun.path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *args, **kwargs)

    before = files_of(begun)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        message = fails(small_config, begun, resume=True)
    assert message == f"{begun.metrics}: cannot write: Read-only file system"
    assert files_of(begun) == before
    assert_ends_as_ever(begun, small_config, tmp_path)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_folder_that_is_deleted_under_way(new_run, small_config, monkeypatch, step):
    folder = new_run("gone")
    take = Trainer.train_step

    def deletes(trainer, *args):
        if trainer.step + 1 == step:
            shutil.rmtree(folder.path)
        return take(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", deletes)
    message = fails(small_config, folder)
    assert message == f"{folder.metrics}: cannot write: No such file or directory"
    assert not folder.path.exists()


# --- two at once ---------------------------------------------------------------------------------


def test_two_runs_cannot_have_one_folder(begun, small_config):
    before = files_of(begun)
    with pytest.raises(InputError, match="run folder exists: use --resume or another --out"):
        create_run(begun.path, small_config)
    assert files_of(begun) == before


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_a_run_cannot_be_resumed_twice_at_once(begun, small_config, tmp_path):
    before = files_of(begun)
    with folder_lock(begun.path):
        message = fails(small_config, begun, resume=True)
    assert message == f"{begun.path}: another process is training in it"
    assert files_of(begun) == before
    assert_ends_as_ever(begun, small_config, tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_a_drive_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def none(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", none)
    with folder_lock(tmp_path), folder_lock(tmp_path):
        pass
    with (
        pytest.raises(InputError, match="gone: cannot open: No such file"),
        folder_lock(tmp_path / "gone"),
    ):
        pass


# --- another checkpoint --------------------------------------------------------------------------


def test_a_checkpoint_of_another_network(begun, small_config):
    others = {
        "backbone": replace(small_config.model, backbone="squeezenet"),
        "classifier": replace(small_config.model, classifier="logistic"),
    }
    for model in others.values():
        other = Trainer(replace(small_config, model=model)).checkpoint()
        save_checkpoint(begun.last, replace(other, config=to_table(small_config)))
        before = files_of(begun)
        said = fails(small_config, begun, resume=True)
        assert said.startswith(f"{begun.last}: parameters of another network: '")
        assert files_of(begun) == before


def test_a_checkpoint_of_another_version(begun, small_config):
    save_checkpoint(begun.last, replace(load_checkpoint(begun.last), version=1))
    before = files_of(begun)
    said = fails(small_config, begun, resume=True)
    assert said == f"{begun.last}: checkpoint version 1, this minirpn reads 2 and 3"
    assert files_of(begun) == before


def test_a_run_without_a_checkpoint(begun, small_config):
    begun.last.unlink()
    said = fails(small_config, open_run(begun.path), resume=True)
    assert said == f"{begun.last}: no such checkpoint"
