"""Everything that can be set about a training run: sections, recipes, and their TOML file.

A section is a frozen dataclass. Its defaults are the paper's, its type hints say which values there
are, and it checks itself (``ValueError("field: reason")``). A section that configures one piece of
code is beside that code (`AnchorConfig`, `LabelConfig`, ...); those of a run as a whole are here.
The keys of ``config.toml``, the types of the flags and the reference follow from the dataclasses.
So a new setting is a new field with a default, and its flag is a line in `minirpn.cli.settings`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np

from minirpn.backbones import BACKBONES, Preprocessing, build_backbone
from minirpn.data.augment import AugmentConfig
from minirpn.data.box_format import BoxFormat
from minirpn.data.layout import NoAnnotation, Source
from minirpn.data.synthetic import SyntheticConfig
from minirpn.data.transforms import ResizeConfig
from minirpn.data.voc import VOC_CLASSES
from minirpn.detector.postprocess import DetectionConfig
from minirpn.detector.targets import RegionConfig
from minirpn.devices import check_device_name
from minirpn.errors import InputError, did_you_mean
from minirpn.fields import MOST_COUNT, shown
from minirpn.rpn.anchors import AnchorConfig
from minirpn.rpn.loss import LossConfig
from minirpn.rpn.proposals import ProposalConfig
from minirpn.rpn.targets import LabelConfig, SamplingConfig
from minirpn.training.tables import (
    NONE,
    flat,
    from_table,
    nested,
    read_toml,
    to_table,
    write_toml,
)

# --- the sections of a run as a whole ------------------------------------------------------------


class Range(NamedTuple):
    """Part of a type hint: which numbers a setting may have."""

    expected: str
    holds: Callable[[float], bool]


def _at_most(most: float) -> Range:
    return Range(f"at most {most:,}", lambda value: value <= most)


_AT_LEAST_1 = Range("at least 1", lambda value: 1 <= value < math.inf)
_AT_LEAST_0 = Range("at least 0", lambda value: 0 <= value < math.inf)
_ABOVE_0 = Range("a finite number above 0", lambda value: 0 < value < math.inf)

# Why they end there: TOML's numbers have 64 bits, and float32 ends at 3e38. One step at a learning
# rate of more than 10 moves weights so far that nothing they learned is left: from 1 on, even a
# network without any is full of nan within ten steps, and at so few steps nobody would be told. At
# more than 1, a step of decay would turn the signs of the weights.

Count = Annotated[int, _AT_LEAST_1, _at_most(MOST_COUNT)]
Threads = Annotated[int, _AT_LEAST_1, _at_most(1024)]
Seed = Annotated[int, _AT_LEAST_0, _at_most(2**63 - 1)]
Factor = Annotated[float, _AT_LEAST_0, _at_most(1000)]
LearningRate = Annotated[float, _ABOVE_0, _at_most(10)]
Decay = Annotated[float, _AT_LEAST_0, _at_most(1)]
Norm = Annotated[float, _ABOVE_0, _at_most(1e30)]
Share = Annotated[float, Range("0 to 1", lambda value: 0 <= value <= 1)]
BelowOne = Annotated[float, Range("0 to below 1", lambda value: 0 <= value < 1)]


def check_ranges(section: Any) -> None:
    """Raise ``ValueError("field: reason")`` for a number that its type hint does not allow."""
    for name, hint in get_type_hints(type(section), include_extras=True).items():
        value = getattr(section, name)
        for part in (hint, *get_args(hint)):  # the hint itself, or what stands beside None
            for allowed in getattr(part, "__metadata__", ()):
                if value is not None and not allowed.holds(value):
                    raise ValueError(f"{name}: expected {allowed.expected}, got {shown(value)}")


@dataclass(frozen=True)
class DataConfig:
    """The data set.

    Parameters
    ----------
    voc
        A data set in VOC layout; without it, shapes are generated. None takes the folder that
        `annotation_folder` is in, if that is given.
    year
        Year of a VOCdevkit; None if there is only one.
    image_folder, annotation_folder
        The folders of the images and of the XML files; None looks for them in `voc`.
    box_format
        How the corners of boxes count pixels.
    clip_boxes
        Clip boxes to the image, however far they reach beyond it; otherwise up to one pixel.
    no_annotation
        What an image without XML is: an ``"error"``, ``"skip"`` to leave it out, or ``"negative"``
        for an image without objects.
    classes
        Names of the classes that may occur, or ``"voc"`` for VOC's twenty; None for those in the
        two splits, which the ``config.toml`` of a run with a detector then lists. The RPN does not
        tell classes apart.
    split
        Train on this split; ``"all"`` for a folder without splits.
    val_split
        Validate on this split; None for no validation.
    flip
        Mirror each image with probability 1/2 (section 3.3 trains on mirrored images too).
    zoom, scale_jitter, colour_jitter
        How much the size and the colours of an image change each time it is trained on. The paper
        changes neither. See `minirpn.data.AugmentConfig`.
    use_difficult
        Train on objects marked difficult too. VOC's rule is to leave them out.
    skip_bad
        Leave out images and objects with errors, and count them, instead of stopping. An image that
        goes bad during a run is left out from then on.
    """

    voc: str | None = None
    year: str | None = None
    image_folder: str | None = None
    annotation_folder: str | None = None
    box_format: BoxFormat = "voc"
    clip_boxes: bool = False
    no_annotation: NoAnnotation = "error"
    classes: tuple[str, ...] | None = None
    split: str = "trainval"
    val_split: str | None = None
    flip: bool = True
    zoom: float = 1.0
    scale_jitter: float = 0.0
    colour_jitter: float = 0.0
    use_difficult: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        _ = self.augment  # checks the numbers
        if self.classes == ("voc",):
            object.__setattr__(self, "classes", VOC_CLASSES)
        for name, count in Counter(self.classes).items():
            if not name.strip() or count > 1:
                raise ValueError(f"classes: expected names, each once, got {name!r}")
        if self.voc is None and self.annotation_folder is not None:
            object.__setattr__(self, "voc", str(Path(self.annotation_folder).parent))
        if self.voc is None and self.image_folder is not None:
            raise ValueError("image_folder: needs the annotation_folder too, or the data set (voc)")

    @property
    def source(self) -> Source | None:
        """Where the data set is and how its files are read; None for generated shapes."""
        if self.voc is None:
            return None
        images, annotations = (
            None if one is None else Path(one)
            for one in (self.image_folder, self.annotation_folder)
        )
        return Source(
            Path(self.voc),
            self.year,
            images,
            annotations,
            self.box_format,
            self.clip_boxes,
            self.no_annotation,
        )

    def learnt(self, difficult: np.ndarray) -> np.ndarray:
        """Return which objects are trained on, (M,) bool, given which are marked difficult."""
        return np.ones_like(difficult) if self.use_difficult else ~difficult

    @property
    def augment(self) -> AugmentConfig:
        """How much an image changes each time it is trained on."""
        return AugmentConfig(self.flip, self.scale_jitter, self.colour_jitter, self.zoom)


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Parameters
    ----------
    backbone
        One of `minirpn.backbones.BACKBONES`: tiny, squeezenet, zf, vgg16.
    weights
        What the network starts from: a file of pretrained weights, in any format that
        `minirpn.weights.read_weights` reads; or a network that minirpn trained, named by its run
        (``RUN`` or ``RUN@best``), a checkpoint or the name of a shipped model. It is read once, at
        the start. None starts from random weights.
    preprocessing
        How pixels become the network's input; None for what the weights need, or else the backbone.
        The run's ``config.toml`` says which it was.
    freeze
        Stages of the backbone that are not trained; None for the paper's choice. Without `weights`
        nothing is worth keeping: a new run then trains all stages, and its ``config.toml`` says so.
    anchor_centre
        Where the anchors of a cell are centered: ``"cell"``, as published, or
        ``"receptive-field"``, see `minirpn.rpn.RPN`.
    classifier
        ``"softmax"`` over two logits per anchor, or ``"logistic"`` of one (footnote 3).
    dtype
        Type of parameters, images and everything between: ``"float32"``, or ``"float64"``, which
        takes twice the memory and shows the effect of rounding.
    """

    backbone: str = "tiny"
    weights: str | None = None
    preprocessing: Preprocessing | None = None
    freeze: tuple[str, ...] | None = None
    anchor_centre: Literal["cell", "receptive-field"] = "cell"
    classifier: Literal["softmax", "logistic"] = "softmax"
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            names = ", ".join(sorted(BACKBONES))
            near = did_you_mean(self.backbone.lower(), BACKBONES)
            raise ValueError(f"backbone: unknown {shown(self.backbone)}; there are {names}{near}")
        if self.freeze:
            try:
                build_backbone(self.backbone, rng=None).freeze(self.freeze)
            except ValueError as error:
                raise ValueError(f"freeze: {error}") from error


