"""Measure and draw the figures of performance.md.

Everything runs on one thread, so that other programs disturb the times little.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minirpn import accel, nn
from minirpn.accel.implementation import Implementation
from minirpn.accel.threads import set_threads, thread_count
from minirpn.bench import work
from minirpn.bench.measure import alternate
from minirpn.rpn.targets import label_anchors
from minirpn.training.step import loss_and_gradients, make_minibatch
from minirpn.viz import plot_roofline
from minirpn.viz.style import BLUE, GREEN, ORANGE, VERMILLION, new_axes, save, style_axes

FILES = ("figures.json", "growth.svg", "ladders.svg", "roofline.svg")


def draw(folder: Path, quick: bool) -> None:
    """Measure everything on one thread, draw it, and keep the numbers."""
    here = folder / "explanation/performance"
    threads = thread_count()
    set_threads(1)
    try:
        found = {
            "ladders": implementation_bars(here, quick),
            "growth": growth(here, quick),
            "roofline": roofline(here, quick),
        }
    finally:
        set_threads(threads)
    (here / "figures.json").write_text(json.dumps(found, indent=1) + "\n")


def cpu(function: Callable[[], object], rounds: int) -> float:
    """Return the processor time of a call in seconds, the least of some."""
    return alternate({"it": function}, rounds, pause=0)["it"].cpu


def implementations(name: str) -> list[accel.Implementation]:
    """Return the implementations of an operation that run here for NumPy arrays, slowest first."""
    operation = accel.operations()[name]
    return [operation.by_name[each] for each in accel.available(np.zeros(1))[name]]


def conv_arguments(C: int, O: int, H: int, W: int) -> tuple:  # noqa: E741
    """Return x, weight, bias, stride and padding of a 3x3 convolution."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, C, H, W)).astype(np.float32)
    weight = rng.normal(size=(O, C, 3, 3)).astype(np.float32)
    return x, weight, np.zeros(O, np.float32), (1, 1), (1, 1)


def seconds(one: Implementation, arguments: tuple[object, ...], rounds: int) -> float:
    """Return the time of an implementation, with its parts (IoU in NMS) by the same one."""
    with accel.use(one.name):
        return cpu(lambda: one.function(*arguments), rounds)


def implementation_bars(folder: Path, quick: bool) -> dict[str, object]:
    """Draw the time of each implementation: a small and a large convolution, and NMS."""
    rounds = 1 if quick else 5
    small = conv_arguments(32, 32, 19, 31)
    large = conv_arguments(256, 256, 75, 125)
    ordered = work.random_boxes(2_000)
    by_work = {
        "conv2d, 32 to 32 channels, 19x31": {
            one.name: seconds(one, small, 1 if one.name == "loops" else rounds)
            for one in implementations("conv2d")
        },
        "conv2d, 256 to 256 channels, 75x125": {
            one.name: seconds(one, large, rounds) for one in implementations("conv2d")[1:]
        },
        "nms, 2,000 boxes": {
            one.name: seconds(one, (ordered, 0.7, 2_000), 1 if one.name == "loops" else rounds)
            for one in implementations("nms")
        },
    }
    bars = [
        (f"{name}\n{what}" if name == next(iter(taken)) else name, taken_seconds * 1e3, colour)
        for colour, (what, taken) in zip((BLUE, GREEN, ORANGE), by_work.items(), strict=True)
        for name, taken_seconds in taken.items()
    ]
    labels, milliseconds, colours = zip(*bars, strict=True)
    ax = new_axes((7.2, 4.8))
    drawn = ax.barh(range(len(bars)), milliseconds, color=colours)
    ax.set_yticks(range(len(bars)), labels)
    texts = [f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in milliseconds]
    ax.bar_label(drawn, texts, padding=3, fontsize="small")
    ax.set_xscale("log")
    ax.set_xlim(right=max(milliseconds) * 4)
    ax.invert_yaxis()
    style_axes(ax, x="processor time, ms", y="", title="The same result by every implementation")
    save(ax, folder / "ladders.svg")
    return by_work


