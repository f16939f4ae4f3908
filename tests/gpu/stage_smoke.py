"""Stage ``smoke`` of tests/gpu/session.py: every implementation of every operation, on the card.

A line each: operation, implementation, precision, how far from the loops at most (in machine
epsilons of the largest result, or 1). Then convolutions as networks have them, and a training step.

``--memory`` is for compute-sanitizer: few cases, each array a block of memory of its own.
"""

from __future__ import annotations

import argparse
import copy
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

CASES = Path(__file__).resolve().parents[1] / "ladders"
PRECISIONS = {"float32": np.float32, "float64": np.float64, "tf32": np.float32}
# Our own kernels give the bits of the loops, but for the gradient by boxes, a sum in another order.
# What is left to an array library may round otherwise.
EXACT, ANOTHER_ORDER, LIBRARY = 0, 100, 200
# Largest errors of a convolution at size, over its largest result; Winograd's has larger numbers
# on the way.
AT_SIZE, WINOGRAD = {"float32": 1e-5, "tf32": 5e-3}, 5e-5
DOUBLES_ALONE = {"assign"}  # what is always brought in float64
SIZE = 240, 320  # of an image that has anchors inside
LAYER = {"shape": (1, 64, 75, 125), "outs": 96}


# --- the registry of minirpn ---


def implementations(array: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Give each operation, and those of its implementations that can take an array."""
    from minirpn import accel

    available = accel.available(array)
    for name, operation in accel.operations().items():
        yield operation, [operation.by_name[each] for each in available[name]]


def allowed(operation: str, implementation: Any) -> float:
    """Return how many epsilons an implementation may be away from the loops."""
    if implementation.rounding is not None:
        return implementation.rounding
    if implementation.name != "cuda":
        return LIBRARY
    return ANOTHER_ORDER if operation == "roi_align_dx" else EXACT


# --- how far apart ---


def each_array(function: Callable[[np.ndarray], Any], value: Any) -> Any:
    """Return an argument with a function applied to it, or to the arrays in it, if it has any."""
    if isinstance(value, dict):
        return {name: each_array(function, part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(each_array(function, part) for part in value)
    return function(value) if isinstance(value, np.ndarray) else value


def as_dtype(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return an array of real numbers in a dtype, any other as it is."""
    return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array


def on_host(result: Any) -> Any:
    """Return a result of any nesting as NumPy arrays."""
    from minirpn.backend import to_host

    if isinstance(result, tuple | list):
        return tuple(map(on_host, result))
    return None if result is None else np.asarray(to_host(result))


def distance(actual: Any, expected: Any) -> float:
    """Return the largest difference in epsilons of the largest result, or 1.

    Raises AssertionError where shapes, dtypes, whole numbers or places of NaN differ.
    """
    if isinstance(expected, tuple):
        assert len(actual) == len(expected), f"{len(actual)} results, not {len(expected)}"
        return max(map(distance, actual, expected), default=0.0)
    if expected is None:
        assert actual is None, "a result where there should be none"
        return 0.0
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), (
        f"{actual.dtype} {actual.shape}, not {expected.dtype} {expected.shape}"
    )
    if expected.dtype.kind != "f":
        assert np.array_equal(actual, expected), "other whole numbers"
        return 0.0
    finite = np.isfinite(expected)
    odd = actual[~finite], expected[~finite]
    assert np.array_equal(*odd, equal_nan=True), "NaN or infinity in other places"
    a, b = actual[finite], expected[finite]
    scale = max(1.0, np.max(np.abs(b), initial=0.0))
    return float(np.max(np.abs(a - b), initial=0.0) / scale / np.finfo(b.dtype).eps)


# --- the checks ---


class Report:
    """Prints lines, and counts those that are well."""

    def __init__(self) -> None:
        self.lines = self.failed = 0

    def line(self, words: str, trouble: str | None) -> None:
        self.lines += 1
        self.failed += trouble is not None
        print(f"{words}  {'ok' if trouble is None else f'FAILED: {trouble}'}")


