"""Moves between host and device: when there are none, when there is one, and who hears of it."""

import array_api_strict
import numpy as np
import pytest

from minirpn import backend

LIKE = array_api_strict.zeros(1, device=array_api_strict.Device("device1"))


def test_what_is_numpys_does_not_move():
    array = np.arange(3.0)
    with backend.watched_moves() as moves:
        assert backend.to_host(array) is array
        assert backend.to_host(np.float32(2)) == 2
        assert backend.to_device(array, array) is array
        assert backend.send(array, array) is array
        assert backend.constant(array, array) is array
        assert backend.numbers([np.float32(0.5), 2.0]) == [0.5, 2.0]
    assert moves == []


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError):
        backend.to_host([1.0])


def test_each_watcher_hears_of_what_happens_in_its_block():
    array = np.zeros((2, 3), np.float32)
    up = backend.Move("to the device", (2, 3), "float32")
    with backend.watched_moves() as outer:
        there = backend.to_device(array, LIKE)
        with backend.watched_moves() as inner:
            backend.to_host(there)
        backend.to_device(array, LIKE)
    backend.to_device(array, LIKE)
    down = backend.Move("to the host", (2, 3), "float32")
    assert (outer, inner) == ([up, down, up], [down])


def test_constants_go_once_for_each_dtype_and_value(monkeypatch):
    monkeypatch.setattr(backend, "_CONSTANTS", {})
    likes = [
        array_api_strict.astype(LIKE, dtype)
        for dtype in (array_api_strict.float32, array_api_strict.float64)
    ]
    values = [np.array([0.1, 0.2]), np.array([0.1, 0.3]), np.array([[0.1, 0.2]])]
    with backend.watched_moves() as moves:
        for _ in range(3):
            for like in likes:
                for value in values:
                    there = backend.constant(value, like)
                    assert there.dtype == like.dtype
                    np.testing.assert_array_equal(
                        backend.to_host(there), value.astype(backend.host_dtype(like))
                    )
    assert sum(move.way == "to the device" for move in moves) == len(likes) * len(values)
    assert backend.constant(values[0], np.zeros(1, np.float32)).dtype == np.float32
