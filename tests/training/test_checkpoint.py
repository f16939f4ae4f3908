"""Checkpoints come back as they were, and the last good one survives whatever happens."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.files import write_npz
from minirpn.training.checkpoint import Checkpoint, format_of, load_checkpoint, save_checkpoint


def make_checkpoint(step: int = 7, *, size: int = 3) -> Checkpoint:
    rng = np.random.default_rng(step)
    weight = rng.normal(size=(size, 2, 3, 3)).astype(np.float32)
    return Checkpoint(
        parameters={"conv1.weight": weight, "conv1.bias": np.zeros(size), "empty": np.empty(0)},
        velocity={"conv1.weight": 2 * weight},
        squares={"conv1.weight": weight**2},
        step=step,
        phase=0,
        config={"optimizer": {"lr": 0.001, "rule": "caffe"}},
        metrics={"recall": {"300": 0.5}, "best": float("nan")},
    )


def assert_equal(actual: Checkpoint, expected: Checkpoint) -> None:
    for field in ("parameters", "velocity", "squares"):
        ours, theirs = getattr(actual, field), getattr(expected, field)
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            assert ours[name].dtype == value.dtype
            np.testing.assert_array_equal(ours[name], value)
    for field in ("step", "phase", "config", "version"):
        assert getattr(actual, field) == getattr(expected, field)
    assert str(actual.metrics) == str(expected.metrics)  # nan is unequal to itself


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "last.npz"
    save_checkpoint(path, make_checkpoint())
    return path


def test_round_trip(saved: Path):
    assert_equal(load_checkpoint(saved), make_checkpoint())
    assert [path.name for path in saved.parent.iterdir()] == ["last.npz"]


def test_a_checkpoint_of_the_version_before_is_read_without_its_random_state(saved: Path):
    state = np.random.default_rng(5).bit_generator.state
    changed(saved, {"version": 2, "rng_state": state})
    loaded = load_checkpoint(saved)
    assert loaded.version == 3
    assert_equal(loaded, make_checkpoint())


def test_missing(tmp_path: Path):
    with pytest.raises(InputError, match=r"last\.npz: no such checkpoint"):
        load_checkpoint(tmp_path / "last.npz")


def test_any_truncation_is_noticed(saved: Path):
    content = saved.read_bytes()
    for length in range(0, len(content), 97):
        saved.write_bytes(content[:length])
        with pytest.raises(InputError, match="not a whole checkpoint") as caught:
            load_checkpoint(saved)
        assert "\n" not in str(caught.value)


def test_any_flipped_byte_is_noticed_or_harmless(saved: Path):
    content = saved.read_bytes()
    noticed = 0
    for position in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        saved.write_bytes(damaged)
        try:
            loaded = load_checkpoint(saved)
        except InputError:
            noticed += 1
        else:  # a time stamp, say, in the archive's table of contents
            assert_equal(loaded, make_checkpoint())
    assert noticed > len(content) / 5 * 0.6


def test_a_flipped_byte_in_the_data_names_the_array(saved: Path):
    content = bytearray(saved.read_bytes())
    position = content.find(make_checkpoint().parameters["conv1.weight"].tobytes())
    content[position] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged at parameters/conv1\.weight"):
        load_checkpoint(saved)


def test_foreign_archives_are_refused(tmp_path: Path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz: not a checkpoint: it has no metadata"):
        load_checkpoint(tmp_path / "other.npz")


def test_pickles_are_refused(tmp_path: Path):
    np.savez(tmp_path / "pickled.npz", metadata=np.array([{"format": "x"}], dtype=object))
    with pytest.raises(InputError, match="not a whole checkpoint"):
        load_checkpoint(tmp_path / "pickled.npz")


def changed(path: Path, changes: dict[str, object]) -> None:
    """Change values in the metadata of a checkpoint, by dotted key."""
    with np.load(path) as archive:
        arrays = dict(archive)
    metadata = json.loads(arrays.pop("metadata").tobytes())
    for key, value in changes.items():
        *sections, name = key.split(".")
        inner = metadata
        for section in sections:
            inner = inner[section]
        inner[name] = value
    write_npz(path, metadata, arrays)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", -1),
        ("step", True),
        ("step", 10**400),
        ("phase", -1),
        ("phase", 10**30),
        ("metrics.best", "high"),
        ("metrics.best", 10**400),
        ("metrics.best", True),
        ("metrics.since_best", 1.5),
        ("metrics.since_best", -1),
        ("arrays", [{}]),
        ("config", []),
    ],
    ids=lambda one: str(one)[:20],
)
def test_metadata_are_checked_where_they_are_read(saved: Path, key: str, value: object):
    changed(saved, {key: value})
    with pytest.raises(InputError, match=r"last\.npz: not a whole checkpoint: ") as caught:
        load_checkpoint(saved)
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [("parameters/conv1.bias", np.inf), ("velocity/conv1.weight", np.nan), ("parameters/n", 3)],
)
def test_arrays_are_finite_floating_point_numbers(saved: Path, name: str, value: float):
    with np.load(saved) as archive:
        arrays = dict(archive)
    arrays[name] = np.full(3, value)
    np.savez(saved, **arrays | {name: arrays[name].astype(int) if value == 3 else arrays[name]})
    with pytest.raises(InputError, match=f"not a whole checkpoint: {name} holds other things"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"[" * 2000, b'{"a":' * 2000, b"[" * 60 + b"]" * 60, b"\xff"])
def test_metadata_that_are_nested_for_ever(tmp_path: Path, content: bytes):
    np.savez(tmp_path / "deep.npz", metadata=np.frombuffer(content, np.uint8))
    with pytest.raises(InputError, match=r"deep\.npz: not a checkpoint: "):
        load_checkpoint(tmp_path / "deep.npz")
    assert format_of(tmp_path / "deep.npz") is None


def test_another_version_is_refused(tmp_path: Path):
    path = tmp_path / "new.npz"
    save_checkpoint(path, Checkpoint(**{**vars(make_checkpoint()), "version": 9}))
    with pytest.raises(
        InputError, match=r"new\.npz: checkpoint version 9, this minirpn reads 2 and 3"
    ):
        load_checkpoint(path)


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failed_save_leaves_the_old_one(saved: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"write": "numpy.savez", "fsync": "os.fsync", "replace": "os.replace"}[call]
    monkeypatch.setattr(target, fail)
    with pytest.raises(InputError, match=r"last\.npz: cannot write: No space left on device$"):
        save_checkpoint(saved, make_checkpoint(8))
    monkeypatch.undo()
    assert load_checkpoint(saved).step == 7
    assert [path.name for path in saved.parent.iterdir()] == ["last.npz"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_really_full_disk_is_one_error(saved: Path, monkeypatch):
    """The archive is closed, and fails again, while the first failure is on its way."""
    full = saved.parent / "aside.tmp", os.fdopen(os.open("/dev/full", os.O_RDWR), "w+b", 0)
    monkeypatch.setattr("minirpn.files._new_file_beside", lambda path: full)
    with pytest.raises(InputError, match="cannot write"):
        save_checkpoint(saved, make_checkpoint(8))
    assert load_checkpoint(saved).step == 7


def test_a_missing_folder_is_one_error(tmp_path: Path):
    with pytest.raises(InputError, match="cannot write: No such file or directory"):
        save_checkpoint(tmp_path / "gone" / "last.npz", make_checkpoint())


def test_what_a_killed_process_left_is_overwritten(saved: Path):
    (saved.parent / ".last.npz.0123456789abcdef.tmp").write_bytes(b"half")
    save_checkpoint(saved, make_checkpoint(8))
    assert load_checkpoint(saved).step == 8
    assert [path.name for path in saved.parent.iterdir()] == ["last.npz"]


SAVER = """
import sys
from pathlib import Path
import numpy as np
from minirpn.training.checkpoint import Checkpoint, save_checkpoint

path, step = Path(sys.argv[1]), int(sys.argv[2])
while True:
    step += 1
    arrays = {"w": np.full((200, 200), step, np.float32)}
    save_checkpoint(path, Checkpoint(arrays, arrays, {}, step, 0, {}, {}))
    print(step, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_never_loses_the_last_checkpoint(tmp_path: Path):
    path, chance, step = tmp_path / "last.npz", random.Random(0), 0
    for _ in range(30):
        command = [sys.executable, "-c", SAVER, str(path), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline()  # one save is complete
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        checkpoint = load_checkpoint(path)
        assert checkpoint.step > step
        assert np.all(checkpoint.parameters["w"] == checkpoint.step)
        step = checkpoint.step
