"""Chapter 04 takes every fair draw, whatever its order: which anchors are drawn is free."""

import numpy as np
import pytest

from minirpn.lessons import Chapter
from minirpn.rpn import sample_minibatch


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def library(labels, seed):
    return sample_minibatch(labels, rng=np.random.default_rng(seed))


def always_choice(labels, seed):
    """Call choice also where all are taken."""
    rng = np.random.default_rng(seed)
    drawn = np.full(len(labels), -1)
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    positives = rng.choice(positives, min(128, len(positives)), replace=False)
    count = min(256 - len(positives), len(negatives))
    drawn[positives], drawn[rng.choice(negatives, count, replace=False)] = 1, 0
    return drawn


def negatives_first(labels, seed):
    rng = np.random.default_rng(seed)
    drawn = np.full(len(labels), -1.0)  # numbers count, whatever their type
    count = 256 - min(128, np.sum(labels == 1))
    drawn[rng.permutation(np.flatnonzero(labels == 0))[:count]] = 0
    drawn[rng.permutation(np.flatnonzero(labels == 1))[:128]] = 1
    return drawn


def struck_out(labels, seed):
    """Strike out what is too much from a list, one after the other."""
    rng = np.random.default_rng(seed)
    positives = [k for k, label in enumerate(labels) if label == 1]
    negatives = [k for k, label in enumerate(labels) if label == 0]
    while len(positives) > 128:
        positives.pop(rng.integers(len(positives)))
    while len(positives) + len(negatives) > 256:
        negatives.pop(rng.integers(len(negatives)))
    return [label if k in positives + negatives else -1 for k, label in enumerate(labels)]


def by_lots(labels, seed):
    """Give each anchor a number, and take the smallest."""
    lots = np.random.default_rng(seed).random(len(labels))
    drawn = np.full_like(labels, -1)
    for label, most in ((1, 128), (0, 256 - min(128, np.sum(labels == 1)))):
        order = np.argsort(np.where(labels == label, lots, 2))
        drawn[order[: min(most, np.sum(labels == label))]] = label
    return drawn


@pytest.mark.parametrize(
    "answer",
    [
        library,
        always_choice,
        negatives_first,
        pytest.param(struck_out, marks=pytest.mark.slow),  # a list for each anchor
        by_lots,
    ],
)
def test_every_fair_draw_is_right(answer):
    answer.__name__ = "my_sample"
    assert Chapter("label_anchors").check(answer)
