"""Stage ``profile`` of tests/gpu/session.py: a training step of VGG-16 in pieces.

Ten steps at 600x1000 in each precision, ours and PyTorch's twin. PyTorch's profiler looks on, which
sees the kernels of the whole process. What it says of each side, a step, in seconds:

=====================  =============================================================================
``step_seconds``       a step, waited for; the median of ten that no profiler slows down
``asked_seconds``      until it has been asked for: of ours, with its wait for the losses
``profiled_seconds``   a step under the profiler, one after the other without a wait between
``device_seconds``     in which the device did something, a copy included
``busy_share``         that over the one before
``wait_seconds``       in which the host waited, in ``cuda...Synchronize``
``host_seconds``       the rest of the profiled time, in which it asked: were it longer than the
                       device's, the device would wait for it
``launches``           kernels
``kernels``            by name: how often a step, seconds a step; the longest first
``copies``             by kind, likewise
``gaps``               seconds in which the device had nothing to do between its first work and its
                       last; the longest of all steps, with what came before and what after
``calls``              of CUDA by the host: how often a step, seconds a step
=====================  =============================================================================
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

WARM_UP, STEPS = 3, 10
MOST_KERNELS, MOST_GAPS, MOST_CALLS, LONGEST_NAME = 40, 10, 15, 110
HOST_CALL = re.compile(r"cu(da)?[A-Z]")


class Event(NamedTuple):
    """Something that the device did, or that the host called."""

    name: str
    start: float  # seconds
    end: float
    on_device: bool

    @property
    def seconds(self) -> float:
        return self.end - self.start


def events_of(found: Iterable[Any], device_type: object) -> list[Event]:
    """Return what counts of the events of PyTorch's profiler, whose times are in microseconds."""
    events = []
    for event in found:
        on_device = event.device_type == device_type
        if getattr(event, "is_user_annotation", False):
            continue
        if on_device or HOST_CALL.match(event.name):
            times = event.time_range
            events.append(Event(event.name, times.start / 1e6, times.end / 1e6, on_device))
    return events


def summary(events: Sequence[Event], seconds: float, steps: int) -> dict[str, Any]:
    """Return the account of some steps that took so many seconds together."""
    device = sorted((event for event in events if event.on_device), key=lambda e: e.start)
    calls = [event for event in events if not event.on_device]
    copies = [event for event in device if event.name.startswith(("Memcpy", "Memset"))]
    kernels = [event for event in device if not event.name.startswith(("Memcpy", "Memset"))]
    gaps = gaps_between(device)
    idle = sum(gap["seconds"] for gap in gaps)
    busy = (max(e.end for e in device) - device[0].start - idle) if device else 0.0
    waited = sum(event.seconds for event in calls if "Synchronize" in event.name)
    gaps.sort(key=lambda gap: -gap["seconds"])
    return {
        "profiled_seconds": seconds / steps,
        "device_seconds": busy / steps,
        "busy_share": busy / seconds,
        "wait_seconds": waited / steps,
        "host_seconds": (seconds - waited) / steps,
        "launches": len(kernels) / steps,
        "kernels": by_name(kernels, steps)[:MOST_KERNELS],
        "copies": by_name(copies, steps),
        "gaps": {
            "seconds": idle / steps,
            "longer_than_10_us": sum(gap["seconds"] > 1e-5 for gap in gaps) / steps,
            "longest": gaps[:MOST_GAPS],
        },
        "calls": by_name(calls, steps)[:MOST_CALLS],
    }


def by_name(events: Iterable[Event], steps: int) -> list[dict[str, Any]]:
    """Return how often a step, and seconds a step, for each name; the longest first."""
    totals: dict[str, list[float]] = {}
    for event in events:
        total = totals.setdefault(event.name[:LONGEST_NAME], [0, 0.0])
        total[0] += 1
        total[1] += event.seconds
    ordered = sorted(totals.items(), key=lambda item: -item[1][1])
    return [
        {"name": name, "count": count / steps, "seconds": seconds / steps}
        for name, (count, seconds) in ordered
    ]


def gaps_between(device: Sequence[Event]) -> list[dict[str, Any]]:
    """Return the times between events, in the order of their starts, in which none is under way."""
    gaps, last = [], device[0] if device else None
    for event in device[1:]:
        if event.start > last.end:
            gap = {"seconds": event.start - last.end, "after": last.name[:LONGEST_NAME]}
            gaps.append(gap | {"before": event.name[:LONGEST_NAME]})
        if event.end > last.end:
            last = event
    return gaps


