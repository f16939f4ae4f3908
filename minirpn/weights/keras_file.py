"""Read Keras' ``.h5``: HDF5 with a group for each layer, kernels with the outputs last."""

from __future__ import annotations

import numpy as np

from minirpn.weights.damage import Damage
from minirpn.weights.hdf5_file import read_hdf5

_MODEL = "model_weights/"  # where they are in a file of a whole model
_OPTIMIZER = "optimizer_weights/"


def parse_keras(data: bytes) -> dict[str, np.ndarray]:
    """Return the weights of every layer, given the bytes of a Keras ``.h5`` file.

    Returns
    -------
    dict
        ``LAYER.weight`` and ``LAYER.bias``, with the outputs first: convolutions HWIO -> OIHW,
        fully connected layers IO -> OI. What is neither keeps its path.

    Raises
    ------
    Exception
        One of `minirpn.weights.damage.DAMAGE`.
    """
    arrays: dict[str, np.ndarray] = {}
    for path, array in read_hdf5(data).items():
        if path.startswith(_OPTIMIZER):
            continue
        name = _name(path.removeprefix(_MODEL))
        if name in arrays:
            raise Damage(f"two arrays are called {name!r}")
        arrays[name] = _outputs_first(array) if name.endswith(".weight") else array
    if not arrays:
        raise Damage("no weights in it")
    return arrays


def _name(path: str) -> str:
    """Return ``LAYER.weight`` of ``LAYER/LAYER/kernel:0`` or Keras 1's ``LAYER/LAYER_W_1:0``."""
    layer, _, rest = path.partition("/")
    leaf = rest.rpartition("/")[2].partition(":")[0]
    if leaf == "kernel" or leaf.startswith(f"{layer}_W"):
        return f"{layer}.weight"
    if leaf == "bias" or leaf.startswith(f"{layer}_b"):
        return f"{layer}.bias"
    return path


def _outputs_first(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)  # (H, W, I, O) -> (O, I, H, W)
    return array.transpose()
