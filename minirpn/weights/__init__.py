"""Weights that others trained: files read, names matched, parameters filled."""

from minirpn.weights.loading import LoadReport, load_weights
from minirpn.weights.npz import read_npz

__all__ = ["LoadReport", "load_weights", "read_npz"]
