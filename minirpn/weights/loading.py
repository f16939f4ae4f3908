"""Fill the parameters of a network from named arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn.errors import InputError
from minirpn.nn.parameters import Parameter
from minirpn.weights.names import NAMINGS
from minirpn.weights.npz import read_npz


class LoadReport(NamedTuple):
    """What became of the arrays in a weights file."""

    naming: str  # whose names the file uses
    matched: tuple[str, ...]  # parameters filled
    unused: tuple[str, ...]  # arrays in the file that the network has no place for

    def summary(self) -> str:
        """Return one line for the terminal."""
        unused = f", unused: {', '.join(self.unused)}" if self.unused else ""
        return f"{len(self.matched)} arrays loaded ({self.naming} names){unused}"


def load_weights(parameters: Sequence[Parameter], path: str | Path) -> LoadReport:
    """Fill the parameters from an ``.npz`` file; all of them or none.

    Parameters
    ----------
    parameters
        Each keeps its dtype and gets the file's values.
    path
        An ``.npz`` with minirpn's own names or with Caffe's; which one is found by looking.

    Raises
    ------
    InputError
        The file cannot be read, lacks a parameter, holds one in another shape, or holds one that
        is not finite. Nothing is changed then.
    """
    arrays = read_npz(path)
    naming = max(NAMINGS, key=lambda name: sum(NAMINGS[name](p.name) in arrays for p in parameters))
    their_names = {parameter.name: NAMINGS[naming](parameter.name) for parameter in parameters}
    missing = [theirs for theirs in their_names.values() if theirs not in arrays]
    if missing:
        raise InputError(
            f"{path}: not weights of this network: {len(missing)} of {len(their_names)} arrays "
            f"missing, {missing[0]!r} first"
        )
    _check_arrays(parameters, {name: arrays[theirs] for name, theirs in their_names.items()}, path)
    for parameter in parameters:
        values = arrays[their_names[parameter.name]]
        parameter.value = np.ascontiguousarray(values, dtype=parameter.value.dtype)
    unused = tuple(sorted(set(arrays) - set(their_names.values())))
    return LoadReport(naming, tuple(their_names), unused)


def _check_arrays(
    parameters: Sequence[Parameter], arrays: dict[str, np.ndarray], path: str | Path
) -> None:
    """Raise InputError unless every array has its parameter's shape and finite numbers."""
    mismatches = [
        f"{parameter.name} {tuple(arrays[parameter.name].shape)}, expected "
        f"{tuple(parameter.value.shape)}"
        for parameter in parameters
        if tuple(arrays[parameter.name].shape) != tuple(parameter.value.shape)
    ]
    if mismatches:
        raise InputError(f"{path}: shapes do not fit: {'; '.join(mismatches)}")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating) or not np.all(np.isfinite(array)):
            raise InputError(f"{path}: {name}: holds values that are not finite numbers")