def text_of(name: str, account: dict[str, Any]) -> str:
    """Return the account in some twenty lines."""
    ms = {key: 1e3 * value for key, value in account.items() if key.endswith("_seconds")}
    lines = [
        f"{name}: {ms['step_seconds']:.2f} ms a step, asked for in {ms['asked_seconds']:.2f};"
        f" device {ms['device_seconds']:.2f} ms, {account['busy_share']:.1%} busy;"
        f" host {ms['host_seconds']:.2f} ms, and {ms['wait_seconds']:.2f} waiting;"
        f" {account['launches']:.1f} launches"
    ]
    for part, most in (("kernels", 15), ("copies", 6), ("calls", 8)):
        lines.append(f"  {part}: times a step, microseconds a step")
        lines += [
            f"  {row['count']:7.1f} {1e6 * row['seconds']:9.1f}  {row['name'][:90]}"
            for row in account[part][:most]
        ]
    gaps = account["gaps"]
    lines.append(
        f"  gaps: {1e6 * gaps['seconds']:.0f} us a step,"
        f" {gaps['longer_than_10_us']:.1f} longer than 10 us; the longest:"
    )
    for gap in gaps["longest"][:6]:
        between = f"{gap['after'][:40]} -> {gap['before'][:40]}"
        lines.append(f"  {1e6 * gap['seconds']:9.1f} us  {between}")
    return "\n".join(lines)


# --- on the device ---


def timed(step: Callable[[], object], wait: Callable[[], object], steps: int) -> dict[str, float]:
    """Return the medians of the time until steps were asked for, and until they were done."""
    asked, done = [], []
    for _ in range(steps):
        wait()
        start = perf_counter()
        step()
        asked.append(perf_counter() - start)
        wait()
        done.append(perf_counter() - start)
    return {"step_seconds": statistics.median(done), "asked_seconds": statistics.median(asked)}


def profiled(
    torch: Any, step: Callable[[], object], wait: Callable[[], object], steps: int
) -> dict[str, Any]:
    """Return the account of some steps under the profiler."""
    options: dict[str, Any] = {"activities": [torch.profiler.ProfilerActivity.CUDA]}
    if "acc_events" in inspect.signature(torch.profiler.profile).parameters:
        options["acc_events"] = True  # else it warns that it will forget
    for count in (1, steps):  # the first time it may miss what runs while it gets ready
        with torch.profiler.profile(**options) as profile:
            wait()
            start = perf_counter()
            for _ in range(count):
                step()
            wait()
            seconds = perf_counter() - start
    events = events_of(profile.events(), torch.autograd.DeviceType.CUDA)
    return summary(events, seconds, steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="where the accounts are written to")
    parser.add_argument("--small", action="store_true", help="tiny on a small image")
    args = parser.parse_args()

    from minirpn.bench import peers, work
    from minirpn.bench.peers import Twin, tensor
    from minirpn.devices import open_device
    from minirpn.errors import InputError

    try:
        device = open_device("cuda")
    except InputError as error:
        print(f"skipped: {error}")
        return 77
    if reason := peers.why_not("torch", device):
        print(f"skipped: no torch: {reason}")
        return 77
    torch: Any = peers.peer("torch")
    torch.cuda.synchronize(device.name)  # begins PyTorch's work with CUDA
    backbone, size = ("tiny", (96, 128)) if args.small else ("vgg16", work.IMAGE_SIZE)
    accounts: dict[str, Any] = {"device": str(device), "backbone": backbone, "image_size": size}
    figures = []
    for precision in ("float32", "tf32"):
        device = open_device("cuda", tf32=precision == "tf32")
        peers.use_tf32(device.tf32)
        trainer = work.new_trainer(backbone, device)
        image = device.put(work.noise_image(size))[0, ...]
        batch = work.minibatch_for(trainer, image)
        twin, images = Twin(trainer.network, device), tensor(work.noise_image(size), device)
        steps = {
            "minirpn": partial(work.take_checked_step, trainer, image, batch),
            "torch": partial(twin.step, images),
        }
        for name, step in steps.items():
            for _ in range(WARM_UP):
                step()
            account = timed(step, device.wait, STEPS)
            account |= profiled(torch, step, device.wait, STEPS)
            accounts[f"{name} {precision}"] = account
            args.json.write_text(json.dumps(accounts, indent=1) + "\n")
            print(text_of(f"{name} {precision}", account), flush=True)
        ours, theirs = (accounts[f"{name} {precision}"] for name in steps)
        figures.append(
            f"{precision} {1e3 * ours['step_seconds']:.2f} ms"
            f" ({ours['step_seconds'] / theirs['step_seconds']:.2f} of torch),"
            f" {ours['busy_share']:.0%} busy, {ours['launches']:.0f} launches"
        )
    print("figure:", "; ".join(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
