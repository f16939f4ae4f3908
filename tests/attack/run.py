"""Hand broken files to every reader, watch what it does, and count what it must not do.

::

    python -m tests.attack --inputs 100000        # everything, on two cores in under 20 minutes
    python -m tests.attack --only weights-npz --seconds 60
    python -m tests.attack --again weights-npz:4711 --seed 0

An input is made from the seed of the attack, the name of the reader and a number, and from nothing
else: so it can be made again. It breaks a small sound file (`tests.attack.seeds`) by its grammar or
blindly (`tests.attack.mutators`), or puts something else than a file in its place: a FIFO, a
device, a link, a folder, four gigabytes of nothing. Then one of `tests.attack.readers` reads it the
way its user does, and uses what it got.

A finding is

- an exception other than `InputError`, or a command that ends in a traceback, with a status that is
  not documented, or through its net for unexpected errors;
- more than `SECONDS` of computing, or `PATIENCE` seconds of waiting;
- more than `MOST` bytes of memory, asked for or used;
- a message that is more than one line, longer than 1,000 characters, or not printable;
- the end of the process.

Equal findings, of one type at one place, are counted. The workers are forks of a process that has
read every sound file once, so that nothing is compiled or imported while the clock runs. Each has a
limit for its addresses, beyond which memory is refused: no input can take the machine down. If one
dies, another takes its place behind the input that killed it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.attack.inputs import PREFIX, SECRET, Input, Reader, away, input_of, put, secret_of
from tests.attack.judging import (
    MOST,
    SILENCE,
    TIMED,
    Finding,
    Guard,
    TooSlowError,
    finding_of,
    judge,
    limit_addresses,
    memory,
)

WORKERS = 2
_MOST_TIMED = 3  # equal findings that cost time, then the mutator is left out for that reader

# --- a worker ------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What became of an input."""

    reader: str
    number: int
    how: str
    outcome: str
    seconds: float  # of computing
    peak: int  # bytes
    finding: Finding | None


class Plan(NamedTuple):
    """All that a worker needs."""

    readers: Sequence[Reader]
    seeds: dict[str, Sequence[bytes]]
    inputs: Sequence[tuple[int, int]]  # position of the reader, number
    seed: int
    until: float  # by time.monotonic


def attack_one(
    reader: Reader,
    given: Input,
    number: int,
    work: Path,
    prepared: dict[str, Path],
    crash: Any,
    peak: Callable[[], int],
) -> Outcome:
    """Hand one input to its reader."""
    path = put(reader, given, work, prepared)
    peak()
    began = time.process_time()
    try:
        with Guard(crash):
            outcome, finding = judge(lambda: reader.read(path))
    except TooSlowError as error:  # between the end of the reader and that of the guard
        outcome, finding = "finding", finding_of(error, TIMED)
    seconds, used = time.process_time() - began, peak()
    if finding is not None or used > MOST // 10:
        gc.collect()  # what hangs in a traceback would count for the next ones
        peak()
    if finding is None and used > MOST:
        outcome, finding = "finding", Finding("over 1 GB", f"{reader.name}", "", [])
    if given.how == "outside" and secret_of(path).read_bytes() != SECRET:
        outcome, finding = "finding", Finding("wrote through a link", reader.name, "", [])
    if given.name is not None and not reader.free_name:
        away(work / os.fsdecode(given.name))
    elif given.place is not None:
        away(path)
    return Outcome(reader.name, number, given.how, outcome, seconds, used, finding)


