"""The script of ``minirpn completion``, as a real bash uses it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from minirpn.cli.main import COMMANDS, build_parser, main
from minirpn.cli.words import known_flags


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    """The script for bash."""
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "script"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tr", {"train"}),
        ("", {command.NAME for command in COMMANDS}),
        ("train --backbone sq", {"squeezenet"}),
        ("train --back", {"--backbone", "--backbone-lr-multiplier"}),
        ("train --sharing ", {"rpn-only", "4-step", "approximate-joint", "joint"}),
        ("train --preset tor", {"torchvision"}),
        ("train --config m", {"mine.toml"}),
        ("train --voc p", {"photos"}),
        ("propose runs p", {"photo.jpg", "photos"}),
        ("detect r", {"runs"}),
        ("download voc", {"voc2007", "voc2012"}),
        ("study lam", {"lambda"}),
        ("completion z", {"zsh"}),
    ],
)
def test_bash_completes(script: Path, line: str, expected: set[str]):
    folder = script.parent / "here"
    for name in ("photos", "runs"):
        (folder / name).mkdir(parents=True)
    for name in ("photo.jpg", "mine.toml"):
        (folder / name).touch()
    words = ["minirpn", *line.split(" ")]
    ended = subprocess.run(
        [
            *("bash", "--norc", "--noprofile", "-c"),
            'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            "compopt() { :; }; _shtab_minirpn; printf '%s\\n' \"${COMPREPLY[@]}\"",
            *(str(script), *words),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(ended.stdout.split()) - {"-h", "--help", "--debug", "--version"} == expected
    assert ended.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_command_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in COMMANDS:
        assert command.NAME in script


def test_what_is_a_path_completes_as_one(script: Path):
    """The help of a command tells: an argument of type Path is a file or a folder."""
    content = script.read_text()
    parser = build_parser()
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for name, subparser in commands.choices.items():
        assert set(known_flags(subparser)) >= {"--help", "--debug"}
        for action in subparser._actions:
            if action.type is Path and action.option_strings:
                flag = action.option_strings[0].replace("-", "_")
                assert f"_shtab_minirpn_{name}_{flag}_COMPGEN=" in content, f"{name} {flag}"
