"""A step that gave numbers that are not finite, in one file: to be taken again and looked into.

>>> from minirpn.training.failure import replay
>>> print(replay("runs/mine/failure-412.npz"))  # doctest: +SKIP
000017: step 412: box_loss is nan, first in the output of rpn.conv
"""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minirpn import backend
from minirpn.data.samples import Annotation, Example
from minirpn.errors import InputError
from minirpn.files import replace_file
from minirpn.training.anomaly import NotFiniteError, first_anomaly
from minirpn.training.build import fill_parameters
from minirpn.training.checkpoint import under
from minirpn.training.config import TrainConfig
from minirpn.training.run_folder import RunFolder
from minirpn.training.step import look_at
from minirpn.training.tables import from_table, to_table
from minirpn.training.trainer import Trainer
from minirpn.weights import read_npz

FORMAT = "minirpn failure"
_PARAMETERS, _EXAMPLE = "parameters/", "example/"


class Failure(NamedTuple):
    """What a step was about to be taken from."""

    trainer: Trainer  # as it was before the step
    example: Example
    proposals: np.ndarray | None  # (R, 4) that it learns from, in a phase that does


class Replayed(NamedTuple):
    """What a step that is taken again gives."""

    image_id: str
    step: int
    quantity: str | None  # such as "box_loss is nan"; None if all is finite this time
    where: str | None  # as of `first_anomaly`

    def __str__(self) -> str:
        if self.quantity is None:
            return f"{self.image_id}: step {self.step}: every loss and gradient is finite"
        return f"{self.image_id}: step {self.step}: {said(self.quantity, self.where)}"


def said(quantity: str, where: str | None) -> str:
    """Return in words what is not finite and where it begins."""
    beginning = "though every layer's numbers are finite" if where is None else f"first in {where}"
    return f"{quantity}, {beginning}"


def report_failure(
    error: NotFiniteError, trainer: Trainer, folder: RunFolder, proposals: np.ndarray | None
) -> InputError:
    """Leave the step that failed in ``RUN/failure-STEP.npz``, and return what to stop with.

    Parameters
    ----------
    error
        What `Trainer.take` raised.
    trainer
        As it left it: as before the step. With ``run.detect_anomaly`` it computes the step again.
    folder
        Of the run, whose log and records tell of it too.
    proposals
        What the step was given besides the example.
    """
    words = error.quantity
    if trainer.config.run.detect_anomaly:
        words = said(words, _look_again(trainer, error.example, proposals))
    path = folder.path / f"failure-{error.step}.npz"
    try:
        save_failure(path, Failure(trainer, error.example, proposals), error)
        kept = f"{path} holds what repeats it"
    except InputError as reason:
        kept = str(reason)
    # The disk may be full. What the training stops with is the number all the same.
    with contextlib.suppress(InputError):
        message = f"{error.example.image_id}: {words}"
        folder.record({"kind": "warning", "step": error.step, "message": message})
        folder.log(f"stopped before step {error.step}: {message}")
    return InputError(
        f"{error.example.annotation.image_path}: step {error.step}: {words}; a lower --lr may "
        f"help; the last checkpoint is from before; {kept}"
    )


def _look_again(trainer: Trainer, example: Example, proposals: np.ndarray | None) -> str | None:
    """Compute a step once more, with every layer watched; the trainer stays as it is."""
    state = trainer.rng.bit_generator.state
    try:
        return first_anomaly(trainer.model, partial(trainer.compute, example, proposals))
    finally:
        trainer.rng.bit_generator.state = state


def replay(path: str | Path) -> Replayed:
    """Compute the step in a file that a failed training has left, with every layer watched.

    That is on the CPU, wherever the training was.

    Parameters
    ----------
    path
        ``RUN/failure-STEP.npz``.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or it holds something else.
    """
    trainer, example, proposals = load_failure(Path(path))
    where = _look_again(trainer, example, proposals)
    with np.errstate(over="ignore", invalid="ignore"):
        _, quantity = look_at(trainer.compute(example, proposals))
    return Replayed(example.image_id, trainer.step + 1, quantity, where)


def save_failure(path: Path, failure: Failure, error: NotFiniteError) -> None:
    """Write a step that failed, whole or not at all; `load_failure` is the inverse.

    Inside are ``parameters/NAME``, ``example/NAME`` (the image as the network takes it, its ground
    truths, proposals) and ``metadata``: JSON text as bytes, with the settings, the random state
    and the names of image and quantity.

    Raises
    ------
    InputError
        It could not be written.
    """
    trainer, example, proposals = failure
    annotation = example.annotation
    metadata = {
        "format": FORMAT,
        "step": error.step,
        "phase": trainer.phase_index,
        "seed": trainer.config.run.seed,
        "quantity": error.quantity,
        "image": annotation.image_id,
        "path": str(annotation.image_path),
        "image_size": annotation.image_size,
        "scale": example.scale,
        "flipped": example.flipped,
        "rng_state": trainer.rng.bit_generator.state,
        "config": to_table(trainer.config),
    }
    arrays = {
        "image": backend.to_host(example.image),
        "gt_boxes": example.gt_boxes,
        "original_boxes": annotation.gt_boxes,
        "gt_classes": annotation.gt_classes,
        "difficult": annotation.difficult,
    }
    if proposals is not None:
        arrays["proposals"] = proposals
    named = {_EXAMPLE + name: value for name, value in arrays.items()}
    for parameter in trainer.model.parameters():
        named[_PARAMETERS + parameter.name] = backend.to_host(parameter.value)
    encoded = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)

    def write(file: BinaryIO) -> None:
        np.savez(file, allow_pickle=False, metadata=encoded, **named)

    replace_file(path, write)


def load_failure(path: Path) -> Failure:
    """Return a step that failed, its trainer as it was before.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or it holds something else.
    """
    arrays = read_npz(path, kind="file of a failed step")
    try:
        metadata = json.loads(arrays["metadata"].tobytes())
        if metadata["format"] != FORMAT:
            raise ValueError(f"its format is {metadata['format']!r}")
        example = _example(metadata, under(_EXAMPLE, arrays))
        trainer = Trainer(from_table(TrainConfig, metadata["config"], str(path)))
        fill_parameters(trainer.model.parameters(), under(_PARAMETERS, arrays), path)
        trainer.begin(metadata["phase"])
        trainer.step = metadata["step"] - 1
        trainer.rng.bit_generator.state = metadata["rng_state"]
    except (KeyError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a file of a failed step: {error}") from error
    return Failure(trainer, example, arrays.get(f"{_EXAMPLE}proposals"))


def _example(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> Example:
    annotation = Annotation(
        image_id=metadata["image"],
        image_path=Path(metadata["path"]),
        image_size=tuple(metadata["image_size"]),
        gt_boxes=arrays["original_boxes"],
        gt_classes=arrays["gt_classes"],
        difficult=arrays["difficult"],
    )
    boxes, scale = arrays["gt_boxes"], metadata["scale"]
    return Example(annotation, arrays["image"], boxes, scale, metadata["flipped"])