def _work(
    plan: Plan, mine: Sequence[int], at: mmap.mmap, slot: int, work: Path, results: int
) -> None:
    """Go through inputs, from the one that shared memory names on; write a line about each."""
    crash = (work / "crash").open("w")
    faulthandler.enable(crash)
    limit_addresses()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 2):  # libraries in C write warnings of their own to stderr
        os.dup2(null, stream)
    peak, prepared = memory(), {}
    timed: Counter[tuple[str, str]] = Counter()
    start = struct.unpack_from("<q", at, 8 * slot)[0]
    for index in range(start, len(mine)):
        if time.monotonic() > plan.until:
            break
        struct.pack_into("<q", at, 8 * slot, index)
        position, number = plan.inputs[mine[index]]
        reader = plan.readers[position]
        given = input_of(reader, plan.seeds[reader.name], number, plan.seed)
        if timed[reader.name, given.how] >= _MOST_TIMED:
            continue
        outcome = attack_one(reader, given, number, work, prepared, crash, peak)
        timed[reader.name, given.how] += (
            outcome.finding is not None and outcome.finding.kind == TIMED
        )
        os.write(results, json.dumps(outcome).encode() + b"\n")
    else:
        struct.pack_into("<q", at, 8 * slot, len(mine))


# --- the whole attack ----------------------------------------------------------------------------


@dataclass
class Row:
    """What is told about a reader."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    findings: int = 0
    slowest: float = 0.0
    slowest_input: int = 0
    largest: int = 0
    seconds: float = 0.0


@dataclass
class Seen:
    """Equal findings."""

    finding: Finding
    first: str  # READER:NUMBER
    how: str
    count: int = 0
    readers: set[str] = field(default_factory=set)


@dataclass
class Result:
    """The outcome of an attack."""

    seed: int
    rows: dict[str, Row] = field(default_factory=dict)
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    wall: float = 0.0

    def add(self, one: Outcome) -> None:
        """Count an input."""
        row = self.rows.setdefault(one.reader, Row())
        row.inputs += 1
        row.seconds += one.seconds
        if one.seconds > row.slowest:
            row.slowest, row.slowest_input = one.seconds, one.number
        row.largest = max(row.largest, one.peak)
        if one.finding is None:
            row.read += one.outcome == "read"
            row.refused += one.outcome == "refused"
            return
        row.findings += 1
        finding = Finding(*one.finding)
        key = finding.kind, finding.place
        seen = self.seen.setdefault(key, Seen(finding, f"{one.reader}:{one.number}", one.how))
        seen.count += 1
        seen.readers.add(one.reader)

    def table(self) -> str:
        """Return a line for each reader, and one for all."""
        wide = max([len(name) for name in self.rows] + [6])
        names = ["inputs", "refused", "read", "findings"]
        names += ["slowest s", "by number", "largest MB", "mean ms"]
        head = f"{'reader':<{wide}}" + "".join(f" {name:>10}" for name in names)
        lines = [head]
        total = Row()
        for name, row in sorted(self.rows.items()):
            lines.append(_row(name, row, wide))
            for part in ("inputs", "refused", "read", "findings", "seconds"):
                setattr(total, part, getattr(total, part) + getattr(row, part))
            total.slowest = max(total.slowest, row.slowest)
            total.largest = max(total.largest, row.largest)
        lines.append(_row("all", total, wide))
        return "\n".join(lines)

    def findings(self) -> str:
        """Return each finding: what, where, how often, and how to see it again."""
        blocks = []
        for seen in sorted(self.seen.values(), key=lambda one: -one.count):
            finding = seen.finding
            others = f" ({', '.join(sorted(seen.readers))})" if len(seen.readers) > 1 else ""
            words = finding.words.encode("ascii", "backslashreplace").decode()
            block = [
                f"{seen.count} x {finding.kind} at {finding.place}",
                f"    {' '.join(words.split())[:200]}",
                f"    by {seen.how}: python -m tests.attack --seed {self.seed} "
                f"--again {seen.first}{others}",
            ]
            block += [f"        {line}" for line in finding.lines[-4:]]
            blocks.append("\n".join(block))
        return "\n".join(blocks)


def _row(name: str, row: Row, wide: int) -> str:
    mean = 1000 * row.seconds / max(1, row.inputs)
    counts = (row.inputs, row.refused, row.read, row.findings)
    left = f"{name:<{wide}}" + "".join(f" {count:>10}" for count in counts)
    slowest = f"{row.slowest:>10.2f} {row.slowest_input:>10}"
    return f"{left} {slowest} {row.largest / 1e6:>10.0f} {mean:>10.1f}"


def schedule(readers: Sequence[Reader], count: int, seed: int) -> list[tuple[int, int]]:
    """Return which reader gets which number, in the order of the attack; every reader gets some."""
    shares = [reader.share for reader in readers]
    counts = [max(1, round(count * share / sum(shares))) for share in shares]
    inputs = [(position, number) for position, most in enumerate(counts) for number in range(most)]
    random.Random(seed).shuffle(inputs)
    return inputs


def rehearse(readers: Sequence[Reader], work: Path) -> dict[str, Sequence[bytes]]:
    """Read every sound file once; what is refused would attack nothing. Return them by reader."""
    seeds: dict[str, Sequence[bytes]] = {}
    prepared: dict[str, Path] = {}
    for reader in readers:
        seeds[reader.name] = reader.seeds()
        for number, content in enumerate(seeds[reader.name]):
            path = put(reader, Input("sound", content), work, prepared)
            try:
                reader.read(path)
            except Exception as error:
                raise RuntimeError(
                    f"{reader.name}: sound file {number} is refused: {error}"
                ) from error
    return seeds


def attack(
    readers: Sequence[Reader], *, inputs: int, seed: int, seconds: float, workers: int = WORKERS
) -> Result:
    """Attack for so many inputs, or so many seconds, and return what was seen."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, warnings.catch_warnings():
        # What they warn of is judged elsewhere; a fork with threads beside it is meant.
        warnings.simplefilter("ignore")
        work = Path(name)
        seeds = rehearse(readers, work / "rehearsal")
        shutil.rmtree(work / "rehearsal")
        plan = Plan(
            readers, seeds, schedule(readers, inputs, seed), seed, time.monotonic() + seconds
        )
        result = Result(seed)
        with mmap.mmap(-1, 8 * workers) as at:
            _all(plan, at, work, workers, result)
    result.wall = time.monotonic() - began
    return result


