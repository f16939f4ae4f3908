"""The public testing tools: what is said without Hypothesis, and the exact oracle by hand."""

import importlib
import sys
from fractions import Fraction

import pytest

import minirpn.testing
from minirpn.testing import exact


def test_without_hypothesis_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs Hypothesis: pip install hypothesis$"):
        importlib.reload(minirpn.testing)


def test_exact_iou_by_hand():
    assert exact.pair_iou((0, 0, 4, 4), (2, 0, 6, 4)) == Fraction(8, 24)
    assert exact.pair_iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0
    assert exact.pair_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0
    assert exact.pair_iou((0, 0, 0.5, 1), (0.25, 0, 1, 1)) == Fraction(1, 4)
