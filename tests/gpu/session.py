"""One program for a person who has a GPU for a few minutes: all there is to be found out, once.

    python -m tests.gpu.session OUT [--wheels DIR] [--only STAGE ...] [--minutes 9]

from the root of the repository, or ``python tests/gpu/session.py OUT``. It needs no network, and no
setting of the card is changed. Each part is a process of its own with a limit of its own. What
fails or hangs is ended with all that it started, and the next part begins. OUT gets at most eight
files:

========================================  ========================================================
``table.md``, ``results.json``            how each part ended, its seconds, its most telling figure
``log.txt``, ``pytest.txt``               what the parts printed
``bench-float32.json, bench-tf32.json``   as ``minirpn bench --json`` writes them
``profile.json``, ``training.json``       a training step in pieces; three trainings
========================================  ========================================================

All are up to date after each part, should the machine go away. The exit status is 1 where something
failed, and 2 where the command is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILES = (
    *("table.md", "results.json", "log.txt", "pytest.txt"),
    *("bench-float32.json", "bench-tf32.json", "profile.json", "training.json"),
)
SKIPPED = 77  # exit status of a part that finds it cannot run; its last line says why
MOST_LOGGED = 150_000  # bytes of one part; the middle of more is left out
WORKERS = 8  # of pytest, at most: each has a context of its own on the card
AT_THE_END = 5  # seconds of the total that are kept for ending what runs


# --- parts, and how one ended ---


def said(text: str) -> str:
    """Return what a part of our own calls its figure."""
    lines = [line for line in text.splitlines() if line.startswith("figure: ")]
    return lines[-1].removeprefix("figure: ") if lines else ""


@dataclass(frozen=True)
class Part:
    """A command, and what to make of it."""

    name: str  # the first word of it is its stage
    command: Sequence[str]
    limit: float  # seconds, after which it is killed
    least: float = 5.0  # seconds that have to be left for it to begin
    figure: Callable[[str], str] = said  # of what it printed
    log: str = "log.txt"
    env: Mapping[str, str] = field(default_factory=dict)
    why_not: str | None = None  # a reason not to begin
    first: bool = False  # where this one is skipped, so are those after it

    @property
    def stage(self) -> str:
        return self.name.split()[0]


@dataclass(frozen=True)
class Outcome:
    """How a part ended."""

    name: str
    state: str  # "ok", "failed", "timed out", "skipped"
    reason: str
    seconds: float
    figure: str
    command: str

    def cells(self) -> tuple[str, ...]:
        """Return its row of the table."""
        result = f"{self.state}: {self.reason}" if self.reason else self.state
        seconds = "" if self.state == "skipped" else f"{self.seconds:.1f}"
        return self.name, result, seconds, self.figure


def run(
    parts: Sequence[Part],
    out: Path,
    *,
    minutes: float,
    env: Mapping[str, str] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Run parts one after the other, and write what came of them after each.

    `stop` is asked all the time, and ends the part that runs.
    """
    end = time.monotonic() + 60 * minutes - AT_THE_END
    outcomes: list[Outcome] = []
    shut: str | None = None  # why there will be no more
    for part in parts:
        left = end - time.monotonic()
        why_not = shut or ("interrupted" if stop() else part.why_not)
        if why_not is None and left < part.least:
            why_not = f"{max(left, 0):.0f} s are left, and it needs {part.least:.0f}"
        if why_not is not None:
            outcome = Outcome(part.name, "skipped", why_not, 0.0, "", shlex.join(part.command))
        else:
            print(f"{part.name} ...", flush=True)
            outcome = run_part(part, out, env or {}, min(part.limit, left), stop)
            if part.first and outcome.state == "skipped":
                shut = outcome.reason
        print(*outcome.cells(), sep=" | ", flush=True)
        outcomes.append(outcome)
        write(outcomes, out)
    return outcomes