@dataclass(frozen=True)
class SharingConfig:
    """The training scheme: whether a detector is trained too, and how it shares the features.

    Parameters
    ----------
    kind
        The training scheme (section 3.2): whether a detector is trained too, and how it shares the
        features. ``"rpn-only"``: no detector. ``"4-step"``: the paper's alternating training.
        ``"approximate-joint"``: both losses in every step, the proposals are constants.
        ``"joint"``: gradients also flow through the proposals into the RPN.
    pooling
        How the features of a region are pooled: ``"pool"`` (RoI max pooling of Fast R-CNN) or
        ``"align"``, the only one with a gradient for the boxes. None takes ``"align"`` for joint
        training and ``"pool"`` otherwise.
    proposals
        Start 4-step training with its second step, from this file of proposals for the training
        images, saved by ``minirpn propose``. None trains the first step to make them.
    pre_nms, post_nms
        Proposals before and after NMS that the detector is trained on: 12000 and 2000
        (py-faster-rcnn, section 3.3).
    """

    kind: Literal["rpn-only", "4-step", "approximate-joint", "joint"] = "rpn-only"
    pooling: Literal["pool", "align"] | None = None
    proposals: str | None = None
    pre_nms: Count = 12_000
    post_nms: Count = 2000

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.kind == "joint" and self.pooling == "pool":
            raise ValueError(
                "kind, pooling: joint training needs align, for max pooling has no gradient for"
                " the boxes"
            )
        if self.proposals is not None and self.kind != "4-step":
            raise ValueError(
                f"proposals, kind: only 4-step training starts from a file, not {self.kind}"
            )

    @property
    def has_detector(self) -> bool:
        """Whether a detector is trained."""
        return self.kind != "rpn-only"

    @property
    def chosen_pooling(self) -> Literal["pool", "align"]:
        """The pooling that was given, or else the one that fits the training scheme."""
        return self.pooling or ("align" if self.kind == "joint" else "pool")


