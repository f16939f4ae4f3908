"""Whatever befalls a rank, all end soon, one line says why, and resume goes on to the same bits.

Each test starts the program under mpiexec. A fault is planted in one rank by code that runs there
before the program; the launcher's signals, and kills, come from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.run_folder import RunFolder

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec"),
    pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals"),
]

STEPS, FAULT = 12, 7  # so many steps are done when a rank fails
APART = 10  # seconds between the end of the first rank and that of the last
PATIENCE = 100  # seconds for a whole training: more is a hang
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}

PROGRAM = """
import os, sys
from pathlib import Path
from minirpn.cli.main import main
from minirpn.launcher import launched

rank = launched().rank
Path(os.environ["PIDS"], f"{{rank}}.new").write_text(str(os.getpid()))
Path(os.environ["PIDS"], f"{{rank}}.new").rename(Path(os.environ["PIDS"], str(rank)))
if rank in {ranks}:
    exec({fault!r})
sys.exit(main(sys.argv[1:]))
"""
IN_A_STEP = """
from minirpn.training.trainer import Trainer
original = Trainer.train_step
def train_step(trainer, examples, *more):
    if trainer.step == {step}:
        {what}
    return original(trainer, examples, *more)
Trainer.train_step = train_step
"""


class Job:
    """A training by several ranks."""

    def __init__(self, folder: Path, size: int, words: list[str], fault: str, ranks: set[int]):
        self.folder, self.size, self.began = folder, size, time.monotonic()
        self.pids_at = folder / "pids"
        shutil.rmtree(self.pids_at, ignore_errors=True)
        self.pids_at.mkdir(parents=True)
        program = PROGRAM.format(fault=fault, ranks=ranks)
        command = [str(MPIEXEC), "-n", str(size), sys.executable, "-c", program, "train", *words]
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.files = [(folder / name).open("w+") for name in ("out.txt", "err.txt")]
        self.process = subprocess.Popen(
            command,
            env=os.environ | threads | {"PIDS": str(self.pids_at)},
            stdin=subprocess.DEVNULL,
            stdout=self.files[0],
            stderr=self.files[1],
            start_new_session=True,
        )

    @property
    def pids(self) -> dict[int, int]:
        """The process of each rank that has begun."""
        files = (self.pids_at / str(rank) for rank in range(self.size))
        return {int(file.name): int(file.read_text()) for file in files if file.exists()}

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something, as long as the job runs."""
        while not reached():
            assert self.process.poll() is None, self.told
            assert time.monotonic() < self.began + PATIENCE, f"never reached: {self.told}"
            time.sleep(0.01)

    def until_begun(self) -> None:
        """Wait until each rank runs."""
        self.until(lambda: len(self.pids) == self.size)

    def until_step(self, path: Path, step: int) -> None:
        """Wait until a run has so many steps."""
        record, file = f'"step": {step},', RunFolder(path).metrics
        self.until(lambda: file.exists() and record in file.read_text())

    def send(self, number: int, rank: int | None = None) -> None:
        """Send a signal to a rank, or to mpiexec."""
        os.kill(self.process.pid if rank is None else self.pids[rank], number)

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        first = None
        while True:
            done = self.process.poll() is not None
            alive = [rank for rank, pid in self.pids.items() if is_alive(pid)]
            now = time.monotonic()
            if len(alive) < len(self.pids) and first is None:
                first = now
            if done and not alive:
                break
            assert now < self.began + PATIENCE, f"ranks {alive} hang: {self.told}"
            assert first is None or now < first + APART, f"ranks {alive} go on: {self.told}"
            time.sleep(0.02)
        return int(self.process.returncode)

    @property
    def told(self) -> str:
        """All that it has printed on stderr."""
        return (self.folder / "err.txt").read_text()

    @property
    def error(self) -> str:
        """The one error line."""
        (line,) = [line for line in self.told.splitlines() if "error" in line.lower()]
        assert line.startswith("minirpn: error: ")
        assert "Traceback" not in self.told
        return line

    def close(self) -> None:
        """End what still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid in self.pids.values():
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for file in self.files:
            file.close()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Callable[..., Job]]:
    """Start a job: so many ranks, words of the command line, and code for some of the ranks."""
    jobs = []

    def begin(size: int, words: list[str], fault: str = "", ranks: tuple[int, ...] = ()) -> Job:
        for job in jobs:
            job.close()
        jobs.append(Job(tmp_path_factory.mktemp("job"), size, words, fault, set(ranks)))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.close()


@pytest.fixture(scope="module")
def words(shapes) -> Callable[..., list[str]]:
    """Return the command line of a new run."""

    def line(out: Path, size: int, *more: str, voc: Path = shapes) -> list[str]:
        settings = {
            "resize.short_side": 64,
            "resize.max_side": 96,
            "anchors.base_size": 8,
            "anchors.scales": [2.0, 4.0],
            "optimizer.images_per_step": size,
            "optimizer.steps": STEPS,
            "run.pictures": "false",
            "run.device": "cpu",
            "run.validate_every": 5,
            "run.checkpoint_every": 2,
            "run.diagnose_every": 4,
        }
        given = [word for item in settings.items() for word in ("--set", "{}={}".format(*item))]
        flags = ["--recipe", "shapes", "--voc", str(voc), "--split", "train", "--val-split", "val"]
        return ["--out", str(out), *flags, *given, *more]

    return line


@pytest.fixture(scope="module")
def undisturbed(start, words, tmp_path_factory) -> Callable[[int], RunFolder]:
    """Return the run of so many ranks that nothing befalls."""
    runs: dict[int, RunFolder] = {}

    def run(size: int) -> RunFolder:
        if size not in runs:
            path = tmp_path_factory.mktemp("undisturbed") / "run"
            assert start(size, words(path, size)).end() == 0
            runs[size] = RunFolder(path)
        return runs[size]

    return run


def records(folder: RunFolder) -> list[dict]:
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def assert_same_end(one: RunFolder, other: RunFolder) -> None:
    state, whole = load_checkpoint(one.last), load_checkpoint(other.last)
    assert state.step == whole.step == STEPS
    assert state.metrics == whole.metrics
    np.testing.assert_equal(state.parameters, whole.parameters)
    np.testing.assert_equal(state.velocity, whole.velocity)
    assert records(one) == records(other)
    names = [{path.relative_to(run.path) for path in run.path.rglob("*")} for run in (one, other)]
    assert names[0] - names[1] <= {Path(f"failure-{FAULT + 1}.npz")}  # what repeats a step
    assert names[1] <= names[0]


# --- a rank fails --------------------------------------------------------------------------------

DISK = """
import minirpn.files, os
original = os.replace
def replace(source, target):
    if Path(target).name == "last.npz" and Path(target).exists():
        raise OSError(28, "No space left on device", str(source))
    return original(source, target)
