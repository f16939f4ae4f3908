"""The command line as such: help, versions, one-line errors, lightness."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import minirpn
from minirpn.cli import train
from minirpn.cli.main import COMMANDS, main
from minirpn.errors import InputError

Fails = Callable[..., str]


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"minirpn {minirpn.__version__}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    said = " ".join(captured.err.split())  # a summary may be broken into lines
    for command in COMMANDS:
        assert command.SUMMARY in said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_every_command_has_help(command: object, capsys: pytest.CaptureFixture[str]):
    assert main([command.NAME, "--help"]) == 0
    assert command.DESCRIPTION.splitlines()[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--help"], ["eval", "--help"], ["--version"]], ids=lambda words: " ".join(words)
)
def test_help_is_quick_because_it_loads_nothing_heavy(words: list[str]):
    # Counting modules, not seconds: a busy machine must not fail this.
    code = f"""
import sys
from minirpn.cli.main import main
main({words!r})
print("MODULES", *sys.modules)
"""
    loaded = run_python("-c", code).stdout.rpartition("MODULES")[2].split()
    assert "minirpn.cli.main" in loaded
    heavy = {"numpy", "numba", "matplotlib", "PIL", "tqdm", "cupy", "asyncio", "importlib.metadata"}
    assert not heavy & set(loaded)
    assert len(loaded) < 150


def test_python_dash_m():
    ended = run_python("-m", "minirpn", "train", "--steps", "many")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "minirpn: error: train: --steps: expected a whole number, got 'many' "
        "(see minirpn train --help)\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "unknown command 'fly'"),
        (["train", "--fly"], "unrecognized --fly"),
        (["train", "--loss", "mine"], "--loss: unknown 'mine'; there are paper, released"),
        (["train", "--val", "x"], "unrecognized --val; did you mean --val-split"),
        (["eval"], "the following arguments are required: RUN"),
        (["propose"], "nothing to propose for: name pictures, or --split S"),
    ],
)
def test_what_cannot_be_parsed_is_one_line(fails: Fails, words: list[str], said: str):
    assert said in fails(*words)


@pytest.mark.parametrize("words", [["--debug", "train"], ["train", "--debug"]])
def test_debug_anywhere_shows_the_traceback(words: list[str], tmp_path: Path):
    with pytest.raises(InputError, match="no such run folder"):
        main([*words, "--resume", str(tmp_path / "gone")])


def replaced_run(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(args: object) -> int:
        raise error

    monkeypatch.setattr(train, "run", run)


def test_an_os_error_names_the_file(fails: Fails, monkeypatch: pytest.MonkeyPatch):
    replaced_run(monkeypatch, PermissionError(13, "Permission denied", "/data/x"))
    assert fails("train") == "/data/x: Permission denied"


def test_many_lines_become_one(fails: Fails, monkeypatch: pytest.MonkeyPatch):
    replaced_run(monkeypatch, InputError("a\n  b"))
    assert fails("train") == "a b"


def test_ctrl_c_outside_the_loop(monkeypatch: pytest.MonkeyPatch):
    replaced_run(monkeypatch, KeyboardInterrupt())
    assert main(["train"]) == 130


def test_a_line_has_at_most_a_thousand_characters(monkeypatch: pytest.MonkeyPatch, capsys):
    replaced_run(monkeypatch, InputError("x.npz: " + "a b " * 2000))
    assert main(["train"]) == 2
    assert len(capsys.readouterr().err) == 1001  # with the end of the line


def test_ctrl_c_while_a_class_is_made(monkeypatch: pytest.MonkeyPatch, capsys):
    wrapped = RuntimeError("Error calling __set_name__")
    wrapped.__cause__ = KeyboardInterrupt()
    replaced_run(monkeypatch, wrapped)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_backend_that_is_not_there(tmp_path):
    """Matplotlib refuses to be imported then; but nothing here opens a window."""
    photo = minirpn.samples.photos()["coffee"]
    done = subprocess.run(
        [sys.executable, "-m", "minirpn", "propose", str(photo), "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "bogus"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/coffee.png").is_file()


def test_a_bug_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    replaced_run(monkeypatch, ZeroDivisionError("division\nby zero"))
    assert main(["train"]) == 3
    assert capsys.readouterr().err == (
        "minirpn: error: ZeroDivisionError: division by zero; this is a mistake of minirpn's: "
        "please report it, with what --debug shows\n"
    )


def test_a_bug_has_its_traceback_with_debug(monkeypatch: pytest.MonkeyPatch):
    replaced_run(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["train", "--debug"])


def test_a_bug_in_reading_the_words_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*_: object):
        raise IndexError("list index out of range")

    monkeypatch.setattr("minirpn.cli.main.unknown_flags", broken)
    assert main(["info"]) == 3
    assert capsys.readouterr().err.startswith("minirpn: error: IndexError: list index out of range")
    with pytest.raises(IndexError):
        main(["info", "--debug"])


def test_a_name_that_the_locale_cannot_express(fails: Fails, monkeypatch: pytest.MonkeyPatch):
    def run(_: object):
        "stra\u00dfe.jpg".encode("ascii")

    monkeypatch.setattr("minirpn.cli.info.run", run)
    assert fails("info") == "stra\u00dfe.jpg: no name for a file in this locale; try PYTHONUTF8=1"


def test_too_little_memory(fails: Fails, monkeypatch: pytest.MonkeyPatch):
    replaced_run(monkeypatch, MemoryError("Unable to allocate 3 TiB"))
    assert fails("train") == "not enough memory: Unable to allocate 3 TiB"


@pytest.mark.skipif(os.name == "nt", reason="pipes of a POSIX shell")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error(unbuffered):
    command = f"{sys.executable} -m minirpn info | head -n 0"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_info_says_what_is_here(capsys: pytest.CaptureFixture[str]):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("minirpn ", "python ", "numpy ", "blas ", "numba ", "cuda", "cores "):
        assert f"\n{word}" in f"\n{out}"
    assert "conv2d" in out
    assert "loops" in out


def test_info_says_why_numba_cannot_be_used(monkeypatch, capsys: pytest.CaptureFixture[str]):
    trouble = "numba is switched off by NUMBA_DISABLE_JIT"
    monkeypatch.setattr("minirpn.accel.numba.compiled.compiler_trouble", lambda: trouble)
    assert main(["info"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("numba "))
    assert line.endswith(f"cannot be used: {trouble}; slower code runs, and last digits may differ")


@pytest.mark.parametrize("words", [["--help"], ["info", "--help"], ["train", "--stepps"]])
def test_no_python_colors_the_help(words, capsys, monkeypatch):
    """From 3.14 on argparse does, on a terminal or if it is asked to."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(words)
    said = capsys.readouterr()
    assert "\\x1b" not in said.out + said.err
    assert "\x1b" not in said.out + said.err
