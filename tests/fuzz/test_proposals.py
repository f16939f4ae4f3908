"""Damaged files of proposals: they come back, or one clear line; never anything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from minirpn.data.samples import Annotation
from minirpn.training.evaluate import ImageProposals, load_proposals, save_proposals

TRIALS = 3000
ODD_VALUES = (
    None, True, 0, -1, 1, 10**30, 1.5, float("nan"), "", "a", "x" * 999, "minirpn proposals", [],
    [1], [[]], ["a"], ["a", "a"], ["a", "b"], [1, 2], [2, 1, 0], [-1, 4], [True, True], [1e300, 1],
    [2.0, 0, 1], [2, False, True], {}, {"a": 1},
)  # fmt: skip


@pytest.fixture
def path(tmp_path, rng, monkeypatch):
    """A sound file: two proposals for one image, none for another, one for a third."""
    monkeypatch.setattr("minirpn.files.os.fsync", lambda handle: None)
    path = tmp_path / "proposals.npz"
    found = []
    for name, count in (("a", 2), ("b", 0), ("c", 1)):
        none = np.zeros((0, 4), np.float32)
        whose = Annotation(name, Path(name), (9, 9), none, np.zeros(0, int), np.zeros(0, bool))
        found.append(ImageProposals(whose, np.sort(rng.random((count, 4))), rng.random(count)))
    save_proposals(path, found)
    return path


def sound(path) -> None:
    """Load a file; what comes back must be what training can use."""
    for boxes, scores in load_proposals(path).values():
        assert boxes.dtype == np.float32
        assert boxes.shape == (len(scores), 4)
        assert np.isfinite(boxes).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of NumPy, about headers it reads all the same
def test_damaged_bytes(path, mutate, times, one_line):
    content, loaded = path.read_bytes(), 0
    for _ in range(times(TRIALS)):
        path.write_bytes(mutate(content))
        loaded += one_line(lambda: sound(path), f"{path}: ")
    assert loaded < times(TRIALS) // 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_metadata_of_any_kind(path, times, one_line, rng):
    with np.load(path) as archive:
        arrays = dict(archive)
    metadata = json.loads(arrays["metadata"].tobytes())
    loaded = 0
    for _ in range(times(TRIALS)):
        changed = dict(metadata)
        for _ in range(int(rng.integers(1, 3))):
            key = list(metadata)[int(rng.integers(len(metadata)))]
            value = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
            changed[key] = value
            if rng.random() < 0.1:
                del changed[key]
        whole = changed if rng.random() < 0.95 else ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
        encoded = np.frombuffer(json.dumps(whole).encode(), np.uint8)
        np.savez(path, **(arrays | {"metadata": encoded}))
        loaded += one_line(lambda: sound(path), f"{path}: ")
    assert loaded < times(TRIALS) // 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_arrays_of_any_kind(path, times, one_line, rng):
    with np.load(path) as archive:
        arrays = dict(archive)
    shapes = ((), (0,), (3,), (3, 4), (4, 3), (3, 5), (2, 4), (3, 4, 1), (0, 4), (12,))
    types = (np.float32, np.float64, np.float16, np.int64, np.uint8, bool)
    values = (0.0, 1.0, -1.0, np.nan, np.inf, 1e30)
    for _ in range(times(TRIALS // 2)):
        shape = shapes[int(rng.integers(len(shapes)))]
        value = np.full(shape, values[int(rng.integers(len(values)))])
        odd = value.astype(types[int(rng.integers(len(types)))])
        name = ("boxes", "scores", "metadata")[int(rng.integers(3))]
        changed = arrays | {name: odd}
        if rng.random() < 0.1:
            del changed[name]
        np.savez(path, **changed)
        one_line(lambda: sound(path), f"{path}: ")


def test_the_sound_one_is_loaded(path, one_line):
    assert one_line(lambda: sound(path), "")
