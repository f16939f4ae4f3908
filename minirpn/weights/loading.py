"""Fill the parameters of a network from a weights file, or write it again with our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn.backbones.preprocessing import Preprocessing
from minirpn.backend import host_dtype
from minirpn.devices import device_with
from minirpn.errors import InputError
from minirpn.files import write_npz
from minirpn.nn.layers import Parameter
from minirpn.text import message
from minirpn.weights.files import FORMAT, WeightsFile, read_weights
from minirpn.weights.names import Match, backbone_shapes, match, recognise
from minirpn.weights.presets import PRESETS, Known, as_asked, known_preprocessing
from minirpn.weights.resemblance import misfit, most_alike


class LoadReport(NamedTuple):
    """What became of the arrays in a weights file."""

    kind: str  # of the file
    naming: str  # whose names it uses
    matched: tuple[str, ...]  # parameters filled
    kept: tuple[str, ...]  # parameters beyond the backbone that the file lacks, left as they were
    unused: tuple[str, ...]  # arrays in the file that the network does not use
    preprocessing: Preprocessing  # that goes with them
    reason: str  # how that is known

    def lines(self) -> list[str]:
        """Return the report for the terminal."""
        first = f"{len(self.matched)} arrays loaded ({self.kind}, {self.naming} names)"
        groups = {"not in the file, left as they were": self.kept, "unused": self.unused}
        return [first, *_lines(groups, self.preprocessing, self.reason)]


def _lines(
    groups: Mapping[str, Sequence[str]], preprocessing: Preprocessing, reason: str
) -> list[str]:
    """Return a line for each group of names, and one for the preparation of pixels."""
    lines = [f"{title}: {', '.join(names)}" for title, names in groups.items() if names]
    return [*map(message, lines), pixels_line(preprocessing, reason)]


def pixels_line(preprocessing: Preprocessing, reason: str) -> str:
    """Return a line that says how pixels are prepared, and how that is known."""
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
        finite, or it is unknown how its pixels are prepared. Nothing is changed then.
    """
    file = read_weights(path)
    matched = match(network, file.arrays, kind=file.kind)
    wanted = [parameter for parameter in parameters if parameter.name in matched.theirs]
    shapes = {parameter.name: tuple(parameter.value.shape) for parameter in wanted}
    arrays = arrays_that_fit(file, matched, shapes, asked=network, flag="--backbone")
    known = preprocessing_for(file, preprocessing)
    for parameter in wanted:
        old = parameter.value
        new = np.array(arrays[parameter.name], dtype=host_dtype(old), order="C")
        parameter.value = device_with(old).put(new)
    left_over = {theirs for ours, theirs in matched.theirs.items() if ours not in shapes}
    return LoadReport(
        file.kind,
        matched.naming.label,
        tuple(shapes),
        tuple(parameter.name for parameter in parameters if parameter.name not in shapes),
        tuple(sorted({*matched.unused, *left_over})),
        known.preprocessing,
        known.reason,
    )


class Conversion(NamedTuple):
    """A weights file in minirpn's names and layout."""

    file: WeightsFile
    network: str
    naming: str  # whose names the file uses
    arrays: dict[str, np.ndarray]  # by minirpn's names
    left_out: tuple[str, ...]  # arrays beyond the backbone that are not finite
    unused: tuple[str, ...]  # arrays that minirpn does not use
    preprocessing: Preprocessing
    reason: str  # how that is known

    def lines(self) -> list[str]:
        """Return the report for the terminal."""
        backbone = backbone_shapes(self.network)
        groups = {
            "also": [name for name in self.arrays if name not in backbone],
            "left out, not finite": self.left_out,
            "unused": self.unused,
        }
        matched = f"{len(backbone)} arrays matched ({self.file.kind}, {self.naming} names)"
        return [f"{self.network}: {matched}", *_lines(groups, self.preprocessing, self.reason)]


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
        or it is unknown how its pixels are prepared.
    """
    if network is None:
        matched = recognise(file.arrays, kind=file.kind)
    else:
        matched = match(network, file.arrays, kind=file.kind)
    shapes = backbone_shapes(matched.network)
    backbone = arrays_that_fit(file, matched, shapes, asked=network, flag="--network")
    others = [name for name in matched.theirs if name not in backbone]
    arrays = backbone | {name: matched.array(name, file.arrays) for name in others}
    known = preprocessing_for(file, preprocessing)
    finite = {name: array for name, array in arrays.items() if is_finite(array)}
    return Conversion(
        file,
        matched.network,
        matched.naming.label,
        {name: np.ascontiguousarray(array, np.float32) for name, array in finite.items()},
        tuple(matched.theirs[name] for name in arrays if name not in finite),
        matched.unused,
        known.preprocessing,
        known.reason,
    )


def write_weights(path: Path, converted: Conversion) -> None:
    """Write an ``.npz`` that records its network, its preprocessing and its source.

    Raises
    ------
    InputError
        The file cannot be written.
    """
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
    write_npz(path, metadata, converted.arrays)


def preprocessing_for(file: WeightsFile, given: Preprocessing | None) -> Known:
    """Return how pixels are prepared for a file: as given, or as known of the file."""
    if given is not None:
        return as_asked(given)
    try:
        known = known_preprocessing(file.path, file.sha256, file.metadata)
    except ValueError as error:
        raise InputError(f"{file.path}: {error}") from error
    if known is None:
        raise InputError(
            f"{file.path}: it is unknown how pixels are prepared for these weights: "
            f"give --preset {'|'.join(PRESETS)}"
        )
    return known


def arrays_that_fit(
    file: WeightsFile,
    matched: Match,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    asked: str | None,
    flag: str,
) -> dict[str, np.ndarray]:
    """Return the arrays that are named in `shapes`, by our names.

    Raise InputError unless the backbone is complete, and the arrays have these shapes and are
    finite. `asked` is the network that was asked for with `flag`, None if any would do.
    """
    if matched.missing:
        raise InputError(f"{file.path}: {misfit(file.arrays, asked, kind=file.kind, flag=flag)}")
    arrays = {name: matched.array(name, file.arrays) for name in shapes}
    mismatches = [
        f"{name} {tuple(arrays[name].shape)}, expected {shape}"
        for name, shape in shapes.items()
        if tuple(arrays[name].shape) != shape
    ]
    if mismatches:
        best = most_alike(file.arrays, kind=file.kind)
        if best is not None and best.match.network != matched.network:
            reason = misfit(file.arrays, asked, kind=file.kind, flag=flag)
        else:
            reason = f"{matched.network}'s shapes do not fit: {'; '.join(mismatches)}"
        raise InputError(f"{file.path}: {reason}")
    for name in shapes:
        if not is_finite(arrays[name]):
            raise InputError(f"{file.path}: {name}: holds values that are not finite numbers")
    return arrays


def is_finite(array: np.ndarray) -> bool:
    """Tell whether an array holds finite floating-point numbers alone."""
    return bool(np.issubdtype(array.dtype, np.floating) and np.all(np.isfinite(array)))
