"""Damaged checkpoints: the state comes back, or one clear line; never anything else."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import default_config
from minirpn.training.trainer import Trainer

TRIALS = 1500
ODD_VALUES = (None, True, 0, -1, 10**30, 1.5, "", "PCG64", "x" * 999, [], [1], {}, {"state": {}})


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    """Of a network that has not learnt anything."""
    return Trainer(default_config(voc=False))


@pytest.fixture
def path(tmp_path, trainer, monkeypatch):
    """A sound checkpoint."""
    monkeypatch.setattr("minirpn.files.os.fsync", lambda handle: None)
    path = tmp_path / "last.npz"
    save_checkpoint(path, trainer.checkpoint())
    return path


def members_of(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path, members: dict[str, bytes]) -> None:
    """Write an archive whose checksums are right, whatever is in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def as_npy(value: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(json.dumps(value).encode(), dtype=np.uint8))
    return buffer.getvalue()


def small(members: dict[str, bytes]) -> dict[str, bytes]:
    """Return the metadata and two arrays, so that changes meet more than numbers."""
    return {
        name: members[name]
        for name in ["metadata.npy", *sorted(members, key=lambda n: len(members[n]))[:2]]
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of NumPy, about headers it reads all the same
@pytest.mark.parametrize("place", ["anywhere", "in the directory"])
def test_damaged_bytes(path, mutate, times, one_line, place):
    write_members(path, small(members_of(path)))
    content = path.read_bytes()
    start = content.index(b"PK\1\2") if place == "in the directory" else 0
    loaded = 0
    for _ in range(times(TRIALS)):
        path.write_bytes(content[:start] + mutate(content[start:]))
        loaded += one_line(lambda: load_checkpoint(path), f"{path}: ")
    assert loaded < times(TRIALS) // 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damaged_arrays_under_right_checksums(path, mutate, times, one_line, rng):
    members = small(members_of(path))
    names = list(members)
    for _ in range(times(TRIALS)):
        name = names[int(rng.integers(len(names)))]
        # The first bytes say what kind of array it is.
        head = members[name][:140]
        write_members(path, members | {name: mutate(head) + members[name][140:]})
        one_line(lambda: load_checkpoint(path), f"{path}: ")


@pytest.mark.slow
def test_metadata_of_any_kind(path, times, one_line, rng, trainer):
    members = members_of(path)
    with np.load(path) as archive:
        metadata = json.loads(archive["metadata"].tobytes())

    def resume() -> None:
        checkpoint = load_checkpoint(path)
        trainer.restore(checkpoint, path)

    resumed = 0
    for _ in range(times(TRIALS // 3)):
        changed = json.loads(json.dumps(metadata))
        inner = changed
        while True:
            key = list(inner)[int(rng.integers(len(inner)))]
            if isinstance(inner[key], dict) and inner[key] and rng.random() < 0.7:
                inner = inner[key]
                continue
            break
        if rng.random() < 0.3:
            del inner[key]
        else:
            inner[key] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
        write_members(path, members | {"metadata.npy": as_npy(changed)})
        resumed += one_line(resume, f"{path}: ")
    assert resumed < times(TRIALS // 3)


def test_the_sound_one_is_resumed(path, one_line, trainer):
    write_members(path, members_of(path))
    assert one_line(lambda: trainer.restore(load_checkpoint(path), path), "")
