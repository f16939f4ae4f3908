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
from minirpn.training.tables import write_toml

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
    training.train(stored, folder, resume=True, progress=False)


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
    for number in range(found["runs"]):
        assert_same_end(tmp_path / f"killed-{number}", tmp_path / "undisturbed")


def assert_same_end(killed: Path, undisturbed: Path) -> None:
    one, other = open_run(killed), open_run(undisturbed)
    assert records(one) == records(other)
    assert one.config.read_text() == other.config.read_text()
    state, whole = load_checkpoint(one.last), load_checkpoint(other.last)
    for field in ("step", "phase", "metrics"):
        assert getattr(state, field) == getattr(whole, field)
    for field in ("parameters", "velocity"):
        np.testing.assert_equal(getattr(state, field), getattr(whole, field))
    best, best_of_other = load_checkpoint(one.best), load_checkpoint(other.best)
    np.testing.assert_equal(best.parameters, best_of_other.parameters)


# --- at the start, from the command line ---------------------------------------------------------

EARLY_KILLS = 100
START = """
import json, sys
from collections import Counter
from pathlib import Path
from kills import Killer
from minirpn.cli.main import main
from minirpn.training import train as training
from minirpn.training.run_folder import RunFolder

training.finish_run = lambda *args: (None, None)
settings, runs, early = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
output, sys.stdout = sys.stdout, sys.stderr


def state_of(run):
    if not run.exists():
        return "no folder"
    folder = RunFolder(run)
    if not folder.config.is_file():
        return "no settings"
    return "begun" if folder.has_begun else "not begun"


def train(run, way):
    \"\"\"Start a run, or take it up by the same command or by --resume.\"\"\"
    if state_of(run) == "begun" or (state_of(run) == "not begun" and way == "resume"):
        words = ["--resume", str(run)]
    else:
        words = ["--config", settings, "--out", str(run)]
    assert main(["train", *words]) == 0


train(runs / "warm", "same")
killer = Killer(10 * early, lambda: train(runs / "undisturbed", "same"), seed=1)
states, ways, count = Counter(), Counter(), 0
while states.total() - states["begun"] < early:
    run, way = runs / f"killed-{count}", "same"
    count += 1
    for _ in killer.until_done(lambda: train(run, way)):
        states[state_of(run)] += 1
        way = killer.chance.choice(["same", "resume"])
        ways[state_of(run), way] += 1
counts = {" ".join(key): number for key, number in ways.items()}
print(json.dumps({"states": states, "ways": counts, "runs": count}), file=output)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_its_start_either_command_takes_it_up(run_and_kill: Callable, tmp_path: Path):
    """Before there is a folder, settings, half of the shapes, or a checkpoint."""
    table = {
        "synthetic": {"images": 8, "image_size": [64, 80], "min_side": 14, "max_objects": 2},
        "resize": {"short_side": 64, "max_side": 96},
        "anchors": {"base_size": 8, "scales": [2.0, 4.0]},
        "optimizer": {"steps": 2},
        "run": {"checkpoint_every": 1, "device": "cpu", "threads": 1},
    }
    write_toml(tmp_path / "settings.toml", table)
    found = run_and_kill(START, tmp_path / "settings.toml", tmp_path, EARLY_KILLS)
    assert set(found["states"]) >= {"no settings", "not begun"}
    assert found["ways"]["not begun same"] >= 20
    assert found["ways"]["not begun resume"] >= 20
    for number in range(found["runs"]):
        killed, undisturbed = tmp_path / f"killed-{number}", tmp_path / "undisturbed"
        assert_same_end(killed, undisturbed)
        # Nothing is left over either.
        assert names_in(killed) == names_in(undisturbed)


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
