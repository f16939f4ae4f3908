"""The flags of ``minirpn train`` that stand for settings, and the settings they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from minirpn.errors import InputError

if TYPE_CHECKING:
    from minirpn.devices import Device

ANCHORS = "--anchors"
DEVICE_HELP = "where to compute: auto (default), cpu, cuda, cuda:1, ..."


class Flag(NamedTuple):
    """A flag and the setting it overrides."""

    name: str
    key: str  # dotted, as in config.toml
    kind: Callable[[str], Any] | bool  # a bool: the flag takes no value and means this one
    help: str
    choices: Sequence[str] | None = None
    metavar: str | None = None


def preset(name: str) -> dict[str, Any]:
    """Return the settings behind the name of a preset."""
    from minirpn.training.tables import to_table
    from minirpn.weights import PRESETS

    if name not in PRESETS:
        raise argparse.ArgumentTypeError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return to_table(PRESETS[name])


def _stages(text: str) -> list[str]:
    return [] if text == "nothing" else text.split(",")


FLAGS: Mapping[str, tuple[Flag, ...]] = {
    "data": (
        Flag("--voc", "data.voc", str, "data set in VOC layout; without it, shapes", metavar="DIR"),
        Flag("--year", "data.year", str, "which year of a VOCdevkit", metavar="Y"),
        Flag("--split", "data.split", str, "train on this split; 'all': no split", metavar="S"),
        Flag("--val-split", "data.val_split", str, "validate on this split", metavar="S"),
        Flag("--skip-bad", "data.skip_bad", True, "leave out what is wrong in the data, count it"),
        Flag("--use-difficult", "data.use_difficult", True, "learn objects marked difficult too"),
        Flag("--no-flip", "data.flip", False, "never mirror an image"),
        Flag("--scale-jitter", "data.scale_jitter", float, "zoom by up to 1 + X", metavar="X"),
        Flag("--colour-jitter", "data.colour_jitter", float, "recolour by up to X", metavar="X"),
        Flag("--short-side", "resize.short_side", int, "length of the short side", metavar="PX"),
        Flag("--max-side", "resize.max_side", int, "greatest long side", metavar="PX"),
    ),
    "network": (
        Flag("--backbone", "model.backbone", str, "tiny, squeezenet, ...", metavar="NAME"),
        Flag("--weights", "model.weights", str, "pretrained weights of any kind", metavar="FILE"),
        Flag(
            "--preset",
            "model.preprocessing",
            preset,
            "how pixels are prepared, where the weights do not tell: torchvision, girshick, ...",
            metavar="NAME",
        ),
        Flag(
            "--freeze",
            "model.freeze",
            _stages,
            "stages not to train, with commas between, or 'nothing' (default: the paper's)",
            metavar="STAGES",
        ),
        Flag(
            "--anchor-centre",
            "model.anchor_centre",
            str,
            "where the anchors of a cell are centred",
            choices=("cell", "receptive-field"),
        ),
        Flag(
            "--classifier",
            "model.classifier",
            str,
            "two scores an anchor, or one",
            choices=("softmax", "logistic"),
        ),
    ),
    "detector": (
        Flag(
            "--sharing",
            "sharing.kind",
            str,
            "train a detector along, and how it shares the features (default: rpn-only)",
            choices=("rpn-only", "4-step", "approximate-joint", "joint"),
        ),
        Flag(
            "--pooling",
            "sharing.pooling",
            str,
            "how the features of a region are pooled",
            choices=("pool", "align"),
        ),
        Flag(
            "--proposals",
            "sharing.proposals",
            str,
            "4-step training starts from these, saved by `minirpn propose`",
            metavar="FILE",
        ),
    ),
    "learning": (
        Flag("--loss", "loss.form", str, "form of the loss", choices=("paper", "released")),
        Flag("--steps", "optimizer.steps", int, "images to learn from", metavar="N"),
        Flag("--lr", "optimizer.lr", float, "learning rate before the drop", metavar="X"),
        Flag(
            "--backbone-lr-multiplier",
            "optimizer.backbone_lr_multiplier",
            float,
            "of the backbone's learning rate",
            metavar="X",
        ),
        Flag("--clip-norm", "optimizer.clip_norm", float, "longest gradient", metavar="X"),
        Flag(
            "--rule",
            "optimizer.rule",
            str,
            "where SGD puts the learning rate",
            choices=("caffe", "torch"),
        ),
        Flag(
            "--inside-only",
            "proposals.inside_only",
            True,
            "let only anchors inside the image propose",
        ),
        Flag("--seed", "run.seed", int, "of everything that is random", metavar="N"),
    ),
    "running": (
        Flag("--threads", "run.threads", int, "of the computation", metavar="N"),
        Flag("--device", "run.device", str, DEVICE_HELP, metavar="NAME"),
        Flag("--no-tf32", "run.tf32", False, "products of true float32 (default)"),
        Flag("--tf32", "run.tf32", True, "on a GPU, products of float32 rounded to 10 bits"),
        Flag("--graphs", "run.graphs", True, "on a GPU, record steps as CUDA graphs (default)"),
        Flag("--no-graphs", "run.graphs", False, "on a GPU, ask for every kernel by itself"),
        Flag("--validate-every", "run.validate_every", int, "steps", metavar="N"),
        Flag("--checkpoint-every", "run.checkpoint_every", int, "steps", metavar="N"),
        Flag("--diagnose-every", "run.diagnose_every", int, "steps", metavar="N"),
        Flag(
            "--detect-anomaly",
            "run.detect_anomaly",
            True,
            "where a number stops being finite, name the first layer",
        ),
        Flag("--tensorboard", "run.tensorboard", True, "record for TensorBoard as well"),
    ),
}

# What `--anchors` takes, and how each is read.
_ANCHOR_PARTS: Mapping[str, Callable[[str], Any]] = {
    "scales": lambda text: [float(item) for item in text.split(",")],
    "ratios": lambda text: [float(item) for item in text.split(",")],
    "base_size": float,
    "rounding": str,
}


# Of `minirpn.training.config.RECIPES`, whose import would make every command start slowly.
RECIPE_NAMES = ("small", "shapes", "paper")


def add_recipe(parser: Any) -> None:
    """Give the parser, or a group of it, the flag that picks the settings to start from."""
    parser.add_argument(
        "--recipe",
        choices=RECIPE_NAMES,
        help="settings to start from (default: small with --voc, else shapes)",
    )


def add_settings(parser: argparse.ArgumentParser, *, only: Collection[str] | None = None) -> None:
    """Give the parser the flags of `FLAGS`, all or those of some keys, and ``--anchors``."""
    for title, flags in FLAGS.items():
        wanted = [flag for flag in flags if only is None or flag.key in only]
        group = parser.add_argument_group(title) if wanted else parser
        for flag in wanted:
            if isinstance(flag.kind, bool):
                group.add_argument(
                    flag.name, dest=flag.key, action="store_const", const=flag.kind, help=flag.help
                )
            else:
                group.add_argument(
                    flag.name,
                    dest=flag.key,
                    type=flag.kind,
                    choices=flag.choices,
                    metavar=flag.metavar,
                    help=flag.help,
                )
        if title == "network":
            group.add_argument(
                ANCHORS,
                nargs="+",
                metavar="KEY=VALUES",
                help="such as scales=8,16,32 ratios=0.5,1,2 (also base_size=16, rounding=none)",
            )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Give the parser of a command that uses a trained network the flag for its device."""
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)


