"""Killed before any of its calls that change a file, a run ends as one that was left in peace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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

# Loads everything once, and forks for each start of the run: a start then takes hundredths of a
# second. What a killed process leaves behind is its files, and they change only in the C functions
# counted here, so a kill before one of these stands for every moment since the one before.
PROGRAM = """
import collections, json, os, random, signal, sys
from pathlib import Path
from minirpn.training import train as training
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import load_config
from minirpn.training.run_folder import create_run

CHANGES = {"open", "write", "writelines", "flush", "close", "fsync", "replace", "unlink", "mkdir"}
training.finish_run = lambda *args: (None, None)  # nothing is lost there: all is measured again
config = load_config(Path(sys.argv[1]))
folder_of, kills, chance = Path(sys.argv[2]), int(sys.argv[3]), random.Random(0)


def start(folder, kill_at=None):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    calls = collections.Counter()

    def watch(frame, event, function):
        if event == "c_call" and function.__name__ in CHANGES:
            calls[function.__name__] += 1
            if (function.__name__, calls[function.__name__]) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    status = 1
    try:
        stored = load_config(folder.config)
        sys.setprofile(watch)
        training.train(stored, folder, resume=folder.last.exists(), progress=False)
        sys.setprofile(None)
        if kill_at is None:
            (folder_of / "calls.json").write_text(json.dumps(calls))
        status = 0
    finally:
        os._exit(status)


training.train(config, create_run(folder_of / "warm", config), progress=False)
assert start(create_run(folder_of / "undisturbed", config)) == 0
calls = json.loads((folder_of / "calls.json").read_text())
moments, runs = [], 0
while len(moments) < kills:
    folder = create_run(folder_of / f"killed-{runs}", config)
    runs += 1
    done, step = False, -1
    while not done:
        # The few renames count as much as the many writes. A third of a run, so that most starts
        # are killed, and a run several times.
        name = chance.choice(sorted(calls))
        kill_at = (name, chance.randint(1, 1 + calls[name] // 3))
        status = start(folder, kill_at if len(moments) < kills else None)
        done = status == 0
        assert done or os.WIFSIGNALED(status), status
        if not done:
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
def test_killed_anywhere_it_ends_the_same(small_config: TrainConfig, tmp_path: Path, kind: str):
    config = replace(
        small_config,
        sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=30),
        optimizer=replace(small_config.optimizer, steps=STEPS),
        run=replace(
            small_config.run, checkpoint_every=1, validate_every=4, diagnose_every=4, threads=1
        ),
    )
    save_config(tmp_path / "settings.toml", config)
    command = [sys.executable, "-c", PROGRAM, tmp_path / "settings.toml", tmp_path, KILLS]
    # One thread, or there would be some that are not in a forked child.
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        list(map(str, command)), env=os.environ | one_thread, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
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
