"""What to say about a command or a flag that does not exist: the nearest one, or the word here.

A word from another program, such as ``--epochs``, stands in one of the two tables.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from minirpn.errors import did_you_mean

COMMANDS_ELSEWHERE: Sequence[tuple[str, str]] = (
    ("predict infer inference demo", "propose, or detect for objects with classes"),
    ("val valid validate test evaluate evaluation", "eval"),
    ("fit learn", "train"),
    ("finetune fine-tune", "train --weights"),
    ("resume continue", "train --resume"),
    ("version", "minirpn --version"),
)
"""Commands of other programs, and what to type here."""

_DIGITS = 10  # of a number of epochs; nobody asks for more
_SAID = 10  # words that something is said about

_TRAINS, _RUN, _PICTURES = "--steps", "RUN", "IMAGE PICTURE"

FLAGS_ELSEWHERE: Sequence[tuple[str, str, str]] = (
    (
        "epochs num-epochs max-epochs",
        _TRAINS,
        "here it is --steps; with one image in a step, {steps}",
    ),
    ("iterations iters max-iter max-iters num-iters max-steps num-steps", "--steps", ""),
    (
        "batch-size batch bs ims-per-batch",
        "--images-per-step",
        "--images-per-step {value} for images; --set sampling.batch_size={value} is for anchors",
    ),
    ("data dataset data-dir data-path data-root root", "--voc", ""),
    ("lr0 learning-rate base-lr", "--lr", ""),
    ("opt optim", "--optimizer", ""),
    ("nms nms-thresh iou", _TRAINS, "here it is --set proposals.iou_threshold={value}"),
    (
        "imgsz img-size image-size img size",
        "--short-side",
        "here it is --short-side and --max-side",
    ),
    ("output-dir output outdir save-dir work-dir project name o", "--out", ""),
    ("model arch net cfg-model", "--backbone", ""),
    ("model ckpt checkpoint weights run", _RUN, "the model needs no flag: {command} RUN"),
    (
        "source input image images img file",
        _PICTURES,
        "pictures need no flag: {command} RUN PICTURE",
    ),
    ("cfg config-file yaml hyp", "--config", ""),
    ("gpu gpus cuda use-cuda", "--device", "here it is --device cuda"),
    ("cpu no-cuda", "--device", "here it is --device cpu"),
    ("fp16 half amp", "--tf32", "numbers are float32; --tf32 rounds factors on a GPU"),
    ("workers num-workers j", _TRAINS, "images are read ahead by themselves; --threads computes"),
    ("workers num-workers jobs j", "--threads", ""),
    (
        "num-classes nc classes names",
        _TRAINS,
        "the classes are those of the data set; --set data.classes=A,B,C orders them",
    ),
    ("pretrained pretrained-weights init load-from", "--weights", ""),
    ("conf conf-thres confidence threshold score-thr", "--score-threshold", ""),
    ("max-det topk top-k num-proposals", "--top", ""),
    ("random-seed manual-seed random-state", "--seed", ""),
    ("save-period save-every checkpoint-interval", "--checkpoint-every", ""),
    ("eval-every eval-interval val-interval", "--validate-every", ""),
)
"""Flags of other programs; for which commands; and what to say.