def _all(plan: Plan, at: mmap.mmap, work: Path, workers: int, result: Result) -> None:
    shares = [range(slot, len(plan.inputs), workers) for slot in range(workers)]
    running: dict[int, int] = {}
    for slot in range(workers):
        running[_fork(plan, shares[slot], at, slot, work)] = slot
    try:
        while running:
            pid, status = os.wait()
            slot = running.pop(pid, None)
            if slot is None or status == 0:
                continue
            # It died at the input that is noted; another goes on behind it.
            index = struct.unpack_from("<q", at, 8 * slot)[0]
            position, number = plan.inputs[shares[slot][index]]
            reader = plan.readers[position]
            how = "?"
            with contextlib.suppress(RuntimeError):
                how = input_of(reader, plan.seeds[reader.name], number, plan.seed).how
            finding = _of_the_dead(status, work / str(slot) / "crash")
            died = Outcome(reader.name, number, how, "finding", 0.0, 0, finding)
            with (work / f"{slot}.jsonl").open("a") as file:
                file.write(json.dumps(died) + "\n")
            struct.pack_into("<q", at, 8 * slot, index + 1)
            running[_fork(plan, shares[slot], at, slot, work)] = slot
    except KeyboardInterrupt:
        print("interrupted: this is what was seen until then", file=sys.stderr)
    finally:
        for pid in running:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    for slot in range(workers):
        for line in (work / f"{slot}.jsonl").read_text().splitlines():
            reader_name, number, how, outcome, seconds, peak, finding = json.loads(line)
            result.add(Outcome(reader_name, number, how, outcome, seconds, peak, finding))


