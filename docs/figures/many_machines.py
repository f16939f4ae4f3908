"""Reckon the time of a step that many ranks share, and draw it for many-machines.md.

Drawing measures nothing: it reads ``many-machines/measured.json``. To measure, train with
``--threads 1`` for a few steps, and start this module with 1, 2 and 4 ranks; each writes its own
part of the file. Where a time is there already, the lesser one stays, so measure again if other
programs were running::

    mpiexec -n 2 python -m docs.figures.many_machines RUN
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.extensions import DOCS
from minirpn.accel.threads import set_threads
from minirpn.data.loader import Draw
from minirpn.data.samples import Example
from minirpn.training.build import build_pipeline
from minirpn.training.config import TrainConfig, load_config
from minirpn.training.distributed import Ranks, open_ranks
from minirpn.training.run_data import open_splits
from minirpn.training.run_folder import open_run
from minirpn.training.trainer import Trainer
from minirpn.viz.style import BLACK, BLUE, GREY, VERMILLION, save, style_axes

FILES = ("efficiency.svg",)
MEASURED = DOCS / "explanation/many-machines/measured.json"
RANKS = tuple(2**k for k in range(10))  # 1 to 512
IMAGES, ROUNDS = 64, 5
LR = 1e-9  # so small that the steps do not change the weights
GPUS_OF_A_MACHINE = 8
VGG16_STEP, VGG16_BYTES = 0.0106, 67e6  # on an H200, float32: performance.md


# --- the reckoning -------------------------------------------------------------------------------


class Link(NamedTuple):
    """What a message takes: seconds before its first byte, then bytes a second."""

    latency: float
    bandwidth: float


# As on their data sheets, for one direction; the latency is what is usual for small messages.
ETHERNET_10 = Link(50e-6, 1.25e9)  # TCP
NETWORK_100 = Link(5e-6, 12.5e9)  # with remote access to memory
NVLINK = Link(5e-6, 450e9)  # of an H100 or H200


def allreduce(ranks: int, size: float, link: Link) -> float:
    """Return the seconds of a sum of `size` bytes over ranks that a link joins.

    Each rank first gets the sum of its own N-th part, in log2 N messages of 1/2, 1/4, 1/8 ... of
    the bytes, then the others' sums in the same way: Rabenseifner's algorithm, section 4.5 of
    Thakur, Rabenseifner and Gropp 2005, "Optimization of collective communication operations in
    MPICH". A ring moves as many bytes, in 2 (N - 1) messages.
    """
    messages = 2 * math.ceil(math.log2(ranks))
    return messages * link.latency + 2 * (ranks - 1) / ranks * size / link.bandwidth


def allreduce_of_machines(ranks: int, size: float, inside: Link, between: Link) -> float:
    """Return the same for machines of 8 GPUs: first in each machine, then between machines."""
    local = min(ranks, GPUS_OF_A_MACHINE)
    return allreduce(local, size, inside) + allreduce(ranks // local, size, between)


def slowest(seconds: Sequence[float], ranks: int) -> float:
    """Return the mean of the longest of as many draws as ranks, from measured times.

    Of n times in ascending order, the k-th is the longest of N draws with probability
    (k/n)^N - ((k-1)/n)^N.
    """
    below = (np.arange(len(seconds) + 1) / len(seconds)) ** ranks
    return float(np.sort(seconds) @ np.diff(below))


def efficiency(seconds: Sequence[float], ranks: int, sum_seconds: float) -> float:
    """Return the share of a step in which a rank computes, in the mean over ranks and steps."""
    return float(np.mean(seconds)) / (slowest(seconds, ranks) + sum_seconds)


def with_buckets(step: float, forward: float, sum_seconds: float, last: float) -> float:
    """Return the least time of a step whose gradients travel while the backward pass goes on.

    `last` is the share of the bytes that is ready only at the end.
    """
    return max(step, forward + sum_seconds * (1 - last)) + sum_seconds * last


# --- the figure ----------------------------------------------------------------------------------


def draw(folder: Path, quick: bool) -> None:
    """Draw efficiency over ranks: CPUs above, GPUs below. It is quick anyway."""
    del quick
    found = json.loads(MEASURED.read_text())
    alone = found["1"]
    cpu, size = alone["cpu_seconds"], alone["bytes"]
    gpu = [VGG16_STEP * one / float(np.mean(cpu)) for one in cpu]  # the same spread

    figure = Figure(figsize=(5.2, 6.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _line(above, cpu, lambda _: 0.0, "nothing but\nthe slowest", GREY, style="--")
    _line(above, cpu, lambda n: allreduce(n, size, NETWORK_100), "100 Gbit/s", BLUE)
    _line(above, cpu, lambda n: allreduce(n, size, ETHERNET_10), "10 Gbit/s", VERMILLION)
    measured = np.mean(found["2"]["by_itself"]) / np.mean(found["2"]["step_seconds"])
    above.plot(2, measured, "o", color=BLACK, label="measured, one machine", zorder=3)
    style_axes(above, x="", y="efficiency", title="SqueezeNet at 300x500, a core for each rank")

    _line(below, gpu, lambda _: 0.0, "nothing but\nthe slowest", GREY, style="--")
    for name, link, colour in (
        ("NVLink, 100 Gbit/s between", NETWORK_100, BLUE),
        ("NVLink, 10 Gbit/s between", ETHERNET_10, VERMILLION),
    ):

        def seconds(n: int, link: Link = link) -> float:
            return allreduce_of_machines(n, VGG16_BYTES, NVLINK, link)

        _line(below, gpu, seconds, name, colour)
    style_axes(below, x="ranks", y="efficiency", title="VGG-16 at 600x1000, GPUs, 8 in a machine")
    for ax in (above, below):
        ax.set_xscale("log", base=2)
        ax.set_xticks(RANKS, [str(n) for n in RANKS])
        ax.set(ylim=(0, 1.05))
    above.legend(fontsize="small", loc="lower left")
    below.legend(fontsize="small", loc="center right", bbox_to_anchor=(1, 0.66))
    save(figure, folder / "explanation/many-machines/efficiency.svg")


def _line(
    ax: Axes,
    seconds: Sequence[float],
    sums: Callable[[int], float],
    label: str,
    colour: str,
    *,
    style: str = "-",
) -> None:
    shares = [efficiency(seconds, n, sums(n)) for n in RANKS]
    ax.plot(RANKS, shares, style, color=colour, label=label.replace("\n", " "))


# --- the measurements ----------------------------------------------------------------------------


def measure(config: TrainConfig, path: Path, ranks: Ranks) -> dict[str, Any]:
    """Return the times of a step with so many ranks, each on one thread.

    Other programs disturb the clock, so each time is the least of some rounds. Ranks also take
    steps by themselves, all at the same time: so they disturb each other, but share nothing. The
    steps of a single rank are measured by processor time as well.
    """
    optimizer = replace(config.optimizer, images_per_step=1, lr=LR, warmup_steps=0)
    config = replace(config, optimizer=optimizer)
    alone = Trainer(config)
    shared = replace(config, optimizer=replace(optimizer, images_per_step=ranks.size))
    trainer = alone if ranks.is_alone else Trainer(shared, ranks=ranks)
    draws = map(Draw, range(ranks.rank, IMAGES, ranks.size))
    pipeline, finish = build_pipeline(config, alone.network), alone.work_ahead()
    dataset = open_splits(config, open_run(path)).train
    with pipeline.examples(dataset, draws, finish=finish) as loader:
        examples = list(loader)
    result = trainer.train_step(examples[:1])  # compiles
    wall, cpu = step_seconds(trainer, examples)
    grads, found = list(result.grads.values()), {"step_seconds": wall}
    if not ranks.is_alone:
        ranks.exchange()
        by_itself, _ = step_seconds(alone, examples)
        return found | {
            "by_itself": list(chain(*ranks.exchange(by_itself))),
            "gradients": least(lambda: ranks.sums(grads), 20),
            "eight_bytes": least(lambda: ranks.sums([np.zeros(1)]), 200),
            "exchange": least(ranks.exchange, 200),
        }
    image = examples[0].image[None]
    size = sum(grad.nbytes for grad in grads)
    return found | {
        "cpu_seconds": cpu,
        "forward_seconds": least(lambda: trainer.network.forward(image), 10, process_time),
        "bytes": size,
        "shares": {name: grad.nbytes / size for name, grad in result.grads.items()},
    }


def step_seconds(trainer: Trainer, examples: Sequence[Example]) -> tuple[list[float], list[float]]:
    """Return the least time of a step on each example: by the clock, and of the processor."""
    wall, cpu = np.full((2, len(examples)), np.inf)
    for _ in range(ROUNDS):
        for place, example in enumerate(examples):
            began = perf_counter(), process_time()
            trainer.train_step([example])
            wall[place] = min(wall[place], perf_counter() - began[0])
            cpu[place] = min(cpu[place], process_time() - began[1])
    return wall.tolist(), cpu.tolist()


def least(
    work: Callable[[], object], calls: int, clock: Callable[[], float] = perf_counter
) -> float:
    """Return the least median of some rounds of calls, in seconds."""
    medians = []
    for _ in range(ROUNDS):
        seconds = []
        for _ in range(calls):
            began = clock()
            work()
            seconds.append(clock() - began)
        medians.append(median(seconds))
    return min(medians)


def main() -> None:
    """Measure with the ranks that this was started with, and keep what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.figures.many_machines",
        description="Measure a step with the ranks that mpiexec starts.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="its settings and data are used")
    path = parser.parse_args().run
    set_threads(1)
    ranks = open_ranks()
    found = ranks.perform(lambda: measure(load_config(open_run(path).config), path, ranks))
    if ranks.is_first:
        kept = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
        before = kept.get(str(ranks.size), {})
        for name in before.keys() & found.keys() - {"shares"}:
            found[name] = np.minimum(before[name], found[name]).tolist()
        kept[str(ranks.size)] = found
        MEASURED.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
        print(f"{IMAGES / sum(found['step_seconds']):.1f} images/s with {ranks.size} ranks")


if __name__ == "__main__":
    main()
