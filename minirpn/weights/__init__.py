"""Weights that others trained: files read, names matched, parameters filled."""

from minirpn.weights.converting import Conversion, convert, write_weights
from minirpn.weights.files import WeightsFile, read_weights
from minirpn.weights.loading import LoadReport, load_weights
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