def growth(folder: Path, quick: bool) -> dict[str, object]:
    """Draw a step against the pixels of the image, and labelling against anchors and objects."""
    rounds = 1 if quick else 5
    trainer = work.new_trainer("squeezenet")
    sizes = [(150, 250), (300, 500), (450, 750), (600, 1000), (800, 1333)]
    rng = np.random.default_rng(0)
    gt = np.array([[10, 10, 120, 120]], np.float32)
    steps = []
    for size in sizes:
        image = rng.normal(size=(3, *size)).astype(np.float32)

        def step(image: np.ndarray = image, size: tuple[int, int] = size) -> None:
            network, objective = trainer.network, trainer.objective
            anchors = network.anchors_for(size, like=gt)
            batch = make_minibatch(anchors, gt, size, rng=trainer.rng(), objective=objective)
            loss_and_gradients(network, image, batch, config=objective.loss)

        steps.append(cpu(step, rounds))
    cells = [(10, 15), (19, 31), (38, 63), (76, 126)]
    anchors = [work.grid(size) for size in cells]
    by_anchors = [
        cpu(lambda a=a: label_anchors(a, work.random_boxes(40), (2000, 3000)), rounds)
        for a in anchors
    ]
    objects = [1, 10, 40, 160]
    by_objects = [
        cpu(lambda m=m: label_anchors(anchors[2], work.random_boxes(m), (600, 1000)), rounds)
        for m in objects
    ]
    found = {
        "step": [[h * w, s] for (h, w), s in zip(sizes, steps, strict=True)],
        "anchors": [[len(a), s] for a, s in zip(anchors, by_anchors, strict=True)],
        "objects": [[m, s] for m, s in zip(objects, by_objects, strict=True)],
    }
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for ax, x, y, title, unit in (
        (left, [h * w / 1e3 for h, w in sizes], steps, "SqueezeNet step", "thousand pixels"),
        (middle, [len(a) for a in anchors], by_anchors, "labelling, 40 objects", "anchors"),
        (right, objects, by_objects, "labelling, 21,546 anchors", "objects"),
    ):
        ax.plot(x, [value * 1e3 for value in y], "o-", color=BLUE)
        ax.set(xlim=(0, None), ylim=(0, None))
        style_axes(ax, x=unit, y="processor time, ms", title=title)
    save(figure, folder / "growth.svg")
    return found


def roofline(folder: Path, quick: bool) -> dict[str, object]:
    """Draw the speed of convolutions of VGG-16 and SqueezeNet beside the machine's two limits."""
    rounds = 1 if quick else 5
    square = np.ones((1024, 1024), np.float32)
    out = np.empty_like(square)
    peak = 2 * 1024**3 / cpu(lambda: np.matmul(square, square, out=out), rounds) / 1e9
    source = np.ones(2**25, np.float32)
    target = np.empty_like(source)
    bandwidth = 2 * source.nbytes / cpu(lambda: np.copyto(target, source), rounds) / 1e9
    layers = {
        "conv1_1": (3, 64, 600, 1000, 3), "conv1_2": (64, 64, 600, 1000, 3),
        "conv2_2": (128, 128, 300, 500, 3), "conv3_2": (256, 256, 150, 250, 3),
        "conv4_2": (512, 512, 75, 125, 3), "conv5_2": (512, 512, 38, 63, 3),
        "fire2 3x3": (16, 64, 149, 249, 3), "fire9 3x3": (64, 256, 37, 62, 3),
        "fire2 squeeze": (64, 16, 149, 249, 1), "fire9 squeeze": (512, 64, 37, 62, 1),
    }  # fmt: skip
    points = {}
    for name, (C, O, H, W, k) in layers.items():  # noqa: E741
        x, weight, bias, *_ = conv_arguments(C, O, H, W)
        weight = np.ascontiguousarray(weight[:, :, :k, :k])
        taken = cpu(
            lambda x=x, weight=weight, bias=bias, k=k: nn.conv2d_forward(
                x, weight, bias, padding=k // 2
            ),
            rounds,
        )
        flop = 2 * C * O * H * W * k * k
        moved = 4 * (C * H * W + O * H * W + weight.size)
        points[name] = (flop / moved, flop / taken / 1e9, k)
    ax = plot_roofline(
        {name: (intensity, speed) for name, (intensity, speed, _) in points.items()},
        new_axes((7.2, 4.6)),
        peak=peak,
        bandwidth=bandwidth,
        colors={name: BLUE if k == 3 else VERMILLION for name, (*_, k) in points.items()},
        y_label="GFLOP/s of the direct sum, one thread",
        title="3x3 (blue) lands above the roof: Winograd needs fewer operations",
    )
    save(ax, folder / "roofline.svg")
    return {"peak_gflops": peak, "bandwidth_gbs": bandwidth, "layers": points}
