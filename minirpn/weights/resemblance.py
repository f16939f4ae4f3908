"""Say what a weights file holds and which network it is most like, if it is not the network's.

Two things tell networks apart: names, if minirpn knows them, and the shapes of the kernels, under
any names. The shapes alone need care, since many networks have a kernel (256, 256, 3, 3): a file is
like a network if all its kernels are there, or if most kernels of both are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minirpn.backbones import BACKBONES
from minirpn.weights.names import Match, backbone_shapes, match

_ENOUGH = 0.6  # of the arrays, or of the kernels
_SHOWN = 3  # arrays


class Likeness(NamedTuple):
    """How much the arrays of a file are like a network."""

    match: Match
    fitting: int  # arrays of the backbone that are there by a known name, in the right shape
    kernels: int  # kernels of the backbone whose shape is there, under any name
    outputs_last: bool  # they are there as (H, W, I, O)
    score: float  # 0 to 1

    def line(self) -> str:
        """Return how many of the network's arrays are there, in words."""
        network, shapes = self.match.network, backbone_shapes(self.match.network)
        if self.fitting < _ENOUGH * len(shapes):
            total = sum(len(shape) == 4 for shape in shapes.values())
            last = ", outputs last" if self.outputs_last else ""
            return (
                f"the shapes of {self.kernels} of {network}'s {total} kernels are there{last}, "
                f"but only {self.fitting} of its {len(shapes)} arrays have names that minirpn knows"
            )
        names = self.match.naming.label
        line = f"{self.fitting} of {network}'s {len(shapes)} arrays are there ({names} names)"
        if not self.match.missing:
            return line
        first, others = self.match.missing[0], len(self.match.missing) - 1
        return f"{line}, {first!r} {f'and {others} more are' if others else 'is'} missing"


def likeness(network: str, arrays: Mapping[str, np.ndarray], *, kind: str) -> Likeness:
    """Return how much the arrays of a file of this `kind` are like a network."""
    matched, shapes = match(network, arrays, kind=kind), backbone_shapes(network)
    ours = Counter(shape for shape in shapes.values() if len(shape) == 4)
    theirs = [array.shape for array in arrays.values() if array.ndim == 4]
    first = (ours & Counter(theirs)).total()
    last = (ours & Counter((o, i, h, w) for h, w, i, o in theirs)).total()
    common, total = max(first, last), ours.total()
    by_shape = 1.0 if common == total else common / (total + len(theirs) - common)
    fitting = len(matched.fitting(arrays))
    score = max(fitting / len(shapes), by_shape)
    return Likeness(matched, fitting, common, last > first, score)


def most_alike(arrays: Mapping[str, np.ndarray], *, kind: str) -> Likeness | None:
    """Return the likeness to the network that the arrays are most like; None if they are like none.

    Of two equally good ones, the network of which more arrays are there by name; then of which more
    kernels are there; then the first by the alphabet.
    """
    all_networks = [likeness(network, arrays, kind=kind) for network in sorted(BACKBONES)]
    best = max(all_networks, key=lambda one: (one.score, one.fitting, one.kernels))
    return best if best.score >= _ENOUGH else None


def misfit(arrays: Mapping[str, np.ndarray], asked: str | None, *, kind: str, flag: str) -> str:
    """Return why arrays are not a network's, in one line: what they are like, and what is there.

    Parameters
    ----------
    arrays
        Of the file, by their names there.
    asked
        The network that was asked for; None if any would do.
    kind
        Of the file.
    flag
        With which the network is asked for.
    """
    best = most_alike(arrays, kind=kind)
    if best is not None and asked in (None, best.match.network):
        reason = f"not weights of {best.match.network}: {best.line()}"
    elif best is not None:
        reason = f"these look like {best.match.network}'s, and {flag} is {asked}: {best.line()}"
    elif asked is None:
        reason = f"weights of none of {', '.join(sorted(BACKBONES))}"
    else:
        fitting, total = likeness(asked, arrays, kind=kind).fitting, len(backbone_shapes(asked))
        others = ", ".join(sorted(set(BACKBONES) - {asked}))
        reason = (
            f"not weights of {asked}: {fitting} of its {total} arrays are there, "
            f"and they are like none of {others}"
        )
    return f"{reason}; {holds(arrays)}"


def holds(arrays: Mapping[str, np.ndarray]) -> str:
    """Return how many arrays a file holds, and the first few with their shapes, kernels first."""
    ordered = sorted(arrays.items(), key=lambda item: item[1].ndim < 2)
    first = [f"{name[:60]!r} {array.shape}" for name, array in ordered[:_SHOWN]]
    rest = [f"{len(arrays) - _SHOWN} more"] if len(arrays) > _SHOWN else []
    count = f"{len(arrays)} array{'' if len(arrays) == 1 else 's'}"
    return f"the file holds {count}{': ' if first else ''}{', '.join([*first, *rest])}"
