"""Proposals on disk: those of all images of a split, in their original pixels, in one ``.npz``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from minirpn import boxes as box_ops
from minirpn.backend import host_dtype
from minirpn.data.samples import Annotation, Example
from minirpn.errors import InputError
from minirpn.files import replace_file
from minirpn.weights import read_npz

FORMAT = "minirpn proposals"


class SavedProposals(NamedTuple):
    """The proposals of one image in its original pixels, not mirrored, best first."""

    boxes: np.ndarray  # (R, 4) float32
    scores: np.ndarray  # (R,) float32


class _Found(Protocol):
    """What `minirpn.training.inference.propose_all` yields."""

    @property
    def annotation(self) -> Annotation:
        """Whose proposals these are."""

    @property
    def boxes(self) -> np.ndarray:
        """(R, 4) original pixels."""

    @property
    def scores(self) -> np.ndarray:
        """(R,)."""


def save_proposals(path: Path, found: Sequence[_Found]) -> None:
    """Write the proposals of images to `path`, whole or not at all.

    Inside are ``boxes`` (R, 4) and ``scores`` (R,) of all images one after the other, and
    ``metadata``: JSON text as bytes, with the images' ids and their numbers of proposals.

    Raises
    ------
    InputError
        It could not be written.
    """
    metadata = {
        "format": FORMAT,
        "images": [item.annotation.image_id for item in found],
        "counts": [len(item.boxes) for item in found],
    }
    boxes = np.concatenate([np.empty((0, 4)), *(item.boxes for item in found)])
    scores = np.concatenate([np.empty(0), *(item.scores for item in found)])
    encoded = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)

    def write(file: BinaryIO) -> None:
        np.savez(
            file,
            allow_pickle=False,
            metadata=encoded,
            boxes=boxes.astype(np.float32),
            scores=scores.astype(np.float32),
        )

    replace_file(path, write)


def load_proposals(path: Path) -> dict[str, SavedProposals]:
    """Return the proposals in a file by image id; `save_proposals` is the inverse.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or it holds something else.
    """
    arrays = read_npz(path, kind="file of proposals")
    try:
        metadata = json.loads(arrays["metadata"].tobytes())
        if metadata["format"] != FORMAT:
            raise ValueError(f"its format is {metadata['format']!r}")
        images, counts = metadata["images"], metadata["counts"]
        boxes, scores = arrays["boxes"], arrays["scores"]
        _check(images, counts, boxes, scores)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a file of proposals: {error}") from error
    ends = np.cumsum([0, *counts])
    return {
        image: SavedProposals(boxes[start:end], scores[start:end])
        for image, start, end in zip(images, ends[:-1], ends[1:], strict=True)
    }


def _check(images: Any, counts: Any, boxes: np.ndarray, scores: np.ndarray) -> None:
    """Raise ValueError unless names, counts and arrays fit each other."""
    if not all(type(image) is str for image in images):
        raise ValueError("'images' holds more than names")
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("'counts' holds more than numbers")
    if len(images) != len(counts) or len(set(images)) != len(images):
        raise ValueError("each image needs one count")
    total = sum(counts)
    if boxes.shape != (total, 4) or scores.shape != (total,):
        raise ValueError(f"{total} proposals, but boxes {boxes.shape}, scores {scores.shape}")
    if boxes.dtype != np.float32 or not np.all(np.isfinite(boxes)):
        raise ValueError("'boxes' are not finite float32 numbers")


def proposals_for(example: Example, saved: Mapping[str, SavedProposals], path: Path) -> np.ndarray:
    """Return the saved proposals (R, 4) of an example in its own pixels.

    Raises
    ------
    InputError
        There are none for this image.
    """
    if example.image_id not in saved:
        raise InputError(f"{path}: no proposals for image {example.image_id!r}")
    boxes = saved[example.image_id].boxes
    if example.flipped:
        boxes = box_ops.flip(boxes, example.original_size[1])
    scaled = boxes * np.float32(example.scale)
    # On the host, in the dtype of the image, which may lie elsewhere.
    return scaled.astype(host_dtype(example.image), copy=False)
