"""A parameter: a named array that the optimizer may change."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from minirpn._typing import Array


@dataclass(eq=False)
class Parameter:
    """A named array of a layer, and how it is to be trained.

    Parameters
    ----------
    name
        Unique in the network, such as ``"conv1.weight"``; gradients and checkpoints use it.
    value
        The array. The optimizer replaces it; nothing changes its elements.
    lr_multiplier, decay_multiplier
        Factors on the learning rate and on the weight decay (Caffe's ``lr_mult``, ``decay_mult``).
    trainable
        False freezes it: no gradient is computed for it, and no step changes it.
    """

    name: str
    value: Array
    _: KW_ONLY
    lr_multiplier: float = 1.0
    decay_multiplier: float = 1.0
    trainable: bool = True
