"""What is said about a command line with a mistake: the sentence as a whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from minirpn.cli import words as said_words
from minirpn.cli.main import COMMANDS, build_parser
from minirpn.cli.words import (
    COMMANDS_ELSEWHERE,
    FLAGS_ELSEWHERE,
    is_flag,
    known_flags,
    unknown_flags,
)
from minirpn.data import SyntheticConfig, generate

Fails = Callable[..., str]

FILES = {
    "mine.toml": "[optimizer]\nlr = 0.1\nsteps = 3\n[resize]\nmax_side = 400\n",
    "section.toml": "[optimizr]\nlr = 0.1\n",
    "key.toml": "[optimizer]\nmomentm = 0.1\n",
    "elsewhere.toml": "[optimizer]\nbatch_size = 3\n",
    "top.toml": "lr = 0.1\n",
    "wrong.toml": "[optimizer]\nlr = -1\n",
    "kind.toml": '[sharing]\nkind = "4step"\n',
    "pool.toml": '[sharing]\npooling = "pool"\n',
    "freeze.toml": '[model]\nfreeze = ["conv9"]\n[synthetic]\nimages = 5\n',
    "few.toml": "[synthetic]\nimages = 5\n",
}

# Each line as it is typed after `minirpn`, and what is said; "…" stands for a list of names.
COMMAND_LINES = (
    ("trian", "unknown command 'trian'; did you mean train?"),
    ("evla runs/x", "unknown command 'evla'; did you mean eval?"),
    (
        "predict photo.jpg",
        "unknown command 'predict'; here it is propose, or detect for objects with classes",
    ),
    ("val runs/x", "unknown command 'val'; here it is eval"),
    ("fit --voc x", "unknown command 'fit'; here it is train"),
    ("help", "unknown command 'help'"),
    ("--debug trian", "unknown command 'trian'; did you mean train?"),
    ("--verison", "unrecognized --verison; did you mean --version?"),
    ("--fly", "unrecognized --fly"),
    ("--voc x train", "unrecognized --voc; it comes after the command: minirpn train --voc"),
    (
        "--score-threshold 0.5 runs/x photo.jpg",
        "unrecognized --score-threshold; it comes after the command: "
        "minirpn detect --score-threshold",
    ),
)

FLAG_LINES = (
    ("train --bakbone tiny", "unrecognized --bakbone; did you mean --backbone?"),
    ("train -backbone tiny", "unrecognized -backbone; did you mean --backbone?"),
    ("train --Steps 3", "unrecognized --Steps; did you mean --steps?"),
    ("train --short_side 300", "unrecognized --short_side; did you mean --short-side?"),
    ("train --fly", "unrecognized --fly"),
    ("train --val x", "unrecognized --val; did you mean --val-split or --validate-every?"),
    (
        "train --bakbone tiny --fly --data x",
        "unrecognized --bakbone (did you mean --backbone?), --fly, --data (here it is --voc)",
    ),
    (
        "train --epochs 10",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "10 epochs of 360 images are --steps 3600",
    ),
    (
        "train --epochs=2 --voc shapes --split val",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "2 epochs of 6 images are --steps 12",
    ),
    (
        "train --epochs 2 --voc shapes --split all",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "2 epochs of 30 images are --steps 60",
    ),
    (
        "study loss --epochs 2 --set synthetic.images=100",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "2 epochs of 60 images are --steps 120",
    ),
    (
        "train --epochs 10 --voc nosuch",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "they are as many as epochs times training images",
    ),
    (
        "train --epochs 10 --lr much",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "they are as many as epochs times training images",
    ),
    (
        "train --epochs",
        "unrecognized --epochs; here it is --steps; with one image in a step, "
        "they are as many as epochs times training images",
    ),
    (
        "train --batch-size 8",
        "unrecognized --batch-size; --images-per-step 8 for images; "
        "--set sampling.batch_size=8 is for anchors",
    ),
    ("check --data x", "unrecognized --data; here it is --voc"),
    ("train --lr0 0.1", "unrecognized --lr0; here it is --lr"),
    ("train --imgsz 640", "unrecognized --imgsz; here it is --short-side and --max-side"),
    ("train --output-dir x", "unrecognized --output-dir; here it is --out"),
    ("train --model vgg16", "unrecognized --model; here it is --backbone"),
    ("eval --model runs/x", "unrecognized --model; the model needs no flag: minirpn eval RUN"),
    (
        "propose runs/x --source a.jpg",
        "unrecognized --source; pictures need no flag: minirpn propose RUN PICTURE",
    ),
    ("train --gpu 0", "unrecognized --gpu; here it is --device cuda"),
    (
        "train --num_classes 3",
        "unrecognized --num_classes; "
        "the classes are those of the data set; --set data.classes=A,B,C orders them",
    ),
    ("train --max-iter 100", "unrecognized --max-iter; here it is --steps"),
    ("train --pretrained a.pth", "unrecognized --pretrained; here it is --weights"),
    (
        "train --workers 4",
        "unrecognized --workers; images are read ahead by themselves; --threads computes",
    ),
    ("check --workers 4", "unrecognized --workers; here it is --threads"),
    ("detect runs/x a.jpg --conf 0.4", "unrecognized --conf; here it is --score-threshold"),
    (
        "propose runs/x a.jpg --conf 0.4",
        "unrecognized --conf; --score-threshold is a flag of minirpn detect",
    ),
    (
        "eval runs/x --backbone tiny",
        "unrecognized --backbone; it is a flag of minirpn anchors, train, study",
    ),
    (
        "train --momentum 0.8",
        "unrecognized --momentum; did you mean --set optimizer.momentum=0.8?",
    ),
    (
        "train --iou-threshold 0.5",
        "unrecognized --iou-threshold; did you mean --set proposals.iou_threshold=0.5 "
        "or --set detections.iou_threshold=0.5?",
    ),
    ("train --optimizer.lr 0.5", "unrecognized --optimizer.lr; did you mean --lr?"),
    (
        "train epochs=x lr=0.1",
        "unrecognized epochs=x (here it is --steps; with one image in a step, "
        "they are as many as epochs times training images), lr=0.1 (did you mean --lr?)",
    ),
    ("train shapes", "unrecognized shapes; did you mean --voc shapes?"),
    ("train mine.toml", "unrecognized mine.toml; did you mean --config mine.toml?"),
    ("study lambda loss", "unrecognized loss"),
    ("train '--a\nb'", "unrecognized --a b"),
)

VALUE_LINES = (
    (
        "train --recipe smal",
        "--recipe: unknown 'smal'; there are small, shapes, paper; did you mean small?",
    ),
    (
        "train --sharing 4step",
        "--sharing: unknown '4step'; there are rpn-only, 4-step, approximate-joint, joint; "
        "did you mean 4-step?",
    ),
    (
        "train --preset Torchvison",
        "--preset: unknown 'Torchvison'; there are …; did you mean torchvision?",
    ),
    ("train --steps many", "--steps: expected a whole number, got 'many'"),
    ("train --lr", "--lr: expected one argument"),
    (
        "eval runs/x --matching many",
        "--matching: unknown 'many'; there are one-to-one, any; did you mean any?",
    ),
    (
        "eval runs/x --device cpus",
        "--device: expected auto, cpu, cuda or cuda:0, cuda:1, ..., got 'cpus'",
    ),
    ("completion fish", "SHELL: unknown 'fish'; there are bash, zsh, tcsh"),
)

# Settings are looked at after the line is parsed: these sentences stand alone.
SETTING_LINES = (
    (
        "train --backbone squeezent",
        "--backbone: unknown 'squeezent'; there are squeezenet, tiny, vgg16, zf; "
        "did you mean squeezenet?",
    ),
    ("train --lr -1", "--lr: expected a finite number above 0, got -1.0"),
    ("train --device cpus", "--device: expected auto, cpu, …, got 'cpus'"),
    ("train --set lr=0.1", "--set lr=0.1: expected SECTION.KEY=VALUE; did you mean optimizer.lr?"),
    ("train --set optimizer.lr", "--set optimizer.lr: expected SECTION.KEY=VALUE"),
    (
        "train --set optimiser.lr=1",
        "--set optimiser.lr: unknown; there are …; did you mean optimizer?",
    ),
    (
        "train --set optimizer.momentm=1",
        "--set optimizer.momentm: unknown; there are …; did you mean momentum?",
    ),
    ("train --set optimizer.lr=fast", "--set optimizer.lr: expected a number, got 'fast'"),
    (
        "train --set optimizer.lr=-1",
        "--set optimizer.lr: expected a finite number above 0, got -1.0",
    ),
    (
        "anchors --set resize.short_side=9.5",
        "--set resize.short_side: expected a whole number, got 9.5",
    ),
    (
        "train --set sharing.kind=4step",
        "--set sharing.kind: expected 'rpn-only' or '4-step' or 'approximate-joint' or 'joint', "
        "got '4step'; did you mean 4-step?",
    ),
    (
        "train --lr 0.1 --set optimizer.lr=0.2",
        "--lr and --set optimizer.lr: two values for one setting: 0.1 and 0.2",
    ),
    (
        "train --set optimizer.lr=0.1 --set optimizer.lr=0.2",
        "--set optimizer.lr: two values for one setting: 0.1 and 0.2",
    ),
    (
        "train --no-tf32 --set run.tf32=true",
        "--no-tf32 and --set run.tf32: two values for one setting: False and True",
    ),
    (
        "train --anchors scales=8 --set anchors.scales=16",
        "--anchors scales and --set anchors.scales: two values for one setting: [8.0] and [16]",
    ),
    (
        "train --anchors scale=8",
        "--anchors scale=8: expected one of scales=, ratios=, base_size=, rounding=; "
        "did you mean scales?",
    ),
    (
        "train --config section.toml",
        "section.toml: optimizr: unknown; there are …; did you mean optimizer?",
    ),
    (
        "train --config key.toml",
        "key.toml: optimizer.momentm: unknown; there are …; did you mean momentum?",
    ),
    (
        "train --config elsewhere.toml",
        "elsewhere.toml: optimizer.batch_size: unknown; "
        "there are …; did you mean sampling.batch_size or regions.batch_size?",
    ),
    ("train --config top.toml", "top.toml: lr: unknown; there are …; did you mean optimizer.lr?"),
    (
        "train --config wrong.toml",
        "wrong.toml: optimizer.lr: expected a finite number above 0, got -1.0",
    ),
    (
        "train --config kind.toml",
        "kind.toml: sharing.kind: expected …, got '4step'; did you mean 4-step?",
    ),
    # Values that do not go together: those are named that were typed.
    (
        "train --short-side 900",
        "--short-side: expected 1 <= short_side <= max_side, got 900 and 400",
    ),
    (
        "train --short-side 900 --max-side 300",
        "--short-side and --max-side: expected 1 <= short_side <= max_side, got 900 and 300",
    ),
    (
        "train --short-side 900 --config mine.toml",
        "--short-side and mine.toml: resize.max_side: "
        "expected 1 <= short_side <= max_side, got 900 and 400",
    ),
    (
        "train --sharing joint --config pool.toml",
        "--sharing and pool.toml: sharing.pooling: "
        "joint training needs align, for max pooling has no gradient for the boxes",
    ),
    (
        "train --sharing 4-step --config mine.toml",
        "mine.toml: optimizer.steps: 4-step training needs 6 or more, got 3",
    ),
    (
        "train --proposals x.npz",
        "--proposals: only 4-step training starts from a file, not rpn-only",
    ),
    (
        "train --anchors base_size=0.1",
        "--anchors base_size: at base_size 0.1, 0.5 rounds to no area",
    ),
    (
        "train --set regions.background_iou=0.9",
        "--set regions.background_iou: "
        "expected 0 <= background_iou < positive_iou, got 0.9 and 0.5",
    ),
    (
        "train --set synthetic.min_side=300",
        "--set synthetic.min_side: expected 4 <= min_side <= "
        "max_share * shorter side and max_share <= 1, got 300 and 0.6",
    ),
    # Stages that the network does not have.
    ("train --freeze conv9 --config few.toml", "--freeze: tiny has no stage 'conv9'; there are …"),
    (
        "train --set model.freeze=conv9 --config few.toml",
        "--set model.freeze: tiny has no stage 'conv9'; there are …",
    ),
    (
        "train --config freeze.toml",
        "freeze.toml: model.freeze: tiny has no stage 'conv9'; there are …",
    ),
    # What only a study can refuse.
    (
        "study loss --set sharing.kind=joint",
        "--set sharing.kind: studies train the RPN alone, not joint",
    ),
    (
        "study anchors --anchors scales=4",
        "--anchors scales: the study compares one with three, got (4.0,)",
    ),
    # Names that are no settings.
    ("study lamda", "no study 'lamda'; there are …; did you mean lambda?"),
)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files and the data set that the lines name."""
    folder = tmp_path_factory.mktemp("mistyped")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    generate(folder / "shapes", SyntheticConfig(images=30, image_size=(32, 32), min_side=8))
    return folder


