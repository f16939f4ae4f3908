"""The flags of ``minirpn train`` that override settings.

Type and choices of a flag follow from the type hint of its setting. They are looked up when the
parser of a command is built, because the settings load NumPy.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args, get_origin

from minirpn.errors import InputError, did_you_mean

ANCHORS = "--anchors"
SET = "--set"
DISTRIBUTED = "--distributed"
DEVICE_HELP = "where to compute: auto (default), cpu, cuda, cuda:1, ..."


class Flag(NamedTuple):
    """A flag and the setting it overrides."""

    name: str  # a switch that starts with --no- means False
    key: str  # dotted, as in config.toml
    help: str
    metavar: str | None = None


FLAGS: Mapping[str, tuple[Flag, ...]] = {
    "data": (
        Flag("--voc", "data.voc", "data set in VOC layout; without it, shapes", "DIR"),
        Flag("--year", "data.year", "year of a VOCdevkit", "Y"),
        Flag("--images", "data.image_folder", "folder of the images, in --voc or anywhere", "DIR"),
        Flag("--annotations", "data.annotation_folder", "folder of the XML files", "DIR"),
        Flag(
            "--box-format",
            "data.box_format",
            "how boxes count pixels: voc (default), zero-based, half-open, one-based-half-open or "
            "normalized; `minirpn check` finds out",
            "FORMAT",
        ),
        Flag("--clip-boxes", "data.clip_boxes", "clip boxes that reach far beyond the image"),
        Flag(
            "--no-annotation",
            "data.no_annotation",
            "what an image without XML is: error (default), skip, or negative: without objects",
            "WHAT",
        ),
        Flag("--classes", "data.classes", "names of a detector's classes, or voc", "A,B"),
        Flag("--split", "data.split", "train on this split; 'all': no split", "S"),
        Flag("--val-split", "data.val_split", "validate on this split", "S"),
        Flag("--skip-bad", "data.skip_bad", "leave out and count what is wrong in the data"),
        Flag("--use-difficult", "data.use_difficult", "train on objects marked difficult too"),
        Flag("--no-flip", "data.flip", "never mirror an image"),
        Flag(
            "--zoom", "data.zoom", "resize training images to X times the size of all others", "X"
        ),
        Flag("--scale-jitter", "data.scale_jitter", "zoom by up to 1 + X", "X"),
        Flag("--colour-jitter", "data.colour_jitter", "change colours by up to X", "X"),
        Flag("--short-side", "resize.short_side", "resize the short side of images to this", "PX"),
        Flag("--max-side", "resize.max_side", "greatest long side after that", "PX"),
    ),
    "network": (
        Flag("--backbone", "model.backbone", "tiny, squeezenet, zf or vgg16", "NAME"),
        Flag(
            "--weights",
            "model.weights",
            "start from these: a file of pretrained weights, in any known format; or, to "
            "fine-tune, a run (RUN or RUN@best), a checkpoint or a shipped model",
            "FROM",
        ),
        Flag(
            "--preset",
            "model.preprocessing",
            "how pixels are prepared, if the weights do not tell: torchvision, girshick, ...",
            "NAME",
        ),
        Flag(
            "--freeze",
            "model.freeze",
            "stages not to train, separated by commas, or 'nothing' (default: the paper's)",
            "STAGES",
        ),
        Flag("--anchor-centre", "model.anchor_centre", "where the anchors of a cell are centered"),
        Flag("--classifier", "model.classifier", "two logits per anchor, or one"),
    ),
    "detector": (
        Flag(
            "--sharing",
            "sharing.kind",
            "train a detector too, and how it shares the features (default: rpn-only)",
        ),
        Flag("--pooling", "sharing.pooling", "how the features of a region are pooled"),
        Flag(
            "--proposals",
            "sharing.proposals",
            "start 4-step training from these, saved by `minirpn propose`",
            "FILE",
        ),
    ),
    "learning": (
        Flag("--loss", "loss.form", "form of the loss"),
        Flag("--steps", "optimizer.steps", "training steps in all", "N"),
        Flag(
            "--images-per-step",
            "optimizer.images_per_step",
            "images of a mini-batch: on a CPU one for each core is fast",
            "N",
        ),
        Flag(
            "--optimizer",
            "optimizer.method",
            "how the parameters move: sgd (default), or adamw with an --lr of about 0.0003",
        ),
        Flag("--lr", "optimizer.lr", "learning rate before the drop", "X"),
        Flag(
            "--warmup-steps",
            "optimizer.warmup_steps",
            "steps in which the learning rate rises to that",
            "N",
        ),
        Flag(
            "--linear-rule",
            "optimizer.linear_rule",
            "with more processes than images in a step, scale learning rate and steps (default)",
        ),
        Flag(
            "--no-linear-rule",
            "optimizer.linear_rule",
            "with more processes than images in a step, take more images only",
        ),
        Flag(
            "--backbone-lr-multiplier",
            "optimizer.backbone_lr_multiplier",
            "factor on the learning rate of the backbone",
            "X",
        ),
        Flag("--clip-norm", "optimizer.clip_norm", "greatest norm of the gradient", "X"),
        Flag("--rule", "optimizer.rule", "where SGD multiplies by the learning rate"),
        Flag(
            "--inside-only", "proposals.inside_only", "propose only from anchors inside the image"
        ),
        Flag("--seed", "run.seed", "seed of all random numbers", "N"),
    ),
    "running": (
        Flag("--threads", "run.threads", "threads that compute (default: one per core)", "N"),
        Flag("--device", "run.device", DEVICE_HELP, "NAME"),
        Flag("--no-tf32", "run.tf32", "compute products in full float32 (default)"),
        Flag("--tf32", "run.tf32", "on a GPU, round the factors of products to 10 bits"),
        Flag("--graphs", "run.graphs", "on a GPU, record steps as CUDA graphs (default)"),
        Flag("--no-graphs", "run.graphs", "on a GPU, launch every kernel by itself"),
        Flag("--validate-every", "run.validate_every", "steps between validations", "N"),
        Flag(
            "--patience",
            "run.patience",
            "stop early when N validations have not raised the best recall (or mAP)",
            "N",
        ),
        Flag("--checkpoint-every", "run.checkpoint_every", "steps between checkpoints", "N"),
        Flag("--diagnose-every", "run.diagnose_every", "steps between diagnoses", "N"),
        Flag(
            "--detect-anomaly",
            "run.detect_anomaly",
            "if a number is not finite, name the first layer it comes from",
        ),
        Flag("--tensorboard", "run.tensorboard", "record for TensorBoard as well"),
    ),
}


def add_distributed(parser: Any) -> None:
    """Add the flag for what several processes do to a parser, or to a group of one."""
    parser.add_argument(
        DISTRIBUTED,
        choices=("auto", "off"),
        default="auto",
        help="what several processes do that mpiexec or srun has started: share the work (auto), "
        "or each all of it (off)",
    )


def add_recipe(parser: Any) -> None:
    """Add the flag that picks the settings to start from to a parser, or to a group of one."""
    from minirpn.training.config import RECIPES

    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        help="settings to start from (default: small with --voc, else shapes)",
    )


def add_settings(parser: argparse.ArgumentParser, *, only: Collection[str] | None = None) -> None:
    """Add ``--set``, ``--anchors`` and all flags of `FLAGS`, or `only` the flags of some keys."""
    parser.add_argument(
        SET,
        action="append",
        metavar="KEY=VALUE",
        help="any setting of config.toml, such as optimizer.momentum=0.8; may be repeated",
    )
    for title, flags in FLAGS.items():
        wanted = [flag for flag in flags if only is None or flag.key in only]
        group = parser.add_argument_group(title) if wanted else parser
        for flag in wanted:
            group.add_argument(flag.name, dest=flag.key, help=flag.help, **_reader(flag))
        if title == "network":
            group.add_argument(
                ANCHORS,
                nargs="+",
                metavar="KEY=VALUES",
                help="such as scales=8,16,32 ratios=0.5,1,2 (also base_size=16, rounding=none)",
            )


def _reader(flag: Flag) -> dict[str, Any]:
    """Return how argparse reads the value of a flag, as the type of its setting says."""
    from minirpn.training.config import TrainConfig
    from minirpn.training.tables import type_of

    hint = type_of(TrainConfig, flag.key)
    if hint is bool:
        return {"action": "store_const", "const": _constant(flag)}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    read: Any = hint
    if hint in (int, float):
        read = partial(_number, kind=hint)
    elif is_dataclass(hint):
        read = preset
    elif get_origin(hint) is tuple:
        read = _names
    return {"type": read, "metavar": flag.metavar}


def _constant(flag: Flag) -> bool:
    """Return what a switch sets its setting to."""
    return not flag.name.startswith("--no-")


def _number(text: str, *, kind: type) -> Any:
    from minirpn.training.tables import EXPECTED

    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {EXPECTED[kind]}, got {text!r}") from None


def preset(name: str) -> dict[str, Any]:
    """Return the settings behind the name of a preset of `minirpn.weights`."""
    from minirpn.training.tables import to_table
    from minirpn.weights import PRESETS

    if name not in PRESETS:
        near = did_you_mean(name.lower(), PRESETS)
        raise argparse.ArgumentTypeError(f"unknown {name!r}; there are {', '.join(PRESETS)}{near}")
    table: dict[str, Any] = to_table(PRESETS[name])
    return table


def _names(text: str) -> list[str]:
    return [] if text == "nothing" else [one.strip() for one in text.split(",")]


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the device, to the parser of a command that uses a trained network."""
    parser.add_argument(
        "--device", type=_device_name, default="auto", metavar="NAME", help=DEVICE_HELP
    )


