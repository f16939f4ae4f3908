"""Weights that others trained: read files, match names, fill parameters."""

from minirpn.weights.files import WeightsFile, read_weights
from minirpn.weights.loading import Conversion, LoadReport, convert, load_weights, write_weights
from minirpn.weights.npz import read_npz
from minirpn.weights.presets import PRESETS

__all__ = [
    "PRESETS",
    "Conversion",
    "LoadReport",
    "WeightsFile",
    "convert",
    "load_weights",
    "read_npz",
    "read_weights",
    "write_weights",
]
