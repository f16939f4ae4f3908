"""The program under mpiexec computes what it computes alone."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minirpn.launcher import _VARIABLES
from minirpn.training.checkpoint import load_checkpoint

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is missing"),
    pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec"),
]
SHAPES = ("--set", "synthetic.images=16", "--set", "synthetic.image_size=[64,96]")
SMALL = (*SHAPES, "--short-side", "64", "--max-side", "96", "--set", "synthetic.min_side=16")
RUN = (*SMALL, "--anchors", "base_size=8", "scales=2,4", "--set", "run.pictures=false")
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}


def minirpn(*words, ranks=1, cwd=None, fails=False):
    """Run the program with so many ranks, and return what it prints."""
    command = [sys.executable, "-m", "minirpn", *map(str, words)]
    if ranks > 1:
        command = [MPIEXEC, "-n", str(ranks), *command]
    there = {name for names in _VARIABLES for name in names}
    environment = {name: value for name, value in os.environ.items() if name not in there}
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process with four images a step, in float64."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    minirpn("train", "--out", folder, *RUN, "--images-per-step", 4, "--steps", 20, *FLOAT64)
    return folder


FLOAT64 = ("--set", "model.dtype=float64", "--set", "run.validate_every=8")


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_training_is_that_of_one_process(alone, tmp_path, ranks):
    ends = []
    for name in ("one", "other"):
        folder = tmp_path / name
        words = ("train", "--out", folder, *RUN, "--images-per-step", 4, "--steps", 20, *FLOAT64)
        output, errors = minirpn(*words, ranks=ranks)
        assert output.count("run folder: ") == 1
        assert f"\n{ranks} ranks ({ranks} on " in output
        assert errors.count("step 20/20") == 1
        ends.append(load_checkpoint(folder / "checkpoints" / "last.npz"))
    wanted = load_checkpoint(alone / "checkpoints" / "last.npz")
    np.testing.assert_equal(ends[0].parameters, ends[1].parameters)  # the same bits every time
    np.testing.assert_equal(ends[0].velocity, ends[1].velocity)
    for name, value in wanted.parameters.items():
        np.testing.assert_allclose(ends[0].parameters[name], value, rtol=1e-12, atol=1e-12)
    stored = json.loads((tmp_path / "one" / "env.json").read_text())["ranks"]
    assert stored["size"] == ranks
    assert stored["mpi"]
    assert f"ranks = {ranks}\n" in (tmp_path / "one" / "config.toml").read_text()
    files = [
        {path.relative_to(one) for path in one.rglob("*")} for one in (tmp_path / "one", alone)
    ]
    assert files[0] == files[1]


def test_the_linear_rule_is_said_and_done(tmp_path):
    folder = tmp_path / "run"
    output, _ = minirpn("train", "--out", folder, *RUN, "--steps", 9, "--lr", 0.01, ranks=2)
    assert output.startswith("2 ranks: 2 images a step in place of 1; 9 steps become 5, the lea")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rates = [record["lr"] for record in map(json.loads, lines) if record["kind"] == "train"]
    assert rates == pytest.approx([0.02] * 4 + [0.002])


@pytest.mark.parametrize("ranks", [2, 4])
def test_eval_and_propose_give_the_same_files(alone, tmp_path, ranks):
    said = []
    for size in (1, ranks):
        out = tmp_path / str(size)
        out.mkdir()
        words = ("eval", alone, "--split", "train", "--json", out / "recall.json")
        output, _ = minirpn(*words, ranks=size)
        more, _ = minirpn("propose", alone, "--split", "train", "--out", out, ranks=size)
        said.append((output + more).replace(str(out), "OUT"))
    assert said[0] == said[1]
    for name in ("recall.json", "train.npz"):
        one, other = ((tmp_path / str(size) / name).read_bytes() for size in (1, ranks))
        assert one == other


def test_a_study_finds_the_same(tmp_path):
    words = ("study", "lambda", *SMALL, "--anchors", "base_size=8", "scales=2,4", "--steps", 3)
    outcomes = []
    for size in (1, 2):
        out = tmp_path / str(size)
        minirpn(*words, "--seeds", 1, "--out", out, ranks=size)
        found = json.loads((out / "study.json").read_text())["outcomes"]
        clock = ("train_seconds", "measure_seconds")
        outcomes.append([{k: v for k, v in one.items() if k not in clock} for one in found])
    assert len(outcomes[0]) == 4
    assert outcomes[0] == outcomes[1]


def test_python_trains_with_the_ranks_too(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import minirpn\n"
        "run = minirpn.train(out='run', steps=4, progress=False, pictures=False,\n"
        "    synthetic={'images': 8, 'image_size': [64, 96], 'min_side': 16},\n"
        "    resize={'short_side': 64, 'max_side': 96})\n"
        "print(f'{run.steps} steps of {run.config.optimizer.images_per_step} images\\n', end='')\n"
    )
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, script],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["2 steps of 2 images"] * 2
