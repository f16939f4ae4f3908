"""The kernels equal the loops on a CPU, to the last bit and in any order of threads."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.accel.cuda import boxes as cuda_boxes

EQUAL = runpy.run_path(str(Path(__file__).with_name("equal.py")))


@pytest.mark.parametrize("operation", EQUAL["OPERATIONS"], ids=lambda one: one.name)
@given(data=st.data())
def test_implementation_equals_loops(operation, machine, data):
    EQUAL["any_arguments"](machine, operation, data.draw)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("check", EQUAL["AT_SIZE"], ids=lambda check: check.__name__)
def test_at_size(check, dtype, machine, rng):
    check(machine, rng, dtype)


APART = np.arange(2_000)[:, None] * np.array([2.0, 0, 2, 0]) + np.array([0.0, 0, 1, 1])
# Runs of APART, 32 words, in a mask that is as large as the first word needs it, and no larger: it
# has room for two words when 16 are left, for three of 10, for four of 7, and then for all.
MOST_RUNS = 16 + 3 + 1 + 1 + 1


@pytest.mark.parametrize(("mask_words", "runs"), [(cuda_boxes.MASK_WORDS, 1), (0, MOST_RUNS)])
def test_nms_launches_twice_a_run(mask_words, runs, machine, monkeypatch):
    monkeypatch.setattr(cuda_boxes, "MASK_WORDS", mask_words)
    machine.launch.launched.clear()
    assert machine.run("nms", APART, 0.5, 512).tolist() == list(range(512))
    assert machine.launch.launched == runs * ["nms_mask", "nms_settle"]
    assert machine.run("nms", APART, 0.5, 0).tolist() == []
    assert machine.run("nms", APART[:0], 0.5, 9).tolist() == []
    assert machine.launch.launched == runs * ["nms_mask", "nms_settle"]


def test_nms_compares_no_more_when_enough_have_stayed(machine, monkeypatch):
    compared = []

    def launch(kernel, grid, block, args):
        mask = args[3]
        if kernel.name == "nms_mask":
            mask[:] = 1  # as none is: a box covers none before it
        machine.launch(kernel, grid, block, args)
        if kernel.name == "nms_mask":
            compared.append((mask != 1).any())

    monkeypatch.setattr(cuda_boxes, "MASK_WORDS", 0)
    kept = machine._replace(launch=launch).run("nms", APART, 0.5, 100)
    assert kept.tolist() == list(range(100))
    assert compared == [True, True] + (MOST_RUNS - 2) * [False]


def test_nms_walks_no_further_when_enough_have_stayed(machine):
    gone = []

    def launch(kernel, grid, block, args):
        machine.launch(kernel, grid, block, args)
        if kernel.name == "nms_settle":
            gone.extend(args[1].tolist())

    # Five words of boxes and their twins. Those of the first word cover those of the sixth.
    boxes = np.concatenate([APART[:320], APART[:320]])
    kept = machine._replace(launch=launch).run("nms", boxes, 0.5, 50)
    assert kept.tolist() == list(range(50))
    assert gone == [0, 0, 0, 0, 0, 2**64 - 1, 0, 0, 0, 0]


@pytest.mark.parametrize("mask_words", [cuda_boxes.MASK_WORDS, 0])
def test_nms_tells_the_host_one_number(mask_words, machine, monkeypatch):
    moved = []

    def to_host(array):
        moved.append(array.tolist())
        return array

    monkeypatch.setattr(cuda_boxes, "MASK_WORDS", mask_words)
    monkeypatch.setattr(cuda_boxes, "to_host", to_host)
    machine.run("nms", APART, 0.5, 1_000)
    assert moved == [[1_000]]