def opened_device(args: argparse.Namespace) -> Device:
    """Return the device that the flag of `add_device` asks for.

    Raises
    ------
    InputError
        It cannot be used.
    """
    from minirpn.devices import open_device

    return open_device(args.device)


def given_settings(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings given by flags, by dotted key, and what the user called them.

    Raises
    ------
    InputError
        ``--anchors`` cannot be read.
    """
    names = {flag.key: flag.name for flags in FLAGS.values() for flag in flags}
    # A command may have some of the flags only.
    given = {key: getattr(args, key, None) for key in names}
    values = {key: value for key, value in given.items() if value is not None}
    for key, value in _anchor_settings(args.anchors or []).items():
        values[key], names[key] = value, f"{ANCHORS} {key.removeprefix('anchors.')}"
    return values, names


def _anchor_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings in ``scales=8,16,32 ratios=0.5,1,2``, quoted as one word or not."""
    values: dict[str, Any] = {}
    for word in " ".join(words).split():
        name, _, text = word.partition("=")
        if name not in _ANCHOR_PARTS:
            parts = ", ".join(f"{part}=" for part in _ANCHOR_PARTS)
            raise InputError(f"{ANCHORS} {word}: expected one of {parts}")
        try:
            values[f"anchors.{name}"] = _ANCHOR_PARTS[name](text)
        except ValueError:
            raise InputError(f"{ANCHORS} {word}: expected numbers with commas between") from None
    return values