LEAST_STEPS: Mapping[str, int] = {"4-step": 6}
"""A training scheme needs so many steps: one for each share of its phases, 2:1:2:1."""


@dataclass(frozen=True)
class OptimizerConfig:
    """How the parameters move: stochastic gradient descent (section 3.1.3), or Adam.

    Parameters
    ----------
    steps
        Training steps in all: 80k for the RPN. 4-step training divides them 2:1:2:1 among its
        steps, as py-faster-rcnn does (80k, 40k, 80k, 40k).
    images_per_step
        Images of a mini-batch; the loss is the mean of theirs. The paper has one. On a CPU each is
        computed on its own part of the threads. Processes that an MPI launcher has started share
        them, so there are at least as many.
    linear_rule
        When there are more processes than images in a step, take as many images as processes, and
        then multiply the learning rate and divide the steps by the same number, with a warm-up; the
        learning rate of AdamW is multiplied by the square root of that number. See
        `minirpn.training.scaling`. False changes the number of images alone.
    method
        ``"sgd"``, the paper's, or ``"adamw"``, which learns faster in the first few thousand steps,
        but needs varied images (`scale_jitter`): see `minirpn.nn.AdamW`. It needs a smaller
        learning rate, such as 0.0003.
    lr
        Learning rate before the drop: 0.001; at most 10.
    warmup_steps
        Steps in which the learning rate rises to `lr`, at the start and in each phase of 4-step
        training; none in the paper.
    momentum, weight_decay
        0.9 and 0.0005. AdamW takes the momentum as its first beta; the second is 0.999. Its decay
        is multiplied by the learning rate alone, so that 0.0005 is next to nothing: 0.01 is usual.
    backbone_lr_multiplier
        Factor on the learning rate of the backbone. It may start from useful weights, while the
        heads start from noise; 1 in the paper.
    bias_lr_multiplier, bias_decay_multiplier
        Factors for biases: in py-faster-rcnn they learn at twice the rate, with the same decay.
    clip_norm
        Greatest norm of the gradient of all parameters together. A greater one is scaled down to
        it. None for no limit, as in the paper; short joint training needs one.
    rule
        Where SGD multiplies by the learning rate: ``"caffe"`` or ``"torch"``, see `minirpn.nn.SGD`.
        AdamW has no such choice.
    drop_at
        Share of the steps before the learning rate drops: 60k of 80k.
    drop_factor
        Factor on the learning rate there: 0.1.
    """

    steps: Count = 80_000
    images_per_step: Annotated[int, _AT_LEAST_1, _at_most(1024)] = 1
    linear_rule: bool = True
    method: Literal["sgd", "adamw"] = "sgd"
    lr: LearningRate = 0.001
    warmup_steps: Annotated[int, _AT_LEAST_0, _at_most(MOST_COUNT)] = 0
    momentum: BelowOne = 0.9
    weight_decay: Decay = 0.0005
    backbone_lr_multiplier: Factor = 1.0
    bias_lr_multiplier: Factor = 2.0
    bias_decay_multiplier: Factor = 1.0
    clip_norm: Norm | None = None
    rule: Literal["caffe", "torch"] = "caffe"
    drop_at: Share = 0.75
    drop_factor: Annotated[float, _ABOVE_0, _at_most(1000)] = 0.1

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class RunConfig:
    """Seed, device, and how often the run saves and measures.

    Parameters
    ----------
    seed
        Seed of the initial weights, the order of the images, the mirroring and the sampling.
    ranks
        How many processes there were, at the start or when it was last resumed. It is written, and
        not read.
    threads
        Threads that compute; None for as many as there are cores, or a process's part of them.
    device
        Where to compute: ``"cpu"``, ``"cuda"`` or one GPU such as ``"cuda:1"``. ``"auto"`` takes a
        GPU if one can be used, and otherwise the CPU.
    tf32
        On a GPU, round the float32 factors of matrix products to 10 bits, for speed.
    validate_every, checkpoint_every, diagnose_every
        Steps from one to the next; the last step does all three.
    validation_images
        Images in a validation; None for the whole split.
    patience
        Stop when so many validations one after the other have not raised the best recall of the
        proposals (with a detector: the best mean average precision). Of 4-step training only the
        last phase can end early. None trains all steps.
    detect_anomaly
        If a loss or a gradient is not finite, compute the step once more and name the first layer
        where that begins.
    tensorboard
        Write the records and a few pictures for TensorBoard as well.
    graphs
        On a GPU, record the kernels of a step as a CUDA graph for each image size and launch them
        together. False launches each kernel by itself; the numbers are the same.
    pictures
        Draw pictures during the run and at its end, and write the report; a study of many runs
        does not.
    """

    seed: Seed = 0
    ranks: Count = 1
    threads: Threads | None = None
    device: str = "auto"
    tf32: bool = False
    validate_every: Count = 2000
    checkpoint_every: Count = 500
    diagnose_every: Count = 500
    validation_images: Count | None = 200
    patience: Count | None = None
    detect_anomaly: bool = False
    tensorboard: bool = False
    graphs: bool = True
    pictures: bool = True

    def __post_init__(self) -> None:
        check_device_name(self.device)
        check_ranges(self)


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

    @property
    def looked_at(self) -> ResizeConfig:
        """The sizes at which the model looks at an image; one with a detector looks once."""
        return replace(self.resize, also_at=()) if self.sharing.has_detector else self.resize

    def __post_init__(self) -> None:
        least = LEAST_STEPS.get(self.sharing.kind, 1)
        if self.optimizer.steps < least:
            raise ValueError(
                f"optimizer.steps: {self.sharing.kind} training needs {least} or more, got "
                f"{self.optimizer.steps}"
            )
        if self.run.patience is not None and self.data.val_split is None:
            raise ValueError(
                "run.patience: needs a validation split (data.val_split) to see that nothing "
                "improves"
            )