@pytest.fixture
def say(fails: Fails, surroundings: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Check that a line says a sentence, in which "…" stands for a list of names."""

    def check(line: str, said: str, end: str = "") -> None:
        monkeypatch.chdir(surroundings)
        message = fails(*shlex.split(line))
        first, left_out, last = said.partition("…")
        assert message.startswith(first)
        assert message.endswith(last + end) if left_out else message == said + end

    return check


@pytest.mark.parametrize(("line", "said"), COMMAND_LINES, ids=[line for line, _ in COMMAND_LINES])
def test_what_stands_before_or_for_a_command(line: str, said: str, say: Callable[..., None]):
    say(line, said, " (see minirpn --help)")


LINES = (*FLAG_LINES, *VALUE_LINES)


@pytest.mark.parametrize(("line", "said"), LINES, ids=[line for line, _ in LINES])
def test_what_stands_after_a_command(line: str, said: str, say: Callable[..., None]):
    command = line.split()[0]
    say(line, f"{command}: {said}", f" (see minirpn {command} --help)")


@pytest.mark.parametrize(("line", "said"), SETTING_LINES, ids=[line for line, _ in SETTING_LINES])
def test_settings(line: str, said: str, say: Callable[..., None]):
    say(line, said)


def test_help_is_shown_whatever_else_is_mistyped(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["train", "--bakbone", "tiny", "--help"])
    assert ended.value.code == 0
    assert "usage: minirpn train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--lr", True), ("-h", True), ("--a=b c", True), ("---", True),
        ("-", False), ("-1", False), ("-1e-3", False), ("-a b", False), ("lr", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_a_flag(word: str, expected: bool):
    assert is_flag(word) is expected


def test_unknown_flags_take_their_values_with_them():
    words = ["a", "--x", "1", "--lr", "2", "--y=3", "b", "--z", "--x", "-1", "--", "--w", "c"]
    unknown, rest = unknown_flags(words, {"--lr"})
    assert [(one.flag, one.value) for one in unknown] == [
        ("--x", "1"), ("--y", "3"), ("--z", None), ("--x", "-1"),
    ]  # fmt: skip
    assert rest == ["a", "--lr", "2", "b", "--", "--w", "c"]


def test_the_tables_name_what_exists_and_nothing_that_does():
    names = {command.NAME for command in COMMANDS}
    for elsewhere, here in COMMANDS_ELSEWHERE:
        assert not names & set(elsewhere.split())
        assert names & set(here.replace(",", "").split()) or here.startswith("minirpn --")
    flags = set()
    for command in COMMANDS:
        parser = build_parser([command.NAME])
        [commands] = [action for action in parser._actions if action.choices]
        subparser = commands.choices[command.NAME]
        flags |= {*known_flags(subparser), *(str(action.metavar) for action in subparser._actions)}
    for _, needed, said in FLAGS_ELSEWHERE:
        assert set(needed.split()) & flags, needed
        assert set(re.findall("--[a-z0-9-]+", said)) <= flags, said


def test_of_very_many_words_some_are_told(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
):
    asked = []
    hint = said_words._hint
    monkeypatch.setattr(said_words, "_hint", lambda *given: asked.append(given) or hint(*given))
    said = fails("train", *(f"--a{number}" for number in range(5000)))
    assert "--a9, and 4990 more" in said
    assert len(asked) == 10


def test_a_number_of_epochs_without_end(fails: Callable[..., str]):
    said = fails("train", "--epochs", "9" * 5000)
    assert "with one image in a step, they are as many as epochs times training images" in said
