"""How things are measured: time in turns, the memory of a process, the busy share of a GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

from minirpn._typing import ImageSize
from minirpn.bench import work
from minirpn.bench.peers import peer, why_not
from minirpn.devices import Device

# Threads of some libraries keep their cores busy for a while after their work; the next contender
# needs these cores.
PAUSE = 0.02
# Steps for the busy share. The first one compiles, the second one is recorded.
WARM_UP, STEPS = 3, 10


class NotMeasuredError(Exception):
    """Nothing could be measured; the message says what is missing."""


class Timing(NamedTuple):
    """Seconds of one call, over all rounds."""

    median: float
    fastest: float
    cpu: float  # processor time of all threads together, the least of all rounds


def alternate(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    pause: float = PAUSE,
    wait: Callable[[], object] = lambda: None,
    warm_up: int = 1,
) -> dict[str, Timing]:
    """Return how long each contender takes, measured in turns: A B A B.

    A machine's speed changes with its temperature and its other work. In turns, a change affects
    all contenders alike, so their ratio is steadier than either time.

    Before each call there are `pause` seconds of rest. A call may return before its work on a GPU
    ends, so `wait`, such as `minirpn.devices.Device.wait`, is called each time before the clock is
    read. The first `warm_up` calls compile code and fill caches, and are not measured.
    """
    for function in contenders.values():
        for _ in range(warm_up):
            function()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            sleep(pause)
            wait()
            wall, cpu = perf_counter(), process_time()
            function()
            wait()
            seconds[name].append((perf_counter() - wall, process_time() - cpu))
    timings = {}
    for name, calls in seconds.items():
        walls, cpus = map(sorted, zip(*calls, strict=True))
        timings[name] = Timing(walls[len(walls) // 2], walls[0], cpus[0])
    return timings


# Imports come before the first reading: the framework itself is not part of the step. The second
# step has the momentum, and all that the first one keeps.
_PEAK_OF_A_STEP = """
import {framework}
from minirpn.bench import measure, work
before = measure.peak_of_process()
step = {step}
for _ in range(2):
    step()
print(measure.peak_of_process() - before)
"""


def peak_bytes(backbone: str, *, peers: bool) -> dict[str, int]:
    """Return how many bytes a training step adds to the peak memory of a process of its own."""
    steps = {"minirpn": ("numba", f"work.step_contenders({backbone!r}, peers=False)['minirpn']")}
    if peers and peer("torch"):
        steps["torch"] = ("torch", f"work.twin_step({backbone!r})")
    peaks = {}
    for name, (framework, step) in steps.items():
        code = _PEAK_OF_A_STEP.format(framework=framework, step=step)
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise RuntimeError((process.stderr.strip().splitlines() or ["no message"])[-1])
        peaks[name] = int(process.stdout)
    return peaks


def peak_of_process() -> int:
    """Return the peak memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where `getrusage` starts from the peak of the parent process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def busy_share(
    backbone: str, *, peers: bool, device: Device, image_size: ImageSize = work.IMAGE_SIZE
) -> dict[str, float]:
    """Return the share of the time of training steps in which the device computes.

    `peers` changes nothing: PyTorch is the instrument here, not a peer. Without PyTorch with CUDA,
    or if its profiler records nothing, a NotMeasuredError says so.

    PyTorch's profiler uses CUPTI, which sees everything that the process does on a device: kernels
    that CuPy launches, cuBLAS, copies. It slows the host down, and may lose the first kernels. Both
    make the measured share too small, never too large.
    """
    if reason := why_not("torch", device):
        raise NotMeasuredError(f"it needs the profiler of PyTorch with CUDA, and {reason}")
    torch: Any = peer("torch")
    trainer = work.new_trainer(backbone, device)
    image = device.put(work.noise_image(image_size))[0, ...]
    step = partial(work.take_checked_step, trainer, image, work.minibatch_for(trainer, image))
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize(device.name)  # starts PyTorch's own use of CUDA
    activities = [torch.profiler.ProfilerActivity.CUDA]
    # Without `acc_events` it loses events between cycles, and warns.
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        device.wait()
        start = perf_counter()
        for _ in range(STEPS):
            step()
        device.wait()
        seconds = perf_counter() - start
    gpu, index = torch.autograd.DeviceType.CUDA, torch.device(device.name).index
    intervals = [
        (event.time_range.start / 1e6, event.time_range.end / 1e6)  # microseconds -> seconds
        for event in profile.events()
        # A user annotation is a name for a stretch of time, not work.
        if (event.device_type, event.device_index) == (gpu, index) and not event.is_user_annotation
    ]
    if not intervals:
        raise NotMeasuredError("the profiler of PyTorch saw nothing that the device did")
    return {"minirpn": covered(intervals) / seconds}


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals; where some overlap, it counts once.

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
