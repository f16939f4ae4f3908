"""From settings to the things they describe: network, data sets, pipeline."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minirpn.backbones import Backbone, build_backbone
from minirpn.backend import host_dtype
from minirpn.data.annotation import UNNAMED
from minirpn.data.augment import AS_IS, Augmentation
from minirpn.data.layout import find_layout
from minirpn.data.loader import Draw, Loader
from minirpn.data.samples import Dataset, Example, Sample
from minirpn.data.synthetic import generate
from minirpn.data.transforms import ResizeConfig, prepare
from minirpn.data.voc import VOCDataset, choose_classes
from minirpn.detector import FasterRCNN, FastRCNN, build_head
from minirpn.devices import CPU, Device, device_with
from minirpn.errors import InputError
from minirpn.nn import SGD, AdamW, Optimizer, Parameter
from minirpn.rpn.head import RPNHead
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig
from minirpn.training.config import OptimizerConfig, TrainConfig
from minirpn.training.detector_step import DetectorObjective
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import Objective
from minirpn.training.stored import StoredModel, read_stored


def build_network(config: TrainConfig, *, rng: np.random.Generator) -> RPN:
    """Return a new RPN as the settings describe it, its weights drawn from `rng`."""
    backbone = build_backbone(config.model.backbone, rng=rng)
    if config.model.preprocessing is not None:
        backbone = replace(backbone, preprocessing=config.model.preprocessing)
    if config.model.freeze is not None:
        backbone.freeze(config.model.freeze)
    head = RPNHead(
        backbone.channels,
        backbone.head_channels,
        config.anchors.count,
        classifier=config.model.classifier,
        rng=rng,
    )
    network = RPN(backbone, head, config.anchors, anchor_centre=config.model.anchor_centre)
    _apply_settings(network.parameters(), config)
    for parameter in backbone.parameters():
        parameter.lr_multiplier *= config.optimizer.backbone_lr_multiplier
    return network


def build_model(config: TrainConfig, *, rng: np.random.Generator) -> RPN | FasterRCNN:
    """Return a new network as `build_network` does, with a detector if the settings ask for one.

    An InputError says if there is no class for the detector to tell apart.
    """
    network = build_network(config, rng=rng)
    if not config.sharing.has_detector:
        return network
    if not config.data.classes:
        raise InputError("data.classes: a detector needs at least one class to find")
    backbone = network.backbone
    assert isinstance(backbone, Backbone)  # build_network makes no other
    classes = len(config.data.classes)
    head, pool_size = build_head(backbone.name, backbone.channels, classes, rng=rng)
    _apply_settings(head.parameters(), config)
    detector = FastRCNN(head, pool_size, network.stride, pooling=config.sharing.chosen_pooling)
    return FasterRCNN(network, detector)


def rpn_of(model: RPN | FasterRCNN) -> RPN:
    """Return the RPN in a network with or without a detector."""
    return model.rpn if isinstance(model, FasterRCNN) else model


def _apply_settings(parameters: list[Parameter], config: TrainConfig) -> None:
    """Give the parameters the dtype of the settings, and biases their multipliers."""
    for parameter in parameters:
        # The weights are drawn in float32, so this loses no bit.
        parameter.value = parameter.value.astype(config.model.dtype, copy=False)
        if parameter.name.endswith(".bias"):
            parameter.lr_multiplier = config.optimizer.bias_lr_multiplier
            parameter.decay_multiplier = config.optimizer.bias_decay_multiplier


def build_objective(config: TrainConfig) -> Objective:
    """Return what the RPN learns, as the settings say."""
    return Objective(config.labels, config.sampling, config.loss)


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[Parameter], *, in_place: bool = False
) -> Optimizer:
    """Return the optimizer of some parameters, before its first step."""
    if config.method == "adamw":
        return AdamW(
            parameters,
            betas=(config.momentum, 0.999),
            weight_decay=config.weight_decay,
            in_place=in_place,
        )
    return SGD(
        parameters,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        rule=config.rule,
        in_place=in_place,
    )


def build_detector_objective(config: TrainConfig) -> DetectorObjective:
    """Return what the detector learns, as the settings say."""
    sharing, regions = config.sharing, config.regions
    if regions.background_iou is None:
        regions = replace(regions, background_iou=0.1 if sharing.kind == "4-step" else 0.0)
    return DetectorObjective(
        regions, training_proposals(config), through_boxes=sharing.kind == "joint"
    )


def training_proposals(config: TrainConfig) -> ProposalConfig:
    """Return how the RPN proposes what a detector is trained on."""
    sharing = config.sharing
    return replace(config.proposals, pre_nms=sharing.pre_nms, post_nms=sharing.post_nms)


@dataclass(frozen=True)
class Pipeline:
    """How a stored image becomes the network's input.

    Parameters
    ----------
    resize
        The size it is brought to.
    preprocessing
        The backbone's: (H, W, 3) uint8 to (3, H, W) float32.
    device
        The device of the network, where the images go.
    threads
        How many images are prepared at a time.
    dtype
        Of pixels and boxes. Both are made in float32 and then widened: the labels are the same.
    """

    resize: ResizeConfig
    preprocessing: Callable[[np.ndarray], np.ndarray]
    device: Device = CPU
    threads: int = 1
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))

    def example(self, sample: Sample, *, augmentation: Augmentation = AS_IS) -> Example:
        """Return an image as the network reads it, on the device; a loader's threads call this."""
        example = prepare(
            sample,
            resize_config=self.resize,
            to_input=self.preprocessing,
            augmentation=augmentation,
        )
        image, gt_boxes, ignored = (
            array.astype(self.dtype, copy=False)
            for array in (example.image, example.gt_boxes, example.ignored)
        )
        return replace(example, image=self.device.send(image), gt_boxes=gt_boxes, ignored=ignored)

    def examples(
        self,
        dataset: Dataset,
        draws: Iterator[Draw],
        *,
        finish: Callable[[Example], Example] | None = None,
        each: int = 1,
    ) -> Loader[Example]:
        """Return a loader of prepared examples for a ``with`` block; see `minirpn.data.Loader`.

        It prepares what two steps need ahead of time, with `each` so many examples in a step.
        """
        return Loader(
            dataset,
            draws,
            self.example,
            threads=self.threads,
            prefetch=2 * each + 2,
            finish=finish,
        )

    def looks(self, sample: Sample, *, augmentation: Augmentation = AS_IS) -> tuple[Example, ...]:
        """Return an image at each of the sizes at which an RPN looks at it to propose."""
        return tuple(
            self.example(
                sample, augmentation=augmentation._replace(zoom=augmentation.zoom * factor)
            )
            for factor in self.resize.looks
        )

    def all_looks(
        self, dataset: Dataset, indices: Iterable[int], *, each: int = 1
    ) -> Loader[tuple[Example, ...]]:
        """Return a loader, like `examples`, of the `looks` at some images as they are."""
        draws = map(Draw, indices)
        return Loader(dataset, draws, self.looks, threads=self.threads, prefetch=2 * each + 2)

    def in_order(self, dataset: Dataset, limit: int | None) -> Loader[Example]:
        """Return a loader of the first `limit` images in their order, as they are."""
        count = len(dataset) if limit is None else min(limit, len(dataset))
        return self.examples(dataset, (Draw(index) for index in range(count)))


