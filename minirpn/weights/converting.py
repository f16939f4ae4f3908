"""Turn a weights file of any kind into an ``.npz`` that tells what it is."""

from __future__ import annotations

import json
from typing import BinaryIO, NamedTuple

import numpy as np

from minirpn.backbones.preprocessing import Preprocessing
from minirpn.weights.files import FORMAT, METADATA, WeightsFile
from minirpn.weights.loading import (
    check_complete,
    check_finite,
    check_shapes,
    describe_preprocessing,
    is_finite,
    preprocessing_for,
)
from minirpn.weights.matching import match, recognise
from minirpn.weights.names import backbone_shapes


class Conversion(NamedTuple):
    """A weights file in minirpn's names and layout."""

    file: WeightsFile
    network: str
    naming: str  # whose names the file uses
    arrays: dict[str, np.ndarray]  # by minirpn's names
    left_out: tuple[str, ...]  # arrays beyond the backbone that are not finite
    unused: tuple[str, ...]  # arrays that minirpn has no place for
    preprocessing: Preprocessing
    reason: str  # how that is known

    def lines(self) -> list[str]:
        """Return the report for the terminal."""
        backbone = len(backbone_shapes(self.network))
        beyond = [name for name in self.arrays if name not in backbone_shapes(self.network)]
        lines = [
            f"{self.network}: {backbone} arrays matched ({self.file.kind}, {self.naming} names)"
        ]
        for title, names in (
            ("also", beyond),
            ("left out, not finite", self.left_out),
            ("unused", self.unused),
        ):
            if names:
                lines.append(f"{title}: {', '.join(names)}")
        return [*lines, describe_preprocessing(self.preprocessing, self.reason)]


def convert(
    file: WeightsFile, *, network: str | None = None, preprocessing: Preprocessing | None = None
) -> Conversion:
    """Return a weights file in minirpn's names and layout, in float32.

    Parameters
    ----------
    file
        From `minirpn.weights.read_weights`.
    network
        Name of the backbone; None finds out by names and shapes.
    preprocessing
        How pixels are prepared for these weights; None finds out from the file.

    Raises
    ------
    InputError
        It lacks a parameter of the backbone, holds one in another shape or one that is not finite,
        or nothing tells how its pixels are prepared.
    """
    if network is None:
        found = recognise(file.arrays, kind=file.kind)
    else:
        found = match(network, file.arrays, kind=file.kind)
    check_complete(found, file.path)
    arrays = {name: found.array(name, file.arrays) for name in found.found}
    backbone = {name: arrays[name] for name in backbone_shapes(found.network)}
    check_shapes(backbone_shapes(found.network), backbone, file.path)
    check_finite(backbone, file.path)
    known = preprocessing_for(file, preprocessing)
    finite = {name: array for name, array in arrays.items() if is_finite(array)}
    return Conversion(
        file,
        found.network,
        found.naming.label,
        {name: array.astype(np.float32) for name, array in finite.items()},
        tuple(found.found[name] for name in arrays if name not in finite),
        found.unused,
        known.preprocessing,
        known.reason,
    )


def write_weights(file: BinaryIO, converted: Conversion) -> None:
    """Write an ``.npz`` that tells its network, its preprocessing and where it comes from."""
    preprocessing = converted.preprocessing
    metadata = {
        "format": FORMAT,
        "network": converted.network,
        "order": preprocessing.order,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "source": converted.file.path.name,
        "sha256": converted.file.sha256,
    }
    encoded = np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)
    arrays = {name: np.ascontiguousarray(array) for name, array in converted.arrays.items()}
    np.savez(file, allow_pickle=False, **{METADATA: encoded}, **arrays)