def _device_name(name: str) -> str:
    from minirpn.devices import check_device_name

    try:
        check_device_name(name)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("device: ")) from error
    return name


def given_settings(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings that were typed, by dotted key, and the flag of each, for messages.

    Raises
    ------
    InputError
        ``--anchors`` or ``--set`` cannot be read, or two flags give one setting different values.
    """
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for flag in (flag for flags in FLAGS.values() for flag in flags):
        value = getattr(args, flag.key, None)  # a command may have only some of the flags
        if value is not None and (not isinstance(value, bool) or value == _constant(flag)):
            values[flag.key], names[flag.key] = value, flag.name
    if "data.annotation_folder" in values:
        # The data set is where its annotations are, not where an earlier one was.
        values.setdefault("data.voc", None)
        names.setdefault("data.voc", names["data.annotation_folder"])
    for name, value in _anchor_settings(args.anchors or []).items():
        values[f"anchors.{name}"], names[f"anchors.{name}"] = value, f"{ANCHORS} {name}"
    for word in args.set or []:
        key, value = _read_set(word)
        if key in values and values[key] != value:
            both = " and ".join(dict.fromkeys((names[key], f"{SET} {key}")))
            raise InputError(f"{both}: two values for one setting: {values[key]!r} and {value!r}")
        values[key], names[key] = value, names.get(key, f"{SET} {key}")
    return values, names


def _read_set(word: str) -> tuple[str, Any]:
    """Return key and value of ``section.key=value``."""
    from minirpn.training.config import TrainConfig
    from minirpn.training.tables import keys_of, nearest_key, read_value, type_of

    key, equals, text = word.partition("=")
    key = key.strip()
    if not equals or "." not in key:
        near = "" if "." in key else nearest_key(TrainConfig, key)
        raise InputError(f"{SET} {word}: expected SECTION.KEY=VALUE{near}")
    # A key that is not known has no type; its name is wrong, whatever the value is.
    hint = type_of(TrainConfig, key) if key in keys_of(TrainConfig) else None
    return key, read_value(text.strip(), hint)


def as_typed(message: str, args: argparse.Namespace) -> str:
    """Return the message of an error; if it begins with a setting, as the user typed that.

    Some settings are refused only when they are used, for example anchors that a study cannot
    compare. ``"anchors.scales: reason"`` becomes ``"--anchors scales: reason"``, or
    ``"FILE: anchors.scales: reason"`` for a setting in ``--config FILE``.
    """
    if not hasattr(args, "set"):  # a command without settings
        return message
    from minirpn.training.config import TrainConfig
    from minirpn.training.tables import flat, keys_of, read_toml

    key, _, reason = message.partition(": ")
    if key not in keys_of(TrainConfig):
        return message
    names = given_settings(args)[1]
    if key in names:
        return f"{names[key]}: {reason}"
    if args.config is not None and key in flat(read_toml(args.config)):
        return f"{args.config}: {message}"
    return message


def count_training_images(args: argparse.Namespace) -> int | None:
    """Return how many images the training split has; None if it is no split of generated shapes.

    Of a data set in VOC layout only the list of the split is read.

    Raises
    ------
    InputError
        A setting is wrong, or there is no such data set or split.
    """
    from minirpn.data.layout import find_layout
    from minirpn.data.synthetic import split_slices
    from minirpn.training.config import load_config

    values, names = given_settings(args)
    config = load_config(args.config, values, recipe=args.recipe, origins=names)
    data = config.data
    if data.source is None:
        members = split_slices(config.synthetic.images).get(data.split)
        return None if members is None else members.stop - members.start
    return len(find_layout(data.source, need_images=False).ids(data.split))


def _anchor_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings in ``scales=8,16,32 ratios=0.5,1,2``, quoted as one word or not."""
    names = "scales", "ratios", "base_size", "rounding"
    values: dict[str, Any] = {}
    for word in " ".join(words).split():
        name, _, text = word.partition("=")
        if name not in names:
            parts = ", ".join(f"{name}=" for name in names)
            near = did_you_mean(name, names)
            raise InputError(f"{ANCHORS} {word}: expected one of {parts}{near}")
        try:
            if name in ("scales", "ratios"):
                values[name] = [float(item) for item in text.split(",")]
            else:
                values[name] = text if name == "rounding" else float(text)
        except ValueError:
            raise InputError(f"{ANCHORS} {word}: expected numbers separated by commas") from None
    return values