def build_pipeline(config: TrainConfig, network: RPN) -> Pipeline:
    """Return how images become the network's input, on the device of its parameters."""
    device = device_with(network.parameters()[0].value)
    preprocessing, dtype = network.backbone.preprocessing, np.dtype(config.model.dtype)
    return Pipeline(config.looked_at, preprocessing, device, dtype=dtype)


def open_dataset(config: TrainConfig, folder: RunFolder, split: str) -> VOCDataset:
    """Return one split of the data the settings name, with their classes.

    If they name no classes, each split has those found in it: the RPN does not use them, and a
    class that is missing from a small training split must not stop the validation. Without a VOC
    folder, shapes are generated into the run's own folder, once.
    """
    data = config.data
    source = data.source
    if source is None:
        root = folder.path / "shapes"
        if not root.exists():
            generate(root, config.synthetic)
        return VOCDataset(root, split=split, classes=data.classes)
    return VOCDataset(source, split=split, classes=data.classes, skip_bad=data.skip_bad)


def with_splits_there(config: TrainConfig, given: Collection[str]) -> tuple[TrainConfig, list[str]]:
    """Return the settings with splits that the data set has, and a line for each that was changed.

    A split that the user did not name comes from a recipe. If the data set has no such split, it is
    trained on ``trainval``, or not validated.

    Parameters
    ----------
    config
        The settings of a new run.
    given
        The settings that the user named, by dotted key.
    """
    data = config.data
    lines: list[str] = []
    if data.source is None:
        return config, lines
    there = find_layout(data.source).splits
    if "data.split" not in given and data.split not in there and "trainval" in there:
        lines.append(f"{data.voc}: no split {data.split!r}: training on 'trainval'")
        data = replace(data, split="trainval")
    if "data.val_split" not in given and data.val_split not in {None, *there}:
        names = ", ".join(there) or "none"
        lines.append(
            f"{data.voc}: no split {data.val_split!r}: training without validation; "
            f"--val-split names a split, there is {names}"
        )
        data = replace(data, val_split=None)
    return replace(config, data=data), lines