os.replace = replace
"""
VALIDATION = """
import minirpn.training.evaluate as module
original, calls = module.forward_loss, []
def forward_loss(*args, **options):
    calls.append(1)
    if len(calls) == 2:
        raise MemoryError("no memory for the map")
    return original(*args, **options)
module.forward_loss = forward_loss
"""
AT_THE_END = """
from minirpn.training.crew import Crew
def evaluate(crew):
    raise OSError(5, "Input/output error", "000001.jpg")
Crew.evaluate = evaluate
"""
# While the others are about to exchange arrays.
SUMS = """
from minirpn.training.distributed import Ranks
original, calls = Ranks._buffers_like, []
def buffers_like(ranks, array, size):
    calls.append(1)
    if len(calls) == 8:
        raise MemoryError("no memory for the sums")
    return original(ranks, array, size)
Ranks._buffers_like = buffers_like
"""
COPIES = """
from minirpn.training.trainer import Trainer
original = Trainer.checkpoint
def checkpoint(trainer):
    if trainer.step == 8:
        raise MemoryError("no memory for a copy")
    return original(trainer)
Trainer.checkpoint = checkpoint
"""
# Its own copy of the file; those of the others are good.
BAD_HERE = IN_A_STEP.format(
    step=FAULT,
    what="""
        from minirpn.data.findings import BadFileError, Kind
        path = examples[0].annotation.image_path
        raise BadFileError(next(iter(Kind)), path, "image", "cut short")
