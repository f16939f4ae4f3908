"""When training goes wrong: stages that die, and numbers that are not finite.

`examine` measures the health of a network while it trains. `first_anomaly` finds the layer where
the first number that is not finite appears. `report_failure` writes the step that failed to a file,
and `replay` computes that step again:

>>> from minirpn.training.diagnostics import replay
>>> print(replay("runs/mine/failure-412.npz"))  # doctest: +SKIP
000017: step 412: box_loss is nan, first in the output of rpn.conv
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array
from minirpn.backbones import stage_of
from minirpn.data.samples import Annotation, Example
from minirpn.errors import InputError
from minirpn.fields import Fields, choice, list_of, number, text, whole
from minirpn.files import write_npz
from minirpn.nn.layers import Conv2d, Grads, Layer
from minirpn.nn.optim import square_sums
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig, candidates, object_scores
from minirpn.training.build import fill_parameters
from minirpn.training.checkpoint import read_archive, under
from minirpn.training.config import TrainConfig
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import StepResult, check_finite, is_finite
from minirpn.training.tables import from_table, to_table
from minirpn.training.trainer import NotFiniteError, Trainer

FAILURE_FORMAT = "minirpn failure"
#: A backbone killed by too large a learning rate shows 99.9 % zeros, with a finite loss that looks
#: normal; a healthy ReLU stage stays well under this.
DYING_ZERO_SHARE = 0.98


@dataclass(frozen=True)
class Health:
    """What one image shows of the state of the network.

    Parameters
    ----------
    zero_share
        Stage -> share of its activations that are exactly 0 after the ReLU.
    gradient_norm, weight_norm
        Stage (the backbone's, ``"rpn"``, ``"detector"``) -> Euclidean norm of the gradient by its
        parameters, and of the parameters themselves.
    update_ratio
        Stage -> norm of the last step's change over the norm of the parameters. About 1e-3 is
        usual; far more destroys what was learned, far less learns nothing.
    layers
        Layer -> its own ``"gradient"``, ``"weight"`` and ``"update"`` norm, those it has.
    proposals_before_nms, proposals_after_nms
        Boxes that enter NMS, and those that leave it when no count limits them.
    objectness_by_anchor
        Mean probability of an object for each base anchor.
    """

    zero_share: dict[str, float]
    gradient_norm: dict[str, float]
    weight_norm: dict[str, float]
    update_ratio: dict[str, float]
    layers: dict[str, dict[str, float]]
    proposals_before_nms: int
    proposals_after_nms: int
    objectness_by_anchor: list[float]

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for the metrics file."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """Return a line for each stage that seems to be dying."""
        return [
            f"{stage}: {share:.1%} of the activations are zero: the backbone is dying; "
            "a lower learning rate would have kept it"
            for stage, share in self.zero_share.items()
            if share > DYING_ZERO_SHARE
        ]


class LastStep(NamedTuple):
    """The gradients and changes of the last step, by parameter name."""

    grads: Mapping[str, Array]
    changes: Mapping[str, Array]  # what it subtracted from each trainable parameter
    weights: Mapping[str, Array]  # all parameters after the step

    @classmethod
    def of(cls, trainer: Trainer, result: StepResult, lr: float) -> LastStep:
        """Return it, given the trainer after the step, its result and its learning rate."""
        optimizer = trainer.optimizer
        changes = {p.name: optimizer.last_step(p, lr=lr) for p in optimizer.parameters}
        return cls(result.grads, changes, {p.name: p.value for p in trainer.model.parameters()})


def layer_of(parameter_name: str) -> str:
    """Return the layer a parameter belongs to: its name up to the last dot."""
    return parameter_name.rpartition(".")[0]


def norms(arrays: Mapping[str, Array], group: Callable[[str], str] = stage_of) -> dict[str, float]:
    """Return the Euclidean norm of each group of arrays, given by parameter name."""
    squares: dict[str, float] = defaultdict(float)
    sums = backend.to_host(square_sums(list(arrays.values()))).tolist() if arrays else []
    for name, square in zip(arrays, sums, strict=True):
        squares[group(name)] += square
    return {name: square**0.5 for name, square in squares.items()}


def examine(network: RPN, example: Example, last: LastStep, config: ProposalConfig) -> Health:
    """Return the health of a network as one image shows it, in one forward pass."""
    stage_by_layer = {layer: stage for stage, layer in network.backbone.stages.items()}
    zero_share: dict[str, float] = {}

    def observe(layer: str, y: Array) -> None:
        if layer in stage_by_layer:
            alive = backend.to_host(backend.namespace_of(y).count_nonzero(y)).item()
            zero_share[stage_by_layer[layer]] = 1 - alive / math.prod(y.shape)

    output, _ = network.forward(example.image[None, ...], observe=observe)
    objectness, deltas = output.objectness[0, ...], output.deltas[0, ...]
    before = candidates(
        output.anchors, objectness, deltas, example.image_size, scale=example.scale, config=config
    )
    after = box_ops.nms(before.boxes, before.scores, iou_threshold=config.iou_threshold)
    A = network.base_anchors.shape[0]
    by_anchor = backend.to_host(object_scores(objectness)).reshape(-1, A)  # (K,) -> (Hf*Wf, A)
    weights, changes = norms(last.weights), norms(last.changes)
    layers: dict[str, dict[str, float]] = defaultdict(dict)
    kinds = (("gradient", last.grads), ("weight", last.weights), ("update", last.changes))
    for kind, arrays in kinds:
        for layer, norm in norms(arrays, layer_of).items():
            layers[layer][kind] = norm
    return Health(
        zero_share=zero_share,
        gradient_norm=norms(last.grads),
        weight_norm=weights,
        update_ratio={
            stage: change / weights[stage]
            for stage, change in changes.items()
            if weights[stage] > 0
        },
        layers=dict(layers),
        proposals_before_nms=int(before.boxes.shape[0]),
        proposals_after_nms=int(after.shape[0]),
        objectness_by_anchor=[round(float(mean), 6) for mean in by_anchor.mean(axis=0)],
    )


class _AnomalyError(Exception):
    """Ends a step at the first number that is not finite; the message says where."""


def first_anomaly(model: Any, compute: Callable[[], object]) -> str | None:
    """Return where the first number that is not finite appears, None if every layer's are.

    `compute` runs the `RPN` or `FasterRCNN` forward and backward. It stops at the first such
    number. Input, parameters and output of each layer are checked: ``"the output of conv3"`` on the
    way forward, ``"the gradient that conv3 hands back"`` on the way back.
    """
    layers = list(layers_of(model))
    try:
        for layer in layers:
            _watch(layer)
        with np.errstate(over="ignore", invalid="ignore"):
            compute()
    except _AnomalyError as anomaly:
        return str(anomaly)
    finally:
        for layer in layers:
            for name in ("forward", "forward_relu", "backward"):
                vars(layer).pop(name, None)
    return None


def layers_of(part: Any) -> Iterator[Layer]:
    """Yield the innermost layers of a network, or of a part of one."""
    inner: Iterable[Any] = ()
    if isinstance(part, tuple | list):
        inner = part
    elif type(part).__module__.startswith("minirpn."):
        inner = list(getattr(part, "__dict__", {}).values())
    layers = [layer for item in inner for layer in layers_of(item)]
    yield from [part] if isinstance(part, Layer) and not layers else layers


def _watch(layer: Layer) -> None:
    """Give a layer methods that check its arrays and hide the methods of its class."""
    backward = layer.backward

    def watched(forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched_forward(x: Array, **options: Any) -> Any:
            _check_array(x, f"the input of {layer.name}")
            for parameter in layer.parameters():
                _check_array(parameter.value, parameter.name)
            y, *caches = forward(x, **options)
            _check_array(y, f"the output of {layer.name}")
            return y, *caches

        return watched_forward

    def watched_backward(dy: Array, cache: Any, **options: Any) -> tuple[Array | None, Grads]:
        _check_array(dy, f"the gradient that reaches {layer.name}")
        dx, grads = backward(dy, cache, **options)
        for name, grad in grads.items():
            _check_array(grad, f"the gradient of {name}")
        if dx is not None:
            _check_array(dx, f"the gradient that {layer.name} hands back")
        return dx, grads

    vars(layer).update(forward=watched(layer.forward), backward=watched_backward)
    if isinstance(layer, Conv2d):
        vars(layer).update(forward_relu=watched(layer.forward_relu))


def _check_array(array: Array, what: str) -> None:
    if not is_finite(array):
        raise _AnomalyError(what)


class Failure(NamedTuple):
    """The input of a step."""

    trainer: Trainer  # its parameters and phase are those before the step
    example: Example
    place: int  # of the example in the step
    proposals: np.ndarray | None  # (R, 4), if the phase needs proposals

    def compute(self) -> StepResult:
        """Return loss and gradients, computed again."""
        return self.trainer.loss_and_gradients(self.example, self.proposals, place=self.place)


class Replayed(NamedTuple):
    """The result of computing a step again."""

    image_id: str
    step: int
    quantity: str | None  # such as "box_loss is nan"; None if all is finite this time
    where: str | None  # see `first_anomaly`

    def __str__(self) -> str:
        what = "every loss and gradient is finite"
        if self.quantity is not None:
            what = _describe(self.quantity, self.where)
        return f"{self.image_id}: step {self.step}: {what}"


def _describe(quantity: str, where: str | None) -> str:
    """Say what is not finite and where it begins."""
    beginning = "though every layer's numbers are finite" if where is None else f"first in {where}"
    return f"{quantity}, {beginning}"


def report_failure(error: NotFiniteError, trainer: Trainer, folder: RunFolder) -> InputError:
    """Write the step that failed to ``RUN/failure-STEP.npz``; return the error to stop with.

    The trainer is in its state before the step. Of several images in the step, the file has the one
    that the error names. With ``run.detect_anomaly`` its loss is computed again. Log and records
    get a line too.
    """
    words = error.quantity
    if trainer.config.run.detect_anomaly:
        failure = Failure(trainer, error.example, error.place, error.proposals)
        words = _describe(words, first_anomaly(trainer.model, failure.compute))
    path = folder.path / f"failure-{error.step}.npz"
    try:
        save_failure(path, trainer, error)
        kept = f"{path} holds what repeats it"
    except InputError as reason:
        kept = str(reason)
    # On a full disk, too, the training stops with the error about the number.
    with contextlib.suppress(InputError):
        message = f"{error.example.image_id}: {words}"
        folder.warn(error.step, message)
        folder.log(f"stopped before step {error.step}: {message}")
    return InputError(
        f"{error.example.annotation.image_path}: step {error.step}: {words}; a lower --lr may "
        f"help; the last checkpoint is from before; {kept}"
    )


def replay(path: str | Path) -> Replayed:
    """Compute the step in ``RUN/failure-STEP.npz`` again on the CPU, with every layer watched.

    If it is no such file, or damaged, an InputError says so.
    """
    failure, quantity = load_failure(Path(path)), None
    where = first_anomaly(failure.trainer.model, failure.compute)
    try:
        check_finite(failure.compute())
    except FloatingPointError as error:
        quantity = str(error)
    return Replayed(failure.example.image_id, failure.trainer.step + 1, quantity, where)


def save_failure(path: Path, trainer: Trainer, error: NotFiniteError) -> None:
    """Write a step that failed, whole or not at all; `load_failure` is the inverse.

    The trainer is in its state before the step.

    Inside are ``parameters/NAME``, ``example/NAME`` (the image as the network reads it, its ground
    truths, proposals) and ``metadata``: JSON text as bytes, with the settings, the place of the
    image in the step and the names of image and quantity.
    """
    example, proposals = error.example, error.proposals
    annotation = example.annotation
    metadata = {
        "format": FAILURE_FORMAT,
        "step": error.step,
        "phase": trainer.phase_index,
        "seed": trainer.config.run.seed,
        "quantity": error.quantity,
        "image": annotation.image_id,
        "path": str(annotation.image_path),
        "image_size": annotation.image_size,
        "scale": example.scale,
        "flipped": example.flipped,
        "place": error.place,
        "config": to_table(trainer.config),
    }
    arrays = {
        "image": backend.to_host(example.image),
        "gt_boxes": example.gt_boxes,
        "original_boxes": annotation.gt_boxes,
        "gt_classes": annotation.gt_classes,
        "difficult": annotation.difficult,
        "ignored": example.ignored,
        "original_ignored": annotation.ignored,
    }
    if proposals is not None:
        arrays["proposals"] = proposals
    named = {f"example/{name}": value for name, value in arrays.items()}
    for parameter in trainer.model.parameters():
        named[f"parameters/{parameter.name}"] = backend.to_host(parameter.value)
    write_npz(path, metadata, named)


def load_failure(path: Path) -> Failure:
    """Return a step that failed, its trainer as it was before; raise InputError as `replay`."""
    metadata, arrays = read_archive(path, FAILURE_FORMAT, kind="file of a failed step")
    read, stored = Fields(metadata, str(path)), under("example/", arrays)

    def boxes(name: str, default: np.ndarray | None = None) -> np.ndarray:
        return _stored_array(read, stored, name, (None, 4), "f", default)

    none = np.empty((0, 4), np.float32)  # older files have no ignored regions
    image = _stored_array(read, stored, "image", (3, None, None), "f")
    original = boxes("original_boxes")
    M = len(original)
    height, width = read.get("image_size", list_of(whole(1, _MOST_SIDE), 2))
    annotation = Annotation(
        image_id=read.get("image", text()),
        image_path=Path(read.get("path", text())),
        image_size=(height, width),
        gt_boxes=original,
        gt_classes=_stored_array(read, stored, "gt_classes", (M,), "i"),
        difficult=_stored_array(read, stored, "difficult", (M,), "b"),
        ignored=boxes("original_ignored", none),
    )
    example = Example(
        annotation,
        image,
        _stored_array(read, stored, "gt_boxes", (M, 4), "f"),
        read.get("scale", number(1e-6, 1e6)),
        read.get("flipped", choice(True, False)),
        ignored=boxes("ignored", none),
    )
    proposals = boxes("proposals") if "proposals" in stored else None
    trainer = Trainer(from_table(TrainConfig, read.get("config", Fields).plain, str(path)))
    config, labels = trainer.config, annotation.gt_classes
    if config.sharing.has_detector and M:
        classes = len(config.data.classes or ())
        if not 0 <= labels.min() <= labels.max() < classes:
            raise read.wrong(f"gt_classes: expected positions in {classes} classes")
    parameters = under("parameters/", arrays)
    for name in parameters:
        _stored_array(read, parameters, name, (None,) * parameters[name].ndim, "f")
    fill_parameters(trainer.model.parameters(), parameters, path)
    trainer.begin_phase(read.get("phase", whole(0, len(trainer.phases) - 1)))
    if trainer.phase.needs_proposals and proposals is None:
        raise read.wrong("proposals: missing")
    trainer.step = read.get("step", whole(1)) - 1
    if "rng_state" in metadata and "place" not in metadata:
        raise read.wrong("place: missing: an older minirpn wrote it, and drew in another way")
    return Failure(trainer, example, read.get("place", whole()), proposals)


_MOST_SIDE = 10**6  # pixels


def _stored_array(
    read: Fields,
    arrays: Mapping[str, np.ndarray],
    name: str,
    shape: tuple[int | None, ...],
    kind: str,
    default: np.ndarray | None = None,
) -> np.ndarray:
    """Return an array of a file, if its shape (None: any length) and kind of dtype are right."""
    array = arrays.get(name, default)
    if array is None:
        raise read.wrong(f"{name}: missing")
    fits = len(shape) == array.ndim and all(
        wanted in (None, got) for wanted, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind != kind:
        raise read.wrong(f"{name}: {array.dtype} of shape {array.shape} cannot be one of its kind")
    return array
