"""What travels in one training step is what docs/explanation/devices.md lists, in that order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn import accel, backend
from minirpn.data import VOCDataset
from minirpn.nn import dropout_forward
from minirpn.training.build import build_pipeline
from minirpn.training.trainer import Trainer

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "devices.md"
ROW = re.compile(
    r"^\| [^|]*`\((?P<shape>[^`]*)\)` (?P<dtype>\w+) \| (?P<way>[^|]*) \| (?P<when>[^|]*) \|"
)

# Which rows of the table are about which step.
STEPS = {
    "rpn": {"always"},
    "detector": {"always", "detector", "detector alone", "RoI pooling"},
    "approximate-joint": {"always", "detector", "RPN and detector", "RoI pooling"},
    "joint": {"always", "detector", "RPN and detector", "joint"},
    "clipped": {"always", "`--clip-norm`"},
    "released": {"always"},
}


def listed(kind):
    """Return the rows of the table for one kind of step."""
    rows = [row.groupdict() for row in map(ROW.match, PAGE.read_text().splitlines()) if row]
    unknown = {row["when"] for row in rows} - set().union(*STEPS.values()) - {"VGG-16, ZF"}
    assert not unknown
    return [row for row in rows if row["when"] in STEPS[kind]]


def assert_listed(moves, rows):
    """Compare moves with rows; a letter in a shape is the same number wherever it stands."""
    assert [move.way for move in moves] == [row["way"] for row in rows], moves
    assert [move.dtype for move in moves] == [row["dtype"] for row in rows], moves
    letters = {}
    for move, row in zip(moves, rows, strict=True):
        sides = [side.strip() for side in row["shape"].split(",") if side.strip()]
        assert len(move.shape) == len(sides), (move, row)
        for length, side in zip(move.shape, sides, strict=True):
            wanted = int(side) if side.isdigit() else letters.setdefault(side, length)
            assert length == wanted, (move, row, letters)


@pytest.fixture
def step_of(config_of, device, shapes):
    """Return a function that takes one step of some kind, each on an image of its own.

    The images are prepared before, as a loader does.
    """

    def make(kind):
        sharing = {"joint": "joint", "approximate-joint": "approximate-joint"}.get(kind, "rpn-only")
        config = config_of("4-step" if kind == "detector" else sharing, 12)
        dataset = VOCDataset(shapes, split="train")
        config = replace(config, data=replace(config.data, classes=dataset.classes))
        config = replace(config, run=replace(config.run, graphs=False))
        if kind == "clipped":
            config = replace(config, optimizer=replace(config.optimizer, clip_norm=1.0))
        if kind == "released":
            config = replace(config, loss=replace(config.loss, form="released"))
        trainer = Trainer(config, device)
        pipeline = build_pipeline(config, trainer.network)
        prepared = [pipeline.example(dataset[index]) for index in range(3)]
        proposals = None
        if kind == "detector":
            trainer.begin_phase(1)
            proposals = [np.array([[0, 0, 30, 30], [8, 8, 60, 50], [2, 30, 70, 60]], np.float32)]
        finish = trainer.work_ahead()
        examples = iter(prepared if finish is None else [finish(each) for each in prepared])
        return lambda: trainer.train_step([next(examples)], proposals)

    return make


@pytest.fixture
def array_code():
    """The list is that of the array code; kernels written for a GPU move other things."""
    with accel.use("array"):
        yield


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_moves_what_is_listed(step_of, array_code, kind):
    take = step_of(kind)
    take()  # what goes once has gone
    for _ in range(2):
        with backend.watched_moves() as moves:
            take()
        assert_listed(moves, listed(kind))


def test_fixed_numbers_go_once(step_of, array_code, monkeypatch):
    monkeypatch.setattr(backend, "_CONSTANTS", {})
    take = step_of("approximate-joint")
    with backend.watched_moves() as first:
        take()
    with backend.watched_moves() as second:
        take()
    # Anchors, unit square, what deltas are divided by. (An image may have one object, too.)
    assert {(6, 4), (1, 4), (4,)} <= {move.shape for move in first}
    assert not {(6, 4), (4,)} & {move.shape for move in second}
    assert len(first) == len(second) + 3


def test_dropout_sends_what_stays(device, rng):
    x = device.put(rng.normal(size=(3, 5)).astype(np.float32))
    with backend.watched_moves() as moves:
        dropout_forward(x, probability=0.5, rng=rng)
    (row,) = (
        row.groupdict()
        for row in map(ROW.match, PAGE.read_text().splitlines())
        if row and row["when"] == "VGG-16, ZF"
    )
    assert_listed(moves, [row])


def test_a_validation_brings_numbers_of_an_image_together(device, config_of, shapes, array_code):
    from minirpn.training.evaluate import validate

    config = config_of("rpn-only", 6)
    trainer = Trainer(config, device)
    dataset = VOCDataset(shapes, split="val")
    pipeline = build_pipeline(config, trainer.network)
    settings = trainer.objective, config.proposals
    validate(trainer.model, dataset, pipeline, *settings, seed=0, limit=1)
    with backend.watched_moves() as moves:
        validate(trainer.model, dataset, pipeline, *settings, seed=0, limit=1)
    down = [(len(move.shape), move.dtype) for move in moves if move.way == "to the host"]
    # The three losses, the look for NaN, boxes and scores.
    assert down == [(1, "float32"), (0, "bool"), (2, "float32"), (1, "float32")]
    up = [len(move.shape) for move in moves if move.way == "to the device"]
    assert up == [3, 1, 2]  # the image, the sampled labels, their targets