def _of_the_dead(status: int, crash: Path) -> Finding:
    """Return what a worker died of, by what it left."""
    left = crash.read_text(errors="replace").splitlines() if crash.exists() else []
    frames = [line.strip() for line in left if line.strip().startswith("File ")]
    package = f"{os.sep}minirpn{os.sep}"
    own = next((line for line in frames if package in line), frames[0] if frames else "?")
    waited = any("Timeout" in line for line in left)
    kind = f"over {SILENCE:g} s" if waited else f"died of {os.waitstatus_to_exitcode(status)}"
    return Finding(kind, own, left[0] if left else "", frames[7::-1])


def _fork(plan: Plan, share: Sequence[int], at: mmap.mmap, slot: int, work: Path) -> int:
    """Start a worker and return its process id."""
    folder = work / str(slot)
    away(folder)
    folder.mkdir()
    pid = os.fork()
    if pid:
        return pid
    status, console = 1, os.dup(2)
    try:
        # The child must not come back into its parent's program, whatever happens.
        results = os.open(work / f"{slot}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _work(plan, share, at, slot, folder, results)
        status = 0
    except BaseException:  # a mistake of the attack's own
        os.write(console, traceback.format_exc().encode())
        status = 99
    finally:
        os._exit(status)


# --- the command ---------------------------------------------------------------------------------


def again(readers: Sequence[Reader], which: str, seed: int, keep: Path | None) -> int:
    """Make one input again, hand it to its reader, and show what happens."""
    name, _, number = which.rpartition(":")
    reader = next(one for one in readers if one.name == name)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        given = input_of(reader, reader.seeds(), int(number), seed)
        work = Path(folder) / "work"
        path = put(reader, given, work, {})
        size = "no file" if given.content is None else f"{len(given.content)} bytes"
        print(f"{which}: by {given.how}, {size}: {os.fsencode(path)!r}")
        if keep is not None and given.content is not None:
            keep.write_bytes(given.content)
        limit_addresses()
        faulthandler.enable()
        peak = memory()
        peak()
        began = time.process_time()
        try:
            with Guard(sys.stderr):
                print(repr(reader.read(path))[:2000])
        except BaseException:
            traceback.print_exc()
        print(f"{time.process_time() - began:.2f} s, {peak() / 1e6:.0f} MB")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Attack, print the table, and return 1 if something was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.attack", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--inputs", type=int, default=3000, metavar="N", help="inputs in all (default: 3000)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of all inputs (default: 0)"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="readers, by the beginnings of their names"
    )
    parser.add_argument(
        "--seconds", type=float, default=3600.0, metavar="S", help="stop after so long"
    )
    parser.add_argument(
        "--again", metavar="NAME:NUMBER", help="make one input again, and show what happens"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="with --again: write the input to FILE"
    )
    parser.add_argument(
        "--readers", default="tests.attack.readers", metavar="MODULE", help="has READERS"
    )
    parser.add_argument("--list", action="store_true", help="list the readers")
    asked = parser.parse_args(words)
    readers: Sequence[Reader] = importlib.import_module(asked.readers).READERS
    if asked.list:
        print("\n".join(f"{one.name:<24} share {one.share:g}" for one in readers))
        return 0
    if asked.again:
        return again(readers, asked.again, asked.seed, asked.keep)
    if asked.only:
        readers = [one for one in readers if one.name.startswith(tuple(asked.only))]
    if not readers:
        parser.error("--only: no such reader")
    result = attack(readers, inputs=asked.inputs, seed=asked.seed, seconds=asked.seconds)
    print(result.table())
    if result.seen:
        print(f"\n{len(result.seen)} kinds of findings:\n{result.findings()}")
    count, computed = (
        sum(getattr(row, name) for row in result.rows.values()) for name in ("inputs", "seconds")
    )
    print(f"\n{count:,} inputs in {result.wall:.0f} s; {computed:.0f} s of computing")
    return 1 if result.seen else 0
