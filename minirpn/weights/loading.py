"""Fill the parameters of a network from a weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn.backbones.preprocessing import Preprocessing
from minirpn.backend import host_dtype
from minirpn.devices import device_with
from minirpn.errors import InputError
from minirpn.nn.parameters import Parameter
from minirpn.weights.files import WeightsFile, read_weights
from minirpn.weights.matching import Match, match
from minirpn.weights.names import backbone_shapes
from minirpn.weights.presets import PRESETS, Known, known_preprocessing


class LoadReport(NamedTuple):
    """What became of the arrays in a weights file."""

    kind: str  # of the file
    naming: str  # whose names it uses
    matched: tuple[str, ...]  # parameters filled
    kept: tuple[str, ...]  # parameters beyond the backbone that the file lacks, left as they were
    unused: tuple[str, ...]  # arrays in the file that the network has no place for
    preprocessing: Preprocessing  # that goes with them
    reason: str  # how that is known

    def lines(self) -> list[str]:
        """Return the report for the terminal."""
        lines = [f"{len(self.matched)} arrays loaded ({self.kind}, {self.naming} names)"]
        if self.kept:
            lines.append(f"not in the file, left as they were: {', '.join(self.kept)}")
        if self.unused:
            lines.append(f"unused: {', '.join(self.unused)}")
        return [*lines, describe_preprocessing(self.preprocessing, self.reason)]


def describe_preprocessing(preprocessing: Preprocessing, reason: str) -> str:
    """Return one line that says how pixels are prepared and how that is known."""
    mean, std = (
        ", ".join(f"{value:g}" for value in values)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return f"pixels: {preprocessing.order}, minus ({mean}), divided by ({std}): {reason}"


def load_weights(
    network: str,
    parameters: Sequence[Parameter],
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
) -> LoadReport:
    """Fill parameters from a weights file; all of them or none.

    Parameters
    ----------
    network
        Name of the backbone.
    parameters
        Those of the backbone, perhaps with those of the RPN head. The backbone's must all be in
        the file; the head's may be missing. Each keeps its dtype.
    path
        Any file that `read_weights` reads.
    preprocessing
        How pixels are prepared for these weights; None finds out from the file.

    Returns
    -------
    LoadReport
        With the preprocessing that the network needs from now on.

    Raises
    ------
    InputError
        The file cannot be read, lacks a parameter, holds one in another shape or one that is not
        finite, or nothing tells how its pixels are prepared. Nothing is changed then.
    """
    file = read_weights(path)
    found = match(network, file.arrays, kind=file.kind)
    check_complete(found, path)
    wanted = [parameter for parameter in parameters if parameter.name in found.found]
    arrays = {parameter.name: found.array(parameter.name, file.arrays) for parameter in wanted}
    shapes = {parameter.name: tuple(parameter.value.shape) for parameter in wanted}
    check_shapes(shapes, arrays, path)
    check_finite(arrays, path)
    known = preprocessing_for(file, preprocessing)
    for parameter in wanted:
        old = parameter.value
        new = np.array(arrays[parameter.name], dtype=host_dtype(old), order="C")
        parameter.value = device_with(old).put(new)
    filled = {parameter.name for parameter in wanted}
    return LoadReport(
        file.kind,
        found.naming.label,
        tuple(arrays),
        tuple(parameter.name for parameter in parameters if parameter.name not in filled),
        tuple(sorted({*found.unused, *(found.found[n] for n in found.found if n not in filled)})),
        known.preprocessing,
        known.reason,
    )


def preprocessing_for(file: WeightsFile, given: Preprocessing | None) -> Known:
    """Return how pixels are prepared for a file: as given, or as the file tells.

    Raises
    ------
    InputError
        Nothing tells.
    """
    if given is not None:
        names = [name for name, preset in PRESETS.items() if preset == given]
        return Known(given, f"preset {names[0]}, as asked" if names else "as asked")
    try:
        known = known_preprocessing(file.path, file.sha256, file.metadata)
    except ValueError as error:
        raise InputError(f"{file.path}: {error}") from error
    if known is None:
        raise InputError(
            f"{file.path}: nothing tells how pixels are prepared for these weights: "
            f"say --preset {'|'.join(PRESETS)}"
        )
    return known


def check_complete(found: Match, path: str | Path) -> None:
    """Raise InputError unless the whole backbone is there."""
    if found.missing:
        raise InputError(
            f"{path}: not weights of this network: {len(found.missing)} of "
            f"{len(backbone_shapes(found.network))} arrays of {found.network} missing, "
            f"{found.missing[0]!r} first"
        )


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray], path: str | Path
) -> None:
    """Raise InputError, which lists them all, if arrays have other shapes than they should."""
    mismatches = [
        f"{name} {tuple(arrays[name].shape)}, expected {shape}"
        for name, shape in shapes.items()
        if tuple(arrays[name].shape) != shape
    ]
    if mismatches:
        raise InputError(f"{path}: shapes do not fit: {'; '.join(mismatches)}")


def check_finite(arrays: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Raise InputError unless every array holds finite floating-point numbers."""
    for name, array in arrays.items():
        if not is_finite(array):
            raise InputError(f"{path}: {name}: holds values that are not finite numbers")


def is_finite(array: np.ndarray) -> bool:
    """Tell whether an array holds finite floating-point numbers alone."""
    return bool(np.issubdtype(array.dtype, np.floating) and np.all(np.isfinite(array)))