def find_classes(config: TrainConfig, folder: RunFolder) -> tuple[str, ...]:
    """Return the classes of the objects in the training and the validation split together.

    A class that is only in the second cannot be learned, but can be missed. Objects without a name
    among others with one become ignored regions.
    """
    splits = [split for split in (config.data.split, config.data.val_split) if split is not None]
    names = {name for split in splits for name in open_dataset(config, folder, split).classes}
    # Objects without a name have no class to learn, unless that is all there is.
    return choose_classes(names - {UNNAMED} or names)


def fill_parameters(
    parameters: list[Parameter], stored: Mapping[str, np.ndarray], path: Path
) -> None:
    """Give the parameters the values that a file at `path` holds, by name.

    If they belong to another network, an InputError says so, and nothing is changed.
    """
    names = {parameter.name for parameter in parameters}
    if names != set(stored):
        odd = min(names ^ set(stored))
        raise InputError(f"{path}: parameters of another network: {odd!r} is on one side only")
    for parameter in parameters:
        if stored[parameter.name].shape != parameter.value.shape:
            raise InputError(
                f"{path}: parameters of another network: {parameter.name!r} has shape "
                f"{stored[parameter.name].shape}, expected {tuple(parameter.value.shape)}"
            )
        expected = host_dtype(parameter.value)
        if stored[parameter.name].dtype != expected:
            raise InputError(
                f"{path}: parameters of another network: {parameter.name!r} is "
                f"{stored[parameter.name].dtype}, expected {expected}"
            )
    for parameter in parameters:
        parameter.value = device_with(parameter.value).put(stored[parameter.name])


def load_model(
    source: str | Path | StoredModel, device: Device = CPU
) -> tuple[RPN | FasterRCNN, TrainConfig]:
    """Return a trained network, on a device, and the settings it was trained with.

    `source` is what `minirpn.training.stored.read_stored` returns or reads: a run, a checkpoint, a
    shipped model. An InputError says if there is none, or if it is damaged or of another network.
    """
    stored = source if isinstance(source, StoredModel) else read_stored(source)
    stored.warn_if_untrained()
    config = stored.config
    model = build_model(config, rng=np.random.default_rng(config.run.seed))
    fill_parameters(model.parameters(), stored.parameters, stored.path)
    for parameter in model.parameters():
        parameter.value = device.put(parameter.value)
    return model, config


def load_network(source: str | Path | StoredModel, device: Device = CPU) -> tuple[RPN, TrainConfig]:
    """Return a trained RPN, with or without a detector beside it; otherwise as `load_model`."""
    model, config = load_model(source, device)
    return rpn_of(model), config