def run_part(
    part: Part, out: Path, env: Mapping[str, str], limit: float, stop: Callable[[], bool]
) -> Outcome:
    """Run one command in a process group of its own, which is gone when this returns."""
    path, command, start = out / part.log, shlex.join(part.command), time.monotonic()
    with path.open("ab") as log:
        log.write(f"\n======== {part.name}\n$ {command}\n".encode())
        log.flush()
        begin, state, reason = log.tell(), "failed", ""
        try:
            process = subprocess.Popen(
                part.command,
                cwd=ROOT,
                env=os.environ | env | part.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            return Outcome(part.name, state, f"it does not start: {error}", 0.0, "", command)
        if not _ended(process, limit, stop):
            stopped = stop()
            state = "failed" if stopped else "timed out"
            reason = "interrupted" if stopped else f"after {limit:.0f} s"
        code = _end_group(process, by_force=bool(reason))
    seconds, text = time.monotonic() - start, _section(path, begin)
    if not reason:
        state = {0: "ok", SKIPPED: "skipped"}.get(code, "failed")
        lines = text.strip().splitlines()
        last = lines[-1].strip()[:200] if lines else "no output"
        if state == "skipped":
            reason = last.removeprefix("skipped: ")
        elif state == "failed":
            reason = f"exit status {code}: {last}"
    figure = ""
    with contextlib.suppress(Exception):  # of output cut short, there may be none
        figure = part.figure(text)
    return Outcome(part.name, state, reason, round(seconds, 2), figure, command)


def _ended(
    process: subprocess.Popen[bytes], limit: float, stop: Callable[[], bool] = lambda: False
) -> bool:
    """Wait for a process, and tell whether it ended; its number stays taken meanwhile."""
    end = time.monotonic() + limit
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() > end or stop():
            return False
        time.sleep(0.05)
    return True


def _end_group(process: subprocess.Popen[bytes], *, by_force: bool) -> int | None:
    """End a process and all it has started; return its exit status, None if it cannot be ended."""
    if by_force:
        # Python says then, into the log, in which line it hung (PYTHONFAULTHANDLER).
        _signal(process.pid, signal.SIGABRT)
        _ended(process, 2.0)
    _signal(process.pid, signal.SIGKILL)
    try:
        return process.wait(5.0)
    except subprocess.TimeoutExpired:  # deep in the driver
        return None


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _section(path: Path, begin: int) -> str:
    """Return the log from a place on, after cutting it down to what is bearable."""
    whole = path.read_bytes()
    section = whole[begin:]
    if len(section) > MOST_LOGGED:
        half = MOST_LOGGED // 2
        section = section[:half] + b"\n[... the middle is left out ...]\n" + section[-half:]
        path.write_bytes(whole[:begin] + section)
    return section.decode(errors="replace")


# --- what is left ---


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table in Markdown, aligned for the eye."""
    rows = [("part", "result", "seconds", "figure")]
    rows += [tuple(cell.replace("|", "/") for cell in outcome.cells()) for outcome in outcomes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = [" | ".join(map(str.ljust, row, widths)) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def write(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write the table, and the same for programs."""
    (out / "table.md").write_text(table(outcomes), encoding="utf-8")
    records = [asdict(outcome) for outcome in outcomes]
    (out / "results.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


# --- the parts ---


def parts_of(out: Path, work: Path, *, rehearse: bool) -> list[Part]:
    """Return all parts, the most important first.

    What only a card can tell comes before the tests: these say in minutes what `smoke` says in
    seconds, if all is well.
    """
    small, longer = (["--small"], 5) if rehearse else ([], 1)  # a stand-in for a card is slow
    return [
        Part("info", _script("info"), 60, first=True),
        Part("smoke", _script("smoke", *small), longer * 120, 20),
        _bench(out, "float32", rehearse),
        _bench(out, "tf32", rehearse),
        Part("profile", _script("profile", str(out / "profile.json"), *small), 90, 20),
        *(
            Part(
                f"train {kind}",
                _script("train", kind, str(out / "training.json"), str(work), *small),
                longer * limit,
                15,
            )
            for kind, limit in (("same", 60), ("shapes", 75), ("small", 75))
        ),
        _tests(rehearse),
        _sanitizer(),
    ]


def _script(name: str, *words: str) -> list[str]:
    return [sys.executable, str(HERE / f"stage_{name}.py"), *words]


def _bench(out: Path, precision: str, rehearse: bool) -> Part:
    path = out / f"bench-{precision}.json"
    words = ["bench", "--device", "cuda", "--json", str(path)]
    words += ["--tf32"] if precision == "tf32" else []
    words += ["--only", "nms", "label", "--rounds", "1"] if rehearse else []
    command = [sys.executable, "-m", "minirpn", *words]
    return Part(f"bench {precision}", command, 75, 20, lambda text: bench_figure(path.read_text()))


def bench_figure(record: str) -> str:
    """Return the rows of ``minirpn bench --json`` in a line."""
    found = []
    for row in json.loads(record)["rows"]:
        if row["values"]:
            value, share = row["values"]["minirpn"], row["unit"] == "share"
            ratio = f" ({row['ratio']:.2f} of {row['best_peer']})" if row["ratio"] else ""
            found.append(f"{row['name']} {value:{'.0%' if share else '.4f'}}{ratio}")
    return ", ".join(found) + " (seconds)"


def _tests(rehearse: bool) -> Part:
    cores = len(os.sched_getaffinity(0))
    where = [f"tests/{name}" for name in ("gpu", "worlds", "unit")]  # that have tests for a GPU
    chosen = ["tests/gpu/test_send.py", "tests/worlds/test_boxes.py"] if rehearse else where
    options = ["-q", "-n", str(min(cores, WORKERS)), "--maxfail=40", "--durations=8"]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", *options, *chosen]
    # As CI draws examples: the same ones each time. One thread each, for there are many processes.
    env = {"CI": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return Part("tests", command, 240, 40, pytest_figure, "pytest.txt", env)


def pytest_figure(text: str) -> str:
    """Return the last line of pytest's that counts tests."""
    lines = re.findall(r"^.*\b\d+ (?:passed|failed|skipped|errors?)\b.*$", text, re.MULTILINE)
    return lines[-1].strip(" =")


def _sanitizer() -> Part:
    tool = _find_sanitizer()
    # What libraries try out and take back is an error of an interface, not of memory.
    options = ["--tool", "memcheck", "--report-api-errors", "no", "--error-exitcode", "3"]
    command = [tool or "compute-sanitizer", *options, *_script("smoke", "--memory")]
    why_not = None if tool else "compute-sanitizer is not installed"
    return Part("sanitizer", command, 90, 30, sanitizer_figure, why_not=why_not)


def _find_sanitizer() -> str | None:
    name, homes = "compute-sanitizer", [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [str(Path(home) / "bin") for home in homes if home] + [str(Path(sys.prefix) / "bin")]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


def sanitizer_figure(text: str) -> str:
    """Return the sanitizer's count of errors, and what the smoke under it says."""
    counts = re.findall(r"ERROR SUMMARY: (.*)", text)
    return "; ".join([*counts[-1:], *filter(None, [said(text)])])


# --- missing wheels ---


def wheels_part(folder: Path, target: Path) -> Part:
    """Return what installs, into a folder, the distributions of wheels that are not here yet."""
    names = sorted({path.name.split("-")[0].replace("_", "-") for path in folder.glob("*.whl")})
    here = {name: version for name in names if (version := _version(name))}
    missing = [name for name in names if name not in here]
    options = ["--no-index", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    places = ["--find-links", str(folder), "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, *places, *missing]
    why_not = None
    if not missing:
        said_here = ", ".join(f"{name} {version}" for name, version in here.items())
        why_not = f"all are here: {said_here}" if names else f"there is no wheel in {folder}"
    return Part("wheels", command, 60, figure=wheels_figure, why_not=why_not)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def wheels_figure(text: str) -> str:
    """Return what pip has installed."""
    return re.findall(r"^Successfully installed (.*)$", text, re.MULTILINE)[-1]


# --- the command ---


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the session, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.session", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder for what is found out")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="install what is missing of it")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="these stages alone")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all together (9)")
    parser.add_argument(
        "--rehearse", action="store_true", help="little work, to see that all of it runs"
    )
    args = parser.parse_args(arguments)
    out = args.out.resolve()
    with tempfile.TemporaryDirectory(prefix="minirpn-session-") as folder:
        work = Path(folder)
        parts = parts_of(out, work, rehearse=args.rehearse)
        stages = list(dict.fromkeys(part.stage for part in parts))
        if trouble := _trouble(args, stages):
            print(f"error: {trouble}", file=sys.stderr)
            return 2
        out.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (out / name).unlink(missing_ok=True)
        parts = [part for part in parts if args.only is None or part.stage in args.only]
        if args.wheels is not None:
            parts.insert(0, wheels_part(args.wheels.resolve(), work / "wheels"))
        asked: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: asked.append(number))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        how = {"minutes": args.minutes, "env": _environment(work)}
        outcomes = run(parts, out, **how, stop=lambda: bool(asked))
    print(f"\n{table(outcomes)}\nin {out}")
    return int(any(outcome.state in ("failed", "timed out") for outcome in outcomes))


def _trouble(args: argparse.Namespace, stages: Sequence[str]) -> str | None:
    unknown = [name for name in args.only or () if name not in stages]
    if unknown:
        return f"--only: no stage {unknown[0]!r}; there are {', '.join(stages)}"
    if args.minutes <= 0:
        return f"--minutes: expected more than 0, got {args.minutes:g}"
    if args.wheels is not None and not args.wheels.is_dir():
        return f"--wheels: there is no folder {args.wheels}"
    if args.out.exists() and not args.out.is_dir():
        return f"{args.out}: there is something that is no folder"
    return None


def _environment(work: Path) -> dict[str, str]:
    """Return what all parts find in their environment."""
    path = [str(ROOT), str(work / "wheels"), *filter(None, [os.environ.get("PYTHONPATH")])]
    temporary = work / "tmp"
    temporary.mkdir()
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "MPLBACKEND": "Agg",
        "TMPDIR": str(temporary),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(work / "hypothesis"),
    }


if __name__ == "__main__":
    sys.exit(main())