#: Where a run finds its data, how it computes and what it shows, but not what it computes. Only
#: these settings may change when a run is resumed, for example on another machine. (One more may:
#: `check_resumable` lets bad images be left out from now on.)
MAY_CHANGE_ON_RESUME = frozenset(
    {"data.voc", "data.year", "data.image_folder", "data.annotation_folder"}
    | {"run.threads", "run.device", "run.tf32", "run.graphs", "run.ranks"}
    | {"run.detect_anomaly", "run.tensorboard", "run.pictures"}
)

# --- recipes -------------------------------------------------------------------------------------

RECIPES: Mapping[str, TrainConfig] = {
    # What trains SqueezeNet best on a few hundred photographs, on a laptop. Each value that is not
    # the paper's was chosen on a validation split; the page "How the small recipe was found" of the
    # documentation has every trial. On small pictures a step is quick, so that more steps fit into
    # the time. At twice the paper's learning rate training needs the limit on the gradient: the
    # first steps exceed it, where features of up to 400 meet a new head. NMS at 0.6 leaves more
    # room among the first hundred proposals.
    "small": TrainConfig(
        data=DataConfig(split="train", val_split="val"),
        resize=ResizeConfig(short_side=300, max_side=500),
        model=ModelConfig(backbone="squeezenet"),
        anchors=AnchorConfig(scales=(3.0, 6.0, 12.0)),
        proposals=ProposalConfig(iou_threshold=0.6),
        optimizer=OptimizerConfig(steps=8000, lr=0.002, clip_norm=10.0, bias_decay_multiplier=0.0),
    ),
    # What trains `tiny` on generated shapes, from random weights, in a minute. Pictures of
    # 240 x 320 have 2,700 anchors and not 21,000, so the mini-batch is a quarter of the paper's,
    # with N_cls to match: 256 would hold eight positives among 248 negatives. Most anchors cross
    # the border of so small a picture. Ignored in training, as in the paper, they would propose
    # untrained (after 1,000 steps, 100 proposals found 0.73 of the objects instead of 0.85).
    "shapes": TrainConfig(
        data=DataConfig(split="train", val_split="val"),
        synthetic=SyntheticConfig(images=600),
        resize=ResizeConfig(short_side=240, max_side=400),
        anchors=AnchorConfig(scales=(2.0, 4.0, 8.0)),
        labels=LabelConfig(inside_only=False),
        sampling=SamplingConfig(batch_size=64),
        loss=LossConfig(n_cls=64),
        proposals=ProposalConfig(min_size=8.0),
        optimizer=OptimizerConfig(steps=1800, lr=0.03),
        run=RunConfig(
            validate_every=600, checkpoint_every=200, diagnose_every=200, validation_images=40
        ),
    ),
    # The paper's settings: VGG-16, 80,000 steps at 600 x 1000 pixels.
    "paper": TrainConfig(model=ModelConfig(backbone="vgg16")),
}
"""Settings to start from, by name: `default_config` picks one of the first two."""


