"""The settings of a training run: one frozen section for each thing that can be set.

Sections that belong to one piece of code are kept beside it (`AnchorConfig`, `LabelConfig`, ...);
those of the run as a whole are here. The class defaults are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from minirpn.backbones import BACKBONES
from minirpn.data.synthetic import SyntheticConfig
from minirpn.data.transforms import ResizeConfig
from minirpn.errors import InputError
from minirpn.nn.schedule import StepSchedule
from minirpn.rpn.anchors import AnchorConfig
from minirpn.rpn.loss import LossConfig
from minirpn.rpn.proposals import ProposalConfig
from minirpn.rpn.targets import LabelConfig, SamplingConfig
from minirpn.training.tables import (
    NONE,
    flat,
    from_table,
    merged,
    nested,
    read_toml,
    to_table,
    write_toml,
)

# Settings that say where a run finds its means, not what it computes: these alone may change when
# it is resumed, on another machine say.
MAY_CHANGE_ON_RESUME = frozenset({"data.voc", "run.threads", "run.device"})


@dataclass(frozen=True)
class DataConfig:
    """What is learnt from.

    Parameters
    ----------
    voc
        A data set in VOC layout; None generates shapes.
    year
        Which year of a VOCdevkit; None if there is only one.
    split
        What is trained on; ``"all"`` for a folder without splits.
    val_split
        What is validated on; None for no validation.
    flip
        Mirror each image with probability 1/2 (section 3.3 trains on mirrored images too).
    use_difficult
        Learn the objects marked difficult as well; VOC's rule is to leave them out.
    skip_bad
        Leave out what is wrong in the data, and count it, instead of stopping there.
    """

    voc: str | None = None
    year: str | None = None
    split: str = "trainval"
    val_split: str | None = None
    flip: bool = True
    use_difficult: bool = False
    skip_bad: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Parameters
    ----------
    backbone
        One of `minirpn.backbones.BACKBONES`.
    weights
        File of pretrained weights for the backbone; None starts from random ones.
    anchor_centre
        ``"cell"``: as published; ``"receptive-field"``: see `minirpn.rpn.RPN`.
    classifier
        ``"softmax"`` over two scores an anchor, or ``"logistic"`` of one (footnote 3).
    """

    backbone: str = "tiny"
    weights: str | None = None
    anchor_centre: Literal["cell", "receptive-field"] = "cell"
    classifier: Literal["softmax", "logistic"] = "softmax"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            names = ", ".join(sorted(BACKBONES))
            raise ValueError(f"backbone: unknown {self.backbone!r}; there are {names}")


@dataclass(frozen=True)
class OptimizerConfig:
    """Stochastic gradient descent (section 3.1.3).

    Parameters
    ----------
    steps
        Mini-batches, each from one image: 80k.
    lr
        Learning rate before the drop: 0.001.
    momentum, weight_decay
        0.9 and 0.0005.
    bias_lr_multiplier, bias_decay_multiplier
        Factors for biases: py-faster-rcnn's learn at twice the rate, with the decay of the rest.
    rule
        ``"caffe"`` or ``"torch"``; see `minirpn.nn.SGD`.
    drop_at
        Share of the steps before the learning rate drops: 60k of 80k.
    drop_factor
        What it is multiplied with there: 0.1.
    """

    steps: int = 80_000
    lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0005
    bias_lr_multiplier: float = 2.0
    bias_decay_multiplier: float = 1.0
    rule: Literal["caffe", "torch"] = "caffe"
    drop_at: float = 0.75
    drop_factor: float = 0.1

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "steps")
        _check_positive(self, "lr", "drop_factor")
        _check_at_least(self, 0, "weight_decay", "bias_lr_multiplier", "bias_decay_multiplier")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected 0 to below 1, got {self.momentum}")
        if not 0 <= self.drop_at <= 1:
            raise ValueError(f"drop_at: expected 0 to 1, got {self.drop_at}")

    @property
    def schedule(self) -> StepSchedule:
        """The learning rate by step."""
        return StepSchedule(self.lr, self.steps, self.drop_at, self.drop_factor)


