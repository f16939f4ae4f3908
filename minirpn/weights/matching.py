"""Find the parameters of a network among named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minirpn.backbones import BACKBONES
from minirpn.weights.names import Naming, backbone_shapes, namings


class Match(NamedTuple):
    """Which arrays are which parameters."""

    network: str
    naming: Naming
    found: dict[str, str]  # our name -> the array's name
    missing: tuple[str, ...]  # the backbone's parameters that are not there, by the file's names
    unused: tuple[str, ...]  # arrays that are none of the network's

    def array(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the array of a parameter in minirpn's layout, as far as its shape allows that."""
        array, change = arrays[self.found[name]], self.naming.sources[name].change
        if change is None:
            return array
        try:
            return change(array)
        except ValueError:  # of another size: the shape is refused where it is looked at
            return array


def match(network: str, arrays: Mapping[str, np.ndarray], *, kind: str) -> Match:
    """Return the best match of a network's parameters with named arrays.

    Every naming of the network is tried, also behind a common prefix (``state_dict.module.``); the
    one that finds the most wins, among equals the first.

    Parameters
    ----------
    network
        Name of a backbone.
    arrays
        By name.
    kind
        Of the file. minirpn's own names are those of an ``.npz`` alone: some are Caffe's as well.
    """
    candidates = [
        (naming, prefix)
        for naming in namings(network)
        if kind == "npz" or naming.label != "minirpn"
        for prefix in _prefixes(naming, network, arrays)
    ]
    if not candidates:  # another program has never saved this network
        candidates = [(namings(network)[0], "")]
    naming, prefix = max(candidates, key=lambda one: len(_found(one[0], one[1], arrays)))
    found = _found(naming, prefix, arrays)
    missing = [
        prefix + naming.sources[name].name for name in backbone_shapes(network) if name not in found
    ]
    unused = sorted(set(arrays) - set(found.values()))
    return Match(network, naming, found, tuple(missing), tuple(unused))


def recognise(arrays: Mapping[str, np.ndarray], *, kind: str) -> Match:
    """Return the best match among all networks: that with the largest share of fitting parameters.

    Parameters are those of `match`.
    """

    def fit(one: Match) -> float:
        shapes = backbone_shapes(one.network)
        fitting = [
            one.array(name, arrays).shape == shape
            for name, shape in shapes.items()
            if name in one.found
        ]
        return sum(fitting) / len(shapes)

    matches = [match(network, arrays, kind=kind) for network in sorted(BACKBONES)]
    return max(matches, key=fit)


def _prefixes(naming: Naming, network: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return what stands in front of the naming's first array, wherever that is found."""
    first = naming.sources[next(iter(backbone_shapes(network)))].name
    endings = (name for name in arrays if name == first or name.endswith(f".{first}"))
    return sorted({name.removesuffix(first) for name in endings}) or [""]


def _found(naming: Naming, prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {
        ours: prefix + source.name
        for ours, source in naming.sources.items()
        if prefix + source.name in arrays
    }
