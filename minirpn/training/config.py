"""The settings of a training run: all sections together, their defaults, and who wins over whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minirpn.data.synthetic import SyntheticConfig
from minirpn.data.transforms import ResizeConfig
from minirpn.detector.postprocess import DetectionConfig
from minirpn.detector.targets import RegionConfig
from minirpn.errors import InputError
from minirpn.rpn.anchors import AnchorConfig
from minirpn.rpn.loss import LossConfig
from minirpn.rpn.proposals import ProposalConfig
from minirpn.rpn.targets import LabelConfig, SamplingConfig
from minirpn.training.sections import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SharingConfig,
)
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

# Settings that say where a run finds its means and what it tells, not what it computes: these alone
# may change when it is resumed, on another machine say.
MAY_CHANGE_ON_RESUME = frozenset(
    {
        "data.voc",
        "run.threads",
        "run.device",
        "run.tf32",
        "run.graphs",
        "run.detect_anomaly",
        "run.tensorboard",
        "run.pictures",
    }
)


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
    sharing: SharingConfig = field(default_factory=SharingConfig)
    regions: RegionConfig = field(default_factory=RegionConfig)
    detections: DetectionConfig = field(default_factory=DetectionConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.sharing.kind == "4-step" and self.optimizer.steps < 6:
            raise ValueError(
                f"optimizer: 4-step training needs 6 steps or more, got {self.optimizer.steps}"
            )


def default_config(*, voc: bool) -> TrainConfig:
    """Return the settings nobody has touched: the recipe for VOC data, or that for shapes."""
    return RECIPES["small" if voc else "shapes"]


def _paper() -> TrainConfig:
    """Return the paper's settings: VGG-16 (or, said so, ZF), 80,000 steps at 600 x 1000 pixels."""
    return TrainConfig(model=ModelConfig(backbone="vgg16"))


def _small() -> TrainConfig:
    """Return what taught SqueezeNet most about a few hundred photographs on a laptop.

    Each value that is not the paper's was chosen on a validation split; the page "How the small
    recipe was found" of the documentation has every trial. On small pictures a step is quick,
    and few steps reach further. At twice the paper's learning rate training needs the limit on the
    gradient, which the first steps exceed, where features of up to 400 meet a new head. NMS at 0.6
    leaves more room among the first hundred proposals.
    """
    return TrainConfig(
        data=DataConfig(split="train", val_split="val"),
        resize=ResizeConfig(short_side=300, max_side=500),
        model=ModelConfig(backbone="squeezenet"),
        anchors=AnchorConfig(scales=(3.0, 6.0, 12.0)),
        proposals=ProposalConfig(iou_threshold=0.6),
        optimizer=OptimizerConfig(steps=8000, lr=0.002, clip_norm=10.0, bias_decay_multiplier=0.0),
    )


def _shapes() -> TrainConfig:
    """Return what teaches `tiny` generated shapes from nothing in a minute.

    Pictures of 240 x 320 have 2,700 anchors and not 21,000, so a quarter of the mini-batch is
    drawn, with N_cls to match: 256 would hold eight positives among 248 negatives. Most anchors
    cross the border of so small a picture; left out of training, as the paper does, they would
    propose untrained (with 100 proposals 0.73 of the objects were found instead of 0.85, after
    1,000 steps).
    """
    batch = 64
    return TrainConfig(
        data=DataConfig(split="train", val_split="val"),
        synthetic=SyntheticConfig(images=600),
        resize=ResizeConfig(short_side=240, max_side=400),
        anchors=AnchorConfig(scales=(2.0, 4.0, 8.0)),
        labels=LabelConfig(inside_only=False),
        sampling=SamplingConfig(batch_size=batch),
        loss=LossConfig(n_cls=batch),
        proposals=ProposalConfig(min_size=8.0),
        optimizer=OptimizerConfig(steps=1800, lr=0.03),
        run=RunConfig(
            validate_every=600, checkpoint_every=200, diagnose_every=200, validation_images=40
        ),
    )


RECIPES: Mapping[str, TrainConfig] = {"small": _small(), "shapes": _shapes(), "paper": _paper()}
"""Settings to start from, by name: `default_config` picks one of the first two."""


def load_config(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    recipe: str | None = None,
    origins: Mapping[str, str] | None = None,
) -> TrainConfig:
    """Return settings from a recipe, a TOML file over it, and single values over both.

    Parameters
    ----------
    path
        May leave out what it likes; None for no file.
    overrides
        Values by dotted key, such as ``{"optimizer.lr": 0.01}``; they win over the file, and the
        file wins over the recipe.
    recipe
        One of `RECIPES`; None for that of `default_config`.
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
    base = default_config(voc=voc) if recipe is None else RECIPES[recipe]
    table = merged(to_table(base), given)
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
        # A table may stand where there was none: its values have no value before.
        stood = before.get(key, NONE)
        if value != stood and key not in MAY_CHANGE_ON_RESUME:
            name = origins.get(key) or origins.get(key.rpartition(".")[0], key)
            raise InputError(f"{source}: {key}: is {stood!r}, but {name} asks for {value!r}")
    return after