def one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def each_case(draw_case: Callable[..., Any], count: int, look: Callable[..., None]) -> None:
    """Call a function with arguments drawn as the tests draw them, the same ones every time."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: Any) -> None:
        look(*draw_case(data.draw))

    draw()


def against_loops(report: Report, precision: str, count: int, prefix: str) -> None:
    """Hold the implementations of each operation whose names begin so to its loops."""
    import cupy

    cases: dict[str, Any] = {}
    for path in sorted(CASES.glob("cases_*.py")):
        cases |= runpy.run_path(str(path))["CASES"]
    dtype = PRECISIONS[precision]
    for operation, found in implementations(cupy.zeros(1, dtype)):
        if precision == "tf32" and not operation.name.startswith("conv2d"):
            continue  # there is no product in it
        if operation.name in DOUBLES_ALONE and dtype != np.float64:
            continue
        compared = [Compared(operation, one) for one in found if one.name.startswith(prefix)]

        def look(args: Any, kwargs: Any, operation=operation, compared=compared) -> None:
            args, kwargs = each_array(partial(as_dtype, dtype=dtype), (tuple(args), kwargs))
            loops = operation.by_name["loops"].function
            with np.errstate(all="ignore"):
                expected = on_host(loops(*copy.deepcopy(args), **copy.deepcopy(kwargs)))
            for one in compared:
                one.look(*each_array(cupy.asarray, (args, kwargs)), expected)

        unable = None
        if compared:
            try:
                each_case(cases[operation.name], count, look)
            except Exception as error:  # no cases for it, or its loops fail
                unable = f"nothing to compare with: {one_line(error)}"
        for one in compared:
            words = f"{operation.name:<15} {one.implementation.name:<14} {precision:<8}"
            words += f" {one.cases:>3} cases {one.worst:8.3g} eps"
            report.line(words, one.trouble or unable)


class Compared:
    """An implementation, and how far from the loops it was at most."""

    def __init__(self, operation: Any, implementation: Any) -> None:
        self.implementation = implementation
        self.limit = allowed(operation.name, implementation)
        self.cases, self.worst, self.trouble = 0, 0.0, None

    def look(self, args: Any, kwargs: Any, expected: Any) -> None:
        if self.trouble is None:
            self.cases += 1
            try:
                apart = distance(on_host(self.implementation.function(*args, **kwargs)), expected)
                self.worst = max(self.worst, apart)
                if not apart <= self.limit:
                    self.trouble = f"at most {self.limit:g} are allowed"
            except Exception as error:
                self.trouble = one_line(error)


def at_size(report: Report, precision: str) -> None:
    """Say how far convolutions of a layer of SqueezeNet are from float64, and if TF32 rounds."""
    import cupy

    rng, ((N, C, H, W), outs) = np.random.default_rng(0), LAYER.values()
    shapes = {"x": (N, C, H, W), "weight": (outs, C, 3, 3), "bias": (outs,), "dy": (N, outs, H, W)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x, weight, bias, dy = arrays.values()
    windows = (1, 1), (1, 1)
    arguments = {
        "conv2d": (x, weight, bias, *windows),
        "conv2d_relu": (x, weight, bias, *windows),
        "conv2d_dx": (dy, weight, (H, W), *windows),
        "conv2d_dweight": (dy, x, (3, 3), *windows),
    }
    for operation, found in implementations(cupy.zeros(1, np.float32)):
        if operation.name not in arguments:
            continue
        args = arguments[operation.name]
        plain = operation.by_name["array"].function
        exact = on_host(plain(*each_array(partial(as_dtype, dtype=np.float64), args)))
        brought = each_array(cupy.asarray, args)
        for one in found:
            words, trouble = f"{operation.name:<15} {one.name:<14} {precision:<8} at size", None
            try:
                result = on_host(one.function(*brought)).astype(np.float64)
                error = float(np.max(np.abs(result - exact)) / np.max(np.abs(exact)))
                words += f" {error:8.1e}"
                if precision == "tf32":
                    words += " rounds to 10 bits" if error > AT_SIZE["float32"] else " true float32"
                limit = AT_SIZE[precision]
                limit = max(limit, WINOGRAD) if "winograd" in one.name else limit
                if not error <= limit:
                    trouble = f"at most {limit:g} is allowed"
            except Exception as raised:
                trouble = one_line(raised)
            report.line(words, trouble)


def a_step(report: Report, precision: str, *, graphs: bool) -> None:
    """Hold loss and gradients of `tiny` to those of the CPU, and take a step and proposals."""
    from minirpn.backend import to_host
    from minirpn.bench import work
    from minirpn.devices import CPU, open_device
    from minirpn.training.config import TrainConfig
    from minirpn.training.trainer import Trainer

    words, trouble = f"{'step of tiny':<30} {precision:<8}", None
    try:
        config = TrainConfig()
        config = replace(config, run=replace(config.run, graphs=graphs))
        device = open_device("cuda", tf32=precision == "tf32")
        here, there = Trainer(config, CPU), Trainer(config, device)
        image = work.noise_image(SIZE)[0, ...]
        sent = device.put(image)
        batches = work.minibatch_for(here, image), work.minibatch_for(there, sent)
        theirs = here.rpn_step(image, batches[0], recorded=True).grads
        apart = []
        for _ in range(3 if graphs else 1):  # as it is, recorded, and from the record
            ours = there.rpn_step(sent, batches[1], recorded=True).grads
            for name, right in theirs.items():
                found = to_host(ours[name]).astype(np.float64)
                apart.append(np.max(np.abs(found - right)) / np.max(np.abs(right)))
        furthest = float(np.max(apart))
        words += f" gradients {furthest:.1e} apart"
        if not furthest <= (1e-3 if precision == "float32" else 1e-1):  # nor NaN: all is 0 there
            trouble = "too far from the CPU"
        work.take_checked_step(there, sent, batches[1])
        count = there.network.propose(sent).boxes.shape[0]
        words += f", {count} proposals"
        if not count:
            trouble = "no proposals"
    except Exception as error:
        trouble = one_line(error)
    report.line(words, trouble)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="fewer cases")
    parser.add_argument("--memory", action="store_true", help="for compute-sanitizer")
    args = parser.parse_args()

    from minirpn.devices import open_device
    from minirpn.errors import InputError

    try:
        device = open_device("cuda")
    except InputError as error:
        print(f"skipped: {error}")
        return 77
    print(device)
    if args.memory:
        import cupy

        cupy.cuda.set_allocator(None)
    report, start = Report(), time.monotonic()
    count = 3 if args.memory else 6 if args.small else 25
    for precision in ("float64", "float32", "tf32"):
        try:
            open_device("cuda", tf32=precision == "tf32")
        except InputError as error:  # an older card
            print(f"{precision}: {error}")
            continue
        if not (args.memory and precision == "tf32"):
            against_loops(report, precision, count, "cuda" if args.memory else "")
        if precision != "float64":
            if not args.memory:
                at_size(report, precision)
            # No graph can be recorded where each array is had from the driver.
            a_step(report, precision, graphs=not args.memory)
        print(f"{precision}: {time.monotonic() - start:.1f} s so far", flush=True)
    print(f"figure: {report.lines - report.failed} of {report.lines} equal")
    return int(report.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
