"""Killed before any of its calls that change a file, a run ends as one that was left in peace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig, TrainConfig, save_config
from minirpn.training.phases import phases_of
from minirpn.training.run_folder import RunFolder, open_run

KILLS = 45
STEPS = 12

PROGRAM = """
import json, sys
from pathlib import Path
from kills import Killer
from minirpn.training import train as training
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import load_config
from minirpn.training.run_folder import create_run

training.finish_run = lambda *args: (None, None)  # nothing is lost there: all is measured again
config, folder_of = load_config(Path(sys.argv[1])), Path(sys.argv[2])


def run(folder):
    stored = load_config(folder.config)
    training.train(stored, folder, resume=folder.last.exists(), progress=False)


run(create_run(folder_of / "warm", config))
undisturbed = create_run(folder_of / "undisturbed", config)
killer = Killer(int(sys.argv[3]), lambda: run(undisturbed))
moments, runs = [], 0
while killer.left:
    folder, step = create_run(folder_of / f"killed-{runs}", config), -1
    runs += 1
    for _ in killer.until_done(lambda: run(folder)):
        before, step = step, load_checkpoint(folder.last).step if folder.last.exists() else -1
        assert before <= step, "a checkpoint is gone"
        moments.append(step)
print(json.dumps({"moments": moments, "runs": runs}))
"""


def records(folder: RunFolder) -> list[dict]:
    times = {"step_seconds", "data_wait_seconds", "seconds"}
    lines = folder.metrics.read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["rpn-only", "4-step"])
def test_killed_anywhere_it_ends_the_same(
    small_config: TrainConfig, run_and_kill: Callable, tmp_path: Path, kind: str
):
    config = replace(
        small_config,
        sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30),
        optimizer=replace(small_config.optimizer, steps=STEPS, lr=0.03),
        run=replace(
            small_config.run, checkpoint_every=1, validate_every=3, diagnose_every=4, threads=1
        ),
    )
    save_config(tmp_path / "settings.toml", config)
    found = run_and_kill(PROGRAM, tmp_path / "settings.toml", tmp_path, KILLS)
    assert len(found["moments"]) == KILLS
    # Wherever it was: in every phase, and before the first checkpoint too.
    moments = set(found["moments"])
    assert -1 in moments
    assert all(moments & set(range(phase.start, phase.end)) for phase in phases_of(config))
    undisturbed = open_run(tmp_path / "undisturbed")
    whole = load_checkpoint(undisturbed.last)
    for number in range(found["runs"]):
        killed = open_run(tmp_path / f"killed-{number}")
        assert records(killed) == records(undisturbed)
        assert (killed.path / "config.toml").read_text() == undisturbed.config.read_text()
        state = load_checkpoint(killed.last)
        for field in ("step", "phase", "rng_state", "metrics"):
            assert getattr(state, field) == getattr(whole, field)
        for field in ("parameters", "velocity"):
            np.testing.assert_equal(getattr(state, field), getattr(whole, field))
        best = load_checkpoint(killed.best)
        np.testing.assert_equal(best.parameters, load_checkpoint(undisturbed.best).parameters)
