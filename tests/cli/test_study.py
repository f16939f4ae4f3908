"""``minirpn study`` on the command line: it lists, runs, goes on, and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minirpn.cli import study
from minirpn.cli.main import main
from minirpn.studies import STUDIES

Fails = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings of trainings of a second."""
    path = tmp_path / "small.toml"
    path.write_text(
        "[synthetic]\nimages = 10\nimage_size = [80, 96]\nmin_side = 16\n"
        "[resize]\nshort_side = 80\nmax_side = 96\n"
        "[anchors]\nbase_size = 8\nscales = [2.0, 4.0, 8.0]\n"
        "[optimizer]\nsteps = 2\n"
    )
    return path


def test_the_studies_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["study", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(STUDIES)
    assert "Table 9" in next(line for line in lines if line.startswith("lambda"))


@pytest.mark.parametrize("name", STUDIES)
def test_the_help_names_every_study_and_its_place(name: str):
    words = " ".join(study.DESCRIPTION.split())
    source = STUDIES[name].source.lower()
    assert name in words
    if source.startswith(("table", "figure")):
        assert f"{name} ({source})" in words


def test_a_study_is_run_printed_and_written(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    words = ["study", "loss", "--config", str(settings), "--seeds", "1", "--out", str(out)]
    assert main([*words, "--limit", "1"]) == 0
    first = capsys.readouterr()
    table = (out / "table.md").read_text()
    assert first.out.startswith(table)
    assert "1 images" in table
    assert "training 1 of 3: paper, softmax, seed 0" in first.err
    for name in ("study.json", "table.md", "study.png"):
        assert f"written: {out / name}" in first.out
    assert main([*words, "--limit", "1"]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err == ""
    assert len(json.loads((out / "study.json").read_text())["outcomes"]) == 3


def test_without_out_it_goes_to_a_folder_of_its_name(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "recall", "--config", str(settings), "--steps", "1"]) == 0
    assert len(list((tmp_path / "runs/studies/recall/as-given").iterdir())) == 1
    # The same command, from there, goes on: its settings are those that were asked for.
    assert main(["study", "recall", "--config", str(settings), "--steps", "1"]) == 0


def test_a_run_that_is_trained_already(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    words = ["study", "recall", "--run", str(trained), "--out", str(out)]
    assert main([*words, "--val-split", "test"]) == 0
    printed = capsys.readouterr().out
    assert "measured on split test (1 images" in printed
    assert printed.startswith((out / "table.md").read_text())
    assert not (out / "study.json").exists()
    words[3] += "@last"
    assert main([*words, "--val-split", "test"]) == 0
    assert "measured on split test (1 images" in capsys.readouterr().out


def test_mistakes_are_one_line(fails: Fails, settings: Path, trained: Path, tmp_path: Path):
    names = ", ".join(STUDIES)
    assert fails("study") == f"which study? There are {names}"
    assert fails("study", "nothing") == f"no study 'nothing'; there are {names}"
    out = ("--out", tmp_path / "out")
    assert fails("study", "loss", "--seeds", 0, *out).startswith("--seeds: expected at least 1")
    assert fails("study", "loss", "--voc", "gone", *out) == "gone: data set: no such folder"
    assert fails("study", "loss", "--steps", 0, "--out", tmp_path / "o") == (
        "--steps: expected at least 1, got 0"
    )
    run = ("--run", trained)
    assert fails("study", "lambda", *run) == f"--run {trained}: lambda compares 4 trainings"
    for words in (("--steps", 3), ("--seeds", 2), ("--config", settings), ("--recipe", "small")):
        message = fails("study", "recall", *run, *words)
        assert message == f"{words[0]}: not with --run, a run has its own settings"
    message = fails("study", "recall", *run, "--anchors", "scales=1")
    assert message == "--anchors: not with --run, a run has its own settings"
    gone = tmp_path / "gone"
    said = fails("study", "recall", "--run", gone)
    assert said == f"{gone}: no such run folder, and no such model"
    said = fails("study", "recall", "--run", "shapes")
    assert said == "shapes: a study measures a run, and this model is in none"


def test_other_settings_want_another_folder(fails: Fails, settings: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = ("study", "recall", "--config", settings, "--out", out)
    assert main([str(word) for word in words]) == 0
    assert fails(*words, "--steps", 3) == (
        f"{out / 'study.json'}: optimizer.steps: is 2, but 3 is asked for: ask for the same, "
        "or use --out"
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_and_the_same_command_again(settings: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = ["study", "recall", "--config", settings, "--steps", "60", "--out", out]
    command = [sys.executable, "-m", "minirpn", *map(str, words)]
    metrics = out / "as-given" / "seed-0" / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (metrics.exists() and '"step": 3,' in metrics.read_text()):
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped; the same command continues from here" in said
    assert not (out / "table.md").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in (metrics.parent / "log.txt").read_text()
    assert (out / "table.md").exists()
