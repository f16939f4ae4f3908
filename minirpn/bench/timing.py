"""Time taken by functions that do the same work, one after the other, again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

# Threads of some libraries go on spinning for a while after their work is done, on cores that the
# next contender needs.
PAUSE = 0.02


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

    In turns, because a machine's speed changes with its temperature and with what else it does;
    so the ratio of two is steadier than either. Each is called before, unmeasured: compiled code is
    compiled, memory is had, caches are warm.

    Parameters
    ----------
    contenders
        Functions without arguments, by name.
    rounds
        Calls of each, at least 1.
    pause
        Seconds of rest before each call.
    wait
        Returns when all that was asked for is done, such as `minirpn.devices.Device.wait`: what is
        called for a device runs there later. It comes before each look at the clock.
    warm_up
        Unmeasured calls of each.
    """
    for function in contenders.values():
        for _ in range(warm_up):
            function()
    calls: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            sleep(pause)
            wait()
            wall, cpu = perf_counter(), process_time()
            function()
            wait()
            calls[name].append((perf_counter() - wall, process_time() - cpu))
    return {name: _summary(taken) for name, taken in calls.items()}


def _summary(taken: list[tuple[float, float]]) -> Timing:
    walls = sorted(wall for wall, _ in taken)
    return Timing(walls[len(walls) // 2], walls[0], min(cpu for _, cpu in taken))
