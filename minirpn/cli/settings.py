"""The flags of ``minirpn train`` that override settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from minirpn.errors import InputError

ANCHORS = "--anchors"
DEVICE_HELP = "where to compute: auto (default), cpu, cuda, cuda:1, ..."


class Flag(NamedTuple):
    """A flag and the setting it overrides."""

    name: str
    key: str  # dotted, as in config.toml
    # The choices; or what reads the value; or a bool, which a flag without a value stands for.
    values: tuple[str, ...] | Callable[[str], Any] | bool
    help: str
    metavar: str | None = None


def preset(name: str) -> dict[str, Any]:
    """Return the settings behind the name of a preset of `minirpn.weights`."""
    from minirpn.training.tables import to_table
    from minirpn.weights import PRESETS

    if name not in PRESETS:
        raise argparse.ArgumentTypeError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    table: dict[str, Any] = to_table(PRESETS[name])
    return table


def _stages(text: str) -> list[str]:
    return [] if text == "nothing" else text.split(",")


# The types and choices are those of the dataclasses in `minirpn.training.config`, and the recipes
# are its `RECIPES`; a test compares them. They are repeated here because `minirpn train --help`
# would load NumPy to read them there.
RECIPE_NAMES = ("small", "shapes", "paper")

FLAGS: Mapping[str, tuple[Flag, ...]] = {
    "data": (
        Flag("--voc", "data.voc", str, "data set in VOC layout; without it, shapes", "DIR"),
        Flag("--year", "data.year", str, "year of a VOCdevkit", "Y"),
        Flag("--split", "data.split", str, "train on this split; 'all': no split", "S"),
        Flag("--val-split", "data.val_split", str, "validate on this split", "S"),
        Flag("--skip-bad", "data.skip_bad", True, "leave out and count what is wrong in the data"),
        Flag(
            "--use-difficult", "data.use_difficult", True, "train on objects marked difficult too"
        ),
        Flag("--no-flip", "data.flip", False, "never mirror an image"),
        Flag("--scale-jitter", "data.scale_jitter", float, "zoom by up to 1 + X", "X"),
        Flag("--colour-jitter", "data.colour_jitter", float, "change colours by up to X", "X"),
        Flag(
            "--short-side",
            "resize.short_side",
            int,
            "resize the short side of images to this",
            "PX",
        ),
        Flag("--max-side", "resize.max_side", int, "greatest long side after that", "PX"),
    ),
    "network": (
        Flag("--backbone", "model.backbone", str, "tiny, squeezenet, ...", "NAME"),
        Flag("--weights", "model.weights", str, "pretrained weights, in any known format", "FILE"),
        Flag(
            "--preset",
            "model.preprocessing",
            preset,
            "how pixels are prepared, if the weights do not tell: torchvision, girshick, ...",
            "NAME",
        ),
        Flag(
            "--freeze",
            "model.freeze",
            _stages,
            "stages not to train, separated by commas, or 'nothing' (default: the paper's)",
            "STAGES",
        ),
        Flag(
            "--anchor-centre",
            "model.anchor_centre",
            ("cell", "receptive-field"),
            "where the anchors of a cell are centred",
        ),
        Flag(
            "--classifier",
            "model.classifier",
            ("softmax", "logistic"),
            "two logits per anchor, or one",
        ),
    ),
    "detector": (
        Flag(
            "--sharing",
            "sharing.kind",
            ("rpn-only", "4-step", "approximate-joint", "joint"),
            "train a detector too, and how it shares the features (default: rpn-only)",
        ),
        Flag(
            "--pooling",
            "sharing.pooling",
            ("pool", "align"),
            "how the features of a region are pooled",
        ),
        Flag(
            "--proposals",
            "sharing.proposals",
            str,
            "start 4-step training from these, saved by `minirpn propose`",
            "FILE",
        ),
    ),
    "learning": (
        Flag("--loss", "loss.form", ("paper", "released"), "form of the loss"),
        Flag("--steps", "optimizer.steps", int, "training steps, one image each", "N"),
        Flag("--lr", "optimizer.lr", float, "learning rate before the drop", "X"),
        Flag(
            "--backbone-lr-multiplier",
            "optimizer.backbone_lr_multiplier",
            float,
            "factor on the learning rate of the backbone",
            "X",
        ),
        Flag("--clip-norm", "optimizer.clip_norm", float, "greatest norm of the gradient", "X"),
        Flag(
            "--rule",
            "optimizer.rule",
            ("caffe", "torch"),
            "where SGD multiplies by the learning rate",
        ),
        Flag(
            "--inside-only",
            "proposals.inside_only",
            True,
            "propose only from anchors inside the image",
        ),
        Flag("--seed", "run.seed", int, "seed of all random numbers", "N"),
    ),
    "running": (
        Flag("--threads", "run.threads", int, "threads that compute (default: one per core)", "N"),
        Flag("--device", "run.device", str, DEVICE_HELP, "NAME"),
        Flag("--no-tf32", "run.tf32", False, "compute products in full float32 (default)"),
        Flag("--tf32", "run.tf32", True, "on a GPU, round the factors of products to 10 bits"),
        Flag("--graphs", "run.graphs", True, "on a GPU, record steps as CUDA graphs (default)"),
        Flag("--no-graphs", "run.graphs", False, "on a GPU, launch every kernel by itself"),
        Flag("--validate-every", "run.validate_every", int, "steps between validations", "N"),
        Flag("--checkpoint-every", "run.checkpoint_every", int, "steps between checkpoints", "N"),
        Flag("--diagnose-every", "run.diagnose_every", int, "steps between diagnoses", "N"),
        Flag(
            "--detect-anomaly",
            "run.detect_anomaly",
            True,
            "if a number is not finite, name the first layer it comes from",
        ),
        Flag("--tensorboard", "run.tensorboard", True, "record for TensorBoard as well"),
    ),
}


def add_recipe(parser: Any) -> None:
    """Add the flag that picks the settings to start from to a parser, or to a group of one."""
    parser.add_argument(
        "--recipe",
        choices=RECIPE_NAMES,
        help="settings to start from (default: small with --voc, else shapes)",
    )


def add_settings(parser: argparse.ArgumentParser, *, only: Collection[str] | None = None) -> None:
    """Add ``--anchors`` and the flags of `FLAGS`, all of them or those of some keys."""
    for title, flags in FLAGS.items():
        wanted = [flag for flag in flags if only is None or flag.key in only]
        group = parser.add_argument_group(title) if wanted else parser
        for flag in wanted:
            how: dict[str, Any] = {"type": flag.values, "metavar": flag.metavar}
            if isinstance(flag.values, bool):
                how = {"action": "store_const", "const": flag.values}
            elif isinstance(flag.values, tuple):
                how = {"choices": flag.values}
            group.add_argument(flag.name, dest=flag.key, help=flag.help, **how)
        if title == "network":
            group.add_argument(
                ANCHORS,
                nargs="+",
                metavar="KEY=VALUES",
                help="such as scales=8,16,32 ratios=0.5,1,2 (also base_size=16, rounding=none)",
            )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the device, to the parser of a command that uses a trained network."""
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)