def default_config(*, voc: bool) -> TrainConfig:
    """Return the recipe if none is named: "small" for VOC data, or else "shapes"."""
    return RECIPES["small" if voc else "shapes"]


# --- a file, and values over it ------------------------------------------------------------------


def load_config(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    recipe: str | None = None,
    origins: Mapping[str, str] | None = None,
) -> TrainConfig:
    """Return the settings of a recipe, changed by a TOML file and then by single values.

    Parameters
    ----------
    path
        The file, which may leave out any setting; None for no file.
    overrides
        Values by dotted key, such as ``{"optimizer.lr": 0.01}``.
    recipe
        One of `RECIPES`; None for the one that `default_config` picks.
    origins
        What the user typed for the overrides, for messages: ``{"optimizer.lr": "--lr"}``.

    Raises
    ------
    InputError
        There is no such recipe, the file cannot be read, or a value is unknown, of the wrong type,
        or refused.
    """
    if recipe is not None and recipe not in RECIPES:
        near = did_you_mean(recipe.lower(), RECIPES)
        raise InputError(f"recipe: unknown {shown(recipe)}; there are {', '.join(RECIPES)}{near}")
    table = nested(overrides or {}, read_toml(path) if path else {})
    data = table.get("data", {})
    places = (
        [data.get(name, NONE) for name in ("voc", "annotation_folder")]
        if isinstance(data, Mapping)
        else []
    )
    voc = any(place not in (NONE, None) for place in places)
    base = default_config(voc=voc) if recipe is None else RECIPES[recipe]
    source = str(path) if path else "settings"
    return from_table(TrainConfig, table, source, base=base, origins=origins)