""",
)
FAULTS = {
    "nan": (
        IN_A_STEP.format(step=FAULT, what="examples[0].image[...] = float('nan')"),
        "_loss is nan on rank {rank} of {size} on ",
        2,
    ),
    "disk full": (
        DISK,
        "last.npz: cannot write: No space left on device; 0 of 2 steps are kept",
        2,
    ),
    "bad image": (BAD_HERE, ".jpg: image: cut short (rank {rank} of {size} on ", 2),
    "mistake": (IN_A_STEP.format(step=FAULT, what="raise TypeError('mine')"), "TypeError: mine", 3),
    "validation": (VALIDATION, "not enough memory: rank {rank} of {size} on ", 2),
    "sums": (SUMS, "no memory for the sums; ", 2),
    "copies": (COPIES, "no memory for a copy; ", 2),
    "end": (AT_THE_END, "000001.jpg: Input/output error; all 12 steps are kept", 2),
}


@pytest.mark.parametrize(
    ("kind", "rank", "size"),
    [
        ("nan", 1, 2),
        ("nan", 2, 4),
        ("disk full", 0, 2),
        ("disk full", 0, 4),
        ("bad image", 1, 2),
        ("bad image", 3, 4),
        ("mistake", 1, 2),
        ("validation", 1, 2),
        ("end", 1, 2),
        ("sums", 1, 2),
        ("copies", 1, 2),
    ],
)
def test_a_rank_fails(start, words, undisturbed, tmp_path, kind, rank, size):
    fault, told, status = FAULTS[kind]
    folder = RunFolder(tmp_path / "run")
    job = start(size, words(folder.path, size), fault, (rank,))
    assert job.end() == status
    assert told.format(rank=rank, size=size) in job.error
    assert rank == 0 or f"rank {rank} of {size} on " in job.error
    if kind == "mistake":
        assert "in train_step" in folder.text.read_text()
    load_checkpoint(folder.last)
    assert start(size, ["--resume", str(folder.path)]).end() == 0
    assert_same_end(folder, undisturbed(size))


@pytest.mark.parametrize(("size", "skip"), [(2, False), (4, True)])
def test_an_image_goes_bad(start, words, undisturbed, shapes, tmp_path, size, skip):
    """The training stops, and says which file; or all ranks leave it out."""
    name = [one for one in records(undisturbed(size)) if one["kind"] == "train"][-1]["image"][-6:]
    voc, folder = shutil.copytree(shapes, tmp_path / "voc"), RunFolder(tmp_path / "run")
    bad = voc / "JPEGImages" / f"{name}.jpg"
    spoil = IN_A_STEP.format(step=1, what=f"Path({str(bad)!r}).write_bytes(b'bad')")
    line = words(folder.path, size, *["--skip-bad"] * skip, voc=voc)
    job = start(size, line, spoil, (0,))
    assert job.end() == (0 if skip else 2)
    told = f"{name}.jpg: image: not of a format Pillow reads"
    if skip:
        assert folder.text.read_text().count("warning: left out from step ") == 1
        assert told in job.told
        assert load_checkpoint(folder.last).step == STEPS
        return
    assert told in job.error
    shutil.copy(shapes / "JPEGImages" / bad.name, bad)
    assert start(size, ["--resume", str(folder.path)]).end() == 0
    assert_same_end(folder, undisturbed(size))


# --- before the first step -----------------------------------------------------------------------

NO_FOLDER = """
import minirpn.training.{module} as module
from minirpn.errors import InputError
def function(*args):
    raise InputError("/data/VOC: data set: no such folder")
module.{name} = function
"""
UNTOLD = """
from minirpn.training.distributed import Ranks
def perform(ranks, work):
    raise MemoryError("no memory for messages")
Ranks.perform = perform
"""
CTRL_C = """
import minirpn.training.distributed as module
def open_ranks(mode):
    raise KeyboardInterrupt