A line is for the commands that have this flag, or a positional argument of one of these names. The
first such line is taken. Where it says nothing, that is "here it is FLAG".
"""


class Unknown(NamedTuple):
    """A word of a command line that the parser does not know."""

    typed: str
    flag: str  # the same as a flag
    value: str | None  # what follows it, if it is a flag


def command_hint(word: str, commands: Collection[str]) -> str:
    """Return what to say of a command that does not exist: ``"; did you mean eval?"`` or such."""
    for elsewhere, here in COMMANDS_ELSEWHERE:
        if word.lower() in elsewhere.split():
            return f"; here it is {here}"
    return did_you_mean(word.lower(), commands)


def is_flag(word: str) -> bool:
    """Tell whether a word of a command line is a flag, not a value such as ``-`` or ``-0.5``."""
    if not word.startswith("-") or word == "-" or " " in word.partition("=")[0]:
        return False
    try:
        float(word)
    except ValueError:
        return True
    return False


def unknown_flags(
    words: Sequence[str], known: Collection[str]
) -> tuple[list[Unknown], Sequence[str]]:
    """Return the flags among the words that are not known, and the words without them."""
    unknown, rest = [], []
    position = 0
    while position < len(words) and words[position] != "--":
        word = words[position]
        position += 1
        flag, equals, text = word.partition("=")
        if not is_flag(word) or flag in known:
            rest.append(word)
            continue
        value = text if equals else None
        if not equals and position < len(words) and not is_flag(words[position]):
            value = words[position]
            position += 1
        unknown.append(Unknown(flag, flag, value))
    return unknown, [*rest, *words[position:]]


def unknown_word(word: str) -> Unknown:
    """Return a word that is no flag as what may be meant: ``epochs=10`` as ``--epochs 10``."""
    name, equals, value = word.partition("=")
    return Unknown(word, f"--{name}", value) if equals else Unknown(word, word, None)


def complaint(
    unknown: Sequence[Unknown],
    parser: argparse.ArgumentParser,
    *,
    images: Callable[[], int | None],
    others: Callable[[str], Sequence[str]],
) -> str:
    """Return the sentence about words that the parser of a command does not know.

    Parameters
    ----------
    unknown
        The words; at least one.
    parser
        That of the command.
    images
        Counts the images of the training split, for ``--epochs``; None if they cannot be counted.
    others
        The names of the commands that have a flag.
    """
    hints = [_hint(one, parser, images, others) for one in unknown[:_SAID]]
    if len(hints) == 1:
        return f"unrecognized {unknown[0].typed}{'; ' if hints[0] else ''}{hints[0]}"
    pairs = zip(unknown, hints, strict=False)
    said = ", ".join(f"{one.typed} ({hint})" if hint else one.typed for one, hint in pairs)
    more = f", and {len(unknown) - _SAID} more" if len(unknown) > _SAID else ""
    return f"unrecognized {said}{more}"


def _hint(
    unknown: Unknown,
    parser: argparse.ArgumentParser,
    images: Callable[[], int | None],
    others: Callable[[str], Sequence[str]],
) -> str:
    """Return what to say about one word, or ``""``."""
    flags, flag = known_flags(parser), unknown.flag.lower().replace("_", "-")
    if not is_flag(flag):
        return _meant_path(unknown.typed, flags)
    if flag in flags:
        return f"did you mean {flag}?"
    if said := _elsewhere(unknown, flag, parser, images):
        return said
    if "--set" in flags and (setting := _setting(unknown, parser)):
        return f"did you mean {setting}?"
    if near := nearest_flags(flag, flags):
        return f"did you mean {' or '.join(near)}?"
    for name in (flag, *(needed for needed, _ in _rows(flag))):
        if commands := others(name):
            what = "it" if name == flag else name
            return f"{what} is a flag of minirpn {', '.join(commands)}"
    return ""


def nearest_flags(flag: str, known: Collection[str]) -> list[str]:
    """Return the known flags that begin with `flag`, or else the one nearest to it, if any."""
    longer = [one for one in known if one.startswith(flag) and len(flag) > len("--x")]
    # Without the dashes, which make any two short flags alike.
    names = {one.lstrip("-"): one for one in known}
    near = get_close_matches(flag.lstrip("-"), names, n=1)
    return longer or [names[name] for name in near]


def known_flags(parser: argparse.ArgumentParser) -> list[str]:
    """Return the flags of a parser."""
    return [flag for action in parser._actions for flag in action.option_strings]


def _meant_path(word: str, flags: Collection[str]) -> str:
    """Return which flag a file or a folder lacks."""
    flag = "--config" if word.endswith(".toml") else "--voc" if Path(word).is_dir() else ""
    return f"did you mean {flag} {word}?" if flag in flags else ""


def _rows(flag: str) -> list[tuple[str, str]]:
    """Return what a command must have, and what to say, of each line with this flag."""
    name = flag.lstrip("-")
    return [(needed, say) for names, needed, say in FLAGS_ELSEWHERE if name in names.split()]


def _elsewhere(
    unknown: Unknown,
    flag: str,
    parser: argparse.ArgumentParser,
    images: Callable[[], int | None],
) -> str:
    """Return what the table of flags says, or ``""``."""
    arguments = {
        name
        for action in parser._actions
        for name in action.option_strings or re.findall(r"\w+", str(action.metavar))
    }
    for needed, say in _rows(flag):
        if arguments & {*needed.split()}:
            steps = _steps(unknown.value, images) if "{steps}" in say else ""
            return (say or f"here it is {needed}").format(
                steps=steps, value=unknown.value or "N", command=parser.prog
            )
    return ""


def _steps(epochs: str | None, images: Callable[[], int | None]) -> str:
    """Return how many steps so many epochs are."""
    is_number = epochs is not None and epochs.isdecimal() and len(epochs) < _DIGITS
    count = images() if is_number else None
    if epochs is None or count is None:
        return "they are as many as epochs times training images"
    return f"{epochs} epochs of {count} images are --steps {int(epochs) * count}"


def _setting(unknown: Unknown, parser: argparse.ArgumentParser) -> str:
    """Return how the setting of this name is given, or ``""`` if there is none."""
    from minirpn.training.config import TrainConfig
    from minirpn.training.tables import keys_of

    name = unknown.flag.lstrip("-").lower().replace("-", "_")
    flags = {
        action.dest: action.option_strings[0] for action in parser._actions if "." in action.dest
    }
    keys = [key for key in keys_of(TrainConfig) if name in (key, key.rpartition(".")[2])]
    value = "VALUE" if unknown.value is None else unknown.value
    return " or ".join(flags.get(key, f"--set {key}={value}") for key in keys)
