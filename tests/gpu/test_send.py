"""Images reach the device ahead of time, whole, and on threads of the loader."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from minirpn import backend
from minirpn.data import Draw, VOCDataset
from minirpn.training.build import build_pipeline
from minirpn.training.trainer import Trainer


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8, bool])
@pytest.mark.parametrize("send", [backend.send, backend.to_device])
def test_what_is_sent_arrives_as_it_was(device, rng, send, dtype):
    whole = rng.integers(-1, 2, (6, 5, 4)).astype(dtype)
    whole.setflags(write=False)
    views = [whole, whole[::2], whole.transpose(2, 0, 1), whole[:0], whole[0, 0, :1].reshape(())]
    for array in views:
        there = send(array, device.like)
        assert type(there) is type(device.like)
        assert backend.device_of(there) == backend.device_of(device.like)
        back = backend.to_host(there)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back, array)


def test_what_is_sent_while_the_device_works_is_whole(device):
    """Memory goes from hand to hand here, and each sum is asked for before anything has run."""
    xp = backend.namespace_of(device.like)
    factor = device.put(np.full((64, 64), 1 / 64, np.float32))

    def send(value):
        return backend.send(np.full((64, 64), value, np.float32), device.like)

    sums, wanted = [], range(40)
    with ThreadPoolExecutor(2) as pool:
        for sent in pool.map(send, wanted):
            for _ in range(5):
                work = xp.matmul(factor, factor)
            sums.append(xp.sum(sent + 0 * work))
            del sent
    assert backend.numbers(sums) == [64 * 64.0 * value for value in wanted]


def test_the_loader_sends_images_from_its_threads(device, config_of, shapes, monkeypatch):
    senders, send_together = [], backend.send_together

    def spied(arrays, like):
        senders.append(threading.current_thread().name)
        return send_together(arrays, like)

    monkeypatch.setattr(backend, "send_together", spied)
    network = Trainer(config_of("rpn-only", 6), device).network
    pipeline = build_pipeline(network=network, config=config_of("rpn-only", 6))
    dataset = VOCDataset(shapes, split="train")
    with pipeline.in_order(dataset, 3) as examples:
        for example in examples:
            assert backend.device_of(example.image) == backend.device_of(device.like)
            assert isinstance(example.gt_boxes, np.ndarray)
    assert len(senders) == 3
    assert all(name.startswith("minirpn-loader") for name in senders)


@pytest.mark.parametrize("kind", ["rpn-only", "joint"])
def test_a_thread_of_the_loader_sends_the_mini_batch(device, config_of, shapes, monkeypatch, kind):
    senders, send_together = [], backend.send_together

    def spied(arrays, like):
        senders.append((threading.current_thread().name, len(arrays)))
        return send_together(arrays, like)

    monkeypatch.setattr(backend, "send_together", spied)
    dataset = VOCDataset(shapes, split="train")
    config = config_of(kind, 6)
    config = replace(config, data=replace(config.data, classes=dataset.classes))
    trainer = Trainer(config, device)
    pipeline = build_pipeline(config, trainer.network)
    draws = iter([Draw(0), Draw(1), Draw(2)])
    with pipeline.examples(dataset, draws, finish=trainer.work_ahead()) as examples:
        for example in examples:
            assert isinstance(example.assigned.labels, np.ndarray)
            assert (example.drawn is None) == (kind == "joint")
            if example.drawn is not None:
                batch = example.drawn.minibatch
                for part in (batch.labels, batch.targets):
                    assert backend.device_of(part) == backend.device_of(device.like)
                labels = backend.to_host(batch.labels)
                np.testing.assert_array_equal(labels, batch.host_labels)
    assert all(name.startswith("minirpn-loader") for name, _ in senders)
    # An image; labels and targets, with one wait for both.
    counts = [count for _, count in senders]
    assert sorted(counts) == ([1, 1, 1] if kind == "joint" else [1, 1, 1, 2, 2, 2])


def test_numbers_come_together(device):
    xp = backend.namespace_of(device.like)
    arrays = [xp.sum(device.put(np.full(3, value, np.float32))) for value in (1.5, -2, np.inf)]
    with backend.watched_moves() as moves:
        assert backend.numbers(arrays) == [4.5, -6.0, np.inf]
    assert moves == [backend.Move("to the host", (3,), "float32")]
    assert backend.numbers([]) == []
