"""The same images over time, and what TensorBoard is told."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minirpn.errors import InputError
from minirpn.training.config import SharingConfig
from minirpn.training.phases import phases_of
from minirpn.training.pictures import MOMENTS, moments_of
from minirpn.training.run_folder import Records, RunFolder, numbers_of
from minirpn.training.train import train
from tests.event_files import events


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Leave out what comes after the last step."""
    monkeypatch.setattr("minirpn.training.train.finish_run", lambda *args: (None, None))


def records(folder):
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


# --- when ----------------------------------------------------------------------------------------


def phases(small_config, steps, kind="rpn-only"):
    optimizer = replace(small_config.optimizer, steps=steps)
    return phases_of(replace(small_config, optimizer=optimizer, sharing=SharingConfig(kind=kind)))


def test_every_moment_of_a_short_run(small_config):
    assert moments_of(phases(small_config, 7), 3) == {0, 3, 6, 7}
    assert moments_of(phases(small_config, 7), 100) == {0, 7}


def test_a_long_run_has_no_more(small_config):
    moments = sorted(moments_of(phases(small_config, 80_000), 500))
    assert len(moments) == MOMENTS + 1
    assert (moments[0], moments[-1]) == (0, 80_000)
    gaps = np.diff(moments[1:])
    assert gaps.max() - gaps.min() <= 500


def test_none_while_the_rpn_does_not_fit_the_backbone(small_config):
    """Of 60 steps, 20 to 30 are detector-1."""
    moments = moments_of(phases(small_config, 60, "4-step"), 10)
    assert moments == {0, 10, 20, 40, 50, 60}


# --- what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("val_split", ["val", None])
def test_the_same_images_are_drawn_over_time(new_run, small_config, shapes, val_split):
    config = replace(small_config, data=replace(small_config.data, val_split=val_split))
    folder = new_run("run", config)
    train(config, folder, progress=False)
    found = [record for record in records(folder) if record["kind"] == "samples"]
    assert [record["step"] for record in found] == [0, 3, 6]
    (images,) = {tuple(record["images"]) for record in found}
    split = shapes / "ImageSets/Main" / f"{val_split or 'train'}.txt"
    assert set(images) <= set(split.read_text().split())
    assert 1 <= len(set(images)) == len(images) <= 3
    names = {name for record in found for name in record["files"]}
    assert names == {path.name for path in folder.samples.iterdir()}
    for name in names:
        with Image.open(folder.samples / name) as picture:
            # 80 x 64 as it is, twice, with a gap.
            assert picture.size == (80, 64 + 3 + 64)
        assert (folder.samples / name).stat().st_size < 20_000


def test_training_does_not_notice(new_run, small_config, monkeypatch):
    with_them, without = new_run("with"), new_run("without")
    train(small_config, with_them, progress=False)
    monkeypatch.setattr("minirpn.training.train.moments_of", lambda *args: frozenset())
    train(small_config, without, progress=False)
    assert not without.samples.exists()
    losses = [
        [record["loss"] for record in records(folder) if record["kind"] == "train"]
        for folder in (with_them, without)
    ]
    assert losses[0] == losses[1]


def test_a_start_that_died_before_its_checkpoint_leaves_no_record(
    new_run, small_config, monkeypatch
):
    folder = new_run("twice")

    def dies(*args):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("minirpn.training.under_way.save_checkpoint", dies)
        with pytest.raises(RuntimeError):
            train(small_config, folder, progress=False)
    assert [record["step"] for record in records(folder)] == [0]
    train(small_config, folder, progress=False)
    steps = [record["step"] for record in records(folder) if record["kind"] == "samples"]
    assert steps == [0, 3, 6]


# --- TensorBoard ---------------------------------------------------------------------------------


def values(folder):
    return [(event.step, value) for event in events(folder) for value in event.summary.value]


def test_numbers_of_a_record():
    record = {"kind": "k", "step": 3, "phase": "rpn", "loss": 0.5, "none": None, "yes": True}
    record |= {"recall": {"100": 1.0, "300": None}, "by_anchor": [0.25, 2]}
    assert dict(numbers_of(record)) == {
        "loss": 0.5,
        "recall/100": 1.0,
        "by_anchor/0": 0.25,
        "by_anchor/1": 2,
    }


def test_tensorboard_is_told_what_is_recorded(new_run, small_config):
    pytest.importorskip("tensorboardX")
    config = replace(
        small_config,
        sharing=SharingConfig(kind="approximate-joint", pre_nms=60, post_nms=30),
        run=replace(small_config.run, tensorboard=True),
    )
    folder = new_run("board", config)
    train(config, folder, progress=False)
    found = values(folder.tensorboard)
    scalars = {
        (value.tag, step): value.simple_value for step, value in found if not value.image.height
    }
    expected = {
        (f"{record['kind']}/{name}", record["step"]): number
        for record in records(folder)
        for name, number in numbers_of(record)
    }
    assert set(scalars) == set(expected)
    for key, number in expected.items():
        assert scalars[key] == pytest.approx(number, rel=1e-6)
    named = {tag for tag, _ in scalars}
    assert {"train/loss", "train/lr", "train/class_loss", "validate/rpn_loss"} <= named
    assert {"validate/mean_ap", "validate/recall/100", "diagnose/update_ratio/rpn"} <= named

    pictures = [(step, value) for step, value in found if value.image.height]
    assert {step for step, _ in pictures} == {0, 3, 6}
    for _, value in pictures:
        assert value.tag.startswith("samples/")
        with Image.open(io.BytesIO(value.image.encoded_image_string)) as picture:
            assert picture.size == (80, 131)


def test_a_resumed_run_takes_back_what_it_does_again(tmp_path):
    pytest.importorskip("tensorboardX")
    for step in (0, 4):
        board = Records(RunFolder(tmp_path), step, tensorboard=True)
        board.write({"kind": "train", "step": step + 1, "loss": 0.5})
        board.close()
    written = events(RunFolder(tmp_path).tensorboard)
    starts = [event.step for event in written if event.HasField("session_log")]
    assert starts == [1, 5]


def test_without_the_library_a_training_does_not_begin(new_run, small_config, monkeypatch):
    config = replace(small_config, run=replace(small_config.run, tensorboard=True))
    folder = new_run("board", config)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"^--tensorboard: needs tensorboardX; try: pip install"):
        train(config, folder, progress=False)
    assert not folder.last.exists()
