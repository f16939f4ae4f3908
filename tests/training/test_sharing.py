"""Trainings with a detector: phases, what learns in which, and that a stop changes nothing."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn.data.samples import Annotation, Example
from minirpn.detector import FasterRCNN
from minirpn.errors import InputError
from minirpn.training.build import load_model
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import OptimizerConfig, RunConfig, SharingConfig, load_config
from minirpn.training.evaluate import load_proposals
from minirpn.training.phases import phases_of
from minirpn.training.run_folder import create_run
from minirpn.training.train import train
from minirpn.training.trainer import Trainer

KINDS = ("4-step", "approximate-joint", "joint")
STEPS = 12


@pytest.fixture(scope="module")
def sharing_config(small_config):
    """Make the settings of a small run with a detector."""

    def make(kind, **options):
        return replace(
            small_config,
            sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30, **options),
            optimizer=OptimizerConfig(steps=STEPS, lr=0.01),
            run=RunConfig(threads=1, validate_every=4, checkpoint_every=5, diagnose_every=6),
        )

    return make


@pytest.fixture(scope="module")
def finished(sharing_config, tmp_path_factory):
    """Train one of each kind, once; to be read only."""

    @functools.cache
    def make(kind):
        folder = create_run(tmp_path_factory.mktemp(kind) / "whole", sharing_config(kind))
        return folder, train(sharing_config(kind), folder, progress=False)

    return make


def records(folder):
    times = {"step_seconds", "data_wait_seconds", "seconds"}
    lines = folder.metrics.read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


def assert_same_end(one, other):
    assert records(one) == records(other)
    a, b = load_checkpoint(one.last), load_checkpoint(other.last)
    assert (a.step, a.phase, a.metrics) == (b.step, b.phase, b.metrics)
    for before, after in ((a.parameters, b.parameters), (a.velocity, b.velocity)):
        assert set(before) == set(after)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])


def test_four_steps_share_the_steps_two_to_one(sharing_config):
    phases = phases_of(sharing_config("4-step"))
    assert [(phase.name, phase.start, phase.steps) for phase in phases] == [
        ("rpn-1", 0, 4),
        ("detector-1", 4, 2),
        ("rpn-2", 6, 4),
        ("detector-2", 10, 2),
    ]
    from_file = phases_of(sharing_config("4-step", proposals="file.npz"))
    assert [(phase.name, phase.steps) for phase in from_file] == [
        ("detector-1", 3),
        ("rpn-2", 6),
        ("detector-2", 3),
    ]


def test_each_phase_has_a_learning_rate_of_its_own(sharing_config):
    config = sharing_config("4-step")
    first, second = phases_of(config)[:2]
    rates = [
        phase.lr(step, config.optimizer)
        for phase in (first, second)
        for step in range(phase.start, phase.end)
    ]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.001, 0.01, 0.01])


def changed(before, after):
    """Return the parts of the network whose parameters two checkpoints tell apart."""
    names = {n for n in before.parameters if np.any(before.parameters[n] != after.parameters[n])}
    return {
        "rpn" if n.startswith("rpn.") else "detector" if n.startswith("detector.") else "backbone"
        for n in names
    }


@pytest.mark.usefixtures("no_finish")
def test_a_phase_changes_what_it_is_for(sharing_config, new_run, monkeypatch):
    config = sharing_config("4-step")
    folder = new_run("phases", config)
    seen = {}
    begin = Trainer.begin_phase

    def spied(trainer, index):
        seen[index] = trainer.checkpoint() if index else None
        begin(trainer, index)

    monkeypatch.setattr(Trainer, "begin_phase", spied)
    train(config, folder, progress=False)
    start, end = load_checkpoint(folder.start), load_checkpoint(folder.last)
    # Before phase 1 the backbone has been set back to the start, so only the RPN differs.
    assert changed(start, seen[1]) == {"rpn"}
    assert changed(seen[1], seen[2]) == {"backbone", "detector"}
    assert changed(seen[2], seen[3]) == {"rpn"}
    assert changed(seen[3], end) == {"detector"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_whole_and_repeats_to_the_bit(finished, sharing_config, new_run, request, kind):
    folder, result = finished(kind)
    assert result.steps == STEPS
    assert 0 <= result.precision.mean_ap <= 1
    for name in ("precision.json", "recall.json", "report.html", "checkpoints/best.npz"):
        assert (folder.path / name).is_file(), name
    captions = json.loads((folder.plots / "captions.json").read_text())
    detections = [name for name in captions if name.startswith("detections_")]
    assert len(detections) == sum(name.startswith("proposals_") for name in captions) > 0
    assert all((folder.plots / name).is_file() for name in detections)
    model, config = load_model(folder.path)
    assert isinstance(model, FasterRCNN)
    assert config.data.classes
    assert model.detector.pooling == ("align" if kind == "joint" else "pool")
    request.getfixturevalue("no_finish")
    again = new_run("again", config)
    train(sharing_config(kind), again, progress=False)
    assert_same_end(again, folder)
    kinds = {record["phase"] for record in records(folder) if record["kind"] == "train"}
    assert kinds == {phase.name for phase in phases_of(config)}
    train_records = [record for record in records(folder) if record["kind"] == "train"]
    assert all(np.isfinite(record["loss"]) for record in train_records)


@pytest.mark.slow
@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("often", [1, 3])
def test_stopped_and_resumed_anywhere_it_ends_the_same(
    finished, sharing_config, new_run, monkeypatch, stop_after, kind, often
):
    """Stopped before the first step, then after every `often` steps of every start."""
    whole, _ = finished(kind)
    folder, stopped_at = new_run("stopped", sharing_config(kind)), []
    for start in range(STEPS + 2):
        stop_after(monkeypatch, often if start else 0)
        config = load_config(folder.config)
        result = train(config, folder, resume=start > 0, progress=False)
        stopped_at.append(result.steps)
        if not result.interrupted:
            break
    assert_same_end(folder, whole)
    assert stopped_at == [*range(0, STEPS, often), STEPS]


@pytest.mark.slow
@pytest.mark.usefixtures("no_finish")
def test_death_between_two_phases_changes_nothing(finished, sharing_config, new_run, monkeypatch):
    whole, _ = finished("4-step")
    config = sharing_config("4-step")
    for place in ("begin_phase", "reset_backbone"):
        folder = new_run(place, config)
        with monkeypatch.context() as patch:
            method = getattr(Trainer, place)

            def dies(trainer, *args, method=method):
                if trainer.step > 0:
                    raise RuntimeError("killed")
                method(trainer, *args)

            patch.setattr(Trainer, place, dies)
            with pytest.raises(RuntimeError, match="killed"):
                train(config, folder, progress=False)
        train(load_config(folder.config), folder, resume=True, progress=False)
        assert_same_end(folder, whole)


@pytest.mark.slow
def test_saved_proposals_start_the_second_step(finished, sharing_config, new_run):
    first, _ = finished("4-step")
    path = first.proposals("detector-1")
    config = sharing_config("4-step", proposals=str(path))
    config = replace(config, run=replace(config.run, pictures=False))
    folder = new_run("from-file", config)
    result = train(config, folder, progress=False)
    assert result.precision is not None
    kept, given = load_proposals(folder.proposals("detector-1")), load_proposals(path)
    assert set(kept) == set(given)
    for image in given:
        np.testing.assert_array_equal(kept[image].boxes, given[image].boxes)


@pytest.mark.slow
def test_proposals_of_other_images_are_refused(finished, sharing_config, new_run, tmp_path):
    first, _ = finished("4-step")
    with np.load(first.proposals("detector-1")) as archive:
        arrays = dict(archive)
    metadata = json.loads(arrays["metadata"].tobytes())
    metadata["images"] = [f"x{image}" for image in metadata["images"]]
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    path = tmp_path / "others.npz"
    np.savez(path, **arrays)
    config = sharing_config("4-step", proposals=str(path))
    with pytest.raises(InputError, match=r"others\.npz: no proposals for image"):
        train(config, new_run("others", config), progress=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "joint", "pooling": "pool"}, "kind, pooling: joint training needs align"),
        ({"kind": "joint", "proposals": "x"}, "proposals, kind: only 4-step"),
        ({"kind": "4-step", "post_nms": 0}, "post_nms: expected at least 1"),
    ],
)
def test_contradictions_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        SharingConfig(**options)


def test_too_few_steps_for_four_are_refused(sharing_config):
    with pytest.raises(ValueError, match=r"^optimizer\.steps: 4-step training needs 6 or more"):
        replace(sharing_config("4-step"), optimizer=OptimizerConfig(steps=5))


@pytest.mark.parametrize("pooling", ["pool", "align"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_without_any_region_is_one_like_any_other(sharing_config, kind, pooling):
    """An image without objects may have no proposal either, as when all of them are too small."""
    if (kind, pooling) == ("joint", "pool"):
        pytest.skip("joint training needs align")
    config = sharing_config(kind, pooling=pooling)
    config = replace(
        config,
        data=replace(config.data, classes=("circle", "square")),
        proposals=replace(config.proposals, min_size=1e6),
    )
    trainer = Trainer(config)
    none = np.zeros((0, 4), np.float32)
    bare = Annotation("bare", Path("bare.jpg"), (64, 80), none, np.zeros(0, int), np.zeros(0, bool))
    pixels = np.random.default_rng(0).normal(size=(3, 64, 80)).astype(np.float32)
    for phase in range(len(trainer.phases)):
        trainer.begin_phase(phase)
        example = Example(bare, pixels, none, 1.0, False)
        found = trainer.train_step([example], [none] if trainer.phase.needs_proposals else None)
        assert all(np.isfinite(float(value)) for value in found.losses.values())
        if "objects" in found.counts:
            assert found.counts["objects"] == found.counts["background"] == 0
            assert float(found.losses["class_loss"]) == float(found.losses["region_loss"]) == 0
    assert trainer.step == len(trainer.phases)