module.open_ranks = open_ranks
"""


@pytest.mark.parametrize("size", [2, 4])
def test_a_rank_cannot_begin(start, words, tmp_path, size):
    last = size - 1
    line = words(tmp_path / "run", size)
    for module, name in (("build", "with_splits_there"), ("crew", "open_splits")):
        job = start(size, line, NO_FOLDER.format(module=module, name=name), (last,))
        assert job.end() == 2
        assert f"error: rank {last} of {size} on " in job.error
        assert "/data/VOC: data set: no such folder" in job.error
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_has_told_nobody_ends_all(start, words, tmp_path, rank):
    """Between two pieces of common work the others wait for it."""
    job = start(2, words(tmp_path / "run", 2), UNTOLD, (rank,))
    assert job.end() == 2
    assert job.error == f"minirpn: error: rank {rank}: not enough memory: no memory for messages"
    # Ctrl-C may come when MPI has not connected it yet.
    job = start(2, words(tmp_path / "run", 2), CTRL_C, (rank,))
    assert job.end() != 0
    assert "minirpn" not in job.told  # the launcher may speak of a broken pipe


def test_what_is_wrong_for_all_is_one_line(start, words, undisturbed, tmp_path):
    run = undisturbed(2).path
    no_mpi, line = "sys.modules['mpi4py'] = None", words(tmp_path / "run", 4)
    cases = [
        (4, line, no_mpi, "started as 4 processes to work together, which needs mpi4py"),
        (4, [*line, "--stepz", "3"], "", "train: unrecognized --stepz"),
        (4, [*line, "--lr", "-3"], "", "--lr: expected a finite number above 0"),
        (2, words(run, 2), "", f"{run}: run folder exists"),
        (4, ["--resume", str(run), "--steps", "20"], "", "no more than 2 of the 4 processes"),
    ]
    for size, given, fault, told in cases:
        job = start(size, given, fault, (0, 1, 2, 3))
        assert job.end() == 2
        assert told in job.error
    assert not (tmp_path / "run").exists()


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "number", "rank"),
    [
        (2, signal.SIGINT, None),
        (2, signal.SIGTERM, None),
        (2, signal.SIGTERM, 1),
        (4, signal.SIGINT, None),
        (4, signal.SIGTERM, 2),
    ],
)
def test_a_signal_stops_all_after_the_same_step(
    start, words, undisturbed, tmp_path, size, number, rank
):
    """Ctrl-C at the launcher; SIGTERM by a scheduler, to the launcher or to a rank."""
    folder = RunFolder(tmp_path / "run")
    job = start(size, words(folder.path, size))
    job.until_step(folder.path, 3)
    job.send(number, rank)
    assert job.end() == 130
    assert "error" not in job.told
    step = load_checkpoint(folder.last).step
    assert job.told.count(f"stopped after step {step}; continue with: minirpn train --resume") == 1
    assert start(size, ["--resume", str(folder.path)]).end() == 0
    assert_same_end(folder, undisturbed(size))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_second_ctrl_c_ends_all_at_once(start, words, undisturbed, tmp_path, rank):
    folder = RunFolder(tmp_path / "run")
    # A long step, and the second signal comes in its middle.
    long = IN_A_STEP.format(step=FAULT, what="import time; time.sleep(60)")
    job = start(2, words(folder.path, 2), long, (rank,))
    job.until_step(folder.path, FAULT)
    time.sleep(0.5)
    for _ in range(2):
        job.send(signal.SIGINT, rank)
        time.sleep(0.5)
    assert job.end() == 130
    assert "Traceback" not in job.told
    assert job.told.count("stopped at once; continue with: minirpn train --resume") == 1 - rank
    load_checkpoint(folder.last)
    assert start(2, ["--resume", str(folder.path)]).end() == 0
    assert_same_end(folder, undisturbed(2))


# --- kills ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "kills"), [(2, 12), (4, 8)])
def test_killed_at_random_it_ends_the_same(start, words, undisturbed, tmp_path, size, kills):
    whole, chance = undisturbed(size), random.Random(size)
    began = time.monotonic()
    assert start(size, words(tmp_path / "timed", size)).end() == 0
    duration = time.monotonic() - began
    left, runs = kills, 0
    while left:
        folder, before = RunFolder(tmp_path / f"run-{runs}"), -1
        runs += 1
        while True:
            line = words(folder.path, size)
            job = start(size, ["--resume", str(folder.path)] if folder.has_begun else line)
            job.until_begun()
            if left and before < STEPS:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.process.wait(chance.uniform(0, 0.6 * duration))
                rank = chance.randrange(size)
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(job.pids[rank], signal.SIGKILL)
            if job.end() == 0:
                break
            left -= 1
            assert job.process.returncode == signal.SIGKILL
            assert "error" not in job.told
            step = load_checkpoint(folder.last).step if folder.last.exists() else -1
            assert before <= step, "a checkpoint is gone"
            before = step
        assert_same_end(folder, whole)
