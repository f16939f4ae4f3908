"""The share of a training step in which a device computes, and does not wait for the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

from minirpn._typing import Array, ImageSize
from minirpn.bench.networks import (
    IMAGE_SIZE,
    LR,
    compute_step,
    minibatch_for,
    new_trainer,
    picture,
)
from minirpn.bench.peers import peer, why_not
from minirpn.devices import Device
from minirpn.training.step import Minibatch, update
from minirpn.training.trainer import Trainer

# The first step compiles, the second is recorded.
WARM_UP, STEPS = 3, 10


class NotMeasuredError(Exception):
    """Nothing could be measured; the message says what it would take."""


def busy_share(
    backbone: str, *, peers: bool, device: Device, image_size: ImageSize = IMAGE_SIZE
) -> dict[str, float]:
    """Return the share of the time of training steps in which the device was busy.

    Parameters
    ----------
    backbone
        What is trained.
    peers
        There are none: PyTorch is the instrument here, and is used whatever this says.
    device
        Where.
    image_size
        (height, width) of the image.

    Raises
    ------
    NotMeasuredError
        There is no PyTorch with CUDA, or its profiler saw nothing.
    """
    if reason := why_not("torch", device):
        raise NotMeasuredError(f"it takes the profiler of PyTorch with CUDA, and {reason}")
    trainer = new_trainer(backbone, device)
    image = device.put(picture(image_size))[0, ...]
    step = partial(take_whole_step, trainer, image, minibatch_for(trainer, image))
    for _ in range(WARM_UP):
        step()
    intervals, seconds = profiled(step, device)
    if not intervals:
        raise NotMeasuredError("the profiler of PyTorch saw nothing that the device did")
    return {"minirpn": covered(intervals) / seconds}


def take_whole_step(trainer: Trainer, image: Array, batch: Minibatch) -> None:
    """Take a step as a training does, with its look at what is not finite, for which it waits."""
    update(trainer.optimizer, partial(compute_step, trainer, image, batch), lr=LR)


def profiled(step: Callable[[], object], device: Device) -> tuple[list[tuple[float, float]], float]:
    """Return when a device was busy during some steps, and how long they took, in seconds.

    Notes
    -----
    The profiler is PyTorch's, which asks CUPTI. That sees what the whole process does on a device:
    kernels that CuPy launches, cuBLAS, copies. It slows down the host, and may lose the first
    kernels it should see. By both the share seems smaller than it is, never larger.
    """
    torch: Any = peer("torch")
    torch.cuda.synchronize(device.name)  # begins PyTorch's work with CUDA
    cuda = torch.profiler.ProfilerActivity.CUDA
    # All events of the one cycle there is, which it forgets otherwise, or warns that it will.
    with torch.profiler.profile(activities=[cuda], acc_events=True) as profile:
        device.wait()
        start = perf_counter()
        for _ in range(STEPS):
            step()
        device.wait()
        seconds = perf_counter() - start
    index = torch.device(device.name).index
    return busy_intervals(profile.events(), torch.autograd.DeviceType.CUDA, index), seconds


def busy_intervals(events: Iterable[Any], kind: object, index: int) -> list[tuple[float, float]]:
    """Return start and end, in seconds, of what ran on one device, of the events of a profile.

    Parameters
    ----------
    events
        Those of ``torch.profiler.profile``, times in microseconds. What the host did is among
        them, and names that somebody gave to stretches of time.
    kind, index
        Which device.
    """
    return [
        (event.time_range.start / 1e6, event.time_range.end / 1e6)
        for event in events
        if event.device_type == kind
        and event.device_index == index
        and not event.is_user_annotation
    ]


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals: where some overlap, it counts once.

    Examples
    --------
    >>> covered([(4.0, 5.0), (0.0, 2.0), (1.0, 3.0)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
