"""``minirpn train`` from the outside: what it leaves, what it says, how it stops and goes on."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from minirpn.accel import threads
from minirpn.cli.main import main
from minirpn.data.synthetic import SyntheticConfig, generate
from minirpn.training.checkpoint import load_checkpoint

Fails = Callable[..., str]


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOCdevkit with one year, of shapes."""
    root = tmp_path_factory.mktemp("devkit")
    generate(root / "VOC2007", SyntheticConfig(images=5, image_size=(80, 96), min_side=16))
    return root


@pytest.fixture
def threads_restored() -> Iterator[None]:
    """Give the count of threads back to the other tests."""
    before = threads.thread_count()
    yield
    threads.set_threads(before)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    return shutil.copytree(trained, tmp_path / "run")


def test_a_run_leaves_all_its_files(trained: Path):
    for name in ("config.toml", "env.json", "metrics.jsonl", "log.txt", "report.html"):
        assert (trained / name).stat().st_size > 0, name
    assert load_checkpoint(trained / "checkpoints" / "last.npz").step == 3
    assert list((trained / "plots").glob("*.png"))
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "train"] == [1, 2, 3]


@pytest.mark.usefixtures("no_figures")
def test_the_end_says_what_to_do_next(
    tmp_path: Path, small_config: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    assert main(["train", "--config", str(small_config), "--out", str(run), "--steps", "1"]) == 0
    out = capsys.readouterr().out
    assert "No --voc: generating 5 pictures of shapes, and training tiny for 1 steps" in out
    assert "IoU 0.5" in out
    assert str(run / "report.html") in out
    assert f"minirpn propose {run} IMAGE" in out
    assert "minirpn train --voc DIR" in out


@pytest.mark.usefixtures("no_finish", "threads_restored")
def test_threads_are_as_many_as_asked(tmp_path: Path, small_config: Path):
    words = ["train", "--config", small_config, "--steps", 1, "--out", tmp_path / "run"]
    assert main([*map(str, words), "--threads", "2"]) == 0
    assert threads.thread_count() == 2
    assert main([*map(str, words[:-1]), str(tmp_path / "other"), "--threads", "1"]) == 0
    assert threads.thread_count() == 1


@pytest.mark.usefixtures("no_figures")
def test_training_on_voc(tmp_path: Path, small_config: Path, voc: Path):
    run = tmp_path / "run"
    words = ["train", "--config", small_config, "--voc", voc, "--split", "train", "--out", run]
    assert main([*map(str, words), "--val-split", "val", "--steps", "1"]) == 0
    assert (run / "recall.json").exists()


@pytest.mark.usefixtures("no_finish")
def test_without_out_a_new_folder_in_runs(
    tmp_path: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config", str(small_config), "--steps", "1"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("tiny-")


def test_an_existing_run_is_not_overwritten(fails: Fails, trained: Path):
    assert fails("train", "--out", trained) == (
        f"{trained}: run folder exists: use --resume or another --out"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "nan"], "--lr: expected a finite number, got nan"),
        (["--lr", "0"], "--lr: expected a finite number above 0, got 0.0"),
        (["--steps", "-3"], "--steps: expected at least 1, got -3"),
        (
            ["--short-side", "900"],
            "--short-side and {config}: resize.max_side: expected 1 <= short_side <= max_side",
        ),
        (["--backbone", "resnet"], "--backbone: unknown 'resnet'; there are "),
        (["--weights", "gone.npz"], "gone.npz: no such weights file"),
        (["--weights", "runs/gone"], "runs/gone: no such run folder, and no such model"),
        (["--weights", "gone@best"], "gone: no such run folder, and no such model"),
        (["--weights", "shape"], "shape: no such run folder, and no such model; did you mean"),
        (["--weights", "shapes", "--backbone", "zf"], "shapes: its backbone is tiny, here it is"),
        (["--sharing", "4-step", "--steps", "5"], "--steps: 4-step training needs 6 or more"),
        (["--patience", "0"], "--patience: expected at least 1, got 0"),
        (["--patience", "2", "--recipe", "paper"], "--patience: needs a validation split"),
        (["--voc", "gone"], "gone: data set: no such folder"),
        (["--config", "gone.toml"], "gone.toml: cannot read: No such file or directory"),
        (["--resume", "gone"], "gone: no such run folder"),
        (["--resume"], "runs: no run in it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_leave_nothing(
    fails: Fails,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_config: Path,
    words: list[str],
    said: str,
):
    monkeypatch.chdir(tmp_path)
    settings = [] if {"--config", "--resume"} & set(words) else ["--config", small_config]
    assert fails("train", *settings, *words).startswith(said.format(config=small_config))
    runs = tmp_path / "runs"
    assert not runs.exists() or not list(runs.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--year", "2012"], "year 2012: not there; there is 2007"),
        (["--split", "nosuch"], "split 'nosuch': not there; there is "),
        (["--val-split", "nosuch"], "split 'nosuch': not there; there is "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_data_set_lacks_is_named(
    fails: Fails, tmp_path: Path, voc: Path, words: list[str], said: str
):
    assert said in fails("train", "--voc", voc, "--out", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_unreadable_toml_is_one_line(fails: Fails, tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_text("[optimizer\n")
    assert fails("train", "--config", path).startswith(f"{path}: not TOML: ")


def test_weights_of_another_network(fails: Fails, tmp_path: Path, small_config: Path):
    path = tmp_path / "weights.npz"
    np.savez(path, **{"conv1.weight": np.zeros((4, 3, 3, 3), np.float32)})
    words = ["--config", small_config, "--out", tmp_path / "run"]
    message = fails("train", *words, "--weights", path)
    assert message == (
        f"{path}: not weights of tiny: 0 of its 10 arrays are there, and they are like none of "
        "squeezenet, vgg16, zf; the file holds 1 array: 'conv1.weight' (4, 3, 3, 3)"
    )
    assert not (tmp_path / "run").exists()


# --- errors in the data --------------------------------------------------------------------------


@pytest.fixture
def own_voc(voc: Path, tmp_path: Path) -> Path:
    """A copy of the data set that may be changed."""
    return shutil.copytree(voc, tmp_path / "my data")


def _spoil(root: Path, number: int) -> Path:
    """Put the first box of an annotation outside its image; return the file."""
    path = sorted((root / "VOC2007" / "Annotations").iterdir())[number]
    path.write_text(re.sub(r"<xmax>\d+<", "<xmax>999<", path.read_text(), count=1))
    return path


def _mend(root: Path, number: int) -> None:
    """Undo `_spoil`: the images are 96 pixels wide."""
    path = sorted((root / "VOC2007" / "Annotations").iterdir())[number]
    path.write_text(path.read_text().replace("<xmax>999<", "<xmax>96<"))


@pytest.mark.usefixtures("no_finish")
def test_errors_in_the_data_end_with_the_ways_on(
    own_voc: Path, tmp_path: Path, small_config: Path, fails: Fails
):
    words = ["train", "--config", small_config, "--voc", own_voc, "--split", "all", "--steps", 1]
    words += ["--val-split", "all", "--out", tmp_path / "run"]
    path = _spoil(own_voc, 0)
    message = fails(*words, "--year", "2007")
    assert message.startswith(f"{path}: object 1 (")
    assert message.endswith(
        f"; `minirpn check --voc '{own_voc}' --year 2007` lists all that is wrong, "
        "--skip-bad leaves it out"
    )
    assert not (tmp_path / "run").exists()
    assert main([*map(str, words), "--skip-bad"]) == 0


def test_all_errors_in_the_data_are_listed_before(
    own_voc: Path, tmp_path: Path, small_config: Path, capsys: pytest.CaptureFixture[str]
):
    paths = [_spoil(own_voc, 0), _spoil(own_voc, 1)]
    words = ["train", "--config", small_config, "--voc", own_voc, "--split", "all"]
    assert main([*map(str, words), "--out", str(tmp_path / "run")]) == 2
    *listed, last = capsys.readouterr().err.splitlines()
    assert [line.split(": object")[0] for line in listed] == [f"error: {path}" for path in paths]
    assert " (and 1 more bad files or boxes); `minirpn check --voc " in last


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_image_ends_with_the_ways_on_too(
    own_voc: Path,
    tmp_path: Path,
    small_config: Path,
    fails: Fails,
    capsys: pytest.CaptureFixture[str],
):
    """It is found when it is read: here by the first pictures, or after a step."""
    run, other = tmp_path / "run", tmp_path / "other"
    words = ["train", "--config", small_config, "--voc", own_voc, "--split", "all"]
    words += ["--val-split", "all", "--steps", 1]
    assert main([*map(str, words), "--out", str(run)]) == 0
    for path in (own_voc / "VOC2007" / "JPEGImages").iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    message = fails(*words, "--out", other)
    assert ": image: truncated, damaged or unreadable" in message
    assert message.endswith("lists all that is wrong, --skip-bad leaves it out")
    assert main(["train", "--resume", str(run), "--steps", "3"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    resume = f"minirpn train --resume {run}"
    assert last.endswith(
        f"; the first step is kept in {run}; once this is mended, go on with: {resume}"
        f"; or without the bad image: {resume} --skip-bad"
    )


def test_nothing_can_be_left_out_of_an_empty_split(
    own_voc: Path, tmp_path: Path, small_config: Path, fails: Fails
):
    (own_voc / "VOC2007/ImageSets/Main/train.txt").write_text("")
    words = ["--config", small_config, "--voc", own_voc, "--out", tmp_path / "run"]
    message = fails("train", *words)
    assert "split 'train': lists no image; `minirpn check --voc " in message
    assert "--skip-bad" not in message


# --- stopping and going on -----------------------------------------------------------------------


@pytest.mark.usefixtures("no_finish")
def test_a_finished_run_can_be_finished_again(copied: Path):
    before = load_checkpoint(copied / "checkpoints" / "last.npz")
    assert main(["train", "--resume", str(copied)]) == 0
    after = load_checkpoint(copied / "checkpoints" / "last.npz")
    for name, value in before.parameters.items():
        np.testing.assert_array_equal(after.parameters[name], value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "0.5"], "optimizer.lr: is 0.03, but --lr asks for 0.5"),
        (["--patience", "9"], "run.patience: is 'none', but --patience asks for 9"),
        (["--anchors", "scales=1,2"], "but --anchors scales asks for [1.0, 2.0]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_resume_names_what_contradicts(fails: Fails, trained: Path, words: list[str], said: str):
    message = fails("train", "--resume", trained, *words)
    assert message.startswith(f"{trained / 'config.toml'}: ")
    assert said in message


def test_resume_takes_no_other_settings(fails: Fails, trained: Path, small_config: Path):
    assert "not with --resume" in fails("train", "--resume", trained, "--config", small_config)
    assert "--recipe paper: not with" in fails("train", "--resume", trained, "--recipe", "paper")
    assert "contradicts --resume" in fails("train", "--resume", trained, "--out", "elsewhere")


@pytest.mark.usefixtures("no_finish")
def test_a_run_goes_on_in_another_place_and_without_a_bad_image(
    own_voc: Path,
    tmp_path: Path,
    small_config: Path,
    fails: Fails,
    capsys: pytest.CaptureFixture[str],
):
    run, moved = tmp_path / "run", tmp_path / "moved"
    words = ["train", "--config", small_config, "--voc", own_voc, "--split", "all"]
    words += ["--val-split", "none", "--backbone", "tiny", "--set", "run.pictures=false"]
    assert main([*map(str, words), "--steps", "2", "--out", str(run)]) == 0
    own_voc.rename(moved)
    said = f"{run}: no such folder: {own_voc} (data set); --voc DIR says where it is now"
    assert fails("train", "--resume", run) == said
    resume = ["train", "--resume", str(run), "--voc", str(moved)]
    assert main(resume) == 0
    capsys.readouterr()
    _spoil(moved, 2)  # without the box, the image is no longer what was trained on
    assert fails(*resume).endswith("--skip-bad leaves it out")
    assert "has other objects" in fails(*resume, "--skip-bad")
    _mend(moved, 2)
    image = min((moved / "VOC2007/JPEGImages").iterdir())
    image.write_bytes(image.read_bytes()[:-200])
    assert main([*resume, "--steps", "9"]) == 2
    ways_on = f"or without the bad image: minirpn train --resume {run} --skip-bad"
    assert ways_on in capsys.readouterr().err
    assert main([*resume, "--skip-bad"]) == 0
    assert f"left out: {image}: image: truncated" in (run / "log.txt").read_text()
    capsys.readouterr()
    stored = (run / "config.toml").read_text()
    assert f'voc = "{moved}"' in stored
    assert "skip_bad = true" in stored
    said = fails("train", "--resume", run, "--set", "data.skip_bad=false")
    assert "data.skip_bad: is True, but --set data.skip_bad asks for False" in said


def test_shapes_and_a_data_set_are_not_exchanged(fails: Fails, trained: Path, voc: Path):
    said = fails("train", "--resume", trained, "--voc", voc)
    assert f"data.voc: is 'none', but --voc asks for '{voc}'" in said


@pytest.mark.usefixtures("no_finish")
def test_a_run_that_was_killed_early_starts_at_step_0(
    copied: Path, capsys: pytest.CaptureFixture[str]
):
    for path in (copied / "checkpoints").iterdir():
        path.unlink()
    (copied / "metrics.jsonl").unlink()
    assert main(["train", "--resume", str(copied)]) == 0
    assert "stopped before its first checkpoint: it starts at step 0" in capsys.readouterr().err
    assert load_checkpoint(copied / "checkpoints" / "last.npz").step == 3


@pytest.mark.usefixtures("no_finish")
def test_resume_finds_the_run_by_out_or_by_time(copied: Path, monkeypatch: pytest.MonkeyPatch):
    assert main(["train", "--resume", "--out", str(copied)]) == 0
    monkeypatch.chdir(copied.parent)
    (copied.parent / "runs").mkdir()
    copied.rename(copied.parent / "runs" / "mine")
    assert main(["train", "--resume"]) == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_resume_refuses_a_damaged_checkpoint(fails: Fails, copied: Path, damage: str):
    last = copied / "checkpoints" / "last.npz"
    content = bytearray(last.read_bytes())
    if damage == "cut":
        last.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        with zipfile.ZipFile(last) as archive:
            largest = max(archive.infolist(), key=lambda member: member.file_size)
        content[largest.header_offset + largest.file_size // 2] ^= 1
        last.write_bytes(content)
    else:
        last.unlink()
    said = "no such checkpoint" if damage == "gone" else "not a whole checkpoint: "
    assert fails("train", "--resume", copied).startswith(f"{last}: {said}")


@pytest.mark.usefixtures("no_finish")
def test_a_run_goes_on_longer(copied: Path, capsys: pytest.CaptureFixture[str], fails: Fails):
    said = f": the new total must be above the 3 steps that {copied} has done, got 2"
    assert fails("train", "--resume", copied, "--steps", "2") == "--steps" + said
    typed = ["--set", "optimizer.steps=2"]
    assert fails("train", "--resume", copied, *typed) == "--set optimizer.steps" + said
    assert main(["train", "--resume", str(copied), "--steps", "5"]) == 0
    out, err = capsys.readouterr()
    assert "5 steps in " in out
    # The paper's share of 3 steps is 2, and a step at the lower rate is done.
    assert "going on from step 3 to step 5: the learning rate dropped after step 2" in err
    assert load_checkpoint(copied / "checkpoints" / "last.npz").step == 5


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("words", [["--steps", "3"], ["--set", "optimizer.steps=3"]])
def test_the_total_that_a_run_has_already_is_no_change(copied: Path, words: list[str]):
    before = (copied / "config.toml").read_bytes()
    assert main(["train", "--resume", str(copied), *words]) == 0
    assert (copied / "config.toml").read_bytes() == before
    assert load_checkpoint(copied / "checkpoints" / "last.npz").step == 3


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize(
    ("value", "got"), [("8.5", "8.5"), ("abc", "'abc'"), ("none", "'none'"), ("true", "True")]
)
def test_a_new_total_is_a_whole_number(fails: Fails, copied: Path, value: str, got: str):
    before = (copied / "config.toml").read_bytes()
    said = f"--set optimizer.steps: expected a whole number, got {got}"
    assert fails("train", "--resume", copied, "--set", f"optimizer.steps={value}") == said
    assert (copied / "config.toml").read_bytes() == before


@pytest.mark.usefixtures("no_figures")
def test_a_run_starts_from_another(
    trained: Path, tmp_path: Path, small_config: Path, capsys: pytest.CaptureFixture[str]
):
    run, source = tmp_path / "run", f"{trained}@last"
    words = ["train", "--config", small_config, "--weights", source, "--steps", "1", "--out", run]
    assert main([*map(str, words), "--anchors", "scales=2"]) == 0
    err = capsys.readouterr().err
    assert f"{source}: taken: tiny (all of the backbone), rpn.conv\n" in err
    assert f"{source}: new: rpn.objectness, rpn.deltas: 6 anchors a cell there, 3 here\n" in err


STEPS = 40


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, small_config: Path) -> Path:
    """A run that was never stopped."""
    run = tmp_path_factory.mktemp("straight") / "run"
    words = ["train", "--steps", STEPS, "--config", small_config, "--out", run]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("minirpn.training.train.finish_run", lambda *args: (None, None))
        assert main([str(word) for word in words]) == 0
    return run


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.usefixtures("no_finish")
def test_interrupted_and_resumed_is_as_if_never_stopped(
    straight: Path, tmp_path: Path, small_config: Path, name: str
):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "minirpn", "train", "--steps", str(STEPS)]
    command += ["--config", str(small_config), "--out", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not _has_taken_a_step(run / "metrics.jsonl"):
            time.sleep(0.01)
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"minirpn train --resume {run}".encode() in errors
    assert load_checkpoint(run / "checkpoints" / "last.npz").step < STEPS

    assert main(["train", "--resume", str(run)]) == 0
    ends = [load_checkpoint(folder / "checkpoints" / "last.npz") for folder in (straight, run)]
    for field in ("parameters", "velocity"):
        for name, value in getattr(ends[0], field).items():
            np.testing.assert_array_equal(getattr(ends[1], field)[name], value)
    assert _losses(straight) == _losses(run)


# What the shell does with the streams, the status, and whether the disk lost some of stdout.
CONSOLES = {
    "{} | true; exit ${{PIPESTATUS[0]}}": 0,
    "{} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}": 0,
    "{} >&-": 0,
    "{} 2>&-": 0,
    "{} >&- 2>&- <&-": 0,
    "{} 2>/dev/full": 0,
    "{} >/dev/full": 2,
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("line", CONSOLES)
def test_a_training_outlives_its_console(tmp_path: Path, small_config: Path, line: str):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "minirpn", "train", "--config", small_config, "--out", run]
    command += ["--set", "run.pictures=false"]
    typed = line.format(shlex.join(map(str, command)))
    done = subprocess.run(["bash", "-c", typed], capture_output=True, check=False, timeout=120)
    assert done.returncode == CONSOLES[line], done.stderr
    assert load_checkpoint(run / "checkpoints" / "last.npz").step == 3
    assert (run / "recall.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_a_training_outlives_its_terminal(tmp_path: Path, small_config: Path):
    """No signal tells of it, as under nohup: only writing fails."""
    pty = pytest.importorskip("pty")
    run, (other_end, terminal) = tmp_path / "run", pty.openpty()
    command = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-m", "minirpn"]
    command += [
        "train",
        "--config",
        small_config,
        "--out",
        run,
        "--steps",
        STEPS,
        "--set",
        "run.pictures=false",
    ]
    with subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        while process.poll() is None and not _has_taken_a_step(run / "metrics.jsonl"):
            time.sleep(0.01)
        os.close(other_end)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=120) == 0
    assert load_checkpoint(run / "checkpoints" / "last.npz").step == STEPS


def _has_taken_a_step(metrics: Path) -> bool:
    return metrics.exists() and '"train"' in metrics.read_text()


def _losses(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"]) for r in records if r["kind"] == "train"]


# --- a start that ends early ----------------------------------------------------------------------

MOMENTS = ("run_folder.write_json", "build.generate", "train.begin", "train.draw_samples")


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("moment", [*MOMENTS, "under_way.save_checkpoint"])
@pytest.mark.parametrize("way", ["same", "other", "resume"])
def test_two_ctrl_c_leave_a_way_on(
    tmp_path: Path,
    small_config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment: str,
    way: str,
):
    run = tmp_path / "a run"
    words = ["train", "--config", str(small_config), "--out", str(run)]

    def pressed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"minirpn.training.{moment}", pressed)
        assert main(words) == 130
    if moment != MOMENTS[0]:  # from then on it trains
        told = f"stopped at once; continue with: minirpn train --resume '{run}'"
        assert told in capsys.readouterr().err.splitlines()
    ways = {"same": words, "other": [*words, "--steps", "2"], "resume": ["train", "--resume"]}
    assert main([*ways[way], str(run)] if way == "resume" else ways[way]) == 0
    assert load_checkpoint(run / "checkpoints/last.npz").step == (2 if way == "other" else 3)
    count = len(list((run / "shapes/JPEGImages").iterdir()))
    assert count == 5


@pytest.mark.usefixtures("no_finish")
def test_the_shapes_of_a_start_that_ended_are_not_those_of_the_next(
    tmp_path: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    words = ["train", "--config", str(small_config), "--out", str(run)]

    def pressed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minirpn.training.train.begin", pressed)
        assert main([*words, "--set", "synthetic.images=7"]) == 130
    assert len(list((run / "shapes/JPEGImages").iterdir())) == 7
    assert main(words) == 0
    assert len(list((run / "shapes/JPEGImages").iterdir())) == 5


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path, small_config: Path, fails: Fails):
    """Whether the mistake is found before or after the folder is made."""
    letter = tmp_path / "letter.txt"
    letter.write_text("dear")
    said = f"{tmp_path}: letter.txt is in it: give another --out"
    assert fails("train", "--config", small_config, "--out", tmp_path) == said
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    run = tmp_path / "run"
    run.mkdir()
    assert "no such weights" in fails(
        "train", "--config", small_config, "--weights", "gone.npz", "--out", run
    )
    assert list(run.iterdir()) == []


@pytest.mark.usefixtures("no_finish")
def test_a_run_whose_checkpoint_is_away_when_an_error_comes_stays(
    copied: Path, tmp_path: Path, small_config: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
):
    """It was deleted whole, best checkpoint included."""
    run = tmp_path / "new"

    def away(*args: object) -> None:
        (run / "checkpoints/last.npz").unlink()
        (run / "checkpoints/best.npz").write_bytes(b"days of work")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minirpn.training.train.measure", away)
    fails("train", "--config", small_config, "--out", run)
    assert (run / "checkpoints/best.npz").read_bytes() == b"days of work"
    assert (run / "shapes").is_dir()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_no_command_follows_a_link_in_a_run(copied: Path, tmp_path: Path, fails: Fails):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    link = copied / "plots/link.png"
    link.symlink_to(secret)
    said = f"{link}: a link, and links in a run folder are not followed"
    picture = copied / "shapes/JPEGImages/000001.jpg"
    commands = [["train", "--resume"], ["report"], ["eval"], ["propose"], ["explain"]]
    for command in commands:
        pictures = [picture] if command[0] in ("propose", "explain") else []
        assert fails(*command, copied, *pictures) == said
    assert fails("propose", copied / "checkpoints/last.npz", picture, "--save") == said
    assert secret.read_bytes() == b"secret"


@pytest.mark.usefixtures("no_finish")
def test_settings_that_were_edited_are_refused(copied: Path, fails: Fails):
    path = copied / "config.toml"
    path.write_text(path.read_text().replace("seed = 0", "seed = 1"))
    said = fails("train", "--resume", copied, "--steps", 9)
    assert said.startswith(f"{path}: ")
    assert ": is 1, but the run was trained with 0: put that back, or start a new run" in said


# --- splits that the user did not name ------------------------------------------------------------


@pytest.fixture
def few_steps(
    small_config: Path, tmp_path: Path, no_figures: None
) -> Callable[..., tuple[int, Path]]:
    """Run a training of a few steps on a data set."""

    def start(voc: Path, *words: object) -> tuple[int, Path]:
        run = tmp_path / "run"
        all_words = ["train", "--config", small_config, "--voc", voc, "--out", run, *words]
        return main([str(word) for word in all_words]), run

    return start


def folder_of(root: Path, shapes: Path, lists: dict[str, str] | None) -> Path:
    """Copy a data set of shapes, with other lists of splits; None puts all into one folder."""
    shutil.copytree(shapes, root)
    shutil.rmtree(root / "ImageSets")
    if lists is None:
        for path in [*root.glob("*/*")]:
            path.rename(root / path.name)
    for name, text in (lists or {}).items():
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Main/{name}.txt").write_text(text)
    return root


def test_a_flat_folder_trains_with_no_flag(trained, tmp_path, few_steps, capsys):
    root = folder_of(tmp_path / "flat", trained / "shapes", None)
    status, run = few_steps(root)
    assert status == 0
    told = "splits: train 4 and val 1 of 5 images, drawn at random, always the same"
    assert told in capsys.readouterr().err
    assert told in (run / "log.txt").read_text()
    assert set(json.loads((run / "data.json").read_text())["splits"]) == {"train", "val"}
    assert main(["eval", str(run)]) == 0
    assert "measured on 'val', the run's validation split" in capsys.readouterr().out


def test_a_split_of_the_recipe_that_is_not_there(trained, tmp_path, few_steps, capsys):
    root = folder_of(tmp_path / "lists", trained / "shapes", {"train": "000001\n000002\n"})
    status, run = few_steps(root)
    assert status == 0
    assert (
        "no split 'val': training without validation; --val-split names" in capsys.readouterr().out
    )
    assert 'val_split = "none"' in (run / "config.toml").read_text()
    # What the user names must be there.
    assert few_steps(root, "--val-split", "val", "--out", tmp_path / "other")[0] == 2
    assert "split 'val': not there; there is train, trainval, all" in capsys.readouterr().err
