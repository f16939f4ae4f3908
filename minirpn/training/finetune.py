"""Fine-tuning: start a network from one that was trained before, for other classes or anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn.backbones import Backbone, Preprocessing
from minirpn.detector import FasterRCNN
from minirpn.devices import device_with
from minirpn.errors import InputError
from minirpn.rpn.network import RPN
from minirpn.training.checkpoint import FORMAT as CHECKPOINT
from minirpn.training.checkpoint import format_of
from minirpn.training.config import TrainConfig
from minirpn.training.stored import FORMAT as SHIPPED_MODEL
from minirpn.training.stored import StoredModel
from minirpn.weights.loading import is_finite, pixels_line
from minirpn.weights.presets import Known, as_asked

# Layers with an output for each anchor of a cell, and layers with outputs for each class.
_BY_ANCHOR = ("rpn.objectness", "rpn.deltas")
_BY_CLASS = ("detector.scores", "detector.deltas")
_ENDINGS = (".npz", ".pth", ".pt", ".caffemodel", ".safetensors", ".h5")


class FineTuneReport(NamedTuple):
    """What a network took from a trained one, and what it did not."""

    taken: tuple[str, ...]  # layers with all their values
    new: Mapping[str, tuple[str, ...]]  # why layers are new -> these layers
    known_classes: tuple[str, ...]  # whose rows of the detector's last layers were taken
    new_classes: tuple[str, ...]  # whose rows are new
    unused: tuple[str, ...]  # layers of the trained network that this one does not have
    unused_classes: tuple[str, ...]  # its classes that this one does not have
    remark: str  # on what was taken, or ""
    preprocessing: Preprocessing  # that goes with them
    reason: str  # how that is known

    def lines(self) -> list[str]:
        """Return the report for the terminal."""
        lines = [f"taken: {', '.join(self.taken)}"]
        if self.remark:
            lines.append(self.remark)
        lines += [f"new: {', '.join(layers)}: {why}" for why, layers in self.new.items()]
        if self.new_classes:
            known = ", ".join(("background", *self.known_classes))
            lines.append(
                f"{', '.join(_BY_CLASS)}: taken for {known}; new for {', '.join(self.new_classes)}"
            )
        groups = {"unused": self.unused, "unused classes": self.unused_classes}
        lines += [f"{title}: {', '.join(names)}" for title, names in groups.items() if names]
        return [*lines, pixels_line(self.preprocessing, self.reason)]


def names_trained(source: str | Path) -> bool:
    """Tell whether ``--weights`` names a network that minirpn trained, and not a file of weights.

    A file is looked into. Without one, it is what does not end as a file of weights does.
    """
    path = Path(source)
    if path.is_file():
        return format_of(path) in (CHECKPOINT, SHIPPED_MODEL)
    return path.is_dir() or path.suffix.lower() not in _ENDINGS


def start_from(stored: StoredModel, model: RPN | FasterRCNN, config: TrainConfig) -> FineTuneReport:
    """Fill the parameters of a new network from a trained one, as far as they mean the same.

    The backbone is taken whole. The outputs of the RPN head are taken if there are as many anchors
    a cell, and the same classifier. The last layers of a detector are taken row by row: for the
    background, and for each class of the same name. What is not taken stays as it is.

    Parameters
    ----------
    stored
        The trained network.
    model
        The new one. Each parameter keeps its dtype and device.
    config
        The settings of the new one.

    Raises
    ------
    InputError
        The backbones differ, or the trained network is not the one that its settings describe.
        Nothing is changed then.
    """
    before, ours = stored.config, config.model.backbone
    if before.model.backbone != ours:
        theirs = before.model.backbone
        raise InputError(
            f"{stored.name}: its backbone is {theirs}, here it is {ours}: give --backbone {theirs}"
        )
    new = _new_layers(stored, model, config)
    classes = before.data.classes or (), config.data.classes or ()
    values = {}
    for parameter in model.parameters():
        layer = _layer(parameter.name)
        if layer in new:
            continue
        value = stored.parameters.get(parameter.name)
        if value is not None and layer in _BY_CLASS:
            value = _take_rows(value, backend.to_host(parameter.value), *classes)
        if value is None or value.shape != tuple(parameter.value.shape):
            raise InputError(f"{stored.path}: not a whole {ours}: {parameter.name!r} does not fit")
        if not is_finite(value):
            raise InputError(
                f"{stored.path}: {parameter.name}: holds values that are not finite numbers"
            )
        values[parameter.name] = value
    for parameter in model.parameters():
        if parameter.name in values:
            old = parameter.value
            value = np.array(values[parameter.name], dtype=backend.host_dtype(old), order="C")
            parameter.value = device_with(old).put(value)
    return _report(stored, model, config, new)


def _layer(name: str) -> str:
    """Return the layer of a parameter."""
    return name.rpartition(".")[0]


def _new_layers(
    stored: StoredModel, model: RPN | FasterRCNN, config: TrainConfig
) -> dict[str, str]:
    """Return the layers that a trained network cannot give, each with the reason."""
    new, before = {}, stored.config
    theirs, ours = before.anchors.count, config.anchors.count
    if theirs != ours:
        new = dict.fromkeys(_BY_ANCHOR, f"{theirs} anchors a cell there, {ours} here")
    elif before.model.classifier != config.model.classifier:
        new["rpn.objectness"] = f"{before.model.classifier} there, {config.model.classifier} here"
    if isinstance(model, FasterRCNN) and not before.sharing.has_detector:
        layers = [_layer(parameter.name) for parameter in model.detector.parameters()]
        new |= dict.fromkeys(layers, "no detector there")
    return new


def _take_rows(
    theirs: np.ndarray, ours: np.ndarray, before: Sequence[str], classes: Sequence[str]
) -> np.ndarray | None:
    """Return the parameter of a layer by class with the rows of known classes from `theirs`.

    Parameters
    ----------
    theirs, ours
        (L + 1, ...), or four such rows for each class; the background is the first.
    before, classes
        The names of the classes there, and here.
    """
    sizes = len(before) + 1, len(classes) + 1
    if theirs.shape[0] % sizes[0] or theirs.size * sizes[1] != ours.size * sizes[0]:
        return None
    known = [name for name in classes if name in before]
    there = [0, *(1 + before.index(name) for name in known)]
    here = [0, *(1 + classes.index(name) for name in known)]
    taken = ours.reshape(sizes[1], -1).copy()
    taken[here] = theirs.reshape(sizes[0], -1)[there]
    return taken.reshape(ours.shape)


def _report(
    stored: StoredModel, model: RPN | FasterRCNN, config: TrainConfig, new: Mapping[str, str]
) -> FineTuneReport:
    """Return what was taken from where, given the layers that are new."""
    network = (model.rpn if isinstance(model, FasterRCNN) else model).backbone
    assert isinstance(network, Backbone)  # build_network makes no other
    backbone = {_layer(parameter.name) for parameter in network.parameters()}
    layers = list(dict.fromkeys(_layer(parameter.name) for parameter in model.parameters()))
    theirs = list(dict.fromkeys(_layer(name) for name in stored.parameters))
    taken = [layer for layer in layers if layer not in new and layer not in backbone]
    before, classes = stored.config.data.classes or (), config.data.classes or ()
    by_class = set(_BY_CLASS) <= set(taken)
    known = tuple(name for name in classes if by_class and name in before)
    new_classes = tuple(name for name in classes if by_class and name not in before)
    if new_classes:  # these layers have a line of their own
        taken = [layer for layer in taken if layer not in _BY_CLASS]
    remark = ""
    if stored.config.anchors != config.anchors and not set(_BY_ANCHOR) & set(new):
        remark = f"{', '.join(_BY_ANCHOR)} learned other anchors, as many a cell"
    given = config.model.preprocessing
    preprocessing = stored.config.model.preprocessing or network.preprocessing
    pixels = Known(preprocessing, "as it was trained") if given is None else as_asked(given)
    return FineTuneReport(
        taken=(f"{config.model.backbone} (all of the backbone)", *taken),
        new={why: tuple(k for k, v in new.items() if v == why) for why in new.values()},
        known_classes=known,
        new_classes=new_classes,
        unused=tuple(layer for layer in theirs if layer not in layers),
        unused_classes=tuple(name for name in before if by_class and name not in classes),
        remark=remark,
        preprocessing=pixels.preprocessing,
        reason=pixels.reason,
    )