def given_settings(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings given by flags, by dotted key, and the flag of each, for messages.

    Raises
    ------
    InputError
        ``--anchors`` cannot be read.
    """
    names = {flag.key: flag.name for flags in FLAGS.values() for flag in flags}
    # A command may have only some of the flags.
    given = {key: getattr(args, key, None) for key in names}
    values = {key: value for key, value in given.items() if value is not None}
    for name, value in _anchor_settings(args.anchors or []).items():
        values[f"anchors.{name}"], names[f"anchors.{name}"] = value, f"{ANCHORS} {name}"
    return values, names


def _anchor_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings in ``scales=8,16,32 ratios=0.5,1,2``, quoted as one word or not."""
    names = "scales", "ratios", "base_size", "rounding"
    values: dict[str, Any] = {}
    for word in " ".join(words).split():
        name, _, text = word.partition("=")
        if name not in names:
            parts = ", ".join(f"{name}=" for name in names)
            raise InputError(f"{ANCHORS} {word}: expected one of {parts}")
        try:
            if name in ("scales", "ratios"):
                values[name] = [float(item) for item in text.split(",")]
            else:
                values[name] = text if name == "rounding" else float(text)
        except ValueError:
            raise InputError(f"{ANCHORS} {word}: expected numbers separated by commas") from None
    return values
