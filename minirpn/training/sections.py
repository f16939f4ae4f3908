"""The settings that belong to a training run as a whole, section by section.

Those of one piece of code are kept beside it (`AnchorConfig`, `LabelConfig`, ...). The defaults
are the paper's. Each section checks itself and raises ``ValueError("field: reason")``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from minirpn.backbones import BACKBONES, Preprocessing
from minirpn.data.augment import AugmentConfig
from minirpn.devices import check_device_name
from minirpn.nn.schedule import StepSchedule


@dataclass(frozen=True)
class DataConfig:
    """What is learnt from.

    Parameters
    ----------
    voc
        A data set in VOC layout; None generates shapes.
    year
        Which year of a VOCdevkit; None if there is only one.
    classes
        Names of what a detector tells apart; None for those of the splits trained and validated on,
        which a run's ``config.toml`` then names. The RPN does not look at them.
    split
        What is trained on; ``"all"`` for a folder without splits.
    val_split
        What is validated on; None for no validation.
    flip
        Mirror each image with probability 1/2 (section 3.3 trains on mirrored images too).
    scale_jitter, colour_jitter
        How much an image's size and colours are changed each time it is learned from, of which the
        paper does neither; see `minirpn.data.AugmentConfig`.
    use_difficult
        Learn the objects marked difficult as well; VOC's rule is to leave them out.
    skip_bad
        Leave out what is wrong in the data, and count it, instead of stopping there.
    """

    voc: str | None = None
    year: str | None = None
    classes: tuple[str, ...] | None = None
    split: str = "trainval"
    val_split: str | None = None
    flip: bool = True
    scale_jitter: float = 0.0
    colour_jitter: float = 0.0
    use_difficult: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        _ = self.augment  # which checks its own numbers

    def learnt(self, difficult: np.ndarray) -> np.ndarray:
        """Return which objects (M,) bool are learned from, of those marked difficult or not."""
        return np.ones_like(difficult) if self.use_difficult else ~difficult

    @property
    def augment(self) -> AugmentConfig:
        """How much is changed about an image that is learned from."""
        return AugmentConfig(self.flip, self.scale_jitter, self.colour_jitter)


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Parameters
    ----------
    backbone
        One of `minirpn.backbones.BACKBONES`.
    weights
        File of pretrained weights, of any kind that `minirpn.weights.read_weights` reads; None
        starts from random ones.
    preprocessing
        How pixels become the network's input; None for what goes with the weights, or else for the
        backbone's own. A run's ``config.toml`` says what was found out.
    freeze
        Stages of the backbone that are not trained; None for the paper's choice.
    anchor_centre
        ``"cell"``: as published; ``"receptive-field"``: see `minirpn.rpn.RPN`.
    classifier
        ``"softmax"`` over two scores an anchor, or ``"logistic"`` of one (footnote 3).
    dtype
        Of parameters, images and all between: ``"float32"``, or ``"float64"``, which takes twice
        the memory and shows what is due to rounding.
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
            raise ValueError(f"backbone: unknown {self.backbone!r}; there are {names}")


@dataclass(frozen=True)
class SharingConfig:
    """Whether a detector is trained along, and how it comes to share its features (section 3.2).

    Parameters
    ----------
    kind
        ``"rpn-only"``: no detector. ``"4-step"``: the paper's alternating training.
        ``"approximate-joint"``: both losses in every step, with the proposals taken as given.
        ``"joint"``: the gradients by the proposals flow into the RPN as well.
    pooling
        ``"pool"`` (Fast R-CNN's RoI max pooling) or ``"align"``, the only one with a gradient by
        the boxes; None takes ``"align"`` for joint training and ``"pool"`` for the others.
    proposals
        File of proposals for the training images, saved by ``minirpn propose``. 4-step training
        then begins with its second step, on them; None lets the first step make them.
    pre_nms, post_nms
        Proposals before and after NMS that the detector is trained on: 12000 and 2000
        (py-faster-rcnn, section 3.3 of the paper).
    """

    kind: Literal["rpn-only", "4-step", "approximate-joint", "joint"] = "rpn-only"
    pooling: Literal["pool", "align"] | None = None
    proposals: str | None = None
    pre_nms: int = 12_000
    post_nms: int = 2000

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "pre_nms", "post_nms")
        if self.kind == "joint" and self.pooling == "pool":
            raise ValueError(
                "pooling: joint training needs align, for max pooling has no gradient by the boxes"
            )
        if self.proposals is not None and self.kind != "4-step":
            raise ValueError(f"proposals: only 4-step training starts from a file, not {self.kind}")

    @property
    def has_detector(self) -> bool:
        """Whether there is a detector."""
        return self.kind != "rpn-only"

    @property
    def chosen_pooling(self) -> Literal["pool", "align"]:
        """The pooling, whether asked for or not."""
        return self.pooling or ("align" if self.kind == "joint" else "pool")


@dataclass(frozen=True)
class OptimizerConfig:
    """Stochastic gradient descent (section 3.1.3).

    Parameters
    ----------
    steps
        Mini-batches, each from one image: 80k for the RPN. 4-step training deals them out to its
        steps, 2:1:2:1 as py-faster-rcnn does (80k, 40k, 80k, 40k).
    lr
        Learning rate before the drop: 0.001.
    momentum, weight_decay
        0.9 and 0.0005.
    backbone_lr_multiplier
        Factor for the backbone, which starts from weights that are good for something, while the
        heads start from noise. 1 in the paper.
    bias_lr_multiplier, bias_decay_multiplier
        Factors for biases: py-faster-rcnn's learn at twice the rate, with the decay of the rest.
    clip_norm
        The longest gradient of all parameters together; a longer one is scaled down to it. None
        for no limit, as in the paper. Joint training of few steps needs one.
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
    backbone_lr_multiplier: float = 1.0
    bias_lr_multiplier: float = 2.0
    bias_decay_multiplier: float = 1.0
    clip_norm: float | None = None
    rule: Literal["caffe", "torch"] = "caffe"
    drop_at: float = 0.75
    drop_factor: float = 0.1

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "steps")
        _check_positive(self, "lr", "drop_factor")
        if self.clip_norm is not None:
            _check_positive(self, "clip_norm")
        multipliers = "backbone_lr_multiplier", "bias_lr_multiplier", "bias_decay_multiplier"
        _check_at_least(self, 0, "weight_decay", *multipliers)
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
        ``"cpu"``, ``"cuda"`` or a certain GPU such as ``"cuda:1"``; ``"auto"`` takes a GPU if one
        can be used, and otherwise the CPU.
    tf32
        On a GPU, let matrix products round their float32 factors to 10 bits, for speed.
    validate_every, checkpoint_every, diagnose_every
        Steps between two; the last step does all three.
    validation_images
        Images a validation looks at; None for the whole split.
    detect_anomaly
        Where a loss or a gradient stops being finite, compute the step once more and name the
        first layer that is to blame.
    tensorboard
        Write the records and a few pictures for TensorBoard as well.
    graphs
        On a GPU, record the steps of each size of image and ask for them as a whole (CUDA graphs);
        False asks for every kernel by itself. The numbers are the same.
    pictures
        Draw pictures on the way and at the end, and write the report; a study of many runs does
        not.
    """

    seed: int = 0
    threads: int | None = None
    device: str = "auto"
    tf32: bool = False
    validate_every: int = 2000
    checkpoint_every: int = 500
    diagnose_every: int = 500
    validation_images: int | None = 200
    detect_anomaly: bool = False
    tensorboard: bool = False
    graphs: bool = True
    pictures: bool = True

    def __post_init__(self) -> None:
        check_device_name(self.device)
        _check_at_least(self, 0, "seed")
        _check_at_least(self, 1, "validate_every", "checkpoint_every", "diagnose_every")
        for name in ("threads", "validation_images"):
            if getattr(self, name) is not None:
                _check_at_least(self, 1, name)


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