def keys_in(path: Path | None) -> set[str]:
    """Return the dotted keys that a TOML file sets; none without a file."""
    return set() if path is None else set(flat(read_toml(path)))


def save_config(path: Path, config: TrainConfig) -> None:
    """Write all settings to a TOML file; `load_config` reads them back unchanged."""
    write_toml(path, to_table(config))


def override(
    config: TrainConfig, values: Mapping[str, Any], *, origins: Mapping[str, str]
) -> TrainConfig:
    """Return `config` with other values by dotted key; the rest is as in `load_config`."""
    return from_table(TrainConfig, nested(values), "settings", base=config, origins=origins)


def check_resumable(
    stored: TrainConfig, values: Mapping[str, Any], source: str, *, origins: Mapping[str, str]
) -> TrainConfig:
    """Return the stored settings of a run, with the new values that a resumed run may have.

    They are those of `MAY_CHANGE_ON_RESUME`, and ``data.skip_bad`` may become true: an image that
    went bad must not end the run. The order is then that of the images that are left, so the run is
    no longer, bit for bit, the one that never stopped. A run on generated shapes stays one.

    `source` is the file with the stored settings, for messages; `origins` is as in `load_config`.

    Raises
    ------
    InputError
        A new value contradicts a stored one that must not change: it would be another run.
    """
    before, config = flat(to_table(stored)), override(stored, values, origins=origins)
    for key, value in flat(to_table(config)).items():
        # If a table replaces None, its values were not there before.
        old = before.get(key, NONE)
        if value != old and not may_become(key, old, value):
            name = origins.get(key) or origins.get(key.rpartition(".")[0], key)
            raise InputError(f"{source}: {key}: is {old!r}, but {name} asks for {value!r}")
    return config


def may_become(key: str, old: Any, value: Any) -> bool:
    """Return whether a setting of a run may change so when it is resumed."""
    if key == "data.voc":
        return NONE not in (old, value)
    return key in MAY_CHANGE_ON_RESUME or (key == "data.skip_bad" and value is True)


def with_new_total(stored: TrainConfig, total: int, *, done: int, source: str) -> TrainConfig:
    """Return the settings of a run that goes on to `total` steps, of which `done` are done.

    The steps so far are what a run with the new settings would have done, too, so parameters
    and momentum will be the same to the bit. A learning rate that has dropped stays
    there: the drop keeps its step, as another share of the steps. Otherwise the drop keeps its
    share and moves with the total. The total of `stored` itself is no change.

    Parameters
    ----------
    stored
        The settings so far.
    total, done
        Counted from the start of the run.
    source
        The run, for messages.

    Raises
    ------
    InputError
        So many steps are done already; or it is a 4-step training, whose phases divide the steps.
        The line begins with the setting.
    """
    optimizer = stored.optimizer
    if total == optimizer.steps:
        return stored
    if total <= done:
        raise InputError(
            f"optimizer.steps: the new total must be above the {done} steps that {source} has "
            f"done, got {total}"
        )
    if stored.sharing.kind == "4-step":
        raise InputError(
            f"optimizer.steps: the 4-step training of {source} has divided {optimizer.steps} steps "
            f"among its phases, and cannot have {total}: start another run, with {source} as "
            "model.weights"
        )
    drop_at = optimizer.drop_at
    drop, moved = round(drop_at * optimizer.steps), round(drop_at * total)
    if done > drop or moved < done:  # a drop among the steps done would change them
        drop_at = min(drop, done) / total
    return replace(stored, optimizer=replace(optimizer, steps=total, drop_at=drop_at))