@dataclass(frozen=True)
class RunConfig:
    """How the run goes about it.

    Parameters
    ----------
    seed
        Of the weights, the order of the images, the mirroring and the sampling.
    threads
        Of the computation; None for as many as there are cores.
    device
        ``"auto"`` takes a GPU if there is one; ``"cpu"`` does not look.
    validate_every, checkpoint_every, diagnose_every
        Steps between two; the last step does all three.
    validation_images
        Images a validation looks at; None for the whole split.
    """

    seed: int = 0
    threads: int | None = None
    device: Literal["auto", "cpu"] = "auto"
    validate_every: int = 2000
    checkpoint_every: int = 500
    diagnose_every: int = 500
    validation_images: int | None = 200

    def __post_init__(self) -> None:
        _check_at_least(self, 0, "seed")
        _check_at_least(self, 1, "validate_every", "checkpoint_every", "diagnose_every")
        for name in ("threads", "validation_images"):
            if getattr(self, name) is not None:
                _check_at_least(self, 1, name)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that can be set about a training run, section by section."""

    data: DataConfig = field(default_factory=DataConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    resize: ResizeConfig = field(default_factory=ResizeConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)


def default_config(*, voc: bool) -> TrainConfig:
    """Return the settings nobody has touched: the paper's for VOC, a minute's for shapes.

    Generated shapes are small and plain, so that a network of stride 8 with anchors of 32, 64 and
    128 pixels learns them from nothing.
    """
    paper = TrainConfig()
    if voc:
        return paper
    return replace(
        paper,
        data=DataConfig(split="train", val_split="val"),
        resize=ResizeConfig(short_side=240, max_side=400),
        anchors=AnchorConfig(base_size=8, scales=(4.0, 8.0, 16.0)),
        optimizer=OptimizerConfig(steps=600, lr=0.01),
        run=RunConfig(validate_every=200, checkpoint_every=100, diagnose_every=100),
    )


def load_config(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    origins: Mapping[str, str] | None = None,
) -> TrainConfig:
    """Return settings from a TOML file and from single values over it.

    Parameters
    ----------
    path
        May leave out what it likes; None for no file.
    overrides
        Values by dotted key, such as ``{"optimizer.lr": 0.01}``; they win over the file, and the
        file wins over `default_config`.
    origins
        What messages call the overrides, such as ``{"optimizer.lr": "--lr"}``.

    Raises
    ------
    InputError
        The file cannot be read, or a value is unknown, of the wrong type, or senseless.
    """
    given = merged(read_toml(path) if path else {}, nested(overrides or {}))
    source = str(path) if path else "command line"
    data = given.get("data", {})
    voc = isinstance(data, Mapping) and data.get("voc", NONE) not in (NONE, None)
    table = merged(to_table(default_config(voc=voc)), given)
    return from_table(TrainConfig, table, source, origins=origins)


def save_config(path: Path, config: TrainConfig) -> None:
    """Write all settings to a TOML file; `load_config` gives them back."""
    write_toml(path, to_table(config))


def override(
    config: TrainConfig, values: Mapping[str, Any], *, origins: Mapping[str, str]
) -> TrainConfig:
    """Return `config` with other values, given by dotted key and called what `origins` says.

    Raises
    ------
    InputError
        A value is unknown, of the wrong type, or senseless.
    """
    table = merged(to_table(config), nested(values))
    return from_table(TrainConfig, table, "command line", origins=origins)


def check_resumable(
    stored: TrainConfig, asked: Mapping[str, Any], source: str, *, origins: Mapping[str, str]
) -> TrainConfig:
    """Return the stored settings with those of `asked` that a resumed run may change.

    Parameters
    ----------
    stored
        What the run was started with.
    asked
        Values by dotted key.
    source
        Where `stored` was found, for the message.
    origins
        What messages call the values of `asked`.

    Raises
    ------
    InputError
        A value of `asked` contradicts the stored one: a run ends as it began, or it would be
        another run under the same name.
    """
    before = flat(to_table(stored))
    after = override(stored, asked, origins=origins)
    for key, value in flat(to_table(after)).items():
        if value != before[key] and key not in MAY_CHANGE_ON_RESUME:
            name = origins.get(key, key)
            raise InputError(f"{source}: {key}: is {before[key]!r}, but {name} asks for {value!r}")
    return after


def _check_positive(section: Any, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a finite number above 0, got {value}")


def _check_at_least(section: Any, least: int, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name}: expected at least {least}, got {value}")
